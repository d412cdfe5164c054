package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/report"
)

func result(check, name, src, dst string, v report.Verdict, reason string) report.CellResult {
	c := report.CellResult{Check: check, Name: name, Verdict: v, Reason: reason}
	if src != "" {
		c.Src = &report.Endpoint{Node: src}
	}
	if dst != "" {
		c.Dst = &report.Endpoint{Node: dst}
	}
	return c
}

// triedAs is a cell of a kind with how it ended.
func triedAs(k kind, c report.CellResult) tried {
	t := tried{cell: Cell{Check: c.Check, Name: c.Name, kind: k}, result: c}
	if c.Src != nil {
		t.cell.Src = c.Src.Node
	}
	if c.Dst != nil {
		t.cell.Dst = c.Dst.Node
	}
	return t
}

// acrossPair are the S5 cells of the pair a > b. The names say nothing of what they are: the fields do.
func acrossPair(fails func(network string, size int) bool) []tried {
	var out []tried
	for i, c := range (&planner{}).flows() {
		c.Check, c.Name, c.kind, c.Src, c.Dst = "S5", fmt.Sprint("flow ", i), kindPodIP, "a", "b"
		r := result("S5", c.Name, "a", "b", report.Passed, "")
		if fails(c.network, c.size) {
			r.Verdict, r.Reason = report.Failing, "no answer in time"
		}
		out = append(out, tried{cell: c, result: r})
	}
	return out
}

func TestDiagnose(t *testing.T) {
	const fail = report.Failing
	sameNode := func(node string, v report.Verdict) tried {
		return triedAs(kindSameNode, result("S4", "tcp/podIP", node, node, v, ""))
	}
	own := []tried{sameNode("a", report.Passed), sameNode("b", report.Passed)}
	ownFails := []tried{sameNode("a", fail), sameNode("b", report.Passed)}
	large := acrossPair(func(_ string, size int) bool { return size >= sizeAbove })
	all := acrossPair(func(string, int) bool { return true })
	none := acrossPair(func(string, int) bool { return false })
	one := acrossPair(func(network string, size int) bool { return network == "tcp" && size == sizeOne })
	udp := acrossPair(func(network string, _ int) bool { return network == "udp" })
	for _, c := range []struct {
		name     string
		cell     tried
		all      []tried
		evidence string
		want     string // in the cause; empty = none
	}{
		{"emulator", triedAs(kindForeign, result("N2", "foreign-image-fails", "", "a", fail, "a program of another architecture runs here: an emulator hides wrong images")), nil, "", "binfmt"},
		{"format", triedAs(kindOwn, result("S2", "own-image", "", "a", fail, "… exec format error")), nil, "", "no program for this architecture"},
		{"no match in the index", triedAs(kindSelector, result("D", "nodeSelector/arm64", "", "", fail, "no match for platform in manifest")), nil, "", "no program for this architecture"},
		{"jemalloc, in the logs", triedAs(kindOwn, result("N2", "own-image", "", "a", fail, "it does not run")), nil, "<jemalloc>: Unsupported system page size", "jemalloc"},
		{"pages", triedAs(kindOwn, result("S2", "own-image", "", "a", fail, "last ended with exit code 139")), nil, "", "memory pages"},
		{"instructions", triedAs(kindAddress, result("N1", "pod-address", "", "a", fail, "last ended with exit code 132")), nil, "", "instructions"},
		{"CNI", triedAs(kindReady, result("S1", "ready", "", "a", fail, "not Ready: cni plugin not initialized")), nil, "", "DaemonSet does not run"},
		{"no serving certificate", triedAs(kindPodIP, result("S5", "tcp/podIP", "a", "b", fail, "exec: remote error: tls: internal error")), nil, "", "no serving certificate"},
		{"MTU", large[2], large, "", "MTU"},
		{"MTU, with the smallest that passes UDP", large[6], large, "", "MTU"},
		{"overlay", all[0], append(slices.Clone(all), own...), "", "from one host to the other"},
		{"overlay, where the nodes' own pods were not tried", all[0], all, "", "from one host to the other"},
		{"not the overlay, when the node's own pods are not reached either", all[0], append(slices.Clone(all), ownFails...), "", ""},
		{"not the overlay, when one passes", one[0], one, "", ""},
		{"UDP only", udp[4], udp, "", "TCP gets through and UDP does not"},
		{"kube-proxy", triedAs(kindService, result("S6", "tcp/clusterIP", "a", "b", fail, "connection refused")), none, "", "not through the service"},
		{"not kube-proxy, when pods do not reach each other", triedAs(kindService, result("S6", "tcp/clusterIP", "a", "b", fail, "connection refused")), all, "", ""},
		{"firewall", triedAs(kindNodePort, result("S7", "tcp/nodePort/local-backend", "", "a", fail, "no answer in time")), nil, "", "throws the packets away"},
		{"refused is no firewall", triedAs(kindNodePort, result("S7", "tcp/nodePort/local-backend", "", "a", fail, "connection refused")), nil, "", ""},
		{"what the cell says comes before what the host logged", triedAs(kindVolumeMoves, result("S9", "ceph-rbd/x", "", "a", fail, "pool not found")), nil, "libceph: mauth authentication failed: -13", "the pool is not there"},
		{"what the host logged", triedAs(kindVolumeMoves, result("S9", "ceph-rbd/x", "", "a", fail, "not Ready")), nil, "libceph: mauth authentication failed: -13", "refuses the user"},
		{"a node that is gone is the cause", triedAs(kindVolumeMoves, result("S9", "ceph-rbd/x", "", "a", fail, "node a went away during the run: it has not been Ready for 2m0s")), nil, "socket closed", ""},
		{"unknown", triedAs(kindPodWrites, result("S8", "pod-writes-host-reads", "", "a", fail, "the host has another text")), nil, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cause, hint := diagnose(c.cell, append(c.all, c.cell), c.evidence)
			if c.want == "" && cause != "" || !strings.Contains(cause, c.want) || (cause == "") != (hint == "") {
				t.Errorf("cause %q, hint %q; want %q", cause, hint, c.want)
			}
		})
	}
}

