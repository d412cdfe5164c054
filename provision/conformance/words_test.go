package conformance

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

// A node that has the image already, and is kept from asking for it, shows nothing of the registry.
func TestRun_AnImageThatWasNotPulled(t *testing.T) {
	c := newFake(t, amd64, arm64)
	c.cached = true
	o := c.options()
	o.Checks, o.Patience = []string{"R"}, 2*time.Second
	d, err := fullRun(t, o)
	if err != nil || d.Verdict() != report.Blocked {
		t.Errorf("%s, %v", d.Verdict(), err)
	}
	for _, cell := range d.Cells {
		if cell.Verdict != report.Blocked || !strings.Contains(cell.Reason, "already present on machine") {
			t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
		}
	}
}

// A program of the pod network that is of another architecture keeps every pod from starting: that refuses no image.
func TestRun_ASandboxThatCannotBeMade(t *testing.T) {
	c := newFake(t, amd64, arm64)
	c.node("arm-1").sandbox = `plugin type="flannel" failed (add): fork/exec /opt/cni/bin/flannel: exec format error`
	o := c.options()
	o.Checks, o.Patience = []string{"N2"}, time.Second
	d, err := fullRun(t, o)
	if err != nil {
		t.Error(err)
	}
	wantOnly(t, d, func(c report.CellResult) report.Verdict {
		return map[bool]report.Verdict{true: report.Failing, false: report.Passed}[c.Dst.Node == "arm-1"]
	})
}

// What probes and servers say is kept, but not all of it.
func TestRun_LongWords(t *testing.T) {
	c := newFake(t, amd64, arm64)
	long := strings.Repeat("x", 3000)
	c.lie = func(w *probe.Who) {
		if w.Node == "arm-1" {
			w.UID, w.UnameM = long, "aarch64"
		}
	}
	o := c.options()
	o.Checks, o.pace.attempt = []string{"S4"}, 200*time.Millisecond // datagrams of that length are not answered
	d, err := fullRun(t, o)
	if err != nil || d.Verdict() != report.Failing {
		t.Errorf("%s, %v", d.Verdict(), err)
	}
	for _, cell := range d.Cells {
		size := len(cell.Reason) + len(cell.Nonce) + len(cell.ObservedClientIP)
		if r := cell.Responder; r != nil {
			size += len(r.PodUID) + len(r.Node) + len(r.Machine) + len(r.ClientIP)
		}
		if size > 2*maxReason {
			t.Errorf("%s: %d bytes", cell.ID(), size)
		}
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct{ text, want string }{{"", ""}, {"abcdef", "abcdef"}, {"abcdefg", "abc…"}, {"aäöü", "aä…"}} {
		if got := cut(c.text, 6); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

// A host may name any number of runs; not for each of them the API server is asked, and not each is written.
func TestFindLeftovers_AHostThatNamesNoEnd(t *testing.T) {
	var dirs []string
	for i := range 3 * mostLeftovers {
		dirs = append(dirs, fmt.Sprintf("%08x", i), fmt.Sprintf("not-%d", i))
	}
	m := &wordMachine{name: "evil", dirs: dirs, removed: map[string][]string{}}
	api := &countedRuns{}
	ids, err := CleanAll(t.Context(), api, map[string]Machine{"evil": m}, false, func(report.Event) {})
	if len(ids) != mostLeftovers || len(m.removed["evil"]) != mostLeftovers {
		t.Errorf("%d runs, %d directories", len(ids), len(m.removed["evil"]))
	}
	if err == nil || len(err.Error()) > 1000 || !strings.Contains(err.Error(), "evil: names more than") || !strings.Contains(err.Error(), `"not-0"`) {
		t.Errorf("%v", err)
	}
	if api.deleted != 0 {
		t.Errorf("%d namespaces are deleted that only a host named", api.deleted)
	}
}

// countedRuns is an API server that knows of no run.
type countedRuns struct {
	namedRuns
	deleted int
}

func (c *countedRuns) DeleteNamespace(context.Context, string) error {
	c.deleted++
	return nil
}
