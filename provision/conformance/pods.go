package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/probe"
)

// podTrier tries what pods say to one another by their own addresses.
type podTrier struct{ asker }

func (t *podTrier) tryLoopback(ctx context.Context, c Cell) outcome {
	name := t.slot(podA, c.Dst)
	_, w, err := t.wantedOf(name)
	if err != nil {
		return lost(c, err)
	}
	addr := at("127.0.0.1", probe.Port)
	if strings.HasSuffix(c.network, "6") {
		addr = at("::1", probe.Port)
	}
	o := t.dial(ctx, c, name, peerContainer, addr, w)
	if strings.HasSuffix(c.network, "6") && noIPv6(o.reason) {
		return blocked("the pod has no IPv6")
	}
	return o
}

// noIPv6 reports whether an error is of a network namespace without IPv6.
func noIPv6(reason string) bool {
	return strings.Contains(reason, "cannot assign requested address") || strings.Contains(reason, "address family not supported") ||
		strings.Contains(reason, "network is unreachable")
}

func (t *podTrier) tryEmptyDir(ctx context.Context, c Cell) outcome {
	name := t.slot(podA, c.Dst)
	writer, err := t.agents.of(ctx, name, mainContainer)
	if err != nil {
		return lost(c, err)
	}
	reader, err := t.agents.of(ctx, name, peerContainer)
	if err != nil {
		return lost(c, err)
	}
	text := t.nonces(Cell{Check: c.Check, Name: c.Name, Dst: c.Dst, times: 1})[0]
	if _, err := writer.ask(ctx, probe.Order{Op: probe.OpWrite, Path: "/shared/from-the-other", Text: text}); err != nil {
		return failed("one container cannot write: %v", err)
	}
	got, err := reader.ask(ctx, probe.Order{Op: probe.OpRead, Path: "/shared/from-the-other"})
	if err != nil {
		return failed("the other container cannot read: %v", err)
	}
	return same(got.Text, text, "one container wrote", "the other read")
}

// same compares a text with the one that was written.
func same(got, want, wrote, read string) outcome {
	if got != want {
		return failed("%s %q, %s %q", wrote, want, read, got)
	}
	return passed()
}

func (t *podTrier) trySameNode(ctx context.Context, c Cell) outcome {
	server, w, err := t.wantedOf(t.slot(podA, c.Dst))
	if err != nil {
		return lost(c, err)
	}
	client, err := t.view.now(t.slot(podB, c.Dst))
	if err != nil {
		return lost(c, err)
	}
	if client.Node != server.Node || client.HostIP != server.HostIP {
		return failed("the pods are on %s (%s) and %s (%s)", client.Node, client.HostIP, server.Node, server.HostIP)
	}
	w.clientIP = client.IP
	return t.dial(ctx, c, client.Name, mainContainer, at(server.IP, probe.Port), w)
}

func (t *podTrier) tryPodIP(ctx context.Context, c Cell) outcome {
	server, w, err := t.wantedOf(t.slot(podA, c.Dst))
	if err != nil {
		return lost(c, err)
	}
	client, err := t.view.now(t.slot(podA, c.Src))
	if err != nil {
		return lost(c, err)
	}
	w.clientIP = client.IP
	return t.dial(ctx, c, client.Name, mainContainer, at(server.IP, probe.Port), w)
}

func (p *planner) containers() {
	if p.in.Quick {
		return
	}
	for _, n := range p.subjects() {
		for _, network := range []string{"tcp", "udp"} {
			p.on(n, network+"/127.0.0.1", kindLoopback, Cell{network: network, size: sizeFits})
			p.on(n, network+"/[::1]", kindLoopback, Cell{network: network + "6", size: sizeFits})
		}
		p.on(n, "emptyDir", kindEmptyDir, Cell{})
	}
}

func (p *planner) sameNode() {
	for _, n := range p.subjects() {
		for _, network := range []string{"tcp", "udp"} {
			p.on(n, network+"/podIP", kindSameNode, Cell{Src: n.Name, network: network, size: sizeFits})
		}
	}
}

// flows are what goes over each pair of nodes.
func (p *planner) flows() []Cell {
	flows := []Cell{
		{network: "tcp", size: sizeOne}, {network: "tcp", size: sizeFits}, {network: "tcp", size: sizeAbove}, {network: "tcp", size: sizeStream, times: 2},
		{network: "udp", size: sizeOne}, {network: "udp", size: sizeFits}, {network: "udp", size: sizeAbove},
	}
	if p.in.Quick {
		return []Cell{flows[1], flows[2], flows[5]}
	}
	return flows
}

func (p *planner) nodes() {
	for _, l := range p.links {
		for _, c := range p.flows() {
			c.Name, c.kind = fmt.Sprintf("%s/%d/podIP", c.network, c.size), kindPodIP
			p.between(l, c)
		}
	}
	// What a small cluster cannot show is said.
	for _, arch := range archs(p.subjects()) {
		class := arch + " → " + arch
		if !slices.ContainsFunc(p.links, func(l link) bool { return classOf(l) == class }) {
			p.add(Cell{Name: "podIP", Class: class, kind: kindNever, Blocked: "needs two " + arch + " nodes"})
		}
	}
}
