package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

func TestRun_Leftovers(t *testing.T) {
	c := newFake(t, amd64, arm64)
	c.spaces["hybridctl-conformance-00000001"] = true
	o := c.options()
	c.onApply = func(kind, name string) { t.Errorf("%s %s is made", kind, name) }
	d, err := Run(t.Context(), o)
	if !errors.Is(err, ErrLeftovers) || !strings.Contains(err.Error(), "hybridctl-conformance-00000001") || !strings.Contains(hint.Text(err), "hybridctl conformance clean") {
		t.Errorf("got %v", err)
	}
	if text, err := json.Marshal(d); err != nil || !strings.Contains(string(text), `"hint":"wait while another run is at work; what a run that was killed has left`) {
		t.Errorf("%s, %v", text, err)
	}
	if d.Error == "" || len(d.Cells) > 0 || d.ID != testRun || d.Verdict() != report.Failing {
		t.Errorf("%+v", d)
	}
	if len(c.spaces) != 1 {
		t.Errorf("%v", c.spaces)
	}
	if err := c.node("arm-1").MakeDir(t.Context(), hostDirs+"00000002-3"); err != nil { // of a run whose namespace is gone
		t.Fatal(err)
	}
	ids, err := CleanAll(t.Context(), c, o.Machines, false, o.Event)
	if err != nil || !slices.Equal(ids, []string{"00000001", "00000002-3"}) {
		t.Errorf("%v, %v", ids, err)
	}
	c.wantNothingLeft(t)
}

func TestRun_BadInput(t *testing.T) {
	c := newFake(t, amd64, arm64)
	c.onApply = func(kind, name string) { t.Errorf("%s %s is made", kind, name) }
	for _, b := range []struct {
		with func(*Options)
		is   error
		want string
	}{
		{func(o *Options) { o.Scenario = "upgrade" }, ErrUsage, `there is no scenario "upgrade"`},
		{func(o *Options) { o.Checks = []string{"S99"} }, ErrUsage, `has no check "S99"`},
		{func(o *Options) { o.Scenario = ScaleOut }, ErrUsage, "needs the nodes that were added"},
		{func(o *Options) { o.Scenario, o.NewNodes = ScaleOut, []string{"arm-9"} }, ErrUsage, `there is no node "arm-9" in the cluster`},
		{func(o *Options) { o.API = unreachable{o.API} }, ErrSetup, "the API server does not answer"},
	} {
		o := c.options()
		b.with(&o)
		d, err := Run(t.Context(), o)
		if !errors.Is(err, b.is) || !strings.Contains(err.Error(), b.want) || d.Error != err.Error() || d.Verdict() != report.Failing {
			t.Errorf("want %s, got %v and %+v", b.want, err, d)
		}
	}
	if err := TestSelf(t.Context(), Options{API: unreachable{c}}, nil); err == nil || !strings.Contains(err.Error(), "the API server does not answer") {
		t.Errorf("self-test: %v", err)
	}
}

type unreachable struct{ API }

func (unreachable) Nodes(context.Context) ([]kube.Node, error)           { return nil, errUnreachable }
func (unreachable) Namespaces(context.Context, string) ([]string, error) { return nil, errUnreachable }
func (unreachable) DeleteNamespace(context.Context, string) error        { return errUnreachable }

var errUnreachable = errors.New("the API server does not answer")

func TestRun_CannotBegin(t *testing.T) {
	for name, c := range map[string]struct {
		with func(*fake, *Options)
		want string
	}{
		"namespace forbidden": {func(c *fake, _ *Options) {
			c.forbidden["Namespace"] = errors.New("namespaces is forbidden: User x cannot create it")
		}, "namespaces is forbidden: User x cannot create it"},
		"pods forbidden": {func(c *fake, _ *Options) { c.forbidden["Pod"] = errors.New("pods is forbidden") }, "pods is forbidden"},
		"no image":       {func(_ *fake, o *Options) { o.Image, o.Images = "", nil }, "the bundle has no image of the probe"},
		"no password": {func(_ *fake, o *Options) {
			o.Registry.Password = func() (string, error) { return "", errors.New("registry's password: no such file") }
		}, "registry's password: no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, amd64, arm64)
			o := f.options()
			c.with(f, &o)
			d, err := fullRun(t, o)
			if !errors.Is(err, ErrSetup) || !strings.Contains(err.Error(), c.want) || !strings.Contains(d.Error, c.want) {
				t.Errorf("got %v, %q", err, d.Error)
			}
			if d.Verdict() != report.Failing {
				t.Errorf("the run's verdict is %s", d.Verdict())
			}
			for _, cell := range d.Cells {
				if cell.Verdict != report.Blocked || cell.Reason == "" {
					t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
				}
			}
			f.wantNothingLeft(t)
		})
	}
}

