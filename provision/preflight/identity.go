package preflight

import (
	"net/netip"
	"slices"
	"strings"
)

var identityChecks = []check{
	{"duplicate-machine-id", "no two hosts have the same /etc/machine-id", checkMachineID, onFacts},
	{"duplicate-hostname", "no two hosts have the same hostname", checkDuplicateHostname, onFacts},
	{"duplicate-address", "the host's address belongs to no other host of the inventory", checkAddress, onFacts},
	{"service-network", "the host's address is not one that a service could get", checkServiceNetwork, onFacts},
	{"hostname", "the hostname is the host's name in the inventory, which becomes the node's", checkHostname, onFacts},
}

func checkMachineID(v view) verdict {
	id := v.facts.MachineID
	if id == "" || id == "uninitialized" { // systemd's word before a first boot has ended
		return warn("/etc/machine-id holds no id").hinted("systemd-machine-id-setup")
	}
	if same := others(v.fleet.machineIDs[id], v.host.Name); len(same) > 0 {
		return fail("the machine-id %s is also that of %s", id, list(same)).
			hinted("one machine under two names, or a cloned disk: rm /etc/machine-id /var/lib/dbus/machine-id; systemd-machine-id-setup; reboot")
	}
	return pass("%s", id)
}

const noHostname = "not known: the hostname could not be read"

func checkDuplicateHostname(v view) verdict {
	if v.facts.Hostname == "" {
		return unknown(noHostname)
	}
	if same := others(v.fleet.hostnames[v.facts.Hostname], v.host.Name); len(same) > 0 {
		return fail("the hostname %s is also that of %s", v.facts.Hostname, list(same)).hinted("hostnamectl set-hostname %s", v.host.Name)
	}
	return pass("%s", v.facts.Hostname)
}

func checkAddress(v view) verdict {
	for _, a := range []string{v.host.Address, v.host.NodeIP} {
		if same := others(v.fleet.addresses[canonical(a)], v.host.Name); a != "" && len(same) > 0 {
			return fail("%s is also an address of %s", a, list(same)).
				hinted("one machine under two names in the inventory, or one address on two machines: correct whichever it is")
		}
	}
	return pass("%s", v.host.Address)
}

func checkServiceNetwork(v view) verdict {
	services, err := netip.ParsePrefix(v.cluster.Spec.Kubernetes.ServiceCIDR)
	if err != nil {
		return unknown("not judged: the inventory's service network %q is none", v.cluster.Spec.Kubernetes.ServiceCIDR)
	}
	addresses := 0
	for _, a := range []string{v.host.NodeIP, v.host.Address} {
		ip, err := netip.ParseAddr(a)
		if err == nil {
			addresses++
		}
		if err == nil && services.Contains(ip) {
			return warn("%s lies in the service network %s: a service that gets this address hides the host from pods", a, services).
				hinted("choose another spec.kubernetes.serviceCIDR before the cluster is made")
		}
	}
	if addresses == 0 {
		return unknown("not judged: %s is a name, and the inventory gives the host no nodeIP", v.host.Address)
	}
	return pass("not in %s", services)
}

func checkHostname(v view) verdict {
	if v.facts.Hostname == "" {
		return unknown(noHostname)
	}
	short, _, _ := strings.Cut(v.facts.Hostname, ".")
	if !slices.Contains([]string{short, v.facts.Hostname}, v.host.Name) {
		return warn("the hostname is %s, the node will be called %s", v.facts.Hostname, v.host.Name).
			hinted("hostnamectl set-hostname %s, if they are to be the same", v.host.Name)
	}
	return pass("%s", v.facts.Hostname)
}
