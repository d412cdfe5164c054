package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/execution"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/proof"
	"github.com/hybridctl/hybridctl/provision/proposal"
	"github.com/hybridctl/hybridctl/provision/render"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// AuditMode says what an image that lacks the new nodes' architecture does to a scale-out.
type AuditMode string

const (
	AuditBlock AuditMode = "block" // a DaemonSet's stops it
	AuditWarn  AuditMode = "warn"
	AuditOff   AuditMode = "off"
)

// AuditModes lists the modes.
func AuditModes() []AuditMode { return []AuditMode{AuditBlock, AuditWarn, AuditOff} }

// ScaleOutOptions are ScaleOut's own.
type ScaleOutOptions struct {
	Options
	Hosts       []string      // names in the inventory; nil = every host that is no node yet
	Arch        platform.Arch // only hosts that have it, by fact; "" = any
	Replace     []string      // names of nodes whose hosts were reinstalled: their old nodes are deleted, and they join again
	Force       []string      // hosts that are reset and join although they are not known to be of this cluster or of none
	Guard       bool          // new nodes take no ordinary pods until they are proven
	Audit       AuditMode     // "" = off
	Conformance ConformanceMode
	Proof       ProofOptions
}

// ScaleOut joins the inventory's hosts that are no nodes yet to the running cluster. It connects to those alone: what it must know of the
// others, the API server tells. Result.Nothing says why when there is nothing to do.
// Errors: ErrRefused, ErrPreflight, ErrPartial, ErrDeclined, ErrLocked, ErrBundle, ErrConformance, context.Canceled, or others for the user.
func ScaleOut(ctx context.Context, o ScaleOutOptions) (Result, error) {
	o.Options = o.withDefaults()
	if o.Guard && !o.Conformance.on() {
		return Result{}, hint.With(fmt.Errorf("%w: a guard is lifted when the nodes are proven, and with --conformance=off nothing is", ErrRefused), "leave --guard or --conformance=off away")
	}
	result := Result{Cluster: o.Cluster.Metadata.Name}
	r, err := begin(ctx, o.Options)
	if err != nil {
		return result, err
	}
	defer r.end()

	g, err := r.desk.Growth(r.reading, o.growth())
	result.Plan, result.Checks, result.Nothing, result.Notes = g.Plan, g.Checks, g.Nothing, g.Notes
	if err != nil || len(g.Hosts) == 0 {
		return result, err
	}
	dir, err := o.Proof.open(o.Options, proof.Lacks(r.desk.Reader.Bundle), &g.Plan, o.Conformance.on())
	result.Plan = g.Plan
	if err != nil {
		return result, err
	}
	if g.Plan.Changes() > 0 {
		if err := r.confirm(g.Plan); err != nil {
			return result, err
		}
	}
	var before []kube.Pod
	if o.Conformance.on() {
		if before, err = proof.PodsBefore(r.reading, r.API); err != nil {
			return result, err
		}
	}
	var taint *render.Taint
	if o.Guard {
		taint = &proof.GuardTaint
	}
	did, failed, err := r.executor.ScaleOut(ctx, execution.Growth{Seen: g.Seen, Plan: g.Plan, Hosts: g.Hosts, Replaced: g.Replaced, Taint: taint})
	result.Changes, result.Notes = did.Changes, append(result.Notes, did.Notes...)
	if did.Changes != nil {
		result.Hosts = r.resultsOf(g.Hosts, g.Seen.Hosts, did.Changes, o.verb())
	}
	joined := ending.Members(g.Seen.Hosts, did.Changes)
	if err == nil && did.Changes != nil {
		result.Kubeconfig, err = r.KeepKubeconfig()
	}
	if err != nil {
		if did.Changes != nil && o.Guard && len(joined) > 0 {
			result.Notes = append(result.Notes, proof.GuardStays(joined))
		}
		return result, err
	}
	late, notReady := r.waitReady(g.Seen, g.Plan, did.Changes)
	result.Changes = append(result.Changes, late...)
	failed = errors.Join(failed, notReady)
	var p ending.Proven
	var unproven error
	if len(joined) > 0 {
		p, unproven = proveJoined(r, o, g.Seen, joined, before, dir)
		result = result.With(p)
		if o.Guard {
			notes, err := proof.LetIn(r.reading, r.API, joined, p.Run, unproven)
			result.Notes, failed = append(result.Notes, notes...), errors.Join(failed, err)
		}
	}
	if notReady == nil && p.Not == "" && proof.Ended(unproven) {
		failed = errors.Join(failed, proof.NoteUnproven(r.StateDir, joined, false))
	}
	if err := ending.Partial(failed, result.Hosts); err != nil {
		return result, err
	}
	return result, unproven
}

// growth is what the proposal is made of.
func (o ScaleOutOptions) growth() proposal.GrowthOptions {
	return proposal.GrowthOptions{Hosts: o.Hosts, Arch: o.Arch, Replace: o.Replace, Force: o.Force, Guard: o.Guard,
		Audit: o.Audit != "" && o.Audit != AuditOff, AuditBlocks: o.Audit == AuditBlock}
}

// verb is the command that goes on, as it was given. Hosts that are replaced have lost their old nodes by then.
func (o ScaleOutOptions) verb() string {
	words := []string{"scale-out"}
	add := func(given bool, word, value string) {
		if given {
			words = append(words, word+value)
		}
	}
	only := slices.Concat(o.Hosts, o.Replace)
	add(len(only) > 0, "--host ", strings.Join(only, ","))
	add(o.Arch != "", "--arch ", o.Arch.String())
	add(len(o.Force) > 0, "--force=", strings.Join(o.Force, ","))
	add(o.Guard, "--guard", "")
	add(o.Audit != "" && o.Audit != AuditBlock, "--audit=", string(o.Audit))
	for _, r := range o.AuditRegistries {
		add(true, "--audit-registry=", r)
	}
	add(o.Proof.Asked || o.Conformance != "" && o.Conformance != ConformanceFull, "--conformance=", string(o.Conformance))
	return strings.Join(words, " ")
}

// proveJoined proves the nodes that joined, also those that came in while others failed, and those of which an earlier run had done
// everything but the proof.
func proveJoined(r *run, o ScaleOutOptions, seen survey.Seen, joined []string, before []kube.Pod, dir *report.Dir) (ending.Proven, error) {
	if err := r.reading.Err(); err != nil || !o.Conformance.on() {
		return ending.Proven{}, err
	}
	w := o.Proof.wish(o.Conformance)
	w.Scenario, w.Nodes = string(conformance.ScaleOut), joined
	return r.prove(w, seen, before, dir)
}
