package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// askingUp is an Up that asks about a plan, and does it when told to.
func askingUp(called *provision.UpOptions) func(context.Context, provision.UpOptions) (provision.Result, error) {
	return func(_ context.Context, o provision.UpOptions) (provision.Result, error) {
		*called = o
		if o.Ask != nil && !o.Ask(somePlan()) {
			return provision.Result{Cluster: "lab", Plan: somePlan()}, provision.ErrDeclined
		}
		return goodResult(), nil
	}
}

func TestUp_AsksOnTheTerminal(t *testing.T) {
	for answer, code := range map[string]int{"y": 0, "YES": 0, "": 1, "n": 1, "yeah": 1} {
		t.Run(answer, func(t *testing.T) {
			r := newRun(t)
			r.terminal = &fakeTerminal{answers: []string{answer}}
			var o provision.UpOptions
			r.front.Up = askingUp(&o)
			r.want("up", code)
			contains(t, "stderr", r.stderr.String(), "restart containerd.service", "2 to create")
			if len(r.terminal.asked) != 1 {
				t.Errorf("%d questions, want 1", len(r.terminal.asked))
			}
			if code == 0 {
				contains(t, "stdout", r.stdout.String(), "export KUBECONFIG='/home/me/my clusters")
			} else {
				contains(t, "stderr", r.stderr.String(), "nothing was done")
			}
		})
	}
}

func TestUp_YesShowsThePlanAndDoesNotAsk(t *testing.T) {
	r := newRun(t)
	var o provision.UpOptions
	r.front.Up = askingUp(&o)
	r.want("up --yes --parallel 7 --state-dir /s --merge-kubeconfig=/k", 0)
	contains(t, "stderr", r.stderr.String(), "2 to create")
	if o.Cluster.Metadata.Name != "lab" || o.Parallel != 7 || o.StateDir != "/s" || o.MergeKubeconfig != "/k" || o.Progress == nil {
		t.Errorf("options: %+v", o)
	}
	if o.Prompt != nil {
		t.Error("nobody is there, but Prompt is set")
	}
}

// A proof that is asked for by name is no default: what cannot be proven then is refused.
func TestUp_ConformanceAskedFor(t *testing.T) {
	for args, asked := range map[string]bool{"": false, " --conformance full": true, " --conformance=quick": true} {
		r := newRun(t)
		var up provision.UpOptions
		var grow provision.ScaleOutOptions
		r.front.Up = askingUp(&up)
		r.front.ScaleOut = func(_ context.Context, o provision.ScaleOutOptions) (provision.Result, error) {
			grow = o
			return goodResult(), nil
		}
		r.want("up --yes"+args, 0)
		r.want("scale-out --yes"+args, 0)
		if up.Proof.Asked != asked || grow.Proof.Asked != asked {
			t.Errorf("%q: asked %t, %t", args, up.Proof.Asked, grow.Proof.Asked)
		}
	}
}

// The version of a cluster is told when its API server tells it; else only the inventory's is known.
func TestStatus_VersionThatIsNotKnown(t *testing.T) {
	r := newRun(t)
	st := someStatus()
	st.API, st.Version, st.Wanted = "no way to it", "", "v1.36.3"
	r.front.Status = func(context.Context, provision.Options) (provision.StatusReport, error) { return st, nil }
	r.want("status", 0)
	contains(t, "stdout", r.stdout.String(), "API: no way to it  version in the inventory: v1.36.3\n")
}

// Where nothing is left to destroy, no one is asked and shown the plan: what it notes is told with the result.
func TestDestroy_TellsWhatWasNotThere(t *testing.T) {
	r := newRun(t)
	r.front.Destroy = func(context.Context, provision.DestroyOptions) (provision.Result, error) {
		result := goodResult()
		result.Plan = plan.Plan{Notes: []string{"x86-1: nothing of the cluster is there"}}
		return result, nil
	}
	r.want("destroy --yes", 0)
	contains(t, "stdout", r.stdout.String(), "note: x86-1: nothing of the cluster is there\n")
}

func TestUp_NoTerminalNoYes(t *testing.T) {
	r := newRun(t)
	r.want("up", 2)
	contains(t, "stderr", r.stderr.String(), "--yes")
	r.want("destroy", 2)
	contains(t, "stderr", r.stderr.String(), "--yes")
}

func TestUp_PromptAsksForSecretsAndNeverWritesThem(t *testing.T) {
	r := newRun(t)
	r.terminal = &fakeTerminal{answers: []string{"hunter2"}}
	r.front.Up = func(_ context.Context, o provision.UpOptions) (provision.Result, error) {
		secret, err := o.Prompt("sudo password for debian@x86-1: ")
		if secret != "hunter2" || err != nil {
			t.Errorf("got %q, %v", secret, err)
		}
		return goodResult(), nil
	}
	r.want("up --yes --verbosity 5", 0)
	if strings.Contains(r.stdout.String()+r.stderr.String(), "hunter2") {
		t.Error("the secret was written")
	}
}

