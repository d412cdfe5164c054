package inventory

import (
	"path/filepath"
	"strings"
)

type pathField struct {
	path  string
	value *string
}

// pathFields lists every field that names a file or a directory.
func pathFields(c *Cluster) []pathField {
	s := &c.Spec
	fields := []pathField{
		{"spec.bundle", &s.Bundle},
		{"spec.kubernetes.patches", &s.Kubernetes.Patches},
		{"spec.cni.path", &s.CNI.Path},
		{"spec.ssh.sudoPasswordFile", &s.SSH.SudoPasswordFile},
		{"spec.conformance.registry.passwordFile", &s.Conformance.Registry.PasswordFile},
	}
	for i := range s.Storage.Ceph {
		path := c.CephPath(i)
		fields = append(fields,
			pathField{path + ".rbd.keyFile", &s.Storage.Ceph[i].RBD.KeyFile},
			pathField{path + ".cephfs.keyFile", &s.Storage.Ceph[i].CephFS.KeyFile})
	}
	for i := range s.Kubernetes.Files {
		f := &s.Kubernetes.Files[i]
		fields = append(fields, pathField{item(filesPath, i) + ".source", &f.Source}, pathField{item(filesPath, i) + ".secretFile", &f.SecretFile})
	}
	for i := range s.Registries {
		path := item(registriesPath, i)
		fields = append(fields, pathField{path + ".caFile", &s.Registries[i].CAFile}, pathField{path + ".passwordFile", &s.Registries[i].PasswordFile})
	}
	for i := range s.SSH.IdentityFiles {
		fields = append(fields, pathField{item("spec.ssh.identityFiles", i), &s.SSH.IdentityFiles[i]})
	}
	for i := range s.Hosts {
		h := &s.Hosts[i]
		fields = append(fields, pathField{hostField(i, "sudoPasswordFile"), &h.SudoPasswordFile})
		for j := range h.IdentityFiles {
			fields = append(fields, pathField{item(hostField(i, "identityFiles"), j), &h.IdentityFiles[j]})
		}
	}
	return fields
}

// resolvePaths makes every path absolute: ~ is the user's home, anything relative starts at dir, the inventory's folder.
func resolvePaths(c *Cluster, dir string, home func() (string, error)) []Problem {
	var problems []Problem
	fields := pathFields(c)
	if caFile, given := c.Spec.Sources[sourcesCA]; given { // a map's value has no address
		fields = append(fields, pathField{sourcesPath + "." + sourcesCA, &caFile})
		defer func() { c.Spec.Sources[sourcesCA] = caFile }()
	}
	for _, f := range fields {
		path := *f.value
		rest, tilde := strings.CutPrefix(path, "~")
		switch {
		case path == "" || filepath.IsAbs(path):
		case tilde && rest != "" && rest[0] != '/':
			problems = append(problems, c.ProblemAt(f.path, "~"+printable(rest)+" names another user's home", "write the path itself"))
			continue
		case tilde:
			dir, err := home()
			if err != nil {
				problems = append(problems, c.ProblemAt(f.path, "your home directory is not known: "+err.Error(), "write the path itself"))
				continue
			}
			path = filepath.Join(dir, rest)
		case path[0] == '$':
			problems = append(problems, c.ProblemAt(f.path, "environment variables are not expanded", "write ~/… or a path relative to this file"))
			continue
		default:
			path = filepath.Join(dir, path)
		}
		if path != "" {
			*f.value = filepath.Clean(path)
		}
	}
	return problems
}
