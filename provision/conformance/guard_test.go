package conformance

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

func TestUnchanged(t *testing.T) {
	pod := func(name string, changes ...func(*kube.Pod)) kube.Pod {
		p := kube.Pod{Namespace: "shop", Name: name, UID: "uid-" + name, Node: "x86-1", Ready: true, Restarts: 2}
		for _, c := range changes {
			c(&p)
		}
		return p
	}
	waits := func(p *kube.Pod) { p.Ready, p.Problem = false, "container web: running, not Ready" }
	leaves := func(p *kube.Pod) { p.Ready, p.Deleting, p.Problem = false, true, "is being deleted" }
	ended := func(p *kube.Pod) { p.Ready, p.Ended, p.Problem = false, true, "has ended: Evicted disk pressure" }
	again := func(p *kube.Pod) { p.Restarts++ }
	mayEnd := func(p *kube.Pod) { p.MayEnd = true }
	ofJob := func(p *kube.Pod) { p.Controller, p.MayEnd = "Job", true }
	compare := func(before, now []kube.Pod) outcome {
		nodes := []kube.Node{{Name: "x86-1", Ready: true}}
		return newGuard(snapshot{nodes, before}, snapshot{nodes, now}, "run").unchanged("x86-1")
	}
	before := []kube.Pod{
		pod("web"), pod("db"), pod("elsewhere", func(p *kube.Pod) { p.Node = "x86-2" }),
		pod("waits", waits), pod("ours", func(p *kube.Pod) { p.Namespace = "run" }),
	}
	for _, c := range []struct {
		name    string
		now     []kube.Pod
		verdict report.Verdict
		reason  string
		ok      int
	}{
		{"the same", []kube.Pod{pod("db"), pod("web"), pod("new"), pod("waits", waits)}, report.Passed, "", 2},
		{"one gone", []kube.Pod{pod("web")}, report.Failing, "pod shop/db is gone", 1},
		{"one replaced", []kube.Pod{pod("web", func(p *kube.Pod) { p.UID = "other" }), pod("db")}, report.Failing, "pod shop/web is gone", 1},
		{"one restarted", []kube.Pod{pod("web", again), pod("db")}, report.Failing, "pod shop/web was restarted: 2 times before, 3 now", 1},
		{"one moved", []kube.Pod{pod("web", func(p *kube.Pod) { p.Node = "arm-1" }), pod("db")}, report.Failing, "pod shop/web moved to arm-1", 1},
		{"all gone", nil, report.Failing, "is gone", 0},
		{"one not Ready", []kube.Pod{pod("web", waits), pod("db")}, report.Failing, "pod shop/web was Ready before: container web: running, not Ready", 1},
		{"one leaves", []kube.Pod{pod("web", leaves), pod("db")}, report.Failing, "pod shop/web was Ready before: is being deleted", 1},
		{"one evicted", []kube.Pod{pod("web", ended), pod("db")}, report.Failing, "pod shop/web was Ready before: has ended: Evicted disk pressure", 1},
		{"one Ready at last", []kube.Pod{pod("web"), pod("db"), pod("waits")}, report.Passed, "", 2},
	} {
		o := compare(before, c.now)
		if o.verdict != c.verdict || !strings.Contains(o.reason, c.reason) || o.planned != 2 || o.ok != c.ok || o.first != (c.ok == 2) {
			t.Errorf("%s: %+v", c.name, o)
		}
	}
	for _, c := range []struct {
		name    string
		changes []func(*kube.Pod) // of the pod, before and now
		now     func(*kube.Pod)   // nil = it is gone
		verdict report.Verdict
	}{
		{"a Job's has gone", []func(*kube.Pod){ofJob}, nil, report.Passed},
		{"a Job's goes", []func(*kube.Pod){ofJob}, leaves, report.Passed},
		{"a Job's has ended", []func(*kube.Pod){ofJob}, ended, report.Passed},
		{"a Job's has a container that has ended", []func(*kube.Pod){ofJob}, waits, report.Passed},
		{"a Job's was restarted", []func(*kube.Pod){ofJob}, again, report.Failing},
		{"one that may end has ended", []func(*kube.Pod){mayEnd}, ended, report.Passed},
		{"one that may end is not Ready", []func(*kube.Pod){mayEnd}, waits, report.Failing},
		{"one that may end is gone", []func(*kube.Pod){mayEnd}, nil, report.Failing},
	} {
		was := []kube.Pod{pod("one", c.changes...)}
		var now []kube.Pod
		if c.now != nil {
			now = []kube.Pod{pod("one", append(c.changes, c.now)...)}
		}
		if o := compare(was, now); o.verdict != c.verdict || o.planned != 1 {
			t.Errorf("%s: %+v", c.name, o)
		}
	}
	for name, pods := range map[string][]kube.Pod{"no pods": nil, "none that ran": before[3:4], "only ours": before[4:], "only elsewhere": before[2:3]} {
		if o := compare(pods, before); o.verdict != report.Blocked || o.reason == "" {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

func TestUnchanged_Nodes(t *testing.T) {
	nodes := func(ready bool) []kube.Node { return []kube.Node{{Name: "x86-1", Ready: ready}} }
	pods := []kube.Pod{{UID: "a", Node: "x86-1", Ready: true}}
	for _, c := range []struct {
		name        string
		before, now []kube.Node
		pods        []kube.Pod
		verdict     report.Verdict
		reason      string
	}{
		{"Ready", nodes(true), nodes(true), pods, report.Passed, ""},
		{"not Ready any more", nodes(true), nodes(false), pods, report.Failing, "node x86-1 was Ready before and is not Ready now"},
		{"not Ready any more, without pods", nodes(true), nodes(false), nil, report.Failing, "node x86-1 was Ready before and is not Ready now"},
		{"gone", nodes(true), nil, pods, report.Failing, "node x86-1 is gone"},
		{"never Ready", nodes(false), nodes(false), pods, report.Passed, ""},
		{"never Ready, without pods", nodes(false), nodes(false), nil, report.Blocked, "no pod ran there before"},
		{"Ready at last", nodes(false), nodes(true), pods, report.Passed, ""},
	} {
		if o := newGuard(snapshot{c.before, c.pods}, snapshot{c.now, pods}, "run").unchanged("x86-1"); o.verdict != c.verdict || o.reason != c.reason {
			t.Errorf("%s: %+v", c.name, o)
		}
	}
}

// cellsOf are the results of one check by their node.
func cellsOf(d report.ConformanceRun, check string) map[string]report.CellResult {
	out := map[string]report.CellResult{}
	for _, c := range d.CheckCells(check) {
		out[c.Dst.Node] = c
	}
	return out
}

// An old node that the scale-out breaks is found out, however early it breaks.
func TestRun_AScaleOutThatBreaksAnOldNode(t *testing.T) {
	for name, when := range map[string]func(c *fake, o *Options, breaks func()){
		"while nodes join": func(c *fake, o *Options, breaks func()) {
			o.NodesBefore, _ = c.Nodes(t.Context())
			breaks()
		},
		"while it is proven": func(_ *fake, o *Options, breaks func()) { o.Event = onDone("S4", breaks) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newFake(t, amd64, arm64, arm64)
			o := c.options()
			o.Scenario, o.NewNodes, o.Checks = ScaleOut, []string{"arm-2"}, []string{"S4", "G"}
			when(c, &o, func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.node("x86-1").ready = false
			})
			d, err := fullRun(t, o)
			old := cellsOf(d, "G")
			if err != nil || d.CheckVerdict("S4") != report.Passed || old["arm-1"].Verdict != report.Passed {
				t.Errorf("S4 %s, G on arm-1 %s, %v", d.CheckVerdict("S4"), old["arm-1"].Verdict, err)
			}
			if broken := old["x86-1"]; broken.Verdict != report.Failing || broken.Reason != "node x86-1 was Ready before and is not Ready now" {
				t.Errorf("%s: %s", broken.Verdict, broken.Reason)
			}
		})
	}
}

// The pods of all nodes are listed once before and once after, however many nodes there are.
func TestRun_GuardAsksOnce(t *testing.T) {
	c := newFake(t, amd64, amd64, amd64, amd64, arm64)
	o := c.options()
	o.Scenario, o.NewNodes, o.Checks = ScaleOut, []string{"arm-1"}, []string{"G"}
	d, err := fullRun(t, o)
	if err != nil || d.CheckVerdict("G") != report.Passed || len(cellsOf(d, "G")) != 4 {
		t.Errorf("%v: %+v", err, d.Cells)
	}
	if c.lists != 2 {
		t.Errorf("all pods were listed %d times", c.lists)
	}
}

// mute is an API server that does not list the pods of all namespaces.
type mute struct{ *fake }

func (m mute) Pods(ctx context.Context, namespace, labels string) ([]kube.Pod, error) {
	if namespace == "" {
		return nil, errUnreachable
	}
	return m.fake.Pods(ctx, namespace, labels)
}

// flaps is an API server in whose first lists no pod is Ready.
type flaps struct {
	*fake
	left *int
}

func (f flaps) Pods(ctx context.Context, namespace, labels string) ([]kube.Pod, error) {
	pods, err := f.fake.Pods(ctx, namespace, labels)
	if namespace != "" || *f.left == 0 {
		return pods, err
	}
	*f.left--
	pods = slices.Clone(pods)
	for i := range pods {
		pods[i].Ready, pods[i].Problem = false, "a probe came late"
	}
	return pods, err
}

// A probe that misses its time is no change; one that does so for long is.
func TestRun_GuardLooksAgain(t *testing.T) {
	for times, want := range map[int]report.Verdict{0: report.Passed, looks - 1: report.Passed, looks: report.Failing} {
		c := newFake(t, amd64, amd64, arm64)
		o := c.options()
		o.API = flaps{c, &times}
		o.Scenario, o.NewNodes, o.Checks = ScaleOut, []string{"arm-1"}, []string{"G"}
		o.Before = slices.Clone(c.others)
		d, err := fullRun(t, o)
		if got := d.CheckVerdict("G"); got != want {
			t.Errorf("not Ready %d times: %s, %v: %+v", times, got, err, d.Cells)
		}
	}
}

func TestRun_GuardThatCannotAsk(t *testing.T) {
	c := newFake(t, amd64, amd64, arm64)
	o := c.options()
	o.API = mute{c}
	o.Scenario, o.NewNodes, o.Checks = ScaleOut, []string{"arm-1"}, []string{"G"}
	o.Before = slices.Clone(c.others)
	d, err := fullRun(t, o)
	for node, cell := range cellsOf(d, "G") {
		if cell.Verdict != report.Failing || cell.Reason != errUnreachable.Error() {
			t.Errorf("%s: %s: %s, %v", node, cell.Verdict, cell.Reason, err)
		}
	}
}
