package inventory

import (
	"os"
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
		path, wrong, mend := resolvePath(*f.value, dir, home)
		if wrong != "" {
			problems = append(problems, c.ProblemAt(f.path, wrong, mend))
			continue
		}
		*f.value = path
	}
	return problems
}

// ResolvePath is a path of an inventory in the folder dir as this process finds it: ~ is the user's home, anything relative starts at dir.
// Where that cannot be told, wrong says why, and mend what to do about it.
func ResolvePath(path, dir string) (resolved, wrong, mend string) {
	return resolvePath(path, dir, os.UserHomeDir)
}

func resolvePath(path, dir string, home func() (string, error)) (resolved, wrong, mend string) {
	rest, tilde := strings.CutPrefix(path, "~")
	switch {
	case path == "":
		return "", "", ""
	case filepath.IsAbs(path):
		return filepath.Clean(path), "", ""
	case tilde && rest != "" && rest[0] != '/':
		return "", "~" + printable(rest) + " names another user's home", "write the path itself"
	case tilde:
		dir, err := home()
		if err != nil {
			return "", "your home directory is not known: " + err.Error(), "write the path itself"
		}
		return filepath.Join(dir, rest), "", ""
	case path[0] == '$':
		return "", "environment variables are not expanded", "write ~/… or a path relative to the inventory"
	}
	return filepath.Join(dir, path), "", ""
}
