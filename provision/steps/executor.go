package steps

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/render"
	"github.com/hybridctl/hybridctl/provision/report"
)

// Env is what steps work with.
type Env struct {
	// Host returns the connected host; the error tells why it was not reached.
	Host func(name string) (*host.Host, error)
	// Facts returns what this run observed of the host.
	Facts func(name string) facts.Host
	// Kube returns the API client, once the cluster is initialised. It waits for nothing.
	Kube func(ctx context.Context) (API, error)
	// Initialised is given the admin kubeconfig, a secret, as soon as the bootstrap host has it.
	Initialised func(kubeconfig []byte) error
	// Serves is told of the API server that this run has made, as soon as it answers; nil = no one is.
	Serves func(ctx context.Context)
	// JoinTaint is a taint that joining nodes register with besides the inventory's; nil = none. It is of the run and not of the step: it
	// goes when the run has proven the node.
	JoinTaint *render.Taint
	// Serving says why a kubelet's request for its serving certificate must not be approved; nil = kubelets ask for none.
	Serving func(kube.ServingRequest) error
	// Bootstrap is the control plane that gives certificates to further ones, and on which etcd is asked.
	Bootstrap string
	// Cluster is the cluster's name in the inventory: it stands in the marks of its hosts.
	Cluster string
	// TakeOut takes a host out of the inventory; nil = the run does not write it. A host that is not in it is no error.
	TakeOut func(host string) error

	Bundle   *bundle.Bundle
	Progress report.Sink
	Timeout  time.Duration // of one Apply or Undo
	// RegisterWithin is how long a kubelet that has joined may take to register its node; 0 = three minutes. kubeadm join ends before that,
	// and a slow host under load took many seconds.
	RegisterWithin time.Duration
}

// API is what steps want of the API server; *kube.Client is it.
type API interface {
	WaitAPI(ctx context.Context) error
	CAHashes() []string
	CreateToken(ctx context.Context, ttl time.Duration, description string) (kube.Token, error)
	WaitSigned(ctx context.Context, tokenID string, o kube.WaitOptions) error
	DeleteToken(ctx context.Context, id string) error
	ApplyNode(ctx context.Context, name string, labels map[string]string, taints []string) (report.Action, error)
	Apply(ctx context.Context, manifests []byte, o kube.ApplyOptions) ([]kube.ObjectChange, error)
	StoredBy(ctx context.Context, drivers []string) ([]kube.Volume, error)
	EtcdMembers(ctx context.Context, node string) ([]kube.EtcdMember, error)
	RemoveEtcdMember(ctx context.Context, node string, id uint64) error
	HasNode(ctx context.Context, name string) (bool, error)
	ServingRequests(ctx context.Context) ([]kube.ServingRequest, error)
	ApproveServing(ctx context.Context, r kube.ServingRequest) error
	DeleteNode(ctx context.Context, name string) error
	Cordon(ctx context.Context, node string) error
	DrainPods(ctx context.Context, node string) ([]kube.DrainPod, error)
	Drain(ctx context.Context, pods []kube.DrainPod, progress func([]kube.Missing)) error
	WaitDetached(ctx context.Context, node string, o kube.WaitOptions) error
	Owned(ctx context.Context, kinds []kube.Kind, selector string) (owned, others []kube.Object, err error)
	DeleteObjects(ctx context.Context, objects []kube.Object) ([]kube.ObjectChange, error)
}

// Steps carries out every kind of step. Close it when the run ends.
type Steps struct {
	env   Env
	token tokenSource

	etcd           sync.Mutex  // is held by who changes etcd's members
	changedMembers atomic.Bool // this run did
	etcdAsked      time.Duration
	servingAsked   time.Duration
	servingWithin  time.Duration
}

var _ Executor = (*Steps)(nil)

// How long etcd may take until it is well after its members changed, and how often it is asked.
const (
	etcdSettles = time.Minute
	etcdAsked   = 3 * time.Second
)

// New returns an executor.
func New(env Env) *Steps {
	env.RegisterWithin = cmp.Or(env.RegisterWithin, 3*time.Minute)
	return &Steps{env: env, etcdAsked: etcdAsked, servingAsked: servingAsked, servingWithin: servingWithin}
}

// settles is until when etcd may be unwell: its members change its leader when they join or leave.
func (x *Steps) settles() time.Time {
	if x.changedMembers.Load() {
		return time.Now().Add(etcdSettles)
	}
	return time.Now()
}

// tokenPatience bounds how long the deletion of a token may take after an interrupt.
const tokenPatience = 20 * time.Second

