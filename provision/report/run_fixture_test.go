package report

import (
	"fmt"
	"testing"
	"time"
)

// start is when the fixture's run began.
var start = time.Date(2026, 7, 2, 14, 3, 20, 0, time.UTC)

// mixedRun is a run on two Arm and two x86 nodes: one cell fails, one is flaky, storage and registry could not be tried.
func mixedRun() ConformanceRun {
	f := &runFixture{nodes: []RunNode{
		{Name: "x86-1", Arch: "amd64", Role: "control-plane", Kernel: "6.12.41+deb13-amd64", PageKiB: 4, CPU: "x86-64-v3", Address: "192.0.2.11"},
		{Name: "x86-2", Arch: "amd64", Role: "worker", Kernel: "6.12.41+deb13-amd64", PageKiB: 4, CPU: "x86-64-v2", Address: "192.0.2.12"},
		{Name: "arm-1", Arch: "arm64", Role: "worker", Kernel: "6.12.34+rpt-rpi-2712", PageKiB: 16, CPU: "Cortex-A76 (ARMv8.2-A)", Address: "192.0.2.21", New: true},
		{Name: "arm-2", Arch: "arm64", Role: "worker", Kernel: "6.12.34+rpt-rpi-2712", PageKiB: 16, CPU: "Cortex-A76 (ARMv8.2-A)", Address: "192.0.2.22", New: true},
	}}
	for _, n := range f.nodes {
		f.on("N1", "ready/60s", n)
		f.on("N2", "image/architecture", n)
		f.on("D", "nodeSelector", n)
		f.on("S3", "tcp/loopback", n)
		f.on("S8", "hostpath/readwrite", n)
	}
	for _, from := range f.nodes {
		for _, to := range f.nodes {
			if from.Name == to.Name {
				f.between("S4", "tcp/1400/podIP", from, to)
				f.between("S4", "udp/1400/podIP", from, to)
				continue
			}
			f.between("S5", "tcp/1400/podIP", from, to)
			f.between("S5", "udp/1400/podIP", from, to)
			f.between("S6", "tcp/64/clusterIP", from, to)
		}
	}
	for _, n := range f.nodes {
		f.add(CellResult{Check: "S7", Name: "tcp/nodePort", Class: n.Arch, Src: &Endpoint{Where: "operator"}, Dst: end(n)})
	}
	for _, driver := range []string{"rbd", "cephfs"} {
		for _, pair := range [][2]int{{0, 2}, {2, 0}} {
			c := f.between("S9", driver+"/write-read", f.nodes[pair[0]], f.nodes[pair[1]])
			*c = blocked(*c, "the inventory names no Ceph cluster", "set spec.conformance.ceph, or leave S9 out with --skip S9")
		}
	}
	for _, n := range f.nodes {
		c := f.on("R", "pull/secret", n)
		*c = blocked(*c, "the inventory names no private registry", "")
	}
	f.spoil()
	return ConformanceRun{
		Version: RunVersion, ID: "c7f3a91e", Cluster: "lab", Scenario: "scale-out", Tool: "v0.9.0",
		Started: start, Finished: start.Add(192 * time.Second),
		Coverage: Coverage{Pairs: 12, Of: 12, Seed: 42},
		Nodes:    f.nodes, Cells: f.cells,
		Checks: []RunCheck{
			{"N1", "Arm and x86 nodes are added"}, {"N2", "images run on their architecture"}, {"D", "directed scheduling"},
			{"S3", "containers of one pod"}, {"S4", "pods on the same node"}, {"S5", "pods on different nodes"},
			{"S6", "pod and service"}, {"S7", "from outside the cluster"}, {"S8", "HostPath"}, {"S9", "Ceph volumes"}, {"R", "private registry"},
		},
		Phases: []Phase{
			{"probes start", 41 * time.Second}, {"nodes", 61 * time.Second}, {"matrix", 72 * time.Second}, {"outside", 9 * time.Second},
			{"clean up", 8500 * time.Millisecond},
		},
	}
}

// runFixture collects cells, each a little later than the one before.
type runFixture struct {
	nodes []RunNode
	cells []CellResult
}

func end(n RunNode) *Endpoint {
	return &Endpoint{Node: n.Name, Arch: n.Arch, Pod: "probe-" + n.Name, PodUID: "0d1e5a52-0000-4000-8000-" + fmt.Sprintf("%012x", len(n.Name)*int(n.Name[0]))}
}

func (f *runFixture) add(c CellResult) *CellResult {
	i := len(f.cells)
	c.Verdict, c.Planned, c.OK, c.FirstAttemptOK = Passed, 5, 5, true
	c.P50Millis, c.P99Millis = 0.4+float64(i%7)/10, 2.1+float64(i%5)
	c.Started = start.Add(45*time.Second + time.Duration(i)*1300*time.Millisecond)
	c.Duration = time.Duration(180+40*(i%9)) * time.Millisecond
	f.cells = append(f.cells, c)
	return &f.cells[i]
}