func TestUp_FirstInterruptIsAnnouncedAndEndsQuestions(t *testing.T) {
	r := newRun(t)
	r.terminal = &fakeTerminal{}
	r.front.Up = func(_ context.Context, o provision.UpOptions) (provision.Result, error) {
		close(r.stop)
		if _, err := o.Prompt("password: "); err == nil {
			t.Error("asked although the run is to end")
		}
		return partialResult(), provision.ErrPartial
	}
	r.want("up --yes", 130)
	contains(t, "stdout", r.stdout.String(), "os: modprobe: not found")
	contains(t, "stderr", r.stderr.String(), "finishing the running steps; press ^C again to stop at once\n")
}

func TestUp_FailuresAreWrittenAsDataToo(t *testing.T) {
	r := newRun(t)
	r.front.Up = func(context.Context, provision.UpOptions) (provision.Result, error) {
		return partialResult(), fmt.Errorf("%w: 1 of 2 hosts failed", provision.ErrPartial)
	}
	r.want("up --yes -o json", 4)
	var got provision.Result
	if err := json.Unmarshal(r.stdout.Bytes(), &got); err != nil || got.Hosts[1].Error == "" {
		t.Errorf("stdout: %v\n%s", err, &r.stdout)
	}
	contains(t, "stderr", r.stderr.String(), "error: stopped part-way: 1 of 2 hosts failed\n")
}

func TestUp_MergeKubeconfigMeansKubectlsFile(t *testing.T) {
	r := newRun(t)
	there := filepath.Join(r.dir, "there")
	r.file("there", "")
	r.env["HOME"] = "/home/me"
	for kubeconfig, want := range map[string]string{
		"":                            "/home/me/.kube/config",
		"/not/there:" + there + ":/x": there,
		":/first:/second":             "/first",
	} {
		r.env["KUBECONFIG"] = kubeconfig
		var o provision.UpOptions
		r.front.Up = askingUp(&o)
		r.want("up --yes --merge-kubeconfig", 0)
		if o.MergeKubeconfig != want {
			t.Errorf("KUBECONFIG=%s: %s, want %s", kubeconfig, o.MergeKubeconfig, want)
		}
	}
	delete(r.env, "HOME")
	r.env["KUBECONFIG"] = ""
	r.want("up --yes --merge-kubeconfig", 2)
}

