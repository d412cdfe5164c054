package provision

import (
	"context"
	"errors"
	"strings"
	"testing"

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