// What cannot be taken away is said, also beside another error.
func TestRun_CannotCleanUp(t *testing.T) {
	for _, interrupted := range []bool{false, true} {
		c := newFake(t, amd64, arm64)
		o := c.options()
		o.Checks = []string{"S4"}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c.forbidden["delete"] = errors.New("namespaces cannot be deleted")
		if interrupted {
			c.onExec = func(string, string) error { cancel(); return nil }
		}
		d, err := Run(ctx, o)
		if err == nil || !strings.Contains(d.Error, "namespaces cannot be deleted") || errors.Is(err, context.Canceled) != interrupted {
			t.Errorf("interrupted %v: %v", interrupted, err)
		}
	}
}

func TestRun_AProbeThatNeverStarts(t *testing.T) {
	c := newFake(t, amd64, arm64)
	c.node("arm-1").stuck = true
	o := c.options()
	o.Patience = time.Second
	d, err := fullRun(t, o)
	if err != nil || d.Verdict() != report.Failing {
		t.Errorf("%s, %v", d.Verdict(), err)
	}
	for _, cell := range d.Cells {
		concerned := cell.Class == "arm64" || cell.Dst != nil && cell.Dst.Node == "arm-1" || cell.Src != nil && (cell.Src.Node == "arm-1" || strings.HasSuffix(cell.Src.Where, "arm-1"))
		looks := slices.Contains([]string{"ready", "architecture", "daemonsets"}, cell.Name)
		switch {
		case always(cell):
		case concerned && !looks && cell.Verdict == report.Passed && !strings.HasPrefix(cell.Src.String(), "operator"):
			t.Errorf("%s passed", cell.ID())
		case (!concerned || looks) && cell.Verdict != report.Passed:
			t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
		case cell.Verdict == report.Blocked && !strings.Contains(cell.Reason, "its kubelet has not started it yet"):
			t.Errorf("%s: %s", cell.ID(), cell.Reason)
		}
	}
	if d.CheckVerdict("N1") != report.Failing {
		t.Error("N1 is not failing")
	}
	c.wantNothingLeft(t)
}

// A kubelet that runs no program in a container, or stops to, leaves the node unproven: that is no run that passes.
func TestRun_AProbeThatDoesNotAnswer(t *testing.T) {
	c := newFake(t, amd64, arm64)
	c.onExec = func(pod, _ string) error {
		if pod == "b-0" { // of arm-1
			return errors.New("dial tcp 10.0.0.1:10250: i/o timeout")
		}
		return nil
	}
	o := c.options()
	o.Checks = []string{"S4", "S5"}
	d, err := fullRun(t, o)
	if err != nil || d.CheckVerdict("S4") != report.Failing || d.Verdict() != report.Failing || d.CheckVerdict("S5") != report.Passed {
		t.Errorf("%s: S4 %s, S5 %s, %v", d.Verdict(), d.CheckVerdict("S4"), d.CheckVerdict("S5"), err)
	}
}

// A slow node takes long to start a program in a container, and answers soon once it runs.
func TestRun_AProbeThatStartsLate(t *testing.T) {
	c := newFake(t, amd64, arm64)
	o := c.options()
	o.pace.answer = 500 * time.Millisecond
	o.Checks = []string{"S4"}
	c.onExec = func(pod, _ string) error {
		if pod == "b-0" {
			time.Sleep(3 * o.pace.answer)
		}
		return nil
	}
	if d, err := fullRun(t, o); err != nil || d.Verdict() != report.Passed {
		t.Errorf("%s, %v: %+v", d.Verdict(), err, d.Cells)
	}
}

// A namespace that does not go within its time leaves the hosts theirs.
func TestClean_ASlowNamespaceLeavesTheHostsTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slowMachine{}
		err := Clean(t.Context(), stuckNamespace{}, map[string]Machine{"arm-1": m}, testRun)
		if !errors.Is(err, context.DeadlineExceeded) || m.removed != 4 {
			t.Errorf("%d of 4 things were removed from the host; %v", m.removed, err)
		}
	})
}

type stuckNamespace struct{ API }

func (stuckNamespace) Volumes(context.Context, []string) ([]kube.Volume, error) { return nil, nil }

func (stuckNamespace) DeleteNamespace(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

type slowMachine struct {
	Machine
	removed int
}

func (m *slowMachine) RemoveFaults(ctx context.Context, _ string) error { return m.remove(ctx) }
func (m *slowMachine) RemoveDir(ctx context.Context, _ string) error    { return m.remove(ctx) }
func (m *slowMachine) RemoveImage(ctx context.Context, _ string) error  { return m.remove(ctx) }

func (m *slowMachine) remove(ctx context.Context) error {
	if ctx.Err() == nil {
		m.removed++
	}
	return ctx.Err()
}
