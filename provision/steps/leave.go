package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// applyCordon keeps new pods off the node. A node that is gone gets none.
func (x *Steps) applyCordon(ctx context.Context, s plan.Step, _ *host.Host) (string, error) {
	in, ok := s.Inputs.(plan.CordonInputs)
	if !ok {
		return "", fmt.Errorf("inputs of kind %T", s.Inputs)
	}
	api, err := x.env.Kube(ctx)
	if err != nil {
		return "", err
	}
	if err := api.Cordon(ctx, in.Node); errors.Is(err, kube.ErrNotFound) {
		return "the node is gone already", nil
	} else if err != nil {
		return "", err
	}
	return "no new pod comes to it", nil
}

// applyDrain evicts the node's pods, those included that came after the plan was made, and waits until the volumes that they had have left
// the node: one that is attached when the kubelet is deleted cannot be attached elsewhere for long.
func (x *Steps) applyDrain(ctx context.Context, s plan.Step, _ *host.Host) (string, error) {
	in, ok := s.Inputs.(plan.DrainInputs)
	if !ok {
		return "", fmt.Errorf("inputs of kind %T", s.Inputs)
	}
	api, err := x.env.Kube(ctx)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, in.Timeout)
	defer cancel()
	pods, err := api.DrainPods(ctx, in.Node)
	if err != nil {
		return "", err
	}
	if lost := losses(pods); len(lost) > 0 && !in.Force {
		return "", hint.With(fmt.Errorf("pods came to the node meanwhile: %s; no pod was evicted, and the node stays cordoned", strings.Join(lost, "; ")),
			"--force evicts them anyway")
	}
	for i := range pods {
		pods[i].Abandoned = in.Away
	}
	detail := report.Count(len(pods), "pod") + " evicted"
	err = api.Drain(ctx, pods, x.missing(s))
	if errors.Is(err, context.DeadlineExceeded) {
		return "", hint.With(fmt.Errorf("not done after %s (--timeout): %w; the node stays cordoned", in.Timeout, err),
			"a longer --timeout waits longer; what keeps a pod is said above: a PodDisruptionBudget, or its own grace period")
	}
	if err != nil || in.Away { // a node that is away lets no volume go
		return detail, err
	}
	return x.detached(ctx, api, s, in, detail)
}

// detached waits until no volume is attached to the node. With --force it does so for as long as the drain may take, and goes on.
func (x *Steps) detached(ctx context.Context, api API, s plan.Step, in plan.DrainInputs, detail string) (string, error) {
	err := api.WaitDetached(ctx, in.Node, kube.WaitOptions{Progress: x.missing(s)})
	switch {
	case !errors.Is(err, context.DeadlineExceeded):
		return detail, err
	case in.Force:
		return detail + "; volumes are still attached (--force)", nil
	}
	return "", hint.With(fmt.Errorf("not done after %s (--timeout): %w; another node could not have them for long; the node stays cordoned", in.Timeout, err),
		"--force goes on although they are attached")
}

// losses say of each pod whose eviction loses something what that is.
func losses(pods []kube.DrainPod) (out []string) {
	for _, p := range pods {
		if why := p.Loses(); why != "" {
			out = append(out, why)
		}
	}
	return out
}

// missing says what a step waits for.
func (x *Steps) missing(s plan.Step) func([]kube.Missing) {
	return func(left []kube.Missing) {
		for _, m := range left {
			x.say(s, m.String())
		}
	}
}