func (f *runFixture) on(check, name string, n RunNode) *CellResult {
	return f.add(CellResult{Check: check, Name: name, Class: n.Arch, Dst: end(n)})
}

func (f *runFixture) between(check, name string, from, to RunNode) *CellResult {
	return f.add(CellResult{Check: check, Name: name, Class: from.Arch + " → " + to.Arch, Src: end(from), Dst: end(to)})
}

func blocked(c CellResult, reason, hint string) CellResult {
	return CellResult{Check: c.Check, Name: c.Name, Class: c.Class, Src: c.Src, Dst: c.Dst, Verdict: Blocked, Reason: reason, Hint: hint}
}

// spoil makes one cell fail and one flaky, and has rules take their time for three.
func (f *runFixture) spoil() {
	for i := range f.cells {
		c := &f.cells[i]
		switch c.ID() {
		case "S5/udp/1400/podIP: arm-1 (arm64) → x86-2 (amd64)":
			c.Verdict, c.OK, c.FirstAttemptOK, c.P50Millis, c.P99Millis = Failing, 0, false, 0, 0
			c.Duration = 10 * time.Second
			c.Reason = "no answer within 2 s; arm-1 sent 5 datagrams of 1400 bytes, and x86-2 received none of them"
			c.Cause = "the path drops VXLAN packets of full size: flannel.1 on arm-1 has an MTU of 1450, but the link to x86-2 takes 1400 bytes"
			c.Hint = "set spec.network.mtu to 1350, or raise the MTU of the link between arm-1 and x86-2"
			c.Nonce = "9f1c2d7be0"
			c.ExpectClientIP = "10.244.2.7"
			c.Evidence = []string{"evidence/s5-arm-1-ip-link.txt", "evidence/s5-x86-2-tcpdump.txt"}
		case "S6/tcp/64/clusterIP: x86-1 (amd64) → arm-2 (arm64)":
			c.Verdict, c.OK, c.FirstAttemptOK, c.P99Millis = Flaky, 4, false, 1043
			c.Reason = "the first attempt was refused; the four after it were right"
			c.Cause = "kube-proxy on x86-1 programmed the service after the probe began"
			c.Responder = &Responder{PodUID: c.Dst.PodUID, Node: "arm-2", Machine: "aarch64", ELFMachine: 183, ClientIP: "10.244.0.9"}
			c.ExpectClientIP, c.ObservedClientIP = "10.244.0.9", "10.244.0.9"
			c.RulesLagMillis = 640
			c.Evidence = []string{"evidence/s6-x86-1-kube-proxy.txt"}
		case "S6/tcp/64/clusterIP: x86-2 (amd64) → arm-1 (arm64)":
			c.RulesLagMillis = 31200
		case "S7/tcp/nodePort: operator → arm-1 (arm64)":
			c.RulesLagMillis = 2400
		}
	}
}

// fixtureEvidence is what the evidence of mixedRun says.
func fixtureEvidence() map[string]string {
	return map[string]string{
		"s5-arm-1-ip-link.txt": `$ ip -d link show flannel.1
5: flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN mode DEFAULT group default
    link/ether 6a:0f:51:c2:8e:b3 brd ff:ff:ff:ff:ff:ff promiscuity 0 minmtu 68 maxmtu 65535
    vxlan id 1 local 192.0.2.21 dev end0 srcport 0 0 dstport 8472 nolearning ttl auto ageing 300 udpcsum
$ ping -c 1 -M do -s 1422 192.0.2.12
ping: local error: message too long, mtu=1400
`,
		"s5-x86-2-tcpdump.txt":    "$ tcpdump -ni any udp port 8472 and host 192.0.2.21\n\x1b[1m0 packets captured\x1b[0m\n0 packets received by filter\n0 packets dropped by kernel\n",
		"s6-x86-1-kube-proxy.txt": "I0702 14:05:11.204 1 proxier.go:829] \"SyncProxyRules complete\" elapsed=\"1.021s\"\n",
	}
}

// writeMixedRun writes mixedRun with its evidence into a new directory.
func writeMixedRun(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range fixtureEvidence() {
		if got, err := d.Evidence(name, []byte(text)); err != nil || got != "evidence/"+name {
			t.Fatalf("evidence %s: %q, %v", name, got, err)
		}
	}
	if err := d.Write(mixedRun()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// abortedRun never came beyond its set-up.
func abortedRun() ConformanceRun {
	r := mixedRun()
	r.Error = "the probe's image could not be put on arm-2:\nno space left on device"
	r.Finished = start.Add(14 * time.Second)
	for i, c := range r.Cells {
		r.Cells[i] = blocked(c, "the run ended before its turn", "")
	}
	return r
}
