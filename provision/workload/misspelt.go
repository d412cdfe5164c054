package workload

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/spelling"
)

// otherArchs are the values of GOARCH that nodes may have beside those that hybridctl supports (kubernetes/kubernetes, hack/lib/golang.sh,
// and go tool dist list).
var otherArchs = []string{"arm", "386", "ppc64le", "ppc64", "s390x", "riscv64", "mips64le", "mips64", "loong64"}

// nearKeys are keys that people write for the label of the architecture, and that no part of Kubernetes sets.
var nearKeys = []string{
	"kubernetes.io/architecture", "k8s.io/arch", "kubernetes.io.arch", "node.kubernetes.io/arch", "kubernetes.io/cpu-arch", "io.kubernetes/arch",
}

// misspelt is L17.
func misspelt(l *lint, t *Template) {
	for _, p := range t.labelPlaces() {
		if right, wrong := rightKey(p.key.Value); wrong && !l.nodesHave(p.key.Value) {
			l.find(t, p.key, p.path, fmt.Sprintf("no node has the label %s", p.key.Value), "write "+right)
		}
		if !slices.Contains(archKeys, p.key.Value) {
			continue
		}
		for _, v := range p.values {
			if right, wrong := rightValue(v.Value, l.archs); wrong {
				l.find(t, v, p.path, fmt.Sprintf("no node's %s is %q", p.key.Value, v.Value), "write "+right)
			}
		}
	}
}

// nodesHave reports whether a node of the cluster has a label after all.
func (l *lint) nodesHave(key string) bool {
	return slices.ContainsFunc(l.nodes, func(n Node) bool { _, has := n.Labels[key]; return has })
}

// rightKey is the key that was meant; wrong reports whether the one that is written is none.
func rightKey(key string) (right string, wrong bool) {
	for _, known := range []string{archLabel, osLabel, "beta.kubernetes.io/arch", "beta.kubernetes.io/os"} {
		if key == known {
			return "", false
		}
	}
	if slices.Contains(nearKeys, strings.ToLower(key)) {
		return archLabel, true
	}
	plain := strings.TrimPrefix(key, "beta.")
	for _, known := range []string{archLabel, osLabel} {
		if strings.Contains(key, "/") && spelling.Distance(strings.ToLower(plain), known) <= 2 {
			return known, true
		}
	}
	return "", false
}

// rightValue is the architecture that was meant.
func rightValue(v string, archs []platform.Arch) (right string, wrong bool) {
	if slices.Contains(otherArchs, v) {
		return "", false
	}
	if arch, err := platform.Parse(v); err == nil {
		return arch.String(), arch.String() != v
	}
	switch strings.ToLower(v) {
	case "x86", "i386", "i686":
		return otherArchs[1], true
	case "armv7", "armv7l", "armhf", "arm32", "armv6":
		return otherArchs[0], true
	}
	return "one of " + listArchs(archs), true
}
