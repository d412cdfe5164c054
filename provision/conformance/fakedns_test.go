package conformance

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/kube"
)

// lookupFrom is what a pod asks.
func (c *fake) lookupFrom(p *fakePod) func(ctx context.Context, server, name string) ([]string, error) {
	return func(ctx context.Context, server, name string) ([]string, error) {
		if c.onLookup != nil {
			c.onLookup(p)
		}
		return c.lookup(ctx, server, name)
	}
}

func (c *fake) lookup(_ context.Context, server, name string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	host, port, _ := net.SplitHostPort(server)
	if server != "" && (host == c.deadDNS || port != cmp.Or(c.dnsPort, "53") || !slices.ContainsFunc(c.others, func(p kube.Pod) bool { return p.IP == host })) {
		return nil, fmt.Errorf("lookup %s on %s: i/o timeout", name, server)
	}
	if s := c.named(name); s != nil {
		return append([]string{s.ip}, c.also...), nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// named is the Service of a name; c.mu is held.
func (c *fake) named(name string) *fakeService {
	service, rest, _ := strings.Cut(name, ".")
	if !strings.HasSuffix(rest, ".svc.cluster.local.") {
		return nil
	}
	return c.svcs[service]
}
