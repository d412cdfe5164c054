package conformance

import (
	"context"
	"fmt"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

// snapshot is what the API server tells of the cluster at one time.
type snapshot struct {
	nodes []kube.Node
	pods  []kube.Pod
}

// guard compares the old nodes and their pods with what they were before.
type guard struct {
	wasReady map[string]bool       // nodes by name
	ready    map[string]bool       // those that are there now
	before   map[string][]kube.Pod // by node: those that were Ready
	now      map[string]kube.Pod   // by UID
}

// looks is how often nodes and pods are looked at until those that were Ready are so again: a probe may miss its time once.
const looks = 4

// guardTrier compares the old nodes with what they were before the run, or before the scale-out.
type guardTrier struct {
	guard func() (guard, error) // asked when the first cell is tried
}

// lookAgain asks for all nodes and pods: for all cells of check G together. What is in the namespace ours is the run's own; pause is between
// two looks.
func lookAgain(ctx context.Context, api API, before snapshot, ours string, pause time.Duration) (guard, error) {
	for look := 1; ; look++ {
		var now snapshot
		var err error
		if now.nodes, err = api.Nodes(ctx); err != nil {
			return guard{}, err
		}
		if now.pods, err = api.Pods(ctx, "", ""); err != nil {
			return guard{}, err
		}
		g := newGuard(before, now, ours)
		if look == looks || !g.wavers() {
			return g, nil
		}
		select {
		case <-ctx.Done():
			return guard{}, ctx.Err()
		case <-time.After(pause):
		}
	}
}

func newGuard(before, now snapshot, ours string) guard {
	g := guard{wasReady: map[string]bool{}, ready: map[string]bool{}, before: map[string][]kube.Pod{}, now: map[string]kube.Pod{}}
	for _, n := range before.nodes {
		g.wasReady[n.Name] = n.Ready
	}
	for _, n := range now.nodes {
		g.ready[n.Name] = n.Ready
	}
	for _, p := range before.pods {
		if p.Ready && p.Namespace != ours {
			g.before[p.Node] = append(g.before[p.Node], p)
		}
	}
	for _, p := range now.pods {
		g.now[p.UID] = p
	}
	return g
}

// wavers reports whether there is something that was Ready, is there still, and is not Ready.
func (g guard) wavers() bool {
	for node, before := range g.before {
		if ready, there := g.ready[node]; there && g.wasReady[node] && !ready {
			return true
		}
		for _, p := range before {
			if n, there := g.now[p.UID]; there && faltered(p, n) {
				return true
			}
		}
	}
	return false
}

func (t *guardTrier) tryGuard(_ context.Context, c Cell) outcome {
	g, err := t.guard()
	if err != nil {
		return failed("%v", err)
	}
	return g.unchanged(c.Dst)
}

// unchanged is whether a node is as well as it was, and with it the pods that ran there.
func (g guard) unchanged(node string) outcome {
	ready, there := g.ready[node]
	switch {
	case !there:
		return failed("node %s is gone", node)
	case g.wasReady[node] && !ready:
		return failed("node %s was Ready before and is not Ready now", node)
	case len(g.before[node]) == 0:
		return blocked("no pod ran there before")
	}
	o := outcome{verdict: report.Passed}
	for _, p := range g.before[node] {
		o.planned++
		if change := g.changeOf(p); change != "" {
			o.fail("pod %s/%s %s", p.Namespace, p.Name, change)
		} else {
			o.ok++
		}
	}
	o.first = o.ok == o.planned
	return o
}

// changeOf is what became of a pod that was Ready; empty when nothing did that it does not do by itself. A Job's pod ends, one container
// after the other, and goes when its history is long enough.
func (g guard) changeOf(p kube.Pod) string {
	n, there := g.now[p.UID]
	switch {
	case !there && ofJob(p):
		return ""
	case !there:
		return "is gone"
	case n.Node != p.Node:
		return "moved to " + n.Node
	case n.Restarts != p.Restarts:
		return fmt.Sprintf("was restarted: %d times before, %d now", p.Restarts, n.Restarts)
	case faltered(p, n):
		return "was Ready before: " + n.Problem
	}
	return ""
}

func ofJob(p kube.Pod) bool { return p.Controller == "Job" }

// faltered reports whether a pod that was Ready is not, and has no right to that.
func faltered(was, now kube.Pod) bool { return !now.Ready && !ofJob(was) && !(now.Ended && now.MayEnd) }

func (p *planner) guard() {
	for _, n := range p.in.Nodes {
		if !n.New {
			p.on(n, "pods-unchanged", kindGuard, Cell{})
		}
	}
}
