package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// fakeTerminal answers from a list; a question too many is an error.
type fakeTerminal struct {
	answers []string
	asked   []string
}

func (f *fakeTerminal) Interactive() bool { return f != nil }
func (f *fakeTerminal) CanAsk() bool      { return f != nil }

func (f *fakeTerminal) Ask(ctx context.Context, question string) (string, error) {
	f.asked = append(f.asked, question)
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if len(f.answers) == 0 {
		return "", errors.New("no answer is left")
	}
	answer := f.answers[0]
	f.answers = f.answers[1:]
	return answer, nil
}

func (f *fakeTerminal) AskSecret(ctx context.Context, question string) (string, error) {
	return f.Ask(ctx, question)
}

// run is one command line with everything around it under the test's control.
type run struct {
	t        *testing.T
	dir      string // current directory, with an inventory.yaml
	front    Front
	terminal *fakeTerminal // nil: no one is there
	stop     chan struct{}
	env      map[string]string
	stdin    string

	stdout, stderr bytes.Buffer
	waited         []string       // for what the verb waited
	waits          map[string]int // for what it waits now
}

const lab = `apiVersion: hybridctl.dev/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetes: {version: v1.36.3}
  bundle: ./bundle
  hosts:
    - {name: arm-1, address: 192.0.2.21, role: control-plane}
    - {name: x86-1, address: 192.0.2.11}
`

// newRun returns a run whose verbs all fail the test: a test sets those it expects.
func newRun(t *testing.T) *run {
	t.Helper()
	r := &run{t: t, dir: t.TempDir(), stop: make(chan struct{}), env: map[string]string{}}
	r.file("inventory.yaml", lab)
	if err := os.Mkdir(filepath.Join(r.dir, "bundle"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(r.dir)
	r.front = Front{
		Up: func(context.Context, provision.UpOptions) (provision.Result, error) {
			t.Error("Up was called")
			return provision.Result{}, nil
		},
		ScaleOut: func(context.Context, provision.ScaleOutOptions) (provision.Result, error) {
			t.Error("ScaleOut was called")
			return provision.Result{}, nil
		},
		StorageRemove: func(context.Context, provision.StorageRemoveOptions) (provision.Result, error) {
			t.Error("StorageRemove was called")
			return provision.Result{}, nil
		},
		Adopt: func(context.Context, provision.AdoptOptions) (provision.Adoption, error) {
			t.Error("Adopt was called")
			return provision.Adoption{}, nil
		},
		Remove: func(context.Context, provision.RemoveOptions) (provision.Result, error) {
			t.Error("Remove was called")
			return provision.Result{}, nil
		},
		Plan: func(context.Context, provision.Options) (plan.Plan, []report.Check, error) {
			t.Error("Plan was called")
			return plan.Plan{}, nil, nil
		},
		Preflight: func(context.Context, provision.Options) ([]report.Check, error) {
			t.Error("Preflight was called")
			return nil, nil
		},
		Identify: func(context.Context, provision.Options, []string) ([]provision.Identity, error) {
			t.Error("Identify was called")
			return nil, nil
		},
		Status: func(context.Context, provision.Options) (provision.StatusReport, error) {
			t.Error("Status was called")
			return provision.StatusReport{}, nil
		},
		Kubeconfig: func(context.Context, provision.Options) ([]byte, error) {
			t.Error("Kubeconfig was called")
			return nil, nil
		},
		Destroy: func(context.Context, provision.DestroyOptions) (provision.Result, error) {
			t.Error("Destroy was called")
			return provision.Result{}, nil
		},
	}
	return r
}

func (r *run) file(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// do runs a command line and returns its exit code.
func (r *run) do(line string) int {
	r.t.Helper()
	r.stdout.Reset()
	r.stderr.Reset()
	r.waited, r.waits = nil, map[string]int{}
	interrupted := false
	err := Run(r.t.Context(), Deps{
		Stdin: strings.NewReader(r.stdin), Stdout: &r.stdout, Stderr: &r.stderr, Terminal: r.terminal, Stop: r.stop,
		Getenv:  func(name string) string { return r.env[name] },
		Version: Version{Version: "v1.2.3", Commit: "0123456789abcdef", Go: "go1.26", Platform: "os/arch"},
		Front:   r.front,
		Waiting: r.waiting,
	}, words(line))
	for what, n := range r.waits {
		if n != 0 {
			r.t.Errorf("hybridctl %s: the wait for %s does not end", line, what)
		}
	}
	select {
	case <-r.stop:
		interrupted = true
	default:
	}
	return ExitCode(err, interrupted)
}

func (r *run) waiting(what string) (over func()) {
	r.waited = append(r.waited, what)
	r.waits[what]++
	return func() { r.waits[what]-- }
}

// waitedFor checks that the last verb said that it may wait for something.
func (r *run) waitedFor(what string) {
	r.t.Helper()
	if !slices.Contains(r.waited, what) {
		r.t.Errorf("waits for %q, and not for %s", r.waited, what)
	}
}

func (r *run) want(line string, code int) {
	r.t.Helper()
	if got := r.do(line); got != code {
		r.t.Errorf("hybridctl %s: exit code %d, want %d; stderr:\n%s", line, got, code, &r.stderr)
	}
}

func contains(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s lacks %q:\n%s", what, p, text)
		}
	}
}

// words are a line's arguments; what arg made is one of them.
func words(line string) []string {
	var out []string
	for _, w := range strings.Fields(line) {
		out = append(out, strings.ReplaceAll(w, "\x00", " "))
	}
	return out
}

// arg is a path as one argument of a line: a folder of the test may have a blank in its name.
func arg(path string) string { return strings.ReplaceAll(path, " ", "\x00") }
