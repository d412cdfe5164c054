package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

// outsideTrier dials node ports from outside the cluster.
type outsideTrier struct {
	asker
	api      API
	services *services
	vantages *vantages
	secret   probe.Secret
}

// from is one attempt from a vantage point.
func (t *outsideTrier) from(c Cell, addr string) attempt {
	d := t.vantages.named(c.Vantage).Dial
	return func(ctx context.Context, nonce string) (probe.Attempt, error) {
		ctx, cancel := context.WithTimeout(ctx, t.pace.attempt)
		defer cancel()
		return made(probe.Dial(ctx, d, t.secret, probe.Call{Network: c.network, Addr: addr, Nonce: nonce, Size: c.size}))
	}
}

// unseen is the outcome of a cell whose vantage point could not try: nothing is known then, neither good nor bad.
func unseen(c Cell) func(format string, args ...any) outcome {
	return func(format string, args ...any) outcome {
		return blocked("from "+c.Vantage+": "+format, args...)
	}
}

// nodePortOf is where a Service's port is on a node.
func (t *outsideTrier) nodePortOf(c Cell, service, node string) (string, error) {
	if err := t.services.policies.forbid(service, nodePortsOf(service)); err != nil {
		return "", err
	}
	port := t.services.all[service].NodePorts[strings.ToUpper(c.network)]
	address := t.vantages.addressOf(c.Vantage, node)
	if port == 0 || address == "" {
		return "", fmt.Errorf("service %s has no node port, or %s no address", service, node)
	}
	return at(address, port), nil
}

// besides is a Service of the dialled node's own probe, at the same address and from the same vantage point: it has to answer. Its rules
// have had their time.
func (t *outsideTrier) besides(ctx context.Context, c Cell) (control attempt, what string, err error) {
	own := t.slot(svcTo, c.Src)
	addr, err := t.nodePortOf(c, own, c.Src)
	control = t.from(c, addr)
	if err == nil {
		t.settle(ctx, t.services.endpointSince(own, t.slot(podA, c.Src)), control, new(time.Duration))
	}
	return control, "the node port of service " + own + " there", err
}

// tryNodePort dials a node from outside: the right backend has to answer, and with the policy Local it has to see who asks.
func (t *outsideTrier) tryNodePort(ctx context.Context, c Cell) outcome {
	pod := t.slot(podA, c.Dst)
	_, w, err := t.wantedOf(pod)
	if err != nil {
		return lost(c, err)
	}
	service := t.slot(svcTo, c.Dst)
	if c.kind == kindLocal {
		service = t.slot(svcLocal, c.Dst)
	}
	addr, err := t.nodePortOf(c, service, c.Src)
	if err != nil {
		return wrong(err)
	}
	try := t.from(c, addr)
	s := t.settle(ctx, t.services.endpointSince(service, pod), try, new(time.Duration))
	nonces := t.nonces(c)
	var attempts []probe.Attempt
	untried := 0
	for _, nonce := range nonces {
		a, err := try(ctx, nonce)
		if err != nil {
			untried++
			a.Error = err.Error()
		}
		attempts = append(attempts, a)
	}
	if untried == len(nonces) && untried > 0 {
		return unseen(c)("%s could not be dialled: %s", addr, attempts[0].Error)
	}
	o := s.with(judge(attempts, nonces, w), t.pace.rulesLag)
	if c.kind == kindLocal {
		return t.sawWhoAsked(c, attempts, o)
	}
	return o
}

// tryNotLocal dials a node that has no backend of a Service with the policy Local: it must not answer, while the backend's node does, and
// while the node itself answers for its own.
func (t *outsideTrier) tryNotLocal(ctx context.Context, c Cell) outcome {
	service := t.slot(svcLocal, c.Dst)
	there, err := t.nodePortOf(c, service, c.Dst)
	if err != nil {
		return wrong(err)
	}
	here, err := t.nodePortOf(c, service, c.Src)
	if err != nil {
		return wrong(err)
	}
	control, beside, err := t.besides(ctx, c)
	if err != nil {
		return wrong(err)
	}
	if err := t.answersAt(ctx, t.services.endpointSince(service, t.slot(podA, c.Dst)), t.from(c, there), new(time.Duration)); err != nil {
		return unseen(c)("the backend's own node does not answer either, so that silence proves nothing: %v", err)
	}
	return t.stays(ctx, shut{
		try: t.from(c, here), otherwise: "the node answers although it has no backend", control: control, beside: beside, unseen: unseen(c),
	})
}

