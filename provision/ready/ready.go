// Package ready waits until what a run built is there: nodes and their DaemonSets, the cluster's DNS as every node reaches it, and the
// drivers of storage. It changes nothing, and bounds every wait.
package ready

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/render"
	"github.com/hybridctl/hybridctl/provision/report"
)

// API is what the waits ask of the API server; *kube.Client is it.
type API interface {
	WaitNodesReady(ctx context.Context, names []string, o kube.WaitOptions) error
	WaitDaemonSets(ctx context.Context, names []string, o kube.WaitOptions) error
	WaitDeployment(ctx context.Context, namespace, name string, o kube.WaitOptions) error
	WaitCSINodes(ctx context.Context, nodes, drivers []string, o kube.WaitOptions) error
	CheckDNS(ctx context.Context, dial kube.DialFunc, clusterDomain string) error
	Pods(ctx context.Context, namespace, selector string) ([]kube.Pod, error)
}

// StableFor is how long nodes and their DaemonSet pods must stay Ready to be believed.
const StableFor = 10 * time.Second

// Options are what is waited for.
type Options struct {
	API     API
	Cluster *inventory.Cluster
	Host    func(name string) (*host.Host, error) // over the connection that is open anyway
	Event   func(report.Event)

	Nodes   []string // that the run brought up or found
	Plan    plan.Plan
	Changes []report.Change // of the plan

	Explain func(error) error // adds to an error what was noticed meanwhile; nil = nothing
}

// Wait waits until every node is Ready, its DaemonSet pods are Ready and stable, and the cluster's DNS answers, for as long as
// spec.timeouts.ready says. A run that changed nothing and finds every node Ready does not wait for the window.
func Wait(ctx context.Context, o Options) error {
	if len(o.Nodes) == 0 {
		return nil
	}
	window := StableFor
	if o.Plan.Changes() == 0 {
		window = 0
	}
	limit := o.Cluster.Spec.Timeouts.Ready.Std()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not ready after %s (spec.timeouts.ready)", limit))
	defer cancel()
	o.Event(report.Event{Kind: report.Started, Step: "ready"})
	err := o.nodes(ctx, window)
	if err == nil {
		err = o.storage(ctx, window)
	}
	if err != nil && o.Explain != nil {
		err = o.Explain(err)
	}
	e := report.Event{Kind: report.Done, Step: "ready", Action: report.Unchanged}
	if err != nil {
		e.Action, e.Err = report.Failed, err
	}
	o.Event(e)
	return err
}

func (o Options) nodes(ctx context.Context, window time.Duration) error {
	w := kube.WaitOptions{Window: window, Progress: o.missing}
	if window == 0 {
		if err := o.API.WaitNodesReady(ctx, o.Nodes, w); err != nil {
			return err
		}
		return o.API.WaitDaemonSets(ctx, o.Nodes, w)
	}
	// Their windows pass together. The nodes' error tells more than that of their pods.
	both, stop := context.WithCancel(ctx)
	defer stop()
	daemons := make(chan error, 1)
	go func() { daemons <- o.API.WaitDaemonSets(both, o.Nodes, w) }()
	err := o.API.WaitNodesReady(ctx, o.Nodes, w)
	if err != nil {
		stop()
	}
	if err = cmp.Or(err, <-daemons); err != nil {
		return err
	}
	w.Window = 0
	if err := o.API.WaitDeployment(ctx, "kube-system", "coredns", w); err != nil {
		return err
	}
	if err := o.askDNS(ctx); err != nil {
		return err
	}
	return o.API.WaitDaemonSets(ctx, o.Nodes, w) // a pod network that was still starting has had time to fail
}

// missing says what a wait still waits for.
func (o Options) missing(list []kube.Missing) {
	for _, m := range list {
		o.Event(report.Event{Kind: report.Progress, Step: "ready", Message: m.String()})
	}
}

// dnsAtOnce bounds how many hosts ask the cluster's DNS at the same time.
const dnsAtOnce = 16

