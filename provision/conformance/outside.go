package conformance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

// firstNodePort and nodePorts are kube-apiserver's default --service-node-port-range.
const (
	firstNodePort = 30000
	nodePorts     = 2768
)

func (r *run) vantage(name string) Vantage {
	return r.Vantages[slices.IndexFunc(r.Vantages, func(v Vantage) bool { return v.Name == name })]
}

// from is one attempt from a vantage point.
func (r *run) from(c Cell, addr string) attempt {
	d := r.vantage(c.Vantage).Dial
	return func(ctx context.Context, nonce string) (probe.Attempt, error) {
		ctx, cancel := context.WithTimeout(ctx, r.pace.attempt)
		defer cancel()
		return probe.Dial(ctx, d, c.network, addr, nonce, c.size), nil
	}
}

// nodePortOf is where a Service's port is on a node.
func (r *run) nodePortOf(c Cell, service, node string) (string, error) {
	port := r.svc[service].NodePorts[strings.ToUpper(c.network)]
	address := r.node(node).Address
	if port == 0 || address == "" {
		return "", fmt.Errorf("service %s has no node port, or %s no address", service, node)
	}
	return at(address, port), nil
}

// tryNodePort dials a node from outside: the right backend has to answer, and with the policy Local it has to see who asks.
func (r *run) tryNodePort(ctx context.Context, c Cell) outcome {
	_, w, err := r.wantedOf(r.slot(podA, c.Dst))
	if err != nil {
		return lost(c, err)
	}
	service := svcTo
	if c.kind == kindLocal {
		service = svcLocal
		if v := r.vantage(c.Vantage); v.Address != nil {
			w.clientIP = v.Address(r.node(c.Src).Address)
		}
	}
	addr, err := r.nodePortOf(c, r.slot(service, c.Dst), c.Src)
	if err != nil {
		return failed("%v", err)
	}
	try := r.from(c, addr)
	r.settle(ctx, try)
	nonces := r.nonces(c)
	var attempts []probe.Attempt
	for _, nonce := range nonces {
		a, err := try(ctx, nonce)
		if err != nil {
			return failed("%v", err)
		}
		attempts = append(attempts, a)
	}
	return judge(attempts, nonces, w)
}

// tryNotLocal dials a node that has no backend of a Service with the policy Local: it must not answer, while the backend's node does.
func (r *run) tryNotLocal(ctx context.Context, c Cell) outcome {
	service := r.slot(svcLocal, c.Dst)
	there, err := r.nodePortOf(c, service, c.Dst)
	if err != nil {
		return failed("%v", err)
	}
	here, err := r.nodePortOf(c, service, c.Src)
	if err != nil {
		return failed("%v", err)
	}
	if !r.settle(ctx, r.from(c, there)) {
		return failed("the backend's own node does not answer either, so that silence proves nothing")
	}
	a, err := r.from(c, here)(ctx, r.nonces(c)[0])
	switch {
	case err != nil:
		return failed("%v", err)
	case a.Reply != nil:
		return failed("%s on %s answers although it has no backend there", a.Reply.Pod, a.Reply.Node)
	}
	return passed()
}

// tryClosed shows that a NodePort is closed before its Service is made, open while it is there, and closed afterwards: so that no
// other Service's answer is taken for its own.
func (r *run) tryClosed(ctx context.Context, c Cell) outcome {
	_, w, err := r.wantedOf(r.slot(podA, c.Dst))
	if err != nil {
		return lost(c, err)
	}
	name := r.slot(svcGone, c.Dst) + "-" + fmt.Sprint(slices.IndexFunc(r.Vantages, func(v Vantage) bool { return v.Name == c.Vantage }))
	var service object
	var try attempt
	for range 5 { // a port may be taken, or answer for somebody else
		port := r.choosePort()
		try = r.from(c, at(r.node(c.Src).Address, port))
		var before probe.Attempt
		if before, err = try(ctx, "before"); err != nil {
			return failed("%v", err)
		}
		if before.Reply != nil || before.Error == "" {
			err = fmt.Errorf("port %d answers before the service is made", port)
			continue
		}
		service = r.objects.service(name, map[string]string{slotLabel: r.slot(podA, c.Dst)}, "Cluster", port)
		if _, err = r.API.Apply(ctx, manifests(service), kube.ApplyOptions{}); err == nil {
			break
		}
	}
	if err != nil {
		return failed("%v", err)
	}
	r.settle(ctx, try)
	nonces := r.nonces(c)[:1]
	open, err := try(ctx, nonces[0])
	if err != nil {
		return failed("%v", err)
	}
	during := judge([]probe.Attempt{open}, nonces, w)
	if during.verdict != report.Passed {
		during.reason = "while the service is there: " + during.reason
		return during
	}
	if _, err := r.API.Delete(ctx, manifests(service)); err != nil {
		return failed("%v", err)
	}
	return r.untilClosed(ctx, try, "the port still answers although the service is gone")
}

// choosePort draws a NodePort that this run has not used.
func (r *run) choosePort() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		port := firstNodePort + rand.IntN(nodePorts)
		if !r.ports[port] {
			r.ports[port] = true
			return port
		}
	}
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

// localService leads from node ports to the probe of the same node only.
func (r *run) localService(c Cell) []object { return []object{r.serviceTo(svcLocal, c.Dst, "Local")} }
