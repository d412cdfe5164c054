package proposal

import (
	"errors"
	"testing"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// Hundreds of hosts are judged again only when something was learned since.
func TestFetchAndJudge_JudgesAgainWhatWasLearnedSince(t *testing.T) {
	pulls := survey.Seen{Registries: preflight.RegistriesSeen{Pulls: []preflight.Pull{{Image: "registry.test/pause:1"}}}}
	none := survey.Seen{Bundle: &bundle.Manifest{}} // and hosts pull, from registries that have everything
	failing := []report.Check{{Name: "os", Status: report.Fail}}
	for name, test := range map[string]struct {
		seen   survey.Seen
		checks []report.Check
		judged int
		err    error
	}{
		"nothing is learned":         {survey.Seen{}, nil, 1, nil},
		"registries were asked":      {pulls, nil, 2, nil},
		"every host has every image": {none, nil, 2, nil},
		"something is lacking":       {survey.Seen{Fetch: preflight.Fetch{Missing: "28 files"}}, nil, 1, nil}, // and a verb that reads fetches nothing
		"it is stopped at the start": {pulls, failing, 1, ending.ErrPreflight},
	} {
		t.Run(name, func(t *testing.T) {
			judged := 0
			c := &inventory.Cluster{}
			if test.seen.Bundle != nil {
				c.Spec.Images = inventory.ImagesRegistry
			}
			d := &Desk{Cluster: c, Reader: survey.Reader{Cluster: c}}
			_, checks, err := d.fetchAndJudge(t.Context(), test.seen, nil, func(survey.Seen) []report.Check { judged++; return test.checks })
			if judged != test.judged || !errors.Is(err, test.err) || len(checks) != len(test.checks) {
				t.Errorf("judged %d times, want %d; %v; %v", judged, test.judged, checks, err)
			}
		})
	}
}
