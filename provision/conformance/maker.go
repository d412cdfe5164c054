package conformance

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

// objectsAtOnce bounds how many objects are made at the same time, and startsAtOnce how many pods start on a node: that costs a small machine
// far more than to run them, and on a control plane the API server pays.
const (
	objectsAtOnce = 2
	startsAtOnce  = 3
)

// maker makes objects in the cluster, as policies let them in, and a few at a time.
type maker struct {
	api      API
	event    func(report.Event)
	now      func() time.Time
	policies *policies
	hosts    *hosts
	services *services
	view     *view
	life     context.Context // of the run
	launch   time.Duration   // how long a pod that starts counts as one
	// starting are, by node, the places of pods that start; those without a node have places too.
	starting map[string]chan struct{}
}

// placesToStart are the places of pods that start on nodes, and of those that the scheduler puts somewhere.
func placesToStart(nodes roster) map[string]chan struct{} {
	out := map[string]chan struct{}{"": make(chan struct{}, startsAtOnce)}
	for _, n := range nodes {
		out[n.Name] = make(chan struct{}, startsAtOnce)
	}
	return out
}

// all makes objects: pods in their order on each node.
func (m *maker) all(ctx context.Context, all []object) error {
	g, ctx := errgroup.WithContext(ctx)
	pods := map[string][]object{}
	places := make(chan struct{}, objectsAtOnce)
	for _, o := range all {
		if o["kind"] == "Pod" {
			pods[nodeOf(o)] = append(pods[nodeOf(o)], o)
			continue
		}
		g.Go(func() error {
			places <- struct{}{}
			defer func() { <-places }()
			return m.service(ctx, o)
		})
	}
	for node, all := range pods {
		g.Go(func() error { return m.startPods(ctx, node, all) })
	}
	return g.Wait()
}

// startPods makes a node's pods, in their order, each when few enough others are on their way. It does not wait for the last ones.
func (m *maker) startPods(ctx context.Context, node string, pods []object) error {
	places := m.starting[node]
	for _, o := range pods {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := m.pod(ctx, o); err != nil {
			<-places
			return err
		}
		name := nameOf(o)
		if m.policies.forbid(name) != nil {
			<-places
			continue
		}
		go func() { // ends with the run, or its time
			defer func() { <-places }()
			ctx, cancel := context.WithTimeout(m.life, m.launch)
			defer cancel()
			_, _ = m.view.ready(ctx, name) // some are there to fail, which their cells look at
		}()
	}
	return nil
}

// pod makes a pod, where policies forbid it as it is in a form that asks for less: without its directory of the host, and then without
// root. The cells that want what it does without are blocked. A pod that may not be at all is noted, and is no error.
func (m *maker) pod(ctx context.Context, o object) error {
	m.view.expects(o)
	err := m.api.Create(ctx, manifests(o))
	if !kube.Denied(err) {
		return err
	}
	name, node := nameOf(o), nodeOf(o)
	if isProbe(o) {
		if less, had := withoutDirectory(o); had {
			m.hosts.fails(node, withDirectory, &deniedError{"directories of hosts in pods", err})
			if o, err = less, m.api.Create(ctx, manifests(less)); !kube.Denied(err) {
				return err
			}
		}
	}
	if less, may := withoutRoot(o); may {
		again := m.api.Create(ctx, manifests(less))
		if again == nil {
			m.event(report.Event{Kind: report.Progress, Host: node, Step: "set up", Message: "pod " + name + " runs without root, as a policy of the cluster wants it"})
		}
		if !kube.Denied(again) {
			return again
		}
	}
	m.policies.deny(name, &deniedError{"pod " + name, err})
	return nil
}

// service makes a Service, without a node port where policies forbid that: the cells that dial it from outside are blocked.
func (m *maker) service(ctx context.Context, o object) error {
	err := m.api.Create(ctx, manifests(o))
	if kube.Denied(err) {
		m.policies.deny(nodePortsOf(nameOf(o)), &deniedError{"node ports", err})
		err = m.api.Create(ctx, manifests(withoutNodePort(o)))
	}
	if kube.Denied(err) {
		m.policies.deny(nameOf(o), &deniedError{"service " + nameOf(o), err})
		return nil
	}
	m.services.note(nameOf(o), m.now())
	return err
}
