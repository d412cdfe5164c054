package conformance

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/report"
)

// Where the nodes know the registry's login, a pod needs no secret, and that the image is private is the registry's word.
func TestRegistry_NodesKnowTheLogin(t *testing.T) {
	for name, test := range map[string]struct {
		knows   bool // a pod without a secret gets the image
		gives   bool // to anybody
		unknown error
		refuses report.Verdict
		reason  string
	}{
		"private":         {true, false, nil, report.Passed, ""},
		"given to anyone": {true, true, nil, report.Failing, "gives the image to anybody"},
		"not known":       {true, false, errors.New("registry.example did not answer"), report.Blocked, "registry.example did not answer"},
		"a wrong login":   {false, false, nil, report.Passed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFake(t, amd64, arm64)
			c.leaky = test.knows
			o := c.options()
			o.Checks = []string{"R"}
			o.Registry = &Registry{Image: privateImage, NodesKnow: true, Refuses: func(context.Context) (bool, error) { return !test.gives, test.unknown }}
			d, _ := fullRun(t, o)
			pulls := 0
			for _, cell := range d.Cells {
				if cell.Name == "without-login-fails" {
					if cell.Verdict != test.refuses || !strings.Contains(cell.Reason, test.reason) {
						t.Errorf("%s: %s %s", cell.ID(), cell.Verdict, cell.Reason)
					}
					continue
				}
				pulls++
				if (cell.Verdict == report.Passed) != test.knows {
					t.Errorf("%s: %s %s", cell.ID(), cell.Verdict, cell.Reason)
				}
			}
			if pulls != 2 {
				t.Errorf("%d cells pull", pulls)
			}
			c.wantNothingLeft(t)
		})
	}
}