func TestUp_LogGoesThroughTheView(t *testing.T) {
	r := newRun(t)
	r.front.Up = func(_ context.Context, o provision.UpOptions) (provision.Result, error) {
		slog.Debug("not wanted")
		slog.Info("wanted", "host", "arm-1")
		o.Progress.Event(report.Event{Kind: report.Done, Host: "arm-1", Step: "os", Action: report.Created})
		return goodResult(), nil
	}
	r.want("up --yes --verbosity info --log-format json", 0)
	if lines := strings.Count(r.stderr.String(), "\n"); lines != 2 {
		t.Errorf("%d lines, want 2:\n%s", lines, &r.stderr)
	}
	for line := range strings.Lines(r.stderr.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

func TestPlan_ExitCodes(t *testing.T) {
	r := newRun(t)
	p, failed := somePlan(), error(nil)
	r.front.Plan = func(context.Context, provision.Options) (plan.Plan, []report.Check, error) {
		return p, someChecks(), failed
	}
	r.want("plan", 0)
	r.want("plan --exit-code", 10)
	if r.stderr.Len() > 0 {
		t.Errorf("changes are no error: %s", &r.stderr)
	}
	p = settledPlan()
	r.want("plan --exit-code", 0)
	failed = provision.ErrPreflight
	r.want("plan --exit-code -o json", 3)
	var doc planDocument
	if err := json.Unmarshal(r.stdout.Bytes(), &doc); err != nil || len(doc.Checks) != 2 || doc.Cluster != "lab" {
		t.Errorf("%v: %+v", err, doc)
	}
}

// A cluster that was adopted as it is: nothing in it is hybridctl's to set up.
func TestPlan_NoStepsIsNoSilence(t *testing.T) {
	r := newRun(t)
	r.front.Plan = func(context.Context, provision.Options) (plan.Plan, []report.Check, error) {
		return plan.Plan{Cluster: "lab"}, nil, nil
	}
	r.want("plan --exit-code", 0)
	contains(t, "stdout", r.stdout.String(), "cluster lab: no changes, as hybridctl manages none of its hosts\n")
}

func TestPlan_FirstInterruptEndsIt(t *testing.T) {
	r := newRun(t)
	r.front.Plan = func(ctx context.Context, _ provision.Options) (plan.Plan, []report.Check, error) {
		close(r.stop)
		<-ctx.Done()
		return plan.Plan{}, nil, ctx.Err()
	}
	r.want("plan", 130)
}

func TestPreflight(t *testing.T) {
	r := newRun(t)
	r.front.Preflight = func(context.Context, provision.Options) ([]report.Check, error) {
		return someChecks(), provision.ErrPreflight
	}
	r.want("preflight", 3)
	contains(t, "stdout", r.stdout.String(), "as declared", "hint: give the host more memory", "1 passed")
	r.want("preflight --problems", 3)
	if strings.Contains(r.stdout.String(), "as declared") {
		t.Error("--problems shows what passed")
	}
	contains(t, "stdout", r.stdout.String(), "1 passed")
}

func TestStatusAndKubeconfig(t *testing.T) {
	r := newRun(t)
	r.front.Status = func(context.Context, provision.Options) (provision.StatusReport, error) { return someStatus(), nil }
	r.front.Kubeconfig = func(context.Context, provision.Options) ([]byte, error) {
		return []byte("apiVersion: v1\nkind: Config\n"), nil
	}
	r.want("status", 0)
	contains(t, "stdout", r.stdout.String(), "host: connection refused")
	r.want("kubeconfig", 0)
	if got := r.stdout.String(); got != "apiVersion: v1\nkind: Config\n" {
		t.Errorf("kubeconfig: %q", got)
	}
	r.want("kubeconfig -o json", 0)
	contains(t, "stdout", r.stdout.String(), `"kind": "Config"`)
	r.front.Kubeconfig = func(context.Context, provision.Options) ([]byte, error) {
		return nil, errors.New("there is no cluster yet")
	}
	r.want("kubeconfig", 1)
	contains(t, "stderr", r.stderr.String(), "error: there is no cluster yet\n")
}

func TestDestroy_WantsTheClustersName(t *testing.T) {
	for answer, code := range map[string]int{"lab": 0, "y": 1, "": 1, "Lab": 1} {
		t.Run(answer, func(t *testing.T) {
			r := newRun(t)
			r.terminal = &fakeTerminal{answers: []string{answer}}
			if code == 0 {
				r.front.Destroy = func(context.Context, provision.DestroyOptions) (provision.Result, error) {
					return destroyedResult(), nil
				}
			}
			r.want("destroy", code)
			contains(t, "stderr", r.stderr.String(), "cluster lab", "2 hosts: arm-1, x86-1")
			if code == 0 {
				contains(t, "stdout", r.stdout.String(), "cluster lab is gone from 2 hosts")
			}
		})
	}
}

func TestDestroy_YesDoesNotAsk(t *testing.T) {
	r := newRun(t)
	r.front.Destroy = func(context.Context, provision.DestroyOptions) (provision.Result, error) {
		return partialResult(), provision.ErrPartial
	}
	r.want("destroy --yes", 4)
	if strings.Contains(r.stdout.String(), "is gone") {
		t.Error("says that the cluster is gone although a host failed")
	}
}

func TestDestroy_ForceIsHandedOn(t *testing.T) {
	for _, force := range []bool{false, true} {
		r := newRun(t)
		r.front.Destroy = func(_ context.Context, o provision.DestroyOptions) (provision.Result, error) {
			if o.Force != force {
				t.Errorf("force %v, want %v", o.Force, force)
			}
			return destroyedResult(), nil
		}
		line := "destroy --yes"
		if force {
			line += " --force"
		}
		r.want(line, 0)
	}
}

func TestRun_EveryVerbHasHelpAndNoVerbRunsByMistake(t *testing.T) {
	r := newRun(t)
	root := newRoot(&app{Deps: Deps{Front: r.front}})
	for _, cmd := range root.Commands() {
		r.want(cmd.Name()+" --help", 0)
		contains(t, cmd.Name()+" --help", r.stdout.String(), "Usage:", "--output")
		r.want(cmd.Name()+" --no-such-flag", 2)
		r.want(cmd.Name()+" no such arguments", 2)
	}
}

func TestRun_EPIPEIsSilent(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	read.Close()
	r := newRun(t)
	err = Run(t.Context(), Deps{
		Stdout: write, Stderr: &r.stderr, Terminal: r.terminal, Getenv: os.Getenv, Version: Version{Version: "v1"}, Front: r.front,
	}, []string{"version"})
	if err == nil || r.stderr.Len() > 0 {
		t.Errorf("error %v, stderr %q", err, &r.stderr)
	}
}
