package conformance

import (
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/report"
)

// tried is a cell with how it ended.
type tried struct {
	cell   Cell
	result report.CellResult
	lost   bool // its probe was not there, so that it saw nothing
}

// shows reports whether a symptom is there: in a cell, in the others, in what was written down about the nodes.
type shows func(c tried, all []tried, evidence string) bool

// symptom is a row of the table of known causes.
type symptom struct {
	shows shows
	cause string
	hint  string
}

func says(words ...string) shows {
	return func(c tried, _ []tried, evidence string) bool {
		for _, w := range words {
			if strings.Contains(c.result.Reason, w) || strings.Contains(evidence, w) {
				return true
			}
		}
		return false
	}
}

// saysItself is like says, of the cell's own reason alone.
func saysItself(words ...string) shows {
	return func(c tried, all []tried, _ string) bool { return says(words...)(c, all, "") }
}

// of limits a symptom to some checks.
func of(checks string, then shows) shows {
	return func(c tried, all []tried, evidence string) bool {
		return slices.Contains(strings.Fields(checks), c.cell.Check) && then(c, all, evidence)
	}
}

// seen limits a symptom to cells that saw something: others say nothing of the network.
func seen(then shows) shows {
	return func(c tried, all []tried, evidence string) bool { return !c.lost && then(c, all, evidence) }
}

// ofKinds limits a symptom to some kinds of cells.
func ofKinds(then shows, some ...kind) shows {
	return func(c tried, all []tried, evidence string) bool {
		return slices.Contains(some, c.cell.kind) && then(c, all, evidence)
	}
}

// symptoms are looked at in order; the first that shows is named.
var symptoms = []symptom{
	{saysItself("remote error: tls: internal error"), "the node's kubelet has no serving certificate", "kubectl get csr shows what it asked for; hybridctl up approves what is the node's own, also when one is renewed"},
	{of("N2 S2", saysItself("emulator")),
		"a binfmt handler runs programs of other architectures", "look at /proc/sys/fs/binfmt_misc on the host and remove the handler (package qemu-user-static or binfmt-support)"},
	{of("N1 S1 N2 S2 D", func(c tried, _ []tried, _ string) bool { return refusesFormat(c.result.Reason) }),
		"the image has no program for this architecture, or claims one that it does not hold", "build the image for both architectures, or keep its pods on the other one with nodeAffinity kubernetes.io/arch"},
	{of("N1 S1 N2 S2", says("Unsupported system page size")),
		"jemalloc in the image is built for smaller memory pages than this kernel's", "use an image built with a larger lg-page, or a kernel with 4 KiB pages"},
	{of("N1 S1 N2 S2", saysItself("exit code 139")),
		"the program may be linked for smaller memory pages than this kernel's", "compare getconf PAGESIZE with the alignment that readelf -lW shows"},
	{of("N1 S1 N2 S2", saysItself("exit code 132")),
		"the program uses instructions that this processor does not have", "compare the Features in /proc/cpuinfo (atomics, asimddp) with what the image wants"},
	{of("N1 S1", says("cni plugin not initialized")),
		"the pod network's DaemonSet does not run on this node", "look at its pod there; its image may lack the architecture"},
	{of("S5 S6", seen(sizesOnly)), "packets near the MTU are lost: the pod network's MTU is larger than the way between the hosts carries", "set the pod network's MTU to that of the slowest interface minus 50 bytes for VXLAN, 80 for WireGuard"},
	{of("S5", seen(noPairWorks)), "the pod network's packets do not get from one host to the other", "let UDP 8472 (flannel's VXLAN; with the back end wireguard 51820) through between the hosts, and see that the module vxlan or wireguard is loaded on both"},
	{of("S5 S6", seen(udpOnly)), "TCP gets through and UDP does not", "look for filters of UDP, and for wrong checksums: ethtool -K flannel.1 tx-checksum-ip-generic off"},
	{of("S6", seen(pairWorks)),
		"the pods reach each other, but not through the service: kube-proxy's rules are missing, or checksums are wrong on the overlay's interface", "look at kube-proxy on the client's node; try ethtool -K flannel.1 tx-checksum-ip-generic off"},
	{ofKinds(saysItself("no answer in time"), kindNodePort, kindLocal, kindNotLocal, kindClosed), "something between here and the node throws the packets away", "open TCP and UDP 30000 to 32767 in the host's firewall"},
}

