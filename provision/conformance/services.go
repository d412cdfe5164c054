package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

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
	addr := at(r.svc[name].ClusterIP, probe.Port)
	if c.kind == kindServiceName {
		addr = at(r.fullName(name), probe.Port)
	}
	return r.dialSettled(ctx, c, r.client(c), addr, w)
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
	return r.dialSettled(ctx, c, name, at(r.svc[r.slot(svcTo, c.Dst)].ClusterIP, probe.Port), w)
}

// dialSettled dials a Service. Its rules follow its pods with a delay: until there is any answer, attempts do not count.
func (r *run) dialSettled(ctx context.Context, c Cell, pod, addr string, w wanted) outcome {
	a, err := r.agent(pod, mainContainer)
	if err != nil {
		return lost(c, err)
	}
	r.settle(ctx, r.asks(a, c, addr))
	return r.dial(ctx, c, pod, mainContainer, addr, w)
}

// attempt is one attempt; an error is one that nobody could make, from which nothing follows.
type attempt func(ctx context.Context, nonce string) (probe.Attempt, error)

// asks is an attempt of an agent.
func (r *run) asks(a *agent, c Cell, addr string) attempt {
	c.size, c.times = sizeOne, 1
	return func(ctx context.Context, nonce string) (probe.Attempt, error) {
		answer, err := a.ask(ctx, r.order(c, addr, []string{nonce}))
		if err == nil && len(answer.Attempts) != 1 {
			err = errors.New("the probe made no attempt")
		}
		if err != nil {
			return probe.Attempt{}, err
		}
		return answer.Attempts[0], nil
	}
}

// settle attempts until anything answers, or the rules' lag is over.
func (r *run) settle(ctx context.Context, try attempt) bool {
	ctx, cancel := context.WithTimeout(ctx, r.pace.rulesLag)
	defer cancel()
	for i := 0; ; i++ {
		switch a, err := try(ctx, fmt.Sprint("settle/", i)); {
		case err != nil:
			return false
		case a.Reply != nil:
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(r.pace.rulesPause):
		}
	}
}

func (r *run) tryRemoved(ctx context.Context, c Cell) outcome {
	i := r.index(c.Dst)
	name, pod := slot(svcStay, i), slot(podA, i)
	client, err := r.agent(pod, mainContainer)
	if err != nil {
		return lost(c, err)
	}
	addr := at(r.svc[name].ClusterIP, probe.Port)
	if !r.settle(ctx, r.asks(client, c, addr)) {
		return failed("the service never answered, so that nothing can be said of its end")
	}
	gone := r.objects.service(name, map[string]string{slotLabel: "none"}, "", 0)
	if _, err := r.API.Apply(ctx, manifests(gone), kube.ApplyOptions{Force: true}); err != nil {
		return failed("%v", err)
	}
	return r.untilClosed(ctx, r.asks(client, c, addr), "the service still answers although it has no endpoint any more")
}

// silences is how many attempts in a row have to stay without an answer: one packet may be lost.
const silences = 3

// untilClosed attempts until nothing answers any more. A refusal says so at once.
func (r *run) untilClosed(ctx context.Context, try attempt, otherwise string) outcome {
	ctx, cancel := context.WithTimeout(ctx, r.pace.rulesLag)
	defer cancel()
	silent := 0
	for i := 0; ; i++ {
		a, err := try(ctx, fmt.Sprint("closed/", i))
		switch {
		case ctx.Err() != nil:
			return failed("%s, %s later", otherwise, r.pace.rulesLag)
		case err != nil:
			return failed("whether it is closed cannot be seen: %v", err)
		case a.Closed:
			return passed()
		case a.Reply != nil:
			silent = 0
		default:
			if silent++; silent == silences {
				return passed()
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(r.pace.rulesPause):
		}
	}
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
