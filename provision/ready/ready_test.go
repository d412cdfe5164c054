package ready

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/report"
)

// waits answers what is waited for with these errors, once all of together have been asked for.
type waits struct {
	API
	together      chan struct{} // is closed when two waits are under way
	nodes, daemon error
	asked         []string
}

func (w *waits) meet(ctx context.Context, o kube.WaitOptions, err error) error {
	if o.Window == 0 {
		return err
	}
	select {
	case w.together <- struct{}{}:
	case <-w.together:
	case <-ctx.Done():
		return ctx.Err()
	}
	return err
}

func (w *waits) WaitNodesReady(ctx context.Context, _ []string, o kube.WaitOptions) error {
	return w.meet(ctx, o, w.nodes)
}

func (w *waits) WaitDaemonSets(ctx context.Context, _ []string, o kube.WaitOptions) error {
	if err := w.meet(ctx, o, w.daemon); err != nil || w.nodes == nil {
		return err
	}
	<-ctx.Done() // nodes that are not Ready have no pods to wait for
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		w.asked = append(w.asked, "dns") // too late
	}
	return ctx.Err()
}

func (w *waits) WaitDeployment(context.Context, string, string, kube.WaitOptions) error {
	w.asked = append(w.asked, "dns")
	return nil
}

func (w *waits) CheckDNS(context.Context, kube.DialFunc, string) error { return nil }

// The windows of nodes and of their DaemonSets pass together, and the nodes' error is told before that of their pods, which it ends.
func TestWait_WindowsPassTogether(t *testing.T) {
	for name, c := range map[string]struct {
		nodes, daemon error
		want          string
	}{
		"all well":          {},
		"nodes not Ready":   {nodes: errors.New("node a: not Ready"), want: "node a: not Ready"},
		"pods not Ready":    {daemon: errors.New("daemonset x: gone"), want: "daemonset x: gone"},
		"neither are Ready": {nodes: errors.New("node a: not Ready"), daemon: errors.New("daemonset x: gone"), want: "node a: not Ready"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &waits{together: make(chan struct{}), nodes: c.nodes, daemon: c.daemon}
			cluster := &inventory.Cluster{}
			cluster.Spec.Timeouts.Ready = inventory.Duration(20 * time.Second)
			err := Wait(t.Context(), Options{API: w, Cluster: cluster, Nodes: []string{"a"}, Event: func(report.Event) {},
				Plan: plan.Plan{Steps: []plan.Step{{Action: plan.Create}}},
				Host: func(string) (*host.Host, error) { return nil, remote.ErrUnreachable }})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.want || (err == nil) != (len(w.asked) == 1) {
				t.Errorf("%q, want %q; asked further: %v", got, c.want, w.asked)
			}
		})
	}
}