func TestRedact(t *testing.T) {
	const secret = "s3cr3tXYZ0123456789"
	for _, text := range []string{
		"-----BEGIN RSA PRIVATE KEY-----\n" + secret + "\n-----END RSA PRIVATE KEY-----",
		"-----BEGIN PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY-----",
		"Authorization: Bearer " + secret, "authorization: basic " + secret + "==",
		"kubeadm join --token abcdef." + "s3cr3txyz0123456", "password=" + secret, "password: '" + secret + "'", `"passwd": "` + secret + `"`,
		"client-secret=" + secret, "REGISTRY_TOKEN=" + secret, "certificate-key: " + secret, "PASSWORD=hunter2", `{"password":"hunter2"}`,
		`{\"username\":\"u\",\"password\":\"` + secret + `\"}`, `{"auths":{"r":{"auth":"` + secret + `"}}}`,
		"--certificate-key " + secret, "https://user:" + secret + "@proxy.example:3128/x", "http://" + secret + "@proxy.example/", `password: "` + "two s3cr3t words" + `"`,
		"--password " + secret, "ctr images pull --user joe:" + secret + " r.example/app",
		"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzM2NyM3QifQ.c2lnbmF0dXJlLXMzY3IzdA",
	} {
		got := string(redact([]byte("before\n" + text + "\nafter")))
		for _, part := range []string{"s3cr3t", "hunter2", "eyJ", "IiOiJ", "c2ln"} {
			if strings.Contains(got, part) {
				t.Errorf("%q stays in %q", part, got)
			}
		}
		if !strings.HasPrefix(got, "before\n") || !strings.HasSuffix(got, "\nafter") || !strings.Contains(got, "<withheld>") {
			t.Errorf("%q becomes %q", text, got)
		}
	}
	if got := string(redact([]byte("-----BEGIN PRIVATE KEY-----\n" + secret + "\n and no end"))); strings.Contains(got, secret) {
		t.Errorf("a key whose end is cut off: %q", got)
	}
	ordinary := "pod a-0 uid 4f0c2b52-9c34-4f0e-8c2d-1c6f2d3c4b5a ip 10.244.1.7 restarts 0\n" +
		"Failed to pull image \"registry.test/app:v1.2.3\": 401 Unauthorized\nsecret \"registry\" not found\n" +
		"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\nsha256:0123456789abcdef0123456789abcdef\nflannel.1: mtu 1450 key\ntoken expired; basic check\nhttps://registry.test:5000/v2/app@sha256:0123 kube-proxy --user nobody\nmail admin@example.org, ssh://git@example.org\n"
	if got := string(redact([]byte(ordinary))); got != ordinary {
		t.Errorf("ordinary text becomes %q", got)
	}
}

// A cell whose probe was not there saw nothing of the network, whatever the others did.
func TestDiagnose_ACellThatSawNothing(t *testing.T) {
	all := acrossPair(func(string, int) bool { return true })
	lost := all[0]
	lost.lost = true
	if cause, hint := diagnose(lost, all, ""); cause != "" || hint != "" {
		t.Errorf("%s (%s)", cause, hint)
	}
	if cause, _ := diagnose(all[0], all, ""); cause == "" {
		t.Error("one that saw it has no cause either")
	}
}
