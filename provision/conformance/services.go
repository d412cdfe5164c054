package conformance

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/probe"
)

// services are a run's Services as the API server has them.
type services struct {
	namespace string
	domain    string // of the cluster: "cluster.local"
	policies  *policies
	view      *view
	all       map[string]kube.Service // by name; complete before the first cell is tried
	mu        sync.Mutex
	made      map[string]time.Time
}

// read asks the API server for the Services that were made.
func (s *services) read(ctx context.Context, api API) error {
	all, err := api.Services(ctx, s.namespace)
	s.all = map[string]kube.Service{}
	for _, one := range all {
		s.all[one.Name] = one
	}
	return err
}

// note keeps when a Service was made.
func (s *services) note(name string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made[name] = at
}

// endpointSince is since when a Service and the probe behind it were both there, as far as the run saw it.
func (s *services) endpointSince(service, pod string) time.Time {
	s.mu.Lock()
	made := s.made[service]
	s.mu.Unlock()
	if ready := s.view.readySince(pod); ready.After(made) {
		return ready
	}
	return made
}

// address is where a Service listens. Without an address there is nothing to dial: an empty one would be the client itself.
func (s *services) address(name string) (string, error) {
	if err := s.policies.forbid(name); err != nil {
		return "", err
	}
	if ip := s.all[name].ClusterIP; net.ParseIP(ip) != nil {
		return at(ip, probe.Port), nil
	}
	return "", fmt.Errorf("service %s has no address in the cluster (%q)", name, s.all[name].ClusterIP)
}

func (s *services) fullName(service string) string {
	return service + "." + s.namespace + ".svc." + s.domain + "."
}

// serviceTrier tries Services from within the cluster, by address and by name.
type serviceTrier struct {
	asker
	api      API
	services *services
}

func (t *serviceTrier) tryService(ctx context.Context, c Cell) outcome {
	_, w, err := t.wantedOf(t.slot(podA, c.Dst))
	if err != nil {
		return lost(c, err)
	}
	name := t.slot(svcTo, c.Dst)
	addr, err := t.services.address(name)
	if err != nil {
		return wrong(err)
	}
	if c.kind == kindServiceName {
		addr = at(t.services.fullName(name), probe.Port)
	}
	return t.dialSettled(ctx, c, t.client(c), addr, w)
}

func (t *serviceTrier) tryHairpin(ctx context.Context, c Cell) outcome {
	name := t.slot(podA, c.Dst)
	_, w, err := t.wantedOf(name)
	if err != nil {
		return lost(c, err)
	}
	addr, err := t.services.address(t.slot(svcTo, c.Dst))
	if err != nil {
		return wrong(err)
	}
	return t.dialSettled(ctx, c, name, addr, w)
}

// dialSettled dials a Service, whose rules follow its pod with a delay.
func (t *serviceTrier) dialSettled(ctx context.Context, c Cell, pod, addr string, w wanted) outcome {
	a, err := t.agents.of(ctx, pod, mainContainer)
	if err != nil {
		return lost(c, err)
	}
	var away time.Duration
	s := t.settle(ctx, t.services.endpointSince(t.slot(svcTo, c.Dst), t.slot(podA, c.Dst)), t.asks(a, c, addr, &away), &away)
	return s.with(t.dial(ctx, c, pod, mainContainer, addr, w), t.pace.rulesLag)
}

// tryRemoved takes away a Service's endpoint: nothing may answer any more, while its client still reaches the pod beside it.
func (t *serviceTrier) tryRemoved(ctx context.Context, c Cell) outcome {
	name, pod := t.slot(svcStay, c.Dst), t.slot(podA, c.Dst)
	client, err := t.agents.of(ctx, pod, mainContainer)
	if err != nil {
		return lost(c, err)
	}
	beside, err := t.view.now(t.slot(podB, c.Dst))
	if err != nil {
		return lost(c, err)
	}
	addr, err := t.services.address(name)
	if err != nil {
		return wrong(err)
	}
	var away time.Duration
	try := t.asks(client, c, addr, &away)
	if err := t.answersAt(ctx, t.services.endpointSince(name, pod), try, &away); unheard(err) {
		return lost(c, err)
	} else if err != nil {
		return failed("the service never answered, so that nothing can be said of its end: %v", err)
	}
	gone := t.service(name, map[string]string{slotLabel: "none"}, "", 0)
	if _, err := t.api.Apply(ctx, manifests(gone), kube.ApplyOptions{Force: true}); err != nil {
		return failed("%v", err)
	}
	return t.closes(ctx, shut{
		try: try, otherwise: "the service still answers although it has no endpoint any more",
		control: t.asks(client, c, at(beside.IP, probe.Port), &away), beside: "the pod beside it", unseen: failed,
	})
}

func (p *planner) services() {
	for _, l := range p.links {
		for _, network := range []string{"tcp", "udp"} {
			p.between(l, Cell{Name: network + "/clusterIP", kind: kindService, network: network, size: sizeFits})
		}
		if !p.in.Quick {
			p.between(l, Cell{Name: "tcp/name", kind: kindServiceName, network: "tcp", size: sizeFits})
		}
	}
	for _, n := range p.subjects() {
		p.on(n, "tcp/clusterIP", kindService, Cell{Src: n.Name, network: "tcp", size: sizeFits})
		p.on(n, "dns/service", kindDNS, Cell{})
		if p.in.Quick {
			continue
		}
		p.on(n, "dns/each-server", kindEachDNS, Cell{})
		p.on(n, "tcp/hairpin", kindHairpin, Cell{Src: n.Name, network: "tcp", size: sizeFits})
		p.on(n, "endpoint-removed", kindRemoved, Cell{Src: n.Name, network: "tcp", size: sizeOne})
	}
}
