package provision

import (
	"fmt"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// Result is what Up, ScaleOut, Remove and Destroy leave.
type Result struct {
	Cluster    string          `json:"cluster"`
	Plan       plan.Plan       `json:"plan"`
	Changes    []report.Change `json:"changes"`
	Checks     []report.Check  `json:"checks,omitempty"` // preflight checks that did not pass
	Hosts      []HostResult    `json:"hosts"`
	Kubeconfig string          `json:"kubeconfig,omitempty"` // path

	Conformance *report.ConformanceRun `json:"conformance,omitempty"` // what the run proved at its end
	ReportDir   string                 `json:"reportDir,omitempty"`   // where its report is
	Notes       []string               `json:"notes,omitempty"`       // what is left for the user to do
	Nothing     string                 `json:"nothing,omitempty"`     // why there was nothing to do
	NotProven   string                 `json:"notProven,omitempty"`   // why nothing was proven although it was asked for
}

// HostResult is the end of one host.
type HostResult struct {
	Name   string        `json:"name"`
	Arch   string        `json:"arch,omitempty"`
	Action report.Action `json:"action"`          // the strongest of its steps
	Error  string        `json:"error,omitempty"` // why it failed
	Next   string        `json:"next,omitempty"`  // the command that goes on
}

// strength orders actions: a host's action is the strongest of its steps'.
var strength = map[report.Action]int{
	report.Unchanged: 0, report.Configured: 1, report.Created: 2, report.Deleted: 3, report.Skipped: 4, report.Failed: 5,
}

// hostResults sums the changes up by host, in the inventory's order; verb is the command that goes on.
func (s *session) hostResults(changes []report.Change, verb string) []HostResult {
	return s.hostResultsOf(s.Cluster.Managed(), changes, verb)
}

func (s *session) hostResultsOf(hosts []inventory.Host, changes []report.Change, verb string) []HostResult {
	out := make([]HostResult, len(hosts))
	index := map[string]int{}
	for i, h := range hosts {
		f := s.facts[h.Name]
		out[i] = HostResult{Name: h.Name, Action: report.Unchanged}
		if f.Arch != "" {
			out[i].Arch = f.Arch.String()
		}
		index[h.Name] = i
	}
	for _, c := range changes {
		i, ok := index[c.Host]
		if !ok {
			continue
		}
		h := &out[i]
		if strength[c.Action] > strength[h.Action] {
			h.Action = c.Action
		}
		if c.Action == report.Failed && h.Error == "" {
			h.Error = fmt.Sprintf("%s: %s", c.Kind, c.Error)
		}
	}
	for i := range out {
		h := &out[i]
		if err := s.facts[h.Name].Err; err != nil {
			h.Action, h.Error = report.Failed, err.Error()
		}
		if h.Error != "" || h.Action == report.Skipped {
			h.Next = fmt.Sprintf("hybridctl %s -f %s", verb, s.Cluster.Path)
			if s.StateDir != DefaultStateDir(s.Cluster) {
				h.Next += " --state-dir " + s.StateDir
			}
		}
	}
	return out
}
