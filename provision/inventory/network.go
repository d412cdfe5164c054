package inventory

import (
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
)

const (
	podCIDRPath     = "spec.kubernetes.podCIDR"
	serviceCIDRPath = "spec.kubernetes.serviceCIDR"
	endpointPath    = "spec.kubernetes.endpoint"

	ipv4Only = "clusters of IPv6 or of both families are not supported yet"
)

func (v *validator) networks() {
	k := v.c.Spec.Kubernetes
	pods, podsOK := v.cidr(podCIDRPath, k.PodCIDR)
	services, servicesOK := v.cidr(serviceCIDRPath, k.ServiceCIDR)
	if k.DNSDomain != "" && !domainRule.ok(k.DNSDomain) {
		v.fail("spec.kubernetes.dnsDomain", "for instance "+DefaultDNSDomain, "%q is not a DNS domain", k.DNSDomain)
	}
	adopted := v.c.Adopted() // its networks are there, and work
	if podsOK && !adopted {
		v.podCIDRSize(pods)
	}
	if servicesOK {
		switch {
		case services.Bits() < 12: // kube-apiserver refuses more than 20 bits
			v.fail(serviceCIDRPath, "a /12 or smaller", "%s is too large for a service network", services)
		case services.Bits() > 28: // kubeadm wants ten addresses; the tenth is the cluster's DNS
			v.fail(serviceCIDRPath, "a /28 or larger", "%s is too small for a service network", services)
		}
	}
	if podsOK && servicesOK && !adopted && pods.Overlaps(services) {
		path, hint := podCIDRPath, ""
		if !v.c.given(path) {
			path, hint = serviceCIDRPath, "the pod network is "+pods.String()+" by default"
		} else if !v.c.given(serviceCIDRPath) {
			hint = "the service network is " + services.String() + " by default"
		}
		v.fail(path, hint, "the pod network %s and the service network %s overlap", pods, services)
	}
	if podsOK && !adopted {
		v.outside(pods)
	}
}

func (v *validator) cidr(path, text string) (netip.Prefix, bool) {
	if v.bad[path] {
		return netip.Prefix{}, false
	}
	if strings.Contains(text, ",") {
		v.fail(path, "give one IPv4 network", "%q are several networks: %s", text, ipv4Only)
		return netip.Prefix{}, false
	}
	prefix, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		v.fail(path, "for instance "+DefaultPodCIDR, "%q is not a CIDR", text)
	case !prefix.Addr().Is4():
		v.fail(path, "give an IPv4 network", "%s is IPv6: %s", prefix, ipv4Only)
	case prefix != prefix.Masked():
		v.fail(path, "write "+prefix.Masked().String(), "%s names an address inside its network", prefix)
	default:
		return prefix, true
	}
	return netip.Prefix{}, false
}

// podCIDRSize checks that every node gets its share of the pod network: a /24, unless the controller manager is told otherwise.
func (v *validator) podCIDRSize(pods netip.Prefix) {
	share := 24
	for _, arg := range v.c.Spec.Kubernetes.ControllerManager.ExtraArgs {
		if n, err := strconv.Atoi(arg.Value); err == nil && n > 0 && n <= 32 && (arg.Name == "node-cidr-mask-size" || arg.Name == "node-cidr-mask-size-ipv4") {
			share = n
		}
	}
	hosts := max(len(v.c.Spec.Hosts), 1)
	needed := share - bits.Len(uint(hosts-1))
	if pods.Bits() <= needed {
		return
	}
	hint := fmt.Sprintf("a /%d holds %d", needed, 1<<(share-needed))
	if needed < 8 {
		hint = ""
	}
	v.fail(podCIDRPath, hint, "%s has no /%d for each of %d hosts", pods, share, hosts)
}

// outside checks that no host lives in the pod network, whose routes would hide it. One in the service network can be reached as long
// as no service has its address, so that is preflight's to warn of.
func (v *validator) outside(pods netip.Prefix) {
	check := func(path, address string) {
		if ip, err := netip.ParseAddr(address); err == nil && pods.Contains(ip) {
			v.fail(path, "choose another podCIDR", "%s lies in the pod network %s", address, pods)
		}
	}
	for i, h := range v.c.Spec.Hosts {
		check(hostField(i, "address"), h.Address)
		if h.NodeIP != h.Address {
			check(hostField(i, "nodeIP"), h.NodeIP)
		}
	}
	if host, _, ok := strings.Cut(v.c.Spec.Kubernetes.Endpoint, ":"); ok && v.c.given(endpointPath) {
		check(endpointPath, host)
	}
}

func (v *validator) endpoint() {
	endpoint := v.c.Spec.Kubernetes.Endpoint
	if endpoint == "" || !v.c.given(endpointPath) {
		v.endpointMissing()
		return
	}
	if rest, ok := cutScheme(endpoint); ok {
		v.fail(endpointPath, "write "+rest, "%q is a URL", endpoint)
		return
	}
	host, portText, hasPort := strings.Cut(endpoint, ":")
	port, err := strconv.Atoi(portText)
	switch {
	case strings.Contains(portText, ":"):
		v.fail(endpointPath, "write an IPv4 address or a name, and a port", "%q is an IPv6 address: %s", endpoint, ipv4Only)
	case !hasPort && validAddress(host):
		v.fail(endpointPath, "write "+host+":"+DefaultAPIPort, "%q has no port", endpoint)
	case !validAddress(host):
		v.fail(endpointPath, "host:port", "%q names no host that others can reach", endpoint)
	case err != nil || !validPort(port):
		v.fail(endpointPath, "from 1 to 65535", "%q has no valid port", endpoint)
	default:
		v.endpointMoves(host)
	}
}

// endpointMoves checks that an endpoint of several control planes is not one of theirs. In a cluster that was adopted it is what it is.
func (v *validator) endpointMoves(endpoint string) {
	planes := controlPlanes(v.c)
	if len(planes) < 2 || v.c.Adopted() {
		return
	}
	for _, h := range planes {
		if endpoint == h.Address || endpoint == h.NodeIP || endpoint == h.Name {
			v.fail(endpointPath, "a name, a virtual address or a load balancer before them; kubeadm cannot change it later",
				"is the own address of %s: when that host is away, no other control plane is found", h.Name)
			return
		}
	}
}

func (v *validator) endpointMissing() {
	if planes := len(controlPlanes(v.c)); planes > 1 {
		v.fail(endpointPath, "the host:port of a load balancer or a virtual address before them",
			"is missing: there are %d control-plane hosts, and each can go away", planes)
	}
}

func cutScheme(s string) (string, bool) {
	_, rest, found := strings.Cut(s, "://")
	return strings.TrimRight(rest, "/"), found
}
