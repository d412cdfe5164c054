package inventory

import (
	"path"
	"slices"
	"strings"
)

const (
	filesPath   = "spec.kubernetes.files"
	kubeadmDir  = "/etc/kubernetes"
	maxFileName = 40 // with what is put before it, it is the name of a volume
)

// The rules of files and volumes.
var (
	fileRule   = newRule(`^/etc/kubernetes(/[A-Za-z0-9_][-A-Za-z0-9_.]*)+$`, 0)
	volumeRule = newRule(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`, 63)
)

var pathTypes = []string{"Directory", "DirectoryOrCreate", "File", "FileOrCreate"}

// kubeadmOwn are directories that kubeadm empties, or that mean something to the kubelet.
var kubeadmOwn = []string{kubeadmDir + "/manifests", kubeadmDir + "/pki", kubeadmDir + "/tmp"}

// FileVolume is the name of the volume by which kube-apiserver has a file.
func FileVolume(name string) string { return "hybridctl-" + name }

func (v *validator) files() {
	files := v.c.Spec.Kubernetes.Files
	if len(files) > 0 && v.c.Adopted() {
		v.fail(filesPath, "take it out", "has no effect: the cluster was made without them, and its control planes are not hybridctl's")
	}
	names, places := seen{}, seen{}
	for i, f := range files {
		at := item(filesPath, i)
		if p := field(at, "name"); f.Name != "" && (!volumeRule.ok(f.Name) || len(f.Name) > maxFileName) {
			v.fail(p, "small letters, digits and -, at most 40", "%q is not a name", f.Name)
		}
		v.once(names, field(at, "name"), f.Name, f.Name)
		v.filePlace(field(at, "path"), f.Path)
		v.once(places, field(at, "path"), f.Path, f.Path)
		v.fileContent(at, f)
	}
	for i, f := range files {
		if slices.ContainsFunc(files, func(other ControlPlaneFile) bool {
			return strings.HasPrefix(f.Path, other.Path+"/") && other.Path != ""
		}) {
			v.fail(field(item(filesPath, i), "path"), "choose another path", "%s lies in what is to be a file itself", f.Path)
		}
	}
}

func (v *validator) filePlace(at, place string) {
	const hint = "for instance /etc/kubernetes/audit/policy.yaml"
	switch {
	case place == "":
	case !fileRule.ok(place):
		v.fail(at, hint, "%q is not the path of a file below %s", place, kubeadmDir)
	case slices.ContainsFunc(kubeadmOwn, func(d string) bool { return place == d || strings.HasPrefix(place, d+"/") }):
		v.fail(at, hint, "%s is in a directory that is kubeadm's own", place)
	case path.Dir(place) == kubeadmDir && strings.HasSuffix(place, ".conf"):
		v.fail(at, hint, "%s is named as kubeadm names its kubeconfigs, which it deletes", place)
	}
}

func (v *validator) fileContent(at string, f ControlPlaneFile) {
	if p := field(at, "secretEnv"); f.SecretEnv != "" && !envRule.ok(f.SecretEnv) {
		// What stands here may be the secret itself, so it is not repeated.
		v.fail(p, "its name without the $", "is not the name of an environment variable")
	}
	if p := field(at, "secretCommand"); v.c.given(p) && (len(f.SecretCommand) == 0 || slices.Contains(f.SecretCommand, "")) {
		v.fail(p, "for instance [pass, show, kubernetes/encryption]", "is not a program with its arguments")
	}
	given := 0
	for _, name := range []string{"source", "secretFile", "secretEnv", "secretCommand"} {
		if v.c.given(field(at, name)) {
			given++
		}
	}
	if given != 1 && v.c.doc != nil {
		v.fail(at, "a file beside the inventory is the usual way: source: audit-policy.yaml", "needs exactly one of source, secretFile, secretEnv and secretCommand")
	}
	if f.Source != "" {
		v.exists(field(at, "source"), f.Source, false)
	}
}

func (v *validator) volumes(at string, volumes []Volume) {
	names := seen{}
	for i, x := range volumes {
		p := item(at, i)
		if x.Name != "" && !volumeRule.ok(x.Name) {
			v.fail(field(p, "name"), "small letters, digits and -", "%q is not the name of a volume", x.Name)
		}
		v.once(names, field(p, "name"), x.Name, x.Name)
		for _, f := range []struct{ name, value string }{{"hostPath", x.HostPath}, {"mountPath", x.MountPath}} {
			if f.value != "" && !dirRule.ok(f.value) {
				v.fail(field(p, f.name), "for instance /var/log/kubernetes", "%q is not an absolute path without a slash at its end", f.value)
			}
		}
		v.oneOf(field(p, "pathType"), x.PathType, "", pathTypes...)
	}
}