// askDNS asks the cluster's DNS from every node, over the connection to its host: the answer proves the node's service rules and its way
// through the pod network. The questions run at once, since each may have to wait.
func (o Options) askDNS(ctx context.Context) error {
	o.Event(report.Event{Kind: report.Progress, Step: "ready", Message: "asking the cluster's DNS from every node"})
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(dnsAtOnce)
	for _, name := range o.Nodes {
		h, err := o.Host(name)
		if err != nil {
			continue // not reached in this run: that is reported already
		}
		g.Go(func() error {
			if err := o.askDNSFrom(ctx, h.Runner()); err != nil {
				return fmt.Errorf("from %s: %w", name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

func (o Options) askDNSFrom(ctx context.Context, r remote.Runner) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := r.DialContext(ctx, network, addr)
		if errors.Is(err, remote.ErrForwarding) {
			cancel(err) // asking again does not help
		}
		return conn, err
	}
	err := o.API.CheckDNS(ctx, dial, o.Cluster.Spec.Kubernetes.DNSDomain)
	if cause := context.Cause(ctx); errors.Is(cause, remote.ErrForwarding) {
		o.Event(report.Event{Kind: report.Progress, Host: r.Name(), Step: "ready", Message: "the cluster's DNS was not asked from here: " + cause.Error()})
		return nil
	}
	return err
}

// storage waits until every node that is to mount volumes lists every driver, and what makes volumes runs.
func (o Options) storage(ctx context.Context, window time.Duration) error {
	st, ok := o.Plan.Step(plan.ClusterID(plan.CSI))
	names := o.mounting()
	if o.Plan.Part {
		if err := o.storageJoined(ctx, names); err != nil {
			return err
		}
		names = nil // what the others list, they listed before
	}
	failed := slices.DeleteFunc(slices.Clone(o.Changes), func(c report.Change) bool {
		return c.Error == "" && c.Action != report.Skipped && c.Action != report.Failed
	})
	if !ok || slices.ContainsFunc(failed, func(c report.Change) bool { return c.Kind == string(plan.CSI) }) {
		return nil
	}
	in, ok := st.Inputs.(plan.CSIInputs)
	if !ok {
		return fmt.Errorf("inputs of kind %T", st.Inputs)
	}
	w := kube.WaitOptions{Progress: o.missing}
	if len(names) > 0 && len(in.Drivers) > 0 { // none are wanted of what is in the inventory no more
		if err := o.API.WaitCSINodes(ctx, names, in.Drivers, w); err != nil {
			return err
		}
	}
	if window == 0 || len(failed) > 0 { // provisioners may have been meant for a host that failed: the run that finishes it waits
		return nil
	}
	for _, d := range in.Provisioners {
		if err := o.API.WaitDeployment(ctx, in.Namespace, d, w); err != nil {
			return err
		}
	}
	return nil
}

// storageJoined waits until nodes that joined list every driver, where ceph-csi is installed: up does that.
func (o Options) storageJoined(ctx context.Context, names []string) error {
	storage := o.Cluster.Spec.Storage
	if len(names) == 0 {
		return nil
	}
	pods, err := o.API.Pods(ctx, storage.CSI.Namespace, "")
	if err != nil || len(pods) == 0 {
		return err
	}
	var drivers []string
	if storage.HasRBD() {
		drivers = append(drivers, render.RBD.DriverName())
	}
	if storage.HasCephFS() {
		drivers = append(drivers, render.CephFS.DriverName())
	}
	return o.API.WaitCSINodes(ctx, names, drivers, kube.WaitOptions{Progress: o.missing})
}

// mounting are the nodes that are to mount volumes.
func (o Options) mounting() []string {
	return slices.DeleteFunc(slices.Clone(o.Nodes), func(name string) bool {
		h, _ := o.Cluster.Host(name)
		return !o.Cluster.Spec.Storage.Mounts(h)
	})
}