// Close deletes the run's join token, also after an interrupt, which ends ctx: it must not stay good. Until then the API server has as long as
// for everything else. The error is of a token that could not be deleted.
func (x *Steps) Close(ctx context.Context) error {
	err := x.token.revoke(ctx)
	if err != nil && ctx.Err() != nil {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), tokenPatience)
		defer cancel()
		err = x.token.revoke(bounded)
	}
	if err != nil {
		return fmt.Errorf("the join token could not be deleted; it ends by itself within the hour: %w", err)
	}
	return nil
}

// Apply implements Executor.
func (x *Steps) Apply(ctx context.Context, s plan.Step) (report.Change, error) {
	did := report.Configured
	if s.Action == plan.Create {
		did = report.Created
	}
	return x.carryOut(ctx, s, appliers, did)
}

// Undo implements Executor.
func (x *Steps) Undo(ctx context.Context, s plan.Step) (report.Change, error) {
	return x.carryOut(ctx, s, undoers, report.Deleted)
}

// action carries out one kind of step: it returns what it did, in a few words. h is nil for cluster steps.
type action func(x *Steps, ctx context.Context, s plan.Step, h *host.Host) (detail string, err error)

// The tables of what is done for each kind.
var (
	appliers = map[plan.Kind]action{
		plan.OS:         (*Steps).applyFiles,
		plan.Runtime:    (*Steps).applyFiles,
		plan.Registries: (*Steps).applyRegistries,
		plan.Kubernetes: (*Steps).applyFiles,
		plan.Files:      (*Steps).applyPlaneFiles,
		plan.Images:     (*Steps).applyImages,
		plan.Init:       (*Steps).applyInit,
		plan.Join:       (*Steps).applyJoin,
		plan.Node:       (*Steps).applyNode,
		plan.CNI:        (*Steps).applyCNI,
		plan.CSI:        (*Steps).applyCSI,
		plan.Cordon:     (*Steps).applyCordon,
		plan.Drain:      (*Steps).applyDrain,
	}
	undoers = map[plan.Kind]action{
		plan.OS:         (*Steps).undoFiles,
		plan.Runtime:    (*Steps).undoFiles,
		plan.Registries: (*Steps).undoFiles,
		plan.Kubernetes: (*Steps).undoFiles,
		plan.Files:      (*Steps).undoPlaneFiles,
		plan.Images:     nothing, // containerd's store goes with the runtime
		plan.Init:       (*Steps).undoMember,
		plan.Join:       (*Steps).undoMember,
		plan.Etcd:       (*Steps).undoEtcd,
		plan.Node:       (*Steps).undoNode, // of a host that leaves; a destroy has no such step
		plan.Inventory:  (*Steps).undoInventory,
		plan.CNI:        nothing,
		plan.CSI:        nothing, // what is in Ceph stays; Destroy has asked about it
	}
)

// withoutHost are the kinds that are a matter of the API, or of the inventory, alone.
var withoutHost = []plan.Kind{plan.Node, plan.Cordon, plan.Drain, plan.Etcd, plan.Inventory}

func nothing(*Steps, context.Context, plan.Step, *host.Host) (string, error) { return "", nil }

func (x *Steps) carryOut(ctx context.Context, s plan.Step, table map[plan.Kind]action, did report.Action) (report.Change, error) {
	c := report.Change{Host: s.Host, Step: string(s.ID), Kind: string(s.Kind)}
	do, ok := table[s.Kind]
	if !ok {
		return c, fmt.Errorf("no way to carry out a step of kind %q", s.Kind) // a plan newer than this code
	}
	if x.env.Timeout > 0 && s.Kind != plan.Drain { // a drain has a limit of its own
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, x.env.Timeout, fmt.Errorf("not done after %s (spec.timeouts.step)", x.env.Timeout))
		defer cancel()
	}
	var h *host.Host
	if s.Host != "" && !slices.Contains(withoutHost, s.Kind) {
		var err error
		if h, err = x.env.Host(s.Host); err != nil {
			return c, err
		}
	}
	start := time.Now()
	detail, err := do(x, ctx, s, h)
	c.Duration, c.Detail = time.Since(start), detail
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return c, err
	}
	c.Action = did
	return c, nil
}

// progress sends upload progress of a step.
func (x *Steps) progress(s plan.Step) func(sent, total int64) {
	return func(sent, total int64) {
		x.env.Progress.Event(report.Event{Time: time.Now(), Kind: report.Progress, Host: s.Host, Step: string(s.Kind), Bytes: sent, Total: total})
	}
}

// say sends a word of progress.
func (x *Steps) say(s plan.Step, message string) {
	x.env.Progress.Event(report.Event{Time: time.Now(), Kind: report.Progress, Host: s.Host, Step: string(s.Kind), Message: message})
}
