package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

func (c *fake) LeaseMark(_ context.Context, name string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.forbidden["lease"]; err != nil {
		return "", err
	}
	if _, there := c.leases[name]; !there {
		return kube.NoLease, nil
	}
	return "a mark", nil
}

func (c *fake) TakeLease(_ context.Context, o kube.LeaseOptions) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if space, _, _ := strings.Cut(o.Name, "/"); !c.spaces[space] {
		return fmt.Errorf("no namespace %s", space)
	}
	if holder := c.leases[o.Name]; holder != "" && !o.Break {
		return fmt.Errorf("%w by %s", kube.ErrHeld, holder)
	}
	c.leases[o.Name] = o.Holder
	return nil
}

func (c *fake) RenewLease(_ context.Context, o kube.LeaseOptions) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if holder := c.leases[o.Name]; holder != o.Holder {
		return fmt.Errorf("%w by %s", kube.ErrHeld, holder)
	}
	return nil
}

func (c *fake) ReleaseLease(_ context.Context, o kube.LeaseOptions) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leases[o.Name] == o.Holder {
		c.leases[o.Name] = ""
	}
	return nil
}

// withRun leaves in the cluster, and on a host, what a run has; holder is who is at work in it, "" = no one any more.
func (c *fake) withRun(t *testing.T, id, holder string) {
	t.Helper()
	c.mu.Lock()
	c.spaces[namespacePrefix+id] = true
	c.leases[namespacePrefix+id+"/"+atWork] = holder
	c.mu.Unlock()
	if err := c.node("arm-1").MakeDir(t.Context(), hostDirs+id); err != nil {
		t.Fatal(err)
	}
}

// What another operator has at work is not what a run has left: who has it is told, and it goes when that is what the user wants.
func TestCleanAll_ARunThatIsAtWork(t *testing.T) {
	c := newFake(t, amd64, arm64)
	c.withRun(t, "00000001", "ann@elsewhere")
	c.withRun(t, "00000002", "")
	o := c.options()
	ids, err := CleanAll(t.Context(), c, o.Machines, false, o.Event)
	if !errors.Is(err, kube.ErrHeld) || !strings.Contains(err.Error(), "run 00000001 is at work, and is left alone") || !strings.Contains(err.Error(), "ann@elsewhere") || !strings.Contains(hint.Text(err), "--break-lock") {
		t.Errorf("%v", err)
	}
	if !slices.Equal(ids, []string{"00000002"}) || !c.spaces["hybridctl-conformance-00000001"] || c.spaces["hybridctl-conformance-00000002"] {
		t.Errorf("removed %q, there is %v", ids, c.spaces)
	}
	if _, err := os.Stat(c.node("arm-1").path(hostDirs + "00000001")); err != nil {
		t.Error(err)
	}
	c.forbidden = map[string]error{"lease": errors.New("away")}
	if ids, err := CleanAll(t.Context(), c, o.Machines, true, o.Event); err == nil || len(ids) > 0 || !strings.Contains(err.Error(), "it is not known whether it is at work") {
		t.Errorf("%q, %v", ids, err)
	}
	c.forbidden = nil
	if ids, err := CleanAll(t.Context(), c, o.Machines, true, o.Event); err != nil || !slices.Equal(ids, []string{"00000001"}) {
		t.Errorf("%q, %v", ids, err)
	}
	c.wantNothingLeft(t)
}

// beginning is a host on which the directory of a run is seen that began a moment ago.
type beginning struct {
	Machine
	begin func()
}

func (b beginning) Dirs(ctx context.Context, path string) ([]string, error) {
	b.begin()
	return b.Machine.Dirs(ctx, path)
}

// A run makes its namespace before anything on a host: one that begins while one looks for leftovers has left nothing.
func TestFindLeftovers_ARunThatBegins(t *testing.T) {
	c := newFake(t, amd64, arm64)
	machines := c.options().Machines
	machines["arm-1"] = beginning{machines["arm-1"], func() { c.withRun(t, "00000003", "ann@elsewhere") }}
	if ids, err := CleanAll(t.Context(), c, machines, false, func(report.Event) {}); len(ids) > 0 || !errors.Is(err, kube.ErrHeld) {
		t.Errorf("%q, %v", ids, err)
	}
	if _, err := os.Stat(c.node("arm-1").path(hostDirs + "00000003")); err != nil {
		t.Error(err)
	}
}

// A run tells that it is at work, and ends when what it made is another's to clean up.
func TestRun_IsAtWorkUntilItsLeaseIsTaken(t *testing.T) {
	c := newFake(t, amd64, arm64)
	o := c.options()
	o.Checks, o.pace.atWork = []string{"S4"}, 80*time.Millisecond
	name := namespacePrefix + testRun + "/" + atWork
	taken := false
	c.onExec = func(string, string) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !taken && c.leases[name] == "" {
			t.Error("no one is told that it is at work")
		}
		taken, c.leases[name] = true, "eve@elsewhere"
		return errors.New("cut off")
	}
	d, err := Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "what the run made is being cleaned up, or may be") || !strings.Contains(err.Error(), "eve@elsewhere") || d.Verdict() == report.Passed {
		t.Errorf("%v, %s", err, d.Verdict())
	}
	c.wantNothingLeft(t)
	if got := c.leases[name]; got != "" && got != "eve@elsewhere" {
		t.Errorf("the lease is %s's", got)
	}
}