// undoEtcd takes the host's member out of etcd, when etcd does without it now: it is asked at this moment, as members may have left, or
// fallen ill, since the plan was made. One that is out already is no error.
func (x *Steps) undoEtcd(ctx context.Context, s plan.Step, _ *host.Host) (string, error) {
	in, ok := s.Inputs.(plan.EtcdInputs)
	if !ok {
		return "", fmt.Errorf("inputs of kind %T", s.Inputs)
	}
	api, err := x.env.Kube(ctx)
	if err != nil {
		return "", err
	}
	x.etcd.Lock() // one member at a time
	defer x.etcd.Unlock()
	asked, its, err := x.dispensable(ctx, api, s, in)
	if err != nil {
		return "", err
	}
	for _, m := range its {
		if err := x.takeOut(ctx, api, asked, in, m); err != nil {
			return "", err
		}
		x.changedMembers.Store(true)
	}
	if len(its) == 0 {
		return "it is out of etcd already", nil
	}
	return "etcd goes on without " + its[0].String(), nil
}

// dispensable returns the host's members of etcd when etcd keeps its quorum without them. It waits for a while when this run has changed
// the members before: etcd may be choosing a leader.
func (x *Steps) dispensable(ctx context.Context, api API, s plan.Step, in plan.EtcdInputs) (asked string, its []plan.Member, err error) {
	end := x.settles()
	for {
		var members []plan.Member
		if asked, members, err = askEtcd(ctx, api, in.Ask); err == nil {
			its = slices.DeleteFunc(slices.Clone(members), func(m plan.Member) bool { return !m.IsOf(in.Node, in.Addresses...) })
			err = keepsQuorum(members, its)
		}
		if err == nil || !time.Now().Before(end) {
			return asked, its, err
		}
		x.say(s, "waiting for etcd: "+err.Error())
		if err := pause(ctx, x.etcdAsked); err != nil {
			return "", nil, err
		}
	}
}

// keepsQuorum refuses to take members out without which etcd could not go on. Those that do not vote may always go.
func keepsQuorum(members, out []plan.Member) error {
	var names []string
	for _, m := range out {
		if !m.Learner {
			names = append(names, m.Name)
		}
	}
	return hint.With(plan.KeepsQuorum(plan.Voters(members), names), "bring the members back that are not well, or take their hosts out first")
}

// askEtcd asks one after another of these nodes for etcd's members, until one answers.
func askEtcd(ctx context.Context, api API, nodes []string) (asked string, members []plan.Member, err error) {
	var errs []error
	for _, n := range nodes {
		there, err := api.EtcdMembers(ctx, n)
		if err == nil {
			return n, Members(there), nil
		}
		errs = append(errs, fmt.Errorf("on %s: %w", n, err))
	}
	if len(nodes) == 0 {
		errs = append(errs, errors.New("no control plane stays that could be asked for etcd's members"))
	}
	return "", nil, errors.Join(errs...)
}

// takeOut removes a member. An answer that was lost on its way is not taken for a failure: etcd is asked again.
func (x *Steps) takeOut(ctx context.Context, api API, asked string, in plan.EtcdInputs, m plan.Member) error {
	err := api.RemoveEtcdMember(ctx, asked, m.ID)
	if err == nil {
		return nil
	}
	_, members, again := askEtcd(ctx, api, in.Ask)
	if again == nil && !slices.ContainsFunc(members, func(o plan.Member) bool { return o.ID == m.ID }) {
		return nil
	}
	return err
}

// Members are etcd's members as a plan has them.
func Members(members []kube.EtcdMember) []plan.Member {
	out := make([]plan.Member, len(members))
	for i, m := range members {
		out[i] = plan.Member(m)
	}
	return out
}

// undoNode deletes the Node. One that is not there is no error.
func (x *Steps) undoNode(ctx context.Context, s plan.Step, _ *host.Host) (string, error) {
	api, err := x.env.Kube(ctx)
	if err != nil {
		return "", err
	}
	return "", api.DeleteNode(ctx, s.Host)
}

// undoInventory takes the host out of the inventory.
func (x *Steps) undoInventory(_ context.Context, s plan.Step, _ *host.Host) (string, error) {
	if x.env.TakeOut == nil {
		return "", errors.New("this run does not write the inventory")
	}
	return "", x.env.TakeOut(s.Host)
}

// pause waits, or until the context ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