// tryClosed shows that a NodePort is closed before its Service is made, open while it is there, and closed afterwards: so that no
// other Service's answer is taken for its own.
func (t *outsideTrier) tryClosed(ctx context.Context, c Cell) outcome {
	_, w, err := t.wantedOf(t.slot(podA, c.Dst))
	if err != nil {
		return lost(c, err)
	}
	name := t.slot(svcGone, c.Dst) + "-" + fmt.Sprint(t.vantages.index(c.Vantage))
	control, beside, err := t.besides(ctx, c)
	if err != nil {
		return wrong(err)
	}
	s := shut{control: control, beside: beside, unseen: unseen(c)}
	service, o := t.atClosedPort(ctx, c, name, &s)
	if o.verdict != report.Passed {
		return o
	}
	lag := t.settle(ctx, t.now(), s.try, new(time.Duration))
	nonces := t.nonces(c)[:1]
	open, err := s.try(ctx, nonces[0])
	if err != nil {
		return unseen(c)("%v", err)
	}
	if during := lag.with(judge([]probe.Attempt{open}, nonces, w), t.pace.rulesLag); during.verdict != report.Passed {
		during.reason = "while the service is there: " + during.reason
		return during
	}
	if !t.fault.is(faultPortOpen, c.Dst) { // that fault leaves it: another one at the same port would come after a moment without any
		if _, err := t.api.Delete(ctx, manifests(service)); err != nil {
			return failed("%v", err)
		}
	}
	s.otherwise = "the port still answers although the service is gone"
	return t.closes(ctx, s)
}

// portsTried is how many node ports are tried until one is closed: one may answer for someone else.
const portsTried = 5

// atClosedPort makes a Service at a node port that was closed before.
func (t *outsideTrier) atClosedPort(ctx context.Context, c Cell, name string, s *shut) (service object, o outcome) {
	for range portsTried {
		port, err := t.freePort(ctx, c, name)
		if err != nil {
			return nil, wrong(err)
		}
		s.try, s.otherwise = t.from(c, at(t.vantages.addressOf(c.Vantage, c.Src), port)), fmt.Sprintf("port %d answers before the service is made", port)
		switch o = t.stays(ctx, *s); o.verdict {
		case report.Passed:
		case report.Failing:
			continue
		default:
			return nil, o
		}
		service = t.service(name, map[string]string{slotLabel: t.slot(podA, c.Dst)}, "Cluster", port)
		if _, err = t.api.Apply(ctx, manifests(service), kube.ApplyOptions{}); err == nil {
			return service, o
		}
		o = failed("%v", err) // someone else may have taken it
	}
	return nil, o
}

// freePort is a node port that no Service has. The API server chooses it, who knows its range and what is taken: a Service without an
// endpoint gets one and is deleted again.
func (t *outsideTrier) freePort(ctx context.Context, c Cell, name string) (port int, err error) {
	service := manifests(t.service(name, map[string]string{slotLabel: "none"}, "Cluster", 0))
	if _, err := t.api.Apply(ctx, service, kube.ApplyOptions{}); err != nil {
		return 0, err
	}
	all, err := t.api.Services(ctx, t.namespace)
	if _, derr := t.api.Delete(ctx, service); err != nil || derr != nil {
		return 0, errors.Join(err, derr)
	}
	for _, one := range all {
		if one.Name == name && one.NodePorts[strings.ToUpper(c.network)] > 0 {
			return one.NodePorts[strings.ToUpper(c.network)], nil
		}
	}
	return 0, fmt.Errorf("the API server gave service %s no node port", name)
}

func (p *planner) outside() {
	if p.in.Quick {
		return
	}
	for _, v := range p.in.Vantages {
		for _, n := range p.subjects() {
			p.from(v, n, n, "tcp/nodePort/local-backend", kindNodePort, "tcp")
			p.from(v, n, n, "udp/nodePort/local-backend", kindNodePort, "udp")
			p.from(v, n, n, "tcp/nodePort/policy-Local", kindLocal, "tcp")
			if other, ok := p.otherArch(n); ok {
				p.from(v, n, other, "tcp/nodePort/backend-on-"+other.Arch, kindNodePort, "tcp")
				p.from(v, n, other, "udp/nodePort/backend-on-"+other.Arch, kindNodePort, "udp")
				p.from(v, n, other, "tcp/nodePort/policy-Local-refuses", kindNotLocal, "tcp")
			} else {
				p.add(Cell{Name: "nodePort/other-architecture", Class: n.Arch, Src: n.Name, Dst: n.Name, Vantage: v.Name, kind: kindNever,
					Blocked: "needs a node of another architecture that is Ready"})
			}
			p.from(v, n, n, "tcp/nodePort/closed-before-and-after", kindClosed, "tcp")
		}
	}
}

// from adds a cell that dials a node's address from outside, with the backend on a node.
func (p *planner) from(v Vantage, address, backend Node, name string, k kind, network string) {
	c := Cell{Name: name, Class: address.Arch, Src: address.Name, Dst: backend.Name, Vantage: v.Name, kind: k, network: network, size: sizeFits}
	if address.Name != backend.Name {
		c.Class = address.Arch + " → " + backend.Arch
	}
	switch {
	case v.Problem != "":
		c.Blocked = v.Problem
	case v.Unreached[address.Name] != "":
		c.Blocked = v.Unreached[address.Name]
	case v.TCPOnly && network == "udp":
		c.Blocked = "an SSH connection carries no datagrams"
	default:
		c.Blocked = kinds[k].needs.missing(address, backend)
	}
	p.add(c)
}

// otherArch is a node of another architecture, the same for every run over the same nodes with the same seed.
func (p *planner) otherArch(n Node) (Node, bool) {
	return p.partner(func(o Node) bool { return o.Arch != n.Arch && noPods(o) == "" })
}
