package inventory

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// validate says everything that is wrong with a Cluster that has its defaults. It is silent about the paths in bad, and about
// text that is empty: decode has told where it is missing.
func validate(c *Cluster, bad map[string]bool) []Problem {
	v := &validator{c: c, bad: bad}
	v.metadata()
	v.kubernetes()
	v.networks()
	v.endpoint()
	v.cni()
	v.sources()
	v.registries()
	v.storage()
	v.ssh()
	v.preflight()
	v.hosts()
	v.jumps()
	v.conformance()
	return v.problems
}

type validator struct {
	c        *Cluster
	bad      map[string]bool
	problems []Problem
}

// fail notes a problem, unless the path, or something around it, could not even be decoded.
func (v *validator) fail(path, hint, message string, args ...any) {
	for p := path; p != ""; p = parent(p) {
		if v.bad[p] {
			return
		}
	}
	v.problems = append(v.problems, v.c.ProblemAt(path, fmt.Sprintf(message, args...), hint))
}

// failed reports whether anything was wrong with the path itself.
func (v *validator) failed(path string) bool {
	return v.bad[path] || slices.ContainsFunc(v.problems, func(p Problem) bool { return p.Path == path })
}

// oneOf checks a field with a fixed set of values; empty means not set.
func (v *validator) oneOf(path, value, hint string, known ...string) {
	if value == "" || slices.Contains(known, value) {
		return
	}
	if hint == "" {
		if near := Suggest(value, known); near != "" {
			hint = "did you mean " + near + "?"
		}
	}
	v.fail(path, hint, "%q is not one of %s", value, strings.Join(known, ", "))
}

func (v *validator) metadata() {
	v.oneOf("apiVersion", v.c.APIVersion, "", APIVersion)
	v.oneOf("kind", v.c.Kind, "", Kind)
	const path = "metadata.name"
	if name := v.c.Metadata.Name; name != "" && !nameRule.ok(name) {
		v.fail(path, nameHint(name), "%q is not a name", name)
	}
}

func nameHint(name string) string {
	if len(name) > nameRule.max {
		return fmt.Sprintf("at most %d characters", nameRule.max)
	}
	if lower := strings.ReplaceAll(strings.ToLower(name), "_", "-"); nameRule.ok(lower) {
		return "write " + lower
	}
	return "small letters, digits, - and ., beginning and ending with a letter or digit"
}

func (v *validator) cni() {
	cni := v.c.Spec.CNI
	v.oneOf("spec.cni.provider", cni.Provider, "", CNIFlannel, CNIManifest, CNINone)
	if adopted := v.c.Adopted(); v.c.Bootstrap().Name != "" && adopted != (cni.Provider == CNINone) && !v.failed("spec.cni.provider") {
		if adopted {
			v.fail("spec.cni.provider", "write cni: {provider: "+CNINone+"}",
				"would replace the pod network of a cluster that hybridctl did not make: its control plane has managed: false")
		} else {
			v.fail("spec.cni.provider", "write provider: "+CNIManifest+" and path: FILE to install another pod network",
				"%s is for a cluster that was there before, whose control plane has managed: false", CNINone)
		}
	}
	v.oneOf("spec.cni.backend", cni.Backend, "", BackendVXLAN, BackendWireGuard)
	if cni.Backend != "" && cni.Provider != CNIFlannel {
		v.fail("spec.cni.backend", "take it out", "is flannel's, and not used by %s", printable(cni.Provider))
	}
	switch {
	case cni.Provider == CNINone && cni.Path != "":
		v.fail("spec.cni.path", "take it out", "is not used: the pod network is left alone")
	case cni.Provider == CNIManifest && cni.Path == "":
		v.fail("spec.cni.path", "path: FILE with the manifests of the pod network", "is missing")
	case cni.Provider == CNIFlannel && cni.Path != "":
		v.fail("spec.cni.path", "set provider: "+CNIManifest+" to use it", "is not used by %s", CNIFlannel)
	case cni.Path != "":
		v.exists("spec.cni.path", cni.Path, false)
	}
}

// exists checks that a path names a directory, or a file.
func (v *validator) exists(path, name string, directory bool) {
	if v.failed(path) {
		return
	}
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v.fail(path, "relative paths start at the inventory's folder", "%s does not exist", printable(name))
	case err != nil:
		v.fail(path, "", "%s cannot be read", printable(name))
	case info.IsDir() && !directory:
		v.fail(path, "name one file", "%s is a directory", printable(name))
	case !info.IsDir() && directory:
		v.fail(path, "name the directory", "%s is not a directory", printable(name))
	}
}
