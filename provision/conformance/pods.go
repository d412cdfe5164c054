package conformance

import (
	"context"
	"strings"

	"github.com/hybridctl/hybridctl/provision/probe"
)

func (r *run) tryLoopback(ctx context.Context, c Cell) outcome {
	name := slot(podA, r.place(c.Dst))
	_, w, err := r.wantedOf(name)
	if err != nil {
		return lost(c, err)
	}
	addr := at("127.0.0.1", probe.Port)
	if strings.HasSuffix(c.network, "6") {
		addr = at("::1", probe.Port)
	}
	o := r.dial(ctx, c, name, peerContainer, addr, w)
	if strings.HasSuffix(c.network, "6") && noIPv6(o.reason) {
		return blocked("the pod has no IPv6")
	}
	return o
}

// noIPv6 tells whether an error is of a network namespace without IPv6.
func noIPv6(reason string) bool {
	return strings.Contains(reason, "cannot assign requested address") || strings.Contains(reason, "address family not supported") ||
		strings.Contains(reason, "network is unreachable")
}

func (r *run) tryEmptyDir(ctx context.Context, c Cell) outcome {
	name := slot(podA, r.place(c.Dst))
	writer, err := r.agent(name, mainContainer)
	if err != nil {
		return lost(c, err)
	}
	reader, err := r.agent(name, peerContainer)
	if err != nil {
		return lost(c, err)
	}
	text := r.nonces(Cell{Check: c.Check, Name: c.Name, Dst: c.Dst, times: 1})[0]
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

func (r *run) trySameNode(ctx context.Context, c Cell) outcome {
	server, w, err := r.wantedOf(slot(podA, r.place(c.Dst)))
	if err != nil {
		return lost(c, err)
	}
	client, err := r.view.now(slot(podB, r.place(c.Dst)))
	if err != nil {
		return lost(c, err)
	}
	if client.Node != server.Node || client.HostIP != server.HostIP {
		return failed("the pods are on %s (%s) and %s (%s)", client.Node, client.HostIP, server.Node, server.HostIP)
	}
	w.clientIP = client.IP
	return r.dial(ctx, c, client.Name, mainContainer, at(server.IP, probe.Port), w)
}

func (r *run) tryPodIP(ctx context.Context, c Cell) outcome {
	server, w, err := r.wantedOf(slot(podA, r.place(c.Dst)))
	if err != nil {
		return lost(c, err)
	}
	client, err := r.view.now(slot(podA, r.place(c.Src)))
	if err != nil {
		return lost(c, err)
	}
	w.clientIP = client.IP
	return r.dial(ctx, c, client.Name, mainContainer, at(server.IP, probe.Port), w)
}
