package inventory

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/hybridctl/hybridctl/provision/platform"
)

func (v *validator) hosts() {
	if len(v.c.Spec.Hosts) == 0 {
		if v.c.given("spec.hosts") {
			v.fail("spec.hosts", "list at least one, with role: "+string(ControlPlane), "holds no host")
		}
		return
	}
	names, addresses, nodeIPs := seen{}, seen{}, seen{}
	rolesKnown := true
	for i, h := range v.c.Spec.Hosts {
		path := item("spec.hosts", i)
		v.hostName(field(path, "name"), h.Name)
		v.once(names, field(path, "name"), h.Name, h.Name)
		v.address(field(path, "address"), h)
		v.once(addresses, field(path, "address"), v.dialAddress(h), v.dialAddress(h))
		v.nodeIP(field(path, "nodeIP"), h.NodeIP)
		v.once(nodeIPs, field(path, "nodeIP"), h.NodeIP, h.NodeIP)

		v.role(field(path, "role"), h.Role)
		rolesKnown = rolesKnown && !v.failed(field(path, "role"))
		if _, err := platform.Parse(string(h.Arch)); err != nil && h.Arch != "" {
			v.fail(field(path, "arch"), "", "%s", err)
		}
		v.login(path, h.User, h.Port, h.IdentityFiles, h.SudoPasswordFile, h.SudoPasswordEnv)
		if h.HostKey != "" {
			if err := checkHostKey(h.HostKey); err != nil {
				v.fail(field(path, "hostKey"), `"ssh-ed25519 AAAA…" or "SHA256:…"`, "%s", err)
			}
		}
		v.labels(field(path, "labels"), h.Labels)
		v.taints(field(path, "taints"), h.Taints)
		v.args(field(path, "kubeletExtraArgs"), h.KubeletExtraArgs, ownedKubeletArgs)
		v.unmanaged(path, h)
	}
	if len(controlPlanes(v.c)) == 0 && rolesKnown {
		v.noControlPlane()
	}
}

// unmanaged refuses what would be wanted of a node that hybridctl leaves alone.
func (v *validator) unmanaged(path string, h Host) {
	if h.IsManaged() {
		return
	}
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"labels", len(h.Labels) > 0}, {"taints", len(h.Taints) > 0}, {"kubeletExtraArgs", len(h.KubeletExtraArgs) > 0},
		{"ignorePreflightErrors", len(h.IgnorePreflightErrors) > 0}, {"preflight", len(h.Preflight.Ignore) > 0},
	} {
		if f.given {
			v.fail(field(path, f.name), "take it out; kubectl label and kubectl taint work on any node",
				"has no effect on %s, which hybridctl leaves as it is (managed: false)", printable(h.Name))
		}
	}
}

// noControlPlane gives a hint and no guess: with role left out by mistake, a guess would install something else than was meant.
func (v *validator) noControlPlane() {
	hint := "write role: " + string(ControlPlane) + " at the host that is to run the API server"
	if hosts := v.c.Spec.Hosts; len(hosts) == 1 {
		hint = fmt.Sprintf("write role: %s at %s, the only host", ControlPlane, printable(hosts[0].Name))
	}
	v.fail("spec.hosts", hint, "holds no %s host", ControlPlane)
}

func (v *validator) hostName(path, name string) {
	switch {
	case name == "":
	case !nameRule.ok(name):
		v.fail(path, nameHint(name), "%q is not a node name", name)
	case name == JumpNone:
		v.fail(path, "choose another name", "%q means no jump host in the field jump", name)
	}
}

func (v *validator) address(path string, h Host) {
	a := h.Address
	host, port, err := net.SplitHostPort(a)
	user, rest, hasUser := strings.Cut(a, "@")
	ip, ipErr := netip.ParseAddr(strings.Trim(a, "[]"))
	switch {
	case a == "", validAddress(a):
	case ipErr == nil && !ip.Is4():
		v.fail(path, "give an IPv4 address or a name", "%s is IPv6: %s", a, ipv4Only)
	case ipErr == nil:
		v.fail(path, "", "%s is no host's address", a)
	case hasUser && validAddress(rest):
		v.fail(path, fmt.Sprintf("write address: %s and user: %s", rest, printable(user)), "%q holds a user too", a)
	case strings.Contains(a, "://"):
		v.fail(path, "write the host alone, and a user or a port as fields of their own", "%q is a URL", a)
	case err == nil && validAddress(host):
		v.fail(path, fmt.Sprintf("write address: %s and port: %s", host, printable(port)), "%q holds a port too", a)
	case looksNumeric(a):
		v.fail(path, "four numbers from 0 to 255", "%s is not an IPv4 address", a)
	default:
		v.fail(path, "", "%q is neither an IPv4 address nor a name", a)
	}
}

// dialAddress is where SSH goes; two hosts that share it are one machine.
func (v *validator) dialAddress(h Host) string {
	port := v.c.SSHFor(h).Port
	switch {
	case h.Address == "":
		return ""
	case port == 0 || port == 22:
		return strings.ToLower(h.Address)
	}
	return strings.ToLower(h.Address) + ":" + strconv.Itoa(port)
}

func (v *validator) nodeIP(path, nodeIP string) {
	if nodeIP == "" {
		return
	}
	ip, err := netip.ParseAddr(nodeIP)
	switch {
	case err != nil:
		v.fail(path, "an address of one of the host's interfaces", "%q is not an IP address", nodeIP)
	case !ip.Is4():
		v.fail(path, "give an IPv4 address", "%s is IPv6: %s", nodeIP, ipv4Only)
	case ip.IsUnspecified() || ip.IsMulticast():
		v.fail(path, "an address of one of the host's interfaces", "%s is no host's address", nodeIP)
	}
}

func (v *validator) role(path string, role Role) {
	hint := ""
	switch role {
	case "master", "controlplane", "controller", "control", "server":
		hint = "write " + string(ControlPlane)
	case "node", "agent", "minion", "slave":
		hint = "write " + string(Worker)
	}
	v.oneOf(path, string(role), hint, string(ControlPlane), string(Worker))
}

// seen maps a value that must be unique to the path where it stands first.
type seen map[string]string

func (v *validator) once(s seen, path, value, shown string) {
	if value == "" {
		return
	}
	first, twice := s[value]
	if !twice {
		s[value] = path
		return
	}
	hint := ""
	if line, _ := v.c.Pos(first); line > 0 {
		hint = fmt.Sprintf("line %d", line)
	}
	v.fail(path, hint, "%s is taken by %s", printable(shown), parent(first))
}
