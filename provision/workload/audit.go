package workload

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

// Made is what is known of an image and an architecture.
type Made int

// What may be known.
const (
	Unknown Made = iota // it could not be found out: that is not a yes
	Yes
	No
)

// Finding is an image that a new node may be told to run, and that is not known to be made for it.
type Finding struct {
	Object string // what would run it
	Daemon bool
	Image  string
	Arch   platform.Arch
	Made   Made     // No or Unknown
	Why    error    // it is Unknown
	Nodes  []string // where it would run
}

// Audit finds the images that workloads would run on these nodes, and that are not known to be made for their architecture; made gives the
// reason for Unknown. The findings are sorted: those that will fail on every new node first.
func Audit(all []Workload, nodes []Node, made func(image string, arch platform.Arch) (Made, error)) []Finding {
	var out []Finding
	for _, w := range all {
		byArch := map[platform.Arch][]string{}
		for _, n := range nodes {
			if w.MayRunOn(n) {
				byArch[n.Arch] = append(byArch[n.Arch], n.Name)
			}
		}
		images := slices.Compact(slices.Sorted(slices.Values(w.Images)))
		for _, arch := range platform.All() {
			if len(byArch[arch]) == 0 {
				continue
			}
			for _, i := range images {
				if m, why := made(i, arch); m != Yes {
					out = append(out, Finding{Object: w.Object, Daemon: w.Daemon, Image: i, Arch: arch, Made: m, Why: why, Nodes: byArch[arch]})
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Finding) int {
		return cmp.Or(rank(a)-rank(b), cmp.Compare(a.Object, b.Object), cmp.Compare(a.Image, b.Image), cmp.Compare(a.Arch, b.Arch))
	})
	return slices.CompactFunc(out, func(a, b Finding) bool { return a.Object == b.Object && a.Image == b.Image && a.Arch == b.Arch })
}

func rank(f Finding) int {
	switch {
	case f.Stops():
		return 0
	case f.Made == No:
		return 1
	case f.Daemon:
		return 2
	}
	return 3
}

// Stops reports whether the image will fail on every new node: a DaemonSet's pods are always scheduled there.
func (f Finding) Stops() bool { return f.Daemon && f.Made == No }

// archLabel is the node's label for its architecture.
const archLabel = "kubernetes.io/arch"

// Check is the finding as a check of a scale-out; block reports whether one that stops fails it. archs are those that the cluster has.
func (f Finding) Check(block bool, archs []platform.Arch) report.Check {
	c := report.Check{Name: "images", Status: report.Warn}
	if f.Made == Unknown {
		c.Message = fmt.Sprintf("%s: whether the image %s is made for linux/%s is not known: %s", f.Object, f.Image, f.Arch, report.OneLine(f.Why.Error()))
		c.Hint = "no container of it is Ready on a node of that architecture either: look into the registry before pods fail"
		if mends := hint.Text(f.Why); mends != "" {
			c.Hint += "; " + report.OneLine(mends)
		}
		return c
	}
	c.Message = fmt.Sprintf("%s: the image %s is not made for linux/%s, and would run on %s", f.Object, f.Image, f.Arch, report.Some(f.Nodes, 3))
	c.Hint = "an image of that architecture too, or in its pod template: " + Constraint(f.Arch, archs)
	if f.Stops() && block {
		c.Status = report.Fail
		c.Hint += "; --audit=warn goes on anyway"
	}
	return c
}

// Constraint is what keeps pods off an architecture: a nodeSelector when one other is left, else an affinity.
func Constraint(off platform.Arch, archs []platform.Arch) string {
	left := slices.DeleteFunc(slices.Clone(archs), func(a platform.Arch) bool { return a == off })
	if len(left) == 1 {
		return fmt.Sprintf("nodeSelector: {%s: %s}", archLabel, left[0])
	}
	return fmt.Sprintf("a required node affinity {key: %s, operator: NotIn, values: [%s]}", archLabel, off)
}
