package conformance

import (
	"slices"

	"github.com/hybridctl/hybridctl/provision/report"
)

// Scenario is a list of checks with a purpose.
type Scenario string

const (
	NewDeployment Scenario = "new-deployment"
	ScaleOut      Scenario = "scale-out"
)

// Scenarios lists the scenarios.
func Scenarios() []Scenario { return []Scenario{NewDeployment, ScaleOut} }

// check is a check of the scenarios, and what plans its cells.
type check struct {
	id, title string   // the ID is stable
	only      Scenario // the one scenario that has it; empty = all
	plan      func(*planner)
}

// checks are in the order in which they are reported. A check that cannot be tried plans a cell that says so.
var checks = []check{
	{"N1", "Arm and x86 nodes are added", NewDeployment, (*planner).added},
	{"N2", "Arm images run on Arm nodes, x86 images on x86 nodes", NewDeployment, (*planner).images},
	{"S1", "the new nodes are added", ScaleOut, (*planner).added},
	{"S2", "images of their architecture run on the new nodes", ScaleOut, (*planner).images},
	{"D", "directed scheduling by architecture", "", (*planner).directed},
	{"S3", "containers of one pod", "", (*planner).containers},
	{"S4", "pods on the same node", "", (*planner).sameNode},
	{"S5", "pods on different nodes", "", (*planner).nodes},
	{"S6", "pods and services", "", (*planner).services},
	{"S7", "from outside the cluster", "", (*planner).outside},
	{"S8", "HostPath volumes", "", (*planner).hostPath},
	{"S9", "Ceph persistent volumes", "", (*planner).ceph},
	{"R", "images from a private registry", "", (*planner).registry},
	{"G", "pods on the old nodes are unchanged", ScaleOut, (*planner).guard},
}

func checksOf(s Scenario) []check {
	return slices.DeleteFunc(slices.Clone(checks), func(c check) bool { return c.only != "" && c.only != s })
}

// ChecksOf lists a scenario's checks in the order in which they are reported. The IDs are stable.
func ChecksOf(s Scenario) []report.RunCheck {
	var out []report.RunCheck
	for _, c := range checksOf(s) {
		out = append(out, report.RunCheck{ID: c.id, Title: c.title})
	}
	return out
}
