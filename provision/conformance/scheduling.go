package conformance

import (
	"context"

	"github.com/hybridctl/hybridctl/provision/kube"
)

func (r *run) tryDirected(ctx context.Context, c Cell) outcome {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	name := "selector-" + c.Class
	if c.kind == kindAffinity {
		name = "affinity-" + c.Class
	}
	pod, err := r.view.ready(ctx, name)
	if err != nil {
		return failed("%v", err)
	}
	if r.place(pod.Node) < 0 {
		return failed("the pod is on %s, which was not there when the run began", pod.Node)
	}
	if n := r.node(pod.Node); n.Arch != c.Class {
		return failed("the pod is on %s, which is %s", pod.Node, n.Arch)
	}
	return passed()
}

func (r *run) tryNowhere(ctx context.Context, _ Cell) outcome {
	return r.shows(ctx, func(pods map[string]kube.Pod, _ []kube.Event) (string, bool) {
		p := pods["nowhere"]
		switch {
		case p.Node != "":
			return "a pod that no node can satisfy was put on " + p.Node, true
		case p.Unschedulable != "":
			return "", false
		}
		return "the scheduler does not say that the pod cannot be placed", false
	})
}
