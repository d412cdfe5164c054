package provision

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/report"
	"golang.org/x/sync/errgroup"
)

// stableFor is how long nodes and their DaemonSet pods must stay Ready to be believed.
const stableFor = 10 * time.Second

// waitReady waits until every node that this run brought up or found is Ready, its DaemonSet pods are Ready and stable, and the
// cluster's DNS answers. A run that changed nothing and finds every node Ready does not wait for the window.
func (s *session) waitReady(ctx context.Context, r *Result) error {
	names := s.members(r.Changes)
	if len(names) == 0 {
		return nil
	}
	window := stableFor
	if r.Plan.Changes() == 0 {
		window = 0
	}
	limit := s.Cluster.Spec.Timeouts.Ready.Std()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not ready after %s (spec.timeouts.ready)", limit))
	defer cancel()
	s.watchControlPlanes(ctx)
	s.event(report.Event{Kind: report.Started, Step: "ready"})
	err := s.ready(ctx, names, window)
	if err == nil {
		err = s.storageReady(ctx, names, window, *r)
	}
	err = s.explained(err)
	e := report.Event{Kind: report.Done, Step: "ready", Action: report.Unchanged}
	if err != nil {
		e.Action, e.Err = report.Failed, err
		r.Changes = append(r.Changes, report.Change{Step: "cluster/ready", Kind: "ready", Action: report.Failed, Error: err.Error()})
	}
	s.event(e)
	return err
}

func (s *session) ready(ctx context.Context, names []string, window time.Duration) error {
	o := kube.WaitOptions{Window: window, Progress: s.missing}
	if err := s.api.WaitNodesReady(ctx, names, o); err != nil {
		return err
	}
	if err := s.api.WaitDaemonSets(ctx, names, o); err != nil {
		return err
	}
	if window == 0 {
		return nil
	}
	o.Window = 0
	if err := s.api.WaitDeployment(ctx, "kube-system", "coredns", o); err != nil {
		return err
	}
	if err := s.askDNS(ctx, names); err != nil {
		return err
	}
	return s.api.WaitDaemonSets(ctx, names, o) // a pod network that was still starting has had time to fail
}

// missing tells what a wait still waits for.
func (s *session) missing(list []kube.Missing) {
	for _, m := range list {
		s.event(report.Event{Kind: report.Progress, Step: "ready", Message: m.String()})
	}
}

// dnsAtOnce bounds how many hosts ask the cluster's DNS at the same time.
const dnsAtOnce = 16

// askDNS asks the cluster's DNS from every node, over the connection to its host that is open anyway: the answer proves the
// node's service rules and its way through the pod network. The questions run at once, since each may have to wait.
func (s *session) askDNS(ctx context.Context, names []string) error {
	s.event(report.Event{Kind: report.Progress, Step: "ready", Message: "asking the cluster's DNS from every node"})
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(dnsAtOnce)
	for _, name := range names {
		h, err := s.host(name)
		if err != nil {
			continue // not reached in this run: that is reported already
		}
		g.Go(func() error {
			if err := s.askDNSFrom(ctx, h.Runner()); err != nil {
				return fmt.Errorf("from %s: %w", name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

func (s *session) askDNSFrom(ctx context.Context, r remote.Runner) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := r.DialContext(ctx, network, addr)
		if errors.Is(err, remote.ErrForwarding) {
			cancel(err) // asking again does not help
		}
		return conn, err
	}
	err := s.api.CheckDNS(ctx, dial, s.Cluster.Spec.Kubernetes.DNSDomain)
	if cause := context.Cause(ctx); errors.Is(cause, remote.ErrForwarding) {
		s.event(report.Event{Kind: report.Progress, Host: r.Name(), Step: "ready", Message: "the cluster's DNS was not asked from here: " + cause.Error()})
		return nil
	}
	return err
}

// members are the nodes that are in the cluster now: hosts whose init or join did not fail in this run.
func (s *session) members(changes []report.Change) []string {
	var out []string
	for _, c := range changes {
		if (c.Kind == "init" || c.Kind == "join") && c.Error == "" && c.Action != report.Skipped && c.Action != report.Failed {
			if s.facts[c.Host].Err == nil {
				out = append(out, c.Host)
			}
		}
	}
	slices.Sort(out)
	return out
}

// merge adds the cluster to the user's kubeconfig.
func (s *session) merge(path string) error {
	if path == "" {
		return nil
	}
	if s.config == nil {
		return errors.New("there is no kubeconfig to merge")
	}
	return kube.MergeKubeconfig(path, s.config, s.Cluster.Metadata.Name)
}
