package inventory

import (
	"slices"
	"strings"
)

// ValidatePreflightNames checks every preflight.ignore against the names of the checks there are; this package does not know
// them. The error is a *Problems.
func (c *Cluster) ValidatePreflightNames(known []string) error {
	var problems []Problem
	for _, l := range ignoreLists(c) {
		for i, name := range l.names {
			if slices.Contains(known, name) {
				continue
			}
			hint := "the checks are " + strings.Join(known, ", ")
			if near := Suggest(name, known); near != "" {
				hint = "did you mean " + near + "?"
			}
			problems = append(problems, c.ProblemAt(item(l.path, i), "there is no preflight check "+printable(name), hint))
		}
	}
	return asError(problems)
}

type ignoreList struct {
	path  string
	names []string
}

func ignoreLists(c *Cluster) []ignoreList {
	lists := []ignoreList{{"spec.preflight.ignore", c.Spec.Preflight.Ignore}}
	for i, h := range c.Spec.Hosts {
		lists = append(lists, ignoreList{field(hostField(i, "preflight"), "ignore"), h.Preflight.Ignore})
	}
	return lists
}

func (v *validator) preflight() {
	for _, l := range ignoreLists(v.c) {
		v.distinct(l.path, l.names)
	}
	cluster := v.c.Spec.Kubernetes.IgnorePreflightErrors
	v.kubeadmIgnores("spec.kubernetes.ignorePreflightErrors", cluster, nil)
	for i, h := range v.c.Spec.Hosts {
		v.kubeadmIgnores(hostField(i, "ignorePreflightErrors"), h.IgnorePreflightErrors, cluster)
	}
}

// distinct checks a list of names: none empty, none twice.
func (v *validator) distinct(path string, names []string) {
	for i, name := range names {
		switch {
		case name == "":
			v.fail(item(path, i), "", "is empty")
		case slices.Contains(names[:i], name):
			v.fail(item(path, i), "", "%q is in the list twice", name)
		}
	}
}

// kubeadmIgnores checks names of kubeadm's own checks. Which there are depends on kubeadm's version; but it wants "all" alone,
// and a host's list is added to the cluster's.
func (v *validator) kubeadmIgnores(path string, names, cluster []string) {
	v.distinct(path, names)
	isAll := func(name string) bool { return strings.EqualFold(name, "all") }
	for i, name := range names {
		switch {
		case isAll(name) && len(names) > 1:
			v.fail(item(path, i), "take the other names away", `"all" stands alone`)
		case isAll(name) && len(cluster) > 0 && !slices.ContainsFunc(cluster, isAll),
			!isAll(name) && slices.ContainsFunc(cluster, isAll):
			v.fail(item(path, i), "keep one of the two", `%q does not go with spec.kubernetes.ignorePreflightErrors: "all" stands alone`, name)
		case strings.ContainsAny(name, ", \t"):
			v.fail(item(path, i), "write each name as an item of the list", "%q is not one name", name)
		}
	}
}
