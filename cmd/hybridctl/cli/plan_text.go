package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// writePlan writes a plan for people: the steps that change something, host by host, then notes and totals.
func writePlan(w io.Writer, p plan.Plan, color bool) error {
	var b bytes.Buffer
	groups := changesByHost(p)
	for _, host := range groups.order {
		fmt.Fprintln(&b, report.Paint(report.OneLine(report.HostName(host)), report.Strong, color))
		for _, s := range groups.steps[host] {
			writeStep(&b, s, color)
		}
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "note: %s\n", report.OneLine(n))
	}
	if len(groups.order)+len(p.Notes) > 0 {
		b.WriteByte('\n')
	}
	fmt.Fprintln(&b, planTotals(p))
	_, err := w.Write(b.Bytes())
	return err
}

type hostSteps struct {
	order []string // hosts in the plan's order, the cluster last
	steps map[string][]plan.Step
}

func changesByHost(p plan.Plan) hostSteps {
	g := hostSteps{steps: map[string][]plan.Step{}}
	for _, s := range p.Steps {
		if s.Action == plan.Unchanged {
			continue
		}
		if g.steps[s.Host] == nil && s.Host != "" {
			g.order = append(g.order, s.Host)
		}
		g.steps[s.Host] = append(g.steps[s.Host], s)
	}
	if g.steps[""] != nil {
		g.order = append(g.order, "")
	}
	return g
}

func writeStep(b *bytes.Buffer, s plan.Step, color bool) {
	_, name, _ := strings.Cut(string(s.ID), "/")
	action := report.Paint(fmt.Sprintf("%-9s", s.Action), planStyle(s.Action), color)
	fmt.Fprintf(b, "  %s%-11s %s\n", action, report.OneLine(name), report.OneLine(s.Reason))
	for _, d := range s.Details {
		fmt.Fprintf(b, "%s- %s\n", strings.Repeat(" ", 23), report.OneLine(d))
	}
}

func planStyle(a plan.Action) report.Style {
	switch a {
	case plan.Create:
		return report.Good
	case plan.Update:
		return report.Notice
	case plan.Unknown, plan.Delete:
		return report.Bad
	default:
		return report.Normal
	}
}

// planTotals says the counts: "7 to create, 1 to update, 3 unchanged".
func planTotals(p plan.Plan) string {
	if len(p.Steps) == 0 {
		return fmt.Sprintf("cluster %s: no changes, as hybridctl manages none of its hosts", p.Cluster)
	}
	if p.Changes() == 0 {
		return fmt.Sprintf("cluster %s: no changes, %s in place", p.Cluster, report.Count(len(p.Steps), "step"))
	}
	count := map[plan.Action]int{}
	for _, s := range p.Steps {
		count[s.Action]++
	}
	words := []struct {
		action plan.Action
		text   string
	}{{plan.Create, "to create"}, {plan.Update, "to update"}, {plan.Delete, "to delete"}, {plan.Unknown, "unknown"}, {plan.Unchanged, "unchanged"}}
	var parts []string
	for _, word := range words {
		if n := count[word.action]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, word.text))
		}
	}
	return fmt.Sprintf("cluster %s: %s", p.Cluster, strings.Join(parts, ", "))
}