// cephSymptoms are what ceph-csi, the kernel and the attach controller say when a volume does not come.
var cephSymptoms = []symptom{
	{says("rados: ret=-1,", "Operation not permitted"), "the Ceph user lacks capabilities", "compare \"ceph auth get\" with inventories/ceph.md"},
	{says("rados: ret=-13", "mauth authentication failed: -13"), "Ceph refuses the user or its key", "compare the key with \"ceph auth get-key client.USER\"; the user's name has no \"client.\" before it"},
	{says("secret too big 32"), "the key is of the type AES256, which kernels before 7.0 cannot use", "give the user a key of the type aes"},
	{says("rados: ret=-22", "Failed to parse secret"), "the key is malformed", "copy it from \"ceph auth get-key client.USER\""},
	{says("pool not found"), "the pool is not there", "compare the inventory's pool with \"ceph osd pool ls\""},
	{says("failed to load rbd kernel module", "map failed: (2)"), "this kernel has no module rbd", "install a kernel with it, or use the mounter rbd-nbd"},
	{says("No mds server is up"), "the file system has no active MDS, or another name", "compare fsName with \"ceph fs status\""},
	{says("server is speaking msgr1 protocol", "V1_BANNER"), "the monitors' port and msMode are of two protocols", "port 6789 goes with msMode legacy, port 3300 with the others"},
	{says("no available topology found"), "the provisioner asks for topology, which the driver does not have", "run the provisioner with --immediate-topology=false"},
	{says("missing ID field 'adminID'"), "the driver is older than 3.14 and wants adminID and adminKey in its secret", "say the driver's version in spec.storage.csi.driverVersion"},
	{says("DeadlineExceeded", "socket closed", "connect error"), "the monitors do not answer", "look at the way from the nodes to the monitors' addresses and ports"},
	{says("Bidirectional"), "the driver's mounts do not reach the host", "mount the kubelet's directories into the node plugin with mountPropagation: Bidirectional"},
}

// diagnose names the likely cause of a cell that did not pass; empty when no known symptom shows.
func diagnose(c tried, all []tried, evidence string) (cause, hint string) {
	known := symptoms
	if kinds[c.cell.kind].load == loadsStorage {
		known = cephSymptoms
	}
	if strings.Contains(c.result.Reason, wentAway) {
		return "", "" // that is the cause
	}
	for _, said := range []string{"", evidence} { // what the cell says itself comes before what else was going on there
		for _, s := range known {
			if s.shows(c, all, said) {
				return s.cause, s.hint
			}
		}
	}
	return "", ""
}

// podIPs are the cells that ask pods directly between the same two nodes, in the same direction.
func podIPs(c tried, all []tried) []tried {
	return ofPair(c, all, func(o Cell) bool { return o.kind == kindPodIP })
}

// ofPair are cells between the same two nodes, in the same direction.
func ofPair(c tried, all []tried, wanted func(Cell) bool) []tried {
	var out []tried
	for _, o := range all {
		if c.cell.Src != "" && o.cell.Src == c.cell.Src && o.cell.Dst == c.cell.Dst && wanted(o.cell) {
			out = append(out, o)
		}
	}
	return out
}

// isLarge: not every MTU lets it through.
func (c Cell) isLarge() bool { return c.size >= sizeFits }

// sizesOnly: small payloads get through on this pair, larger ones do not.
func sizesOnly(c tried, all []tried, _ string) bool {
	small, large := 0, 0
	for _, o := range podIPs(c, all) {
		switch {
		case !o.cell.isLarge() && o.result.Verdict == report.Passed:
			small++
		case o.cell.isLarge() && o.result.Verdict != report.Passed:
			large++
		}
	}
	return c.cell.isLarge() && small > 0 && large > 0
}

// noPairWorks: nothing gets through on this pair, while each node's own pods reach each other.
func noPairWorks(c tried, all []tried, _ string) bool {
	for _, o := range podIPs(c, all) {
		if o.result.Verdict == report.Passed || o.result.Verdict == report.Flaky {
			return false
		}
	}
	for _, o := range all {
		if o.cell.kind == kindSameNode && o.result.Verdict == report.Failing && (o.cell.Dst == c.cell.Src || o.cell.Dst == c.cell.Dst) {
			return false
		}
	}
	return c.cell.Src != "" && c.cell.Dst != ""
}

// udpOnly: on this pair every TCP cell of the check passed and this UDP one did not.
func udpOnly(c tried, all []tried, _ string) bool {
	tcp := ofPair(c, all, func(o Cell) bool { return o.Check == c.cell.Check && o.network == "tcp" })
	return c.cell.network == "udp" && len(tcp) > 0 && !slices.ContainsFunc(tcp, notPassed)
}

// pairWorks: on this pair the pods reach each other.
func pairWorks(c tried, all []tried, _ string) bool {
	cells := podIPs(c, all)
	return len(cells) > 0 && !slices.ContainsFunc(cells, notPassed)
}

func notPassed(c tried) bool { return c.result.Verdict != report.Passed }
