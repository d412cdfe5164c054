package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// TestMain lets this test binary be hybridctl too: the scripts run it as a user does.
func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"hybridctl": scripted}) }

// scripted is hybridctl whose engine answers from what the script says: ENDS names the error that a verb ends with.
func scripted() {
	front := Engine()
	front.Up = func(_ context.Context, o provision.UpOptions) (provision.Result, error) {
		return provision.Result{Cluster: o.Cluster.Metadata.Name}, ending(os.Getenv("ENDS"))
	}
	front.Remove = func(_ context.Context, o provision.RemoveOptions) (provision.Result, error) {
		if err := ending(os.Getenv("ENDS")); err != nil {
			return provision.Result{Cluster: o.Cluster.Metadata.Name}, err
		}
		return removedFrom(o), nil
	}
	err := Run(context.Background(), Deps{
		Stdout: os.Stdout, Stderr: os.Stderr, Terminal: SystemTerminal(os.Stdin), Stop: make(chan struct{}), Getenv: os.Getenv,
		Version: Version{Version: "v1.2.3"}, Front: front,
	}, os.Args[1:])
	os.Exit(ExitCode(err, false))
}

// ending is an error as the front door returns it.
func ending(name string) error {
	switch name {
	case "":
		return nil
	case "refused":
		return hint.With(fmt.Errorf("%w: no control plane that is Ready would be left", provision.ErrRefused), `"hybridctl destroy" takes the whole cluster away`)
	case "partial":
		return fmt.Errorf("%w: 1 of 2 hosts failed", provision.ErrPartial)
	case "preflight":
		return provision.ErrPreflight
	case "interrupted":
		return fmt.Errorf("interrupted, 3 steps are left: %w", context.Canceled)
	}
	return errors.New(name)
}

// removedFrom is what a removal does in a cluster whose hosts all run well.
func removedFrom(o provision.RemoveOptions) provision.Result {
	c := o.Cluster
	var nodes []facts.Node
	for _, h := range c.Spec.Hosts {
		nodes = append(nodes, facts.Node{Name: h.Name, Ready: true})
	}
	leaving := plan.Leavers(c, nodes, o.Hosts)
	for i := range leaving {
		l := &leaving[i]
		l.Pods = []plan.LeavingPod{{Name: "web/front-1"}}
		l.Facts = facts.Host{Name: l.Host.Name, Markers: map[string]facts.Marker{}}
		for _, k := range []plan.Kind{plan.OS, plan.Runtime, plan.Kubernetes, plan.Images, plan.Join} {
			l.Facts.Markers[string(k)] = facts.Marker{Marker: host.Marker{State: host.MarkerDone}}
		}
	}
	r := provision.Result{Cluster: c.Metadata.Name}
	r.Plan = plan.LeavingPlan(c, leaving, plan.LeavingOptions{Timeout: 5 * time.Minute, Path: c.Path})
	if o.DryRun {
		return r
	}
	for _, s := range r.Plan.Steps {
		r.Changes = append(r.Changes, report.Change{Host: s.Host, Step: string(s.ID), Kind: string(s.Kind), Action: report.Deleted})
	}
	for _, l := range leaving {
		if err := o.TakeOut(l.Host.Name); err != nil {
			panic(err)
		}
		r.Hosts = append(r.Hosts, provision.HostResult{Name: l.Host.Name, Action: report.Deleted})
	}
	return r
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			if err := os.Mkdir(e.WorkDir+"/bundle", 0o755); err != nil {
				return err
			}
			return os.WriteFile(e.WorkDir+"/inventory.yaml", []byte(lab), 0o644)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits CODE ARG… runs hybridctl and wants that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if neg || err != nil {
		ts.Fatalf("usage: exits CODE ARG…")
	}
	err = ts.Exec("hybridctl", args[1:]...)
	var exit *exec.ExitError
	got := 0
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
