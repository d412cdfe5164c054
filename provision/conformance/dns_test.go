package conformance

import (
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

// A server that answers with the right address among others sends clients elsewhere; one that is not there is not passed over.
func TestRun_DNS(t *testing.T) {
	server := func(change func(p *kube.Pod)) func(c *fake) {
		return func(c *fake) {
			p := kube.Pod{Namespace: "kube-system", Name: "coredns-new", UID: "new", Node: "arm-1", Labels: map[string]string{"k8s-app": "kube-dns"}, Problem: "its kubelet has not started it yet"}
			change(&p)
			c.deadDNS = p.IP // whoever asks it waits
			c.others = append(c.others, p)
		}
	}
	for name, k := range map[string]struct {
		with   func(c *fake)
		all    report.Verdict // of dns/service
		each   report.Verdict // of dns/each-server
		reason string
	}{
		"a wildcard beside it":        {func(c *fake) { c.also = []string{"198.51.100.7"} }, report.Failing, report.Failing, "instead of"},
		"a server without an address": {server(func(*kube.Pod) {}), report.Passed, report.Failing, "coredns-new on arm-1 has no address: its kubelet has not started it yet"},
		"one that is on no node yet":  {server(func(p *kube.Pod) { p.Node = "" }), report.Passed, report.Passed, ""},
		"one that was evicted":        {server(func(p *kube.Pod) { p.IP, p.Ended = "10.0.0.99", true }), report.Passed, report.Passed, ""},
		"they listen elsewhere":       {func(c *fake) { c.dnsPort, c.dnsTarget = "1053", "1053" }, report.Passed, report.Passed, ""},
		"at a port with a name": {func(c *fake) {
			c.dnsPort, c.dnsTarget = "1053", "dns"
			for i := range c.others {
				c.others[i].Ports = []kube.ContainerPort{{Name: "dns", Protocol: "TCP", Port: 1054}, {Name: "metrics", Protocol: "UDP", Port: 9153}, {Name: "dns", Protocol: "UDP", Port: 1053}}
			}
		}, report.Passed, report.Passed, ""},
		"at a port that none has":        {func(c *fake) { c.dnsTarget = "dns" }, report.Passed, report.Failing, `coredns-arm-1 on arm-1 has no port "dns", to which the service kube-dns leads`},
		"their Service has another name": {func(c *fake) { c.dnsService = "coredns" }, report.Passed, report.Passed, ""},
		"and they listen elsewhere":      {func(c *fake) { c.dnsService, c.dnsPort, c.dnsTarget = "coredns", "1053", "1053" }, report.Passed, report.Blocked, "where the DNS servers listen is not known"},
		"and one has no address": {func(c *fake) {
			server(func(*kube.Pod) {})(c)
			c.dnsService = "coredns"
		}, report.Passed, report.Failing, "coredns-new on arm-1 has no address"},
		"one that is deleted, and lives": {server(func(p *kube.Pod) { p.IP, p.Deleting = "10.0.0.98", true }), report.Passed, report.Passed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFake(t, amd64, arm64)
			k.with(c)
			o := c.options()
			o.Checks = []string{"S6"}
			d, err := fullRun(t, o)
			if err != nil {
				t.Error(err)
			}
			found := 0
			for _, cell := range d.Cells {
				want, of := map[string]report.Verdict{"dns/service": k.all, "dns/each-server": k.each}[cell.Name]
				if !of {
					continue
				}
				if found++; cell.Verdict != want || want != report.Passed && !strings.Contains(cell.Reason, k.reason) {
					t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
				}
			}
			if found != 4 {
				t.Errorf("%d cells", found)
			}
		})
	}
}

// A Service of both families has two addresses, and its name both.
func TestStrange(t *testing.T) {
	for _, c := range []struct {
		service kube.Service
		got     []string
		want    bool
	}{
		{kube.Service{ClusterIP: "10.96.0.9"}, []string{"10.96.0.9"}, true},
		{kube.Service{ClusterIP: "10.96.0.9", ClusterIPs: []string{"10.96.0.9", "fd00::9"}}, []string{"fd00::9", "10.96.0.9"}, true},
		{kube.Service{ClusterIP: "10.96.0.9", ClusterIPs: []string{"10.96.0.9", "fd00::9"}}, []string{"fd00::9"}, false},
		{kube.Service{ClusterIP: "10.96.0.9"}, []string{"10.96.0.9", "10.96.0.10"}, false},
		{kube.Service{ClusterIP: "10.96.0.9"}, nil, false},
	} {
		if got := resolves(c.service, c.got); got != c.want {
			t.Errorf("%+v to %v: %t", c.service, c.got, got)
		}
	}
}
