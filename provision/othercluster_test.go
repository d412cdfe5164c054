package provision

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/kube/fakeapi"
	"github.com/hybridctl/hybridctl/provision/report"
)

// A host that became a node of another cluster, by another inventory, has hybridctl's marks. Nothing takes it away from there.
func TestNodeOfAnotherClusterIsLeftAlone(t *testing.T) {
	const named = "node of another cluster (https://198.51.100.1:6443)"
	for name, c := range map[string]struct {
		run  func(*sim) (Result, error)
		want error
		says string
	}{
		"up": {func(s *sim) (Result, error) { return s.up() }, ErrPreflight, named},
		"up while the first control plane is not reached": {func(s *sim) (Result, error) {
			s.fleet.Hosts[0].Refuse()
			return s.up()
		}, ErrRefused, "host-3: of another cluster than the kubeconfig that is kept"},
		"scale-out": {func(s *sim) (Result, error) { return s.scaleOut(nil) }, ErrPreflight, named},
		"remove":    {func(s *sim) (Result, error) { return s.remove("host-3", nil) }, ErrRefused, named},
		"destroy": {func(s *sim) (Result, error) {
			return Destroy(context.Background(), DestroyOptions{Options: s.options()})
		}, ErrRefused, named},
	} {
		t.Run(name, func(t *testing.T) {
			s := standing(t, 3)
			delete(s.api.AllNodes, "host-3")
			s.hosts["host-3"].others = true
			r, err := c.run(s)
			said := ""
			if err != nil {
				said = err.Error()
			}
			for _, ch := range failed(r.Checks) {
				if ch.Host == "host-3" && ch.Status == report.Fail {
					said += ch.Message
				}
			}
			if !errors.Is(err, c.want) || !strings.Contains(said, c.says) {
				t.Errorf("error %v, said %q; want %v and %q", err, said, c.want, c.says)
			}
			if s.changed() != 0 {
				t.Errorf("written on a host: %q", s.hosts["host-3"].writes)
			}
		})
	}
}

// A check that is ignored is no leave to reset a host: --force names the host.
func TestIgnoredCheck_IsNoLeaveToReset(t *testing.T) {
	scaleOut := func(change func(*ScaleOutOptions)) func(*sim) (Result, error) {
		return func(s *sim) (Result, error) { return s.scaleOut(change) }
	}
	up := func(s *sim) (Result, error) { return s.up() }
	others := func(s *sim) { s.hosts["host-3"].others = true }
	for name, c := range map[string]struct {
		take func(*sim)
		run  func(*sim) (Result, error)
		says string
	}{
		"scale-out":                        {others, scaleOut(nil), "host-3 is a node of another cluster (https://198.51.100.1:6443)"},
		"scale-out of one without a node":  {func(s *sim) { s.lostItsFiles("host-3", markOf(fakeapi.OtherCA, "sim")) }, scaleOut(nil), "host-3 bears the mark of another cluster"},
		"scale-out of one that is half on": {func(s *sim) { others(s); s.hosts["host-3"].markers["join"] = "state started\n" }, scaleOut(nil), "host-3 is a node of another cluster"},
		"scale-out --force of another host": {others, scaleOut(func(o *ScaleOutOptions) {
			o.Hosts, o.Force = []string{"host-2", "host-3"}, []string{"host-2"}
		}), "host-3 is a node of another cluster"},
		"scale-out --replace": {others, scaleOut(func(o *ScaleOutOptions) { o.Replace = []string{"host-3"} }), "host-3 is a node of another cluster"},
		"up without a kubeconfig that is kept": {func(s *sim) {
			others(s)
			s.hosts["host-3"].belongs = markOf(fakeapi.OtherCA, "sim")
			_ = os.RemoveAll(s.state)
		}, up, "host-3 is a node of another cluster"},
		"up of one whose authority cannot be read": {func(s *sim) {
			h := s.hosts["host-3"]
			h.member, h.belongs = false, ""
			h.says("kubelet.conf", "    server: https://198.51.100.1:6443\n")
		}, up, "host-3 has a node's files, and no cluster CA that can be read"},
	} {
		for where, ignore := range map[string]func(*sim){
			"everywhere": func(s *sim) { s.c.Spec.Preflight.Ignore = []string{"other-cluster"} },
			"there":      func(s *sim) { s.c.Spec.Hosts[2].Preflight.Ignore = []string{"other-cluster"} },
		} {
			t.Run(name+", ignored "+where, func(t *testing.T) {
				s := standing(t, 3)
				if name == "scale-out --replace" {
					s.api.SetMachineID("host-3", "the machine that was")
					s.api.SetReady("host-3", false)
				} else {
					delete(s.api.AllNodes, "host-3")
				}
				ignore(s)
				c.take(s)
				_, err := c.run(s)
				if !errors.Is(err, ErrRefused) || !strings.Contains(printed(err), c.says) || !strings.Contains(printed(err), "scale-out --force=host-3") {
					t.Errorf("%v", printed(err))
				}
				if s.changed() != 0 || len(s.api.Did) > 0 {
					t.Errorf("written %q, done %q", s.hosts["host-3"].writes, s.api.Did)
				}
			})
		}
	}
}
