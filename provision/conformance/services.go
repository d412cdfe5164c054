package conformance

import (
	"context"
	"fmt"
	"net"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/probe"
)

// client is the pod that dials for a cell: another one where the server is on the same node.
func (r *run) client(c Cell) string {
	if c.Src == c.Dst {
		return r.slot(podB, c.Src)
	}
	return r.slot(podA, c.Src)
}

func (r *run) tryService(ctx context.Context, c Cell) outcome {
	_, w, err := r.wantedOf(r.slot(podA, c.Dst))
	if err != nil {
		return lost(c, err)
	}
	name := r.slot(svcTo, c.Dst)
	addr, err := r.addressOfService(name)
	if err != nil {
		return wrong(err)
	}
	if c.kind == kindServiceName {
		addr = at(r.fullName(name), probe.Port)
	}
	return r.dialSettled(ctx, c, r.client(c), addr, w)
}

// addressOfService is where a Service listens. Without an address there is nothing to dial: an empty one would be the client itself.
func (r *run) addressOfService(name string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.denied[name]; err != nil {
		return "", err
	}
	if ip := r.svc[name].ClusterIP; net.ParseIP(ip) != nil {
		return at(ip, probe.Port), nil
	}
	return "", fmt.Errorf("service %s has no address in the cluster (%q)", name, r.svc[name].ClusterIP)
}

func (r *run) fullName(service string) string {
	return service + "." + r.objects.namespace + ".svc." + r.DNSDomain + "."
}

func (r *run) tryHairpin(ctx context.Context, c Cell) outcome {
	name := r.slot(podA, c.Dst)
	_, w, err := r.wantedOf(name)
	if err != nil {
		return lost(c, err)
	}
	addr, err := r.addressOfService(r.slot(svcTo, c.Dst))
	if err != nil {
		return wrong(err)
	}
	return r.dialSettled(ctx, c, name, addr, w)
}

// dialSettled dials a Service, whose rules follow its pod with a delay.
func (r *run) dialSettled(ctx context.Context, c Cell, pod, addr string, w wanted) outcome {
	a, err := r.agent(pod, mainContainer)
	if err != nil {
		return lost(c, err)
	}
	s := r.settle(ctx, r.endpointSince(r.slot(svcTo, c.Dst), r.slot(podA, c.Dst)), r.asks(a, c, addr))
	return s.with(r.dial(ctx, c, pod, mainContainer, addr, w), r.pace.rulesLag)
}

// tryRemoved takes away a Service's endpoint: nothing may answer any more, while its client still reaches the pod beside it.
func (r *run) tryRemoved(ctx context.Context, c Cell) outcome {
	name, pod := r.slot(svcStay, c.Dst), r.slot(podA, c.Dst)
	client, err := r.agent(pod, mainContainer)
	if err != nil {
		return lost(c, err)
	}
	beside, err := r.view.now(r.slot(podB, c.Dst))
	if err != nil {
		return lost(c, err)
	}
	addr, err := r.addressOfService(name)
	if err != nil {
		return wrong(err)
	}
	try := r.asks(client, c, addr)
	if err := r.answersAt(ctx, r.endpointSince(name, pod), try); err != nil {
		return failed("the service never answered, so that nothing can be said of its end: %v", err)
	}
	gone := r.objects.service(name, map[string]string{slotLabel: "none"}, "", 0)
	if _, err := r.API.Apply(ctx, manifests(gone), kube.ApplyOptions{Force: true}); err != nil {
		return failed("%v", err)
	}
	return r.closes(ctx, shut{
		try: try, otherwise: "the service still answers although it has no endpoint any more",
		control: r.asks(client, c, at(beside.IP, probe.Port)), beside: "the pod beside it", unseen: failed,
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

// stayService is a Service that stays and loses its endpoint.
func (r *run) stayService(c Cell) []object { return []object{r.serviceTo(svcStay, c.Dst, "")} }
