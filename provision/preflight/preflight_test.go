package preflight

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/report"
)

func TestRun(t *testing.T) {
	for _, c := range slices.Concat(cases, speedCases) {
		t.Run(c.check+"/"+c.name, func(t *testing.T) {
			f := fit()
			if c.running {
				f.up()
			}
			c.change(f)
			c.wantIn(t, f)
		})
	}
}

// TestRun_EveryCheck: on fit hosts every check is run and passes, before and after the cluster is up, and each can fail.
func TestRun_EveryCheck(t *testing.T) {
	for name, f := range map[string]*fixture{"new": fit().withCeph().withSite(), "running": fit().withCeph().withSite().up()} {
		ran := map[string]bool{}
		for _, r := range f.run() {
			ran[r.Name] = true
			if name == "running" && r.Name == "firewall" && r.Status == report.Unknown && strings.HasPrefix(r.Message, "not asked: ") {
				continue
			}
			if r.Status != report.Pass || r.Hint != "" {
				t.Errorf("%s: %+v", name, r)
			}
		}
		var names []string
		for n := range ran {
			names = append(names, n)
		}
		slices.Sort(names)
		if !reflect.DeepEqual(names, Names()) {
			t.Errorf("%s: ran %v, Names says %v", name, names, Names())
		}
	}
	for _, name := range Names() {
		if Describe(name) == "" {
			t.Errorf("%s has no description", name)
		}
		if !slices.ContainsFunc(slices.Concat(cases, speedCases, cephCases, surroundingCases, registryCases), func(c one) bool { return c.check == name && (c.status == report.Fail || c.status == report.Warn) }) {
			t.Errorf("no case shows %s failing", name)
		}
	}
	if Describe("no-such-check") != "" {
		t.Error("a check that is not there has a description")
	}
}

func TestRun_Ignored(t *testing.T) {
	f := fit()
	for i := range f.hosts {
		f.hosts[i].SwapBytes, f.hosts[i].MemoryBytes, f.hosts[i].Hostname = 1<<30, 1<<20, "h"+f.hosts[i].Name
	}
	f.cluster.Spec.Preflight.Ignore = []string{"swap", "hostname", "root"}
	f.declared("arm-1").Preflight.Ignore = []string{"memory"}
	want := map[string]report.Status{
		"x86-1 swap": report.Ignored, "arm-1 swap": report.Ignored, "x86-1 hostname": report.Ignored, "x86-1 memory": report.Fail,
		"arm-1 memory": report.Ignored, "x86-1 root": report.Pass,
	}
	results := RunSeen(f.cluster, f.hosts, f.bundle, Seen{})
	for _, r := range results {
		if status, ok := want[r.Host+" "+r.Name]; ok && r.Status != status {
			t.Errorf("want %s: %+v", status, r)
		}
		if r.Status == report.Ignored && (r.Message == "" || r.Hint == "") {
			t.Errorf("lost its message: %+v", r)
		}
	}
	if b := Blocking(results); len(b) != 1 || b[0].Host != "x86-1" || b[0].Name != "memory" {
		t.Errorf("blocking: %+v", b)
	}
}

// TestBlocking: a host that is down stops only itself; one that refuses us stops the run.
func TestBlocking(t *testing.T) {
	f := fit()
	f.host("arm-1").Err = errDown
	if b := Blocking(RunSeen(f.cluster, f.hosts, f.bundle, Seen{})); len(b) != 0 {
		t.Errorf("down: %+v", b)
	}
	f.host("arm-1").Err = errSudo
	if b := Blocking(RunSeen(f.cluster, f.hosts, f.bundle, Seen{})); len(b) != 1 || b[0].Name != "access" {
		t.Errorf("refused: %+v", b)
	}
}

func TestRun_SortedAndWithoutBundle(t *testing.T) {
	f := fit()
	results := RunSeen(f.cluster, f.hosts, nil, Seen{})
	key := func(r report.Check) string { return r.Host + "/" + r.Name }
	for i := 1; i < len(results); i++ {
		if key(results[i-1]) >= key(results[i]) {
			t.Errorf("%s before %s", key(results[i-1]), key(results[i]))
		}
	}
	var names []string
	for _, b := range Blocking(results) {
		names = append(names, b.Name)
	}
	if want := []string{"bundle-version", "bundle-arch", "bundle-arch"}; !reflect.DeepEqual(names, want) {
		t.Errorf("without a bundle: %v, want %v", names, want)
	}
}

// Of a bundle that no one looked at, as the run was stopped before, nothing is said.
func TestRunSeen_StoppedBeforeTheBundle(t *testing.T) {
	f := fit().withCeph()
	for _, c := range RunSeen(f.cluster, f.hosts, nil, Seen{Unread: true}) {
		if (strings.HasPrefix(c.Name, "bundle-") || c.Name == "ceph-images") && (c.Status != report.Unknown || !strings.HasPrefix(c.Message, "not tried: ")) {
			t.Errorf("%s %s: %s: %s", c.Host, c.Name, c.Status, c.Message)
		}
	}
}

// What the checks look up is what hosts are asked.
func TestAsk(t *testing.T) {
	c := fit().cluster
	a := Ask(c)
	if !reflect.DeepEqual(a.Modules, []string{"overlay", "br_netfilter", "vxlan"}) || len(a.Tools) != len(tools) ||
		len(a.Directories) != len(disks) || !slices.Contains(a.Units, "docker.service") || !slices.Contains(a.Units, firewalld) {
		t.Errorf("got %+v", a)
	}
	c.Spec.CNI.Provider = inventory.CNIManifest
	if a = Ask(c); slices.Contains(a.Modules, "vxlan") {
		t.Errorf("vxlan is asked about without flannel: %+v", a)
	}
}
