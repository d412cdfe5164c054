package provision

import (
	"fmt"
	"slices"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/survey"
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
	Hint   string        `json:"hint,omitempty"`  // what the user can do about it
	Next   string        `json:"next,omitempty"`  // the command that goes on
}

// strength orders actions: a host's action is the strongest of its steps'.
var strength = map[report.Action]int{
	report.Unchanged: 0, report.Configured: 1, report.Created: 2, report.Deleted: 3, report.Skipped: 4, report.Failed: 5,
}

// hostResults sums the changes up for every managed host; verb is the command that goes on.
func (o Options) hostResults(seen survey.Hosts, changes []report.Change, verb string) []HostResult {
	return o.resultsOf(o.Cluster.Managed(), seen, changes, verb)
}

// resultsOf sums the changes up for these hosts, in their order.
func (o Options) resultsOf(hosts []inventory.Host, seen survey.Hosts, changes []report.Change, verb string) []HostResult {
	out := make([]HostResult, len(hosts))
	index := map[string]int{}
	for i, h := range hosts {
		f := seen[h.Name]
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
			h.Error, h.Hint = fmt.Sprintf("%s: %s", c.Kind, c.Error), c.Hint
		}
	}
	for i := range out {
		h := &out[i]
		if err := seen[h.Name].Err; err != nil {
			h.Action, h.Error, h.Hint = report.Failed, err.Error(), hint.Text(err)
		}
		if h.Error != "" || h.Action == report.Skipped {
			h.Next = fmt.Sprintf("hybridctl %s -f %s", verb, o.Cluster.Path)
			if o.StateDir != DefaultStateDir(o.Cluster) {
				h.Next += " --state-dir " + o.StateDir
			}
		}
	}
	return out
}

// partial makes the error of a run some hosts of which failed.
func partial(err error, hosts []HostResult) error {
	failed := 0
	for _, h := range hosts {
		if h.Error != "" {
			failed++
		}
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%w: %d of %d hosts failed", ErrPartial, failed, len(hosts))
	case err != nil:
		return fmt.Errorf("%w: %w", ErrPartial, err)
	}
	return nil
}

// members are the nodes that are in the cluster now: hosts whose init or join did not fail in this run.
func members(seen survey.Hosts, changes []report.Change) []string {
	var out []string
	for _, c := range changes {
		failed := c.Error != "" || c.Action == report.Skipped || c.Action == report.Failed
		if (c.Kind == string(plan.Init) || c.Kind == string(plan.Join)) && !failed && seen[c.Host].Err == nil {
			out = append(out, c.Host)
		}
	}
	slices.Sort(out)
	return out
}

// some joins the first of many words.
func some(words []string) string { return report.Some(words, 10) }

// names are the hosts' names.
func names(hosts []inventory.Host) []string {
	out := make([]string, len(hosts))
	for i, h := range hosts {
		out[i] = h.Name
	}
	return out
}
