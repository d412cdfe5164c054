package conformance

import (
	"cmp"
	"context"
	"regexp"
	"slices"

	"github.com/hybridctl/hybridctl/provision/kube"
)

// placeTrier tries where the scheduler puts pods.
type placeTrier struct {
	roster
	view *view
}

func (t *placeTrier) tryDirected(ctx context.Context, c Cell) outcome {
	ctx, cancel := context.WithTimeout(ctx, t.view.patience)
	defer cancel()
	pod, err := t.view.ready(ctx, directed(c))
	if err != nil {
		return failed("%v", err)
	}
	if t.index(pod.Node) < 0 {
		return failed("the pod is on %s, which was not there when the run began", pod.Node)
	}
	if n := t.node(pod.Node); n.Arch != c.arch {
		return failed("the pod is on %s, which is %s", pod.Node, n.Arch)
	}
	return passed()
}

// noNodeMatches is what the scheduler says of a selector (plugins/nodeaffinity: ErrReasonPod). A pod finds no place for other reasons too.
var noNodeMatches = regexp.MustCompile(`didn't match (?:Pod's )?(?:node affinity|node selector)`)

func (t *placeTrier) tryNowhere(ctx context.Context, _ Cell) outcome {
	return t.view.shows(ctx, func(pods map[string]kube.Pod, _ []kube.Event) (string, bool) {
		p := pods[podNowhere]
		switch {
		case p.Node != "":
			return "a pod that no node can satisfy was put on " + p.Node, true
		case noNodeMatches.MatchString(p.Unschedulable):
			return "", false
		}
		return "the scheduler does not say that no node matches the pod's selector: " + cmp.Or(p.Unschedulable, "it says nothing"), false
	})
}

func (p *planner) directed() {
	if p.in.Quick {
		return
	}
	for _, arch := range archs(p.subjects()) {
		blocked := "no " + arch + " node is Ready"
		for _, n := range p.in.Nodes {
			if n.Arch != arch || !n.Ready {
				continue
			}
			if blocked = noPods(n); blocked == "" {
				break // the others are left out
			}
		}
		p.add(Cell{Name: "nodeSelector/" + arch, Class: arch, arch: arch, kind: kindSelector, Blocked: blocked})
		p.add(Cell{Name: "nodeAffinity/" + arch, Class: arch, arch: arch, kind: kindAffinity, Blocked: blocked})
	}
	p.add(Cell{Name: "unsatisfiable-stays-pending", Class: "any", kind: kindNowhere})
}

// archs lists the architectures of nodes.
func archs(nodes []Node) []string {
	var out []string
	for _, n := range nodes {
		if !slices.Contains(out, n.Arch) {
			out = append(out, n.Arch)
		}
	}
	slices.Sort(out)
	return out
}

// directed names the pod of a cell.
func directed(c Cell) string {
	if c.kind == kindAffinity {
		return "affinity-" + c.arch
	}
	return "selector-" + c.arch
}
