// Package ending is how a verb ends: the errors that mean something to whoever called it, and what the verb leaves. It writes nothing, and
// asks no one.
package ending

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// The sentinels, each with what its reader does.
var (
	// ErrPreflight: a check failed; nothing was written. The user mends the host, or names the check in preflight.ignore.
	ErrPreflight = errors.New("preflight checks failed")
	// ErrPartial: some hosts failed, the rest finished. Running the same command again goes on.
	ErrPartial = errors.New("stopped part-way")
	// ErrReportDir: a report cannot be written there. The user names another directory.
	ErrReportDir = errors.New("report")
	// ErrDeclined: the user said no to the plan. Nothing was written.
	ErrDeclined = errors.New("nothing was done: the plan was not confirmed")
	// ErrRefused: the inventory or the cluster has not what was asked for, or it would do harm. Nothing was done; the user asks otherwise.
	ErrRefused = errors.New("refused")
	// ErrVolumes: volumes would stay in Ceph that no cluster knows of any more. The user deletes them first, or forces.
	ErrVolumes = errors.New("there are volumes in Ceph")
	// ErrBundle: the bundle is missing, damaged, or lacks what the inventory asks for. The user mends it.
	ErrBundle = errors.New("bundle")
)

// Refused makes a refusal of what another room says no to; nil stays nil.
func Refused(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrRefused, err)
}

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

// Proven is what a run proved at its end.
type Proven struct {
	Run *report.ConformanceRun
	Dir string // where its report is
	Not string // why nothing was proven
}

// With is the result with what was proven.
func (r Result) With(p Proven) Result {
	r.Conformance, r.ReportDir, r.NotProven = p.Run, p.Dir, p.Not
	return r
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

// Hosts sums changes up for hosts, in their order. next is the command that goes on.
func Hosts(hosts []inventory.Host, seen map[string]facts.Host, changes []report.Change, next string) []HostResult {
	out := make([]HostResult, len(hosts))
	index := map[string]int{}
	for i, h := range hosts {
		out[i] = HostResult{Name: h.Name, Action: report.Unchanged, Arch: string(seen[h.Name].Arch)}
		index[h.Name] = i
	}
	for _, c := range changes {
		if i, ok := index[c.Host]; ok {
			out[i].add(c)
		}
	}
	for i := range out {
		h := &out[i]
		if err := seen[h.Name].Err; err != nil {
			h.Action, h.Error, h.Hint = report.Failed, err.Error(), hint.Text(err)
		}
		if h.Error != "" || h.Action == report.Skipped {
			h.Next = next
		}
	}
	return out
}

// add counts a change of the host.
func (h *HostResult) add(c report.Change) {
	if strength[c.Action] > strength[h.Action] {
		h.Action = c.Action
	}
	if c.Action == report.Failed && h.Error == "" {
		h.Error, h.Hint = fmt.Sprintf("%s: %s", c.Kind, c.Error), c.Hint
	}
}

// Partial makes the error of a run some hosts of which failed: ErrPartial, or nil when nothing did.
func Partial(err error, hosts []HostResult) error {
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

// Members are the nodes that are in the cluster now: hosts whose init or join did not fail in this run.
func Members(seen map[string]facts.Host, changes []report.Change) []string {
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

// Unfinished are the hosts with a step that was not done.
func Unfinished(changes []report.Change) (hosts []string) {
	for _, c := range changes {
		if (c.Action == report.Failed || c.Action == report.Skipped) && !slices.Contains(hosts, c.Host) {
			hosts = append(hosts, c.Host)
		}
	}
	return hosts
}

// Unchanged are the changes of a run that had nothing to do.
func Unchanged(p plan.Plan) []report.Change {
	out := make([]report.Change, len(p.Steps))
	for i, st := range p.Steps {
		out[i] = report.Change{Host: st.Host, Step: string(st.ID), Kind: string(st.Kind), Action: report.Unchanged}
	}
	return out
}

// LostControlPlane reports whether a control plane was reset.
func LostControlPlane(c *inventory.Cluster, changes []report.Change) bool {
	return slices.ContainsFunc(changes, func(x report.Change) bool {
		h, _ := c.Host(x.Host)
		return h.Role == inventory.ControlPlane && x.Action == report.Deleted && (x.Kind == string(plan.Init) || x.Kind == string(plan.Join))
	})
}

// NotReady is the change that a failed wait for what a run built makes.
func NotReady(err error) []report.Change {
	return []report.Change{{Step: "cluster/ready", Kind: "ready", Action: report.Failed, Error: err.Error(), Hint: hint.Text(err)}}
}
