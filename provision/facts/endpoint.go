package facts

import (
	"net"
	"net/netip"
	"slices"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

// OwnsEndpoint reports whether a cluster's endpoint, host:port, is the own name or address of the node, or of its host.
func (n Node) OwnsEndpoint(endpoint string, h inventory.Host) bool {
	at, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		return false
	}
	if a, err := netip.ParseAddr(at); err == nil && slices.Contains(n.InternalIPs, a.Unmap().String()) {
		return true
	}
	return slices.Contains(n.InternalIPs, at) || at == h.Address || at == h.NodeIP || at == h.Name
}
