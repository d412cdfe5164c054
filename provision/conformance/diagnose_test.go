package conformance

import (
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

// podIPs are the S5 cells of the pair a > b: those of which the name contains one of the words fail.
func podIPs(failing ...string) []report.CellResult {
	var out []report.CellResult
	for _, name := range []string{"tcp/1/podIP", "tcp/1400/podIP", "tcp/8972/podIP", "tcp/1048576/podIP", "udp/1/podIP", "udp/1400/podIP", "udp/8972/podIP"} {
		c := result("S5", name, "a", "b", report.Passed, "")
		for _, word := range failing {
			if strings.Contains(name, word) {
				c.Verdict, c.Reason = report.Failing, "no answer in time"
			}
		}
		out = append(out, c)
	}
	return out
}

func TestDiagnose(t *testing.T) {
	const fail = report.Failing
	own := []report.CellResult{result("S4", "tcp/podIP", "a", "a", report.Passed, ""), result("S4", "tcp/podIP", "b", "b", report.Passed, "")}
	ownFails := []report.CellResult{result("S4", "tcp/podIP", "a", "a", fail, "x"), result("S4", "tcp/podIP", "b", "b", report.Passed, "")}
	for _, c := range []struct {
		name     string
		cell     report.CellResult
		all      []report.CellResult
		evidence string
		want     string // in the cause; empty = none
	}{
		{"emulator", result("N2", "foreign-image-fails", "", "a", fail, "a program of another architecture runs here: an emulator hides wrong images"), nil, "", "binfmt"},
		{"format", result("S2", "own-image", "", "a", fail, "… exec format error"), nil, "", "no program for this architecture"},
		{"no match in the index", result("D", "nodeSelector/arm64", "", "", fail, "no match for platform in manifest"), nil, "", "no program for this architecture"},
		{"jemalloc, in the logs", result("N2", "own-image", "", "a", fail, "it does not run"), nil, "<jemalloc>: Unsupported system page size", "jemalloc"},
		{"pages", result("S2", "own-image", "", "a", fail, "last ended with exit code 139"), nil, "", "memory pages"},
		{"instructions", result("N1", "pod-address", "", "a", fail, "last ended with exit code 132"), nil, "", "instructions"},
		{"CNI", result("S1", "ready", "", "a", fail, "not Ready: cni plugin not initialized"), nil, "", "DaemonSet does not run"},
		{"MTU", podIPs("8972", "1048576")[2], podIPs("8972", "1048576"), "", "MTU"},
		{"MTU, with the smallest that passes UDP", podIPs("8972", "1048576")[6], podIPs("8972", "1048576"), "", "MTU"},
		{"overlay", podIPs("/")[0], append(podIPs("/"), own...), "", "from one host to the other"},
		{"overlay, where the nodes' own pods were not tried", podIPs("/")[0], podIPs("/"), "", "from one host to the other"},
		{"not the overlay, when the node's own pods are not reached either", podIPs("/")[0], append(podIPs("/"), ownFails...), "", ""},
		{"not the overlay, when one passes", podIPs("tcp/1/")[0], podIPs("tcp/1/"), "", ""},
		{"UDP only", podIPs("udp")[4], podIPs("udp"), "", "TCP gets through and UDP does not"},
		{"kube-proxy", result("S6", "tcp/clusterIP", "a", "b", fail, "connection refused"), podIPs(), "", "not through the service"},
		{"not kube-proxy, when pods do not reach each other", result("S6", "tcp/clusterIP", "a", "b", fail, "connection refused"), podIPs("/"), "", ""},
		{"firewall", result("S7", "tcp/nodePort/local-backend", "", "a", fail, "no answer in time"), nil, "", "throws the packets away"},
		{"refused is no firewall", result("S7", "tcp/nodePort/local-backend", "", "a", fail, "connection refused"), nil, "", ""},
		{"what the cell says comes before what the host logged", result("S9", "ceph-rbd/x", "", "a", fail, "pool not found"), nil, "libceph: mauth authentication failed: -13", "the pool is not there"},
		{"what the host logged", result("S9", "ceph-rbd/x", "", "a", fail, "not Ready"), nil, "libceph: mauth authentication failed: -13", "refuses the user"},
		{"a node that is gone is the cause", result("S9", "ceph-rbd/x", "", "a", fail, "node a went away during the run: it has not been Ready for 2m0s"), nil, "socket closed", ""},
		{"unknown", result("S8", "pod-writes-host-reads", "", "a", fail, "the host has another text"), nil, "", ""},
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
	ordinary := "pod a-0 uid 4f0c2b52-9c34-4f0e-8c2d-1c6f2d3c4b5a ip 10.244.1.7 restarts 0\n" +
		"Failed to pull image \"registry.test/app:v1.2.3\": 401 Unauthorized\nsecret \"registry\" not found\n" +
		"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\nsha256:0123456789abcdef0123456789abcdef\nflannel.1: mtu 1450 key\ntoken expired; basic check\n"
	if got := string(redact([]byte(ordinary))); got != ordinary {
		t.Errorf("ordinary text becomes %q", got)
	}
}
