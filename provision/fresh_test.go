package provision

import (
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/stack"
	"github.com/hybridctl/hybridctl/templates"
)

// A machine that was reinstalled bears no mark, whatever the state says of its name: nothing is reset there, it is told, and the state has nothing
// of it any more, so that the next up begins anew.
func TestDestroy_AHostThatWasReinstalled(t *testing.T) {
	for name, c := range map[string]struct {
		fresh []string
		began bool // the state says that its join was begun, and no more
	}{
		"a worker":           {[]string{"host-3"}, false},
		"its join had begun": {[]string{"host-3"}, true},
		"the first of all":   {[]string{"host-1"}, false},
		"every one that is":  {[]string{"host-1", "host-2", "host-3"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSim(t, 3, remotetest.Options{})
			if c.began {
				s.hosts["host-3"].fail["kubeadm"] = "the power went"
				if _, err := s.up(); err == nil {
					t.Fatal("it joined")
				}
				delete(s.hosts["host-3"].fail, "kubeadm")
			} else {
				mustUp(t, s)
			}
			for _, host := range c.fresh {
				s.reinstalled(host)
			}
			s.changed()
			asked := map[string]int{}
			for host, h := range s.hosts {
				asked[host] = len(h.asked)
			}
			r, err := s.destroy()
			if err != nil {
				t.Fatalf("%v %+v", err, r.Hosts)
			}
			cleared := func(host string) bool {
				return slices.ContainsFunc(s.hosts[host].asked[asked[host]:], func(command string) bool {
					return strings.Contains(command, templates.Script("reset")) || strings.Contains(command, templates.Script("remove"))
				})
			}
			for host := range s.hosts {
				if cleared(host) == slices.Contains(c.fresh, host) {
					t.Errorf("%s: cleared: %t", host, cleared(host))
				}
			}
			for _, host := range c.fresh {
				i := slices.IndexFunc(r.Hosts, func(h HostResult) bool { return h.Name == host })
				if i < 0 || r.Hosts[i].Action != report.Unchanged {
					t.Errorf("%s: %+v", host, r.Hosts)
				}
				if notes := strings.Join(r.Plan.Notes, "\n"); !strings.Contains(notes, host+": nothing of the cluster is there") {
					t.Errorf("%s: notes %q", host, notes)
				}
			}
			store, err := stack.OpenStore(s.state)
			if err != nil {
				t.Fatal(err)
			}
			for host := range s.hosts {
				for _, kind := range []plan.Kind{plan.OS, plan.Runtime, plan.Kubernetes, plan.Init, plan.Join} {
					if store.Has(plan.HostID(host, kind)) {
						t.Errorf("the state still has %s of %s", kind, host)
					}
				}
			}
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			s.api.AllNodes = map[string]kube.Node{}
			mustUp(t, s)
		})
	}
}
