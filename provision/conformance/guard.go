package conformance

import (
	"context"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

func (r *run) tryGuard(ctx context.Context, c Cell) outcome {
	now, err := r.API.Pods(ctx, "", "")
	if err != nil {
		return failed("%v", err)
	}
	return unchanged(c.Dst, r.before, now, r.objects.namespace)
}

// unchanged compares the pods that ran on a node before with those that run now.
func unchanged(node string, before, now []kube.Pod, ours string) outcome {
	byUID := map[string]kube.Pod{}
	for _, p := range now {
		byUID[p.UID] = p
	}
	o := outcome{verdict: report.Passed}
	for _, p := range before {
		if p.Node != node || p.Namespace == ours || !p.Ready {
			continue
		}
		o.planned++
		n, ok := byUID[p.UID]
		switch {
		case !ok:
			o.fail("pod %s/%s is gone", p.Namespace, p.Name)
		case n.Node != p.Node:
			o.fail("pod %s/%s moved to %s", p.Namespace, p.Name, n.Node)
		case n.Restarts != p.Restarts:
			o.fail("pod %s/%s was restarted: %d times before, %d now", p.Namespace, p.Name, p.Restarts, n.Restarts)
		default:
			o.ok++
		}
	}
	if o.planned == 0 {
		return blocked("no pod ran there before")
	}
	o.first = o.ok == o.planned
	return o
}
