package conformance

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

// A kubelet that is started again ends every exec on its node. The network is what it was, and so is every cell.
func TestRun_AnAgentThatEndsIsStartedAgain(t *testing.T) {
	for name, when := range map[string]func(c *fake, o *Options){
		"between two cells": func(c *fake, o *Options) {
			o.Event = onDone("S3", func() { c.cutExecs("arm-1"); c.cutExecs("x86-1") })
		},
		"while a cell is tried": func(c *fake, _ *Options) {
			var once sync.Once
			c.intercept = func(from, _ *fakePod, _ string) error {
				if from != nil {
					once.Do(func() { c.cutExecs(from.node.name) })
				}
				return nil
			}
		},
		"and does not start at once": func(c *fake, o *Options) {
			left := 0
			o.Event = onDone("S3", func() {
				c.mu.Lock()
				left = 2
				c.mu.Unlock()
				c.cutExecs("arm-1")
			})
			c.onExec = func(string, string) error {
				c.mu.Lock()
				defer c.mu.Unlock()
				if left > 0 {
					left--
					return errKubelet
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFake(t, amd64, arm64)
			o := c.options()
			o.Checks = []string{"S3", "S4", "S5", "S6", "S8"}
			when(c, &o)
			var mu sync.Mutex
			said, act := 0, o.Event
			o.Event = func(e report.Event) {
				mu.Lock()
				if strings.Contains(e.Message, "is started again: "+errKubelet.Error()) {
					said++
				}
				mu.Unlock()
				act(e)
			}
			d, err := fullRun(t, o)
			if err != nil || said == 0 {
				t.Errorf("%v; it was said %d times", err, said)
			}
			for _, cell := range d.Cells {
				if cell.Verdict != report.Passed && !always(cell) {
					t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
				}
			}
			c.wantNothingLeft(t)
		})
	}
}

// What a probe would have seen that is not heard any more is not known: its cells are blocked, and one of its node alone tells why. Without such a
// cell those with other nodes tell it, and say nothing of the network.
func TestRun_AnAgentThatIsNotHeardAnyMore(t *testing.T) {
	for name, k := range map[string]struct {
		checks []string
		when   func(c *fake, o *Options, lose func())
		fails  func(c report.CellResult) bool // they may
		most   int                            // of them
	}{
		"with cells of its own": {[]string{"S3", "S4", "S5", "S6", "S8"}, func(c *fake, _ *Options, lose func()) {
			c.onApply = func(kind, name string) {
				c.mu.Lock()
				again := c.svcs["stay-0"] != nil // the second time its endpoint is taken away
				c.mu.Unlock()
				if kind == "Service" && name == "stay-0" && again {
					lose()
				}
			}
		}, func(c report.CellResult) bool { return c.Src == nil || c.Src.Node == c.Dst.Node }, 1},
		"while it asks for a name": {[]string{"S6"}, func(c *fake, _ *Options, lose func()) {
			var once sync.Once
			c.onLookup = func(p *fakePod) {
				if p.node.name == "arm-1" {
					once.Do(lose)
				}
			}
		}, func(c report.CellResult) bool { return c.Src == nil || c.Src.Node == c.Dst.Node }, 1},
		"with those of two only": {[]string{"S5"}, func(_ *fake, o *Options, lose func()) {
			var once sync.Once
			o.Event = func(e report.Event) {
				if e.Kind == report.Done && e.Step == "S5" && e.Host == "x86-1" {
					once.Do(lose)
				}
			}
		}, func(c report.CellResult) bool { return c.Src.Node == "arm-1" }, 7},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFake(t, amd64, arm64)
			o := c.options()
			o.Checks, o.pace.rulesLag = k.checks, 100*time.Millisecond
			gone := false
			c.onExec = func(pod, container string) error {
				c.mu.Lock()
				defer c.mu.Unlock()
				if gone && pod == "a-0" && container == mainContainer {
					return errKubelet
				}
				return nil
			}
			k.when(c, &o, func() {
				c.mu.Lock()
				gone = true
				c.mu.Unlock()
				c.cutExecs("arm-1")
			})
			d, err := fullRun(t, o)
			if err != nil || d.Verdict() != report.Failing {
				t.Errorf("%s, %v", d.Verdict(), err)
			}
			failing := 0
			for _, cell := range d.Cells {
				if cell.Verdict == report.Passed || always(cell) {
					continue
				}
				if cell.Verdict == report.Failing && k.fails(cell) {
					failing++
				} else if cell.Verdict != report.Blocked {
					t.Errorf("%s: %s", cell.ID(), cell.Verdict)
				}
				if !strings.Contains(cell.Reason, "the probe in a-0/probe is not heard any more: "+errKubelet.Error()) || cell.Cause != "" || cell.Planned > 0 {
					t.Errorf("%s: %s; cause %q, %d attempts", cell.ID(), cell.Reason, cell.Cause, cell.Planned)
				}
			}
			if failing == 0 || failing > k.most {
				t.Errorf("%d cells fail", failing)
			}
		})
	}
}

// execs is an API server whose execs end at an order.
type execs struct {
	API
	endsAt []string // operations
	silent bool     // nothing is answered
	other  string   // the container that answers; "" = the one that is asked
	begun  int
}

func (e *execs) Exec(ctx context.Context, o kube.ExecOptions) error {
	e.begun++
	if e.silent {
		<-ctx.Done()
		return ctx.Err()
	}
	for lines := bufio.NewScanner(o.Stdin); lines.Scan(); {
		var order probe.Order
		if err := json.Unmarshal(lines.Bytes(), &order); err != nil {
			return err
		}
		if slices.Contains(e.endsAt, order.Op) {
			return errKubelet
		}
		if err := json.NewEncoder(o.Stdout).Encode(probe.Answer{ID: order.ID, Who: &probe.Who{Version: probe.Version, Container: cmp.Or(e.other, o.Container)}}); err != nil {
			return err
		}
	}
	return nil
}

func agentsOf(t *testing.T, api API) *agents {
	all := &agents{life: t.Context(), api: api, view: newView(time.Now, time.Minute), pace: usual, event: func(report.Event) {}, all: map[string]*agent{}}
	t.Cleanup(all.close)
	return all
}

func agentOf(t *testing.T, api API) *agent {
	t.Helper()
	a, err := agentsOf(t, api).of(t.Context(), "a-0", mainContainer)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// An order that ends every exec is given up after so many, and a kubelet has a minute to start again.
func TestAgent_IsStartedSoManyTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &execs{endsAt: []string{probe.OpRead}}
		a, begin := agentOf(t, api), time.Now()
		_, err := a.ask(t.Context(), probe.Order{Op: probe.OpRead})
		if !unheard(err) || !strings.Contains(err.Error(), "the probe in a-0/probe is not heard any more: ") || api.begun != agentStarts || time.Since(begin) < time.Minute {
			t.Errorf("%d starts in %s: %v", api.begun, time.Since(begin), err)
		}
		if _, again := a.ask(t.Context(), probe.Order{Op: probe.OpRead}); !errors.Is(again, err) || api.begun != agentStarts {
			t.Errorf("%d starts; then %v", api.begun, again)
		}
	})
}

// What is written twice would not be what was ordered.
func TestAgent_AppendsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &execs{endsAt: []string{probe.OpAppend}}
		a := agentOf(t, api)
		if _, err := a.ask(t.Context(), probe.Order{Op: probe.OpAppend}); !unheard(err) || api.begun != 1 {
			t.Errorf("%d starts: %v", api.begun, err)
		}
		if _, err := a.ask(t.Context(), probe.Order{Op: probe.OpRead}); err != nil || api.begun != 2 {
			t.Errorf("%d starts: %v", api.begun, err)
		}
	})
}

// Whoever does not wait any more does not keep others from it, nor costs the agent a start.
func TestAgent_AnInterruptionIsNotItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &execs{endsAt: []string{probe.OpAppend}}
		a := agentOf(t, api)
		_, _ = a.ask(t.Context(), probe.Order{Op: probe.OpAppend})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.ask(ctx, probe.Order{Op: probe.OpRead}); !errors.Is(err, context.DeadlineExceeded) || api.begun != 1 {
			t.Errorf("%d starts: %v", api.begun, err)
		}
		if _, err := a.ask(t.Context(), probe.Order{Op: probe.OpRead}); err != nil {
			t.Error(err)
		}
	})
}

// dials is an API of a kubelet that starts again while a Service's rules are waited for: the second dial ends the exec, and the next starts fail.
type dials struct {
	API
	fail, silent int // starts, and dials after that
	asked        int
}

func (d *dials) Exec(_ context.Context, o kube.ExecOptions) error {
	if d.asked > 0 && d.fail > 0 {
		d.fail--
		return errKubelet
	}
	lines := bufio.NewScanner(o.Stdin)
	for lines.Scan() {
		var order probe.Order
		if err := json.Unmarshal(lines.Bytes(), &order); err != nil {
			return err
		}
		answer := probe.Answer{ID: order.ID}
		switch {
		case order.Op == probe.OpWho:
			answer.Who = &probe.Who{Version: probe.Version, Container: o.Container}
		default:
			if d.asked++; d.asked == 2 {
				return errKubelet
			}
			a := probe.Attempt{Nonce: order.Nonces[0], Ending: probe.Silent}
			if d.asked > 2+d.silent {
				a.Ending, a.Reply = probe.Answered, &probe.Reply{}
			}
			answer.Attempts = []probe.Attempt{a}
		}
		if err := json.NewEncoder(o.Stdout).Encode(answer); err != nil {
			return err
		}
	}
	return nil
}

// A probe that is started again for a minute has not seen for so long that rules are not there.
func TestSettle_AProbeThatIsStartedAgainIsNotTheRulesDelay(t *testing.T) {
	for name, c := range map[string]struct {
		api  dials
		late bool
	}{
		"the rules are there":          {dials{fail: 4}, false},
		"they come a little later":     {dials{fail: 4, silent: 5}, false},
		"they do not come":             {dials{fail: 4, silent: 1000}, true},
		"the probe does not come back": {dials{fail: 1000}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			agent, begun := agentOf(t, &c.api), time.Now()
			a := asker{rules: rules{time.Now, usual}}
			var away time.Duration
			s := a.settle(t.Context(), begun, a.asks(agent, Cell{}, "service", &away), &away)
			if s.late != c.late || s.lag > 5*time.Second || !c.late && c.api.fail == 0 && s.lag == 0 {
				t.Errorf("%s: %+v", name, s)
			}
			if took := time.Since(begun); took < 30*time.Second || took > 3*time.Minute {
				t.Errorf("%s: %s", name, took)
			}
		})
	}
}

// A probe that says nothing when it starts is waited for once, as that takes its time, and it never was heard. Whoever gives up before costs it no
// start.
func TestAgent_ThatNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &execs{silent: true}
		all := agentsOf(t, api)
		for range agentStarts {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := all.of(ctx, "a-0", mainContainer); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			cancel()
		}
		for range 2 {
			_, err := all.of(t.Context(), "a-0", mainContainer)
			if !errors.Is(err, errSilent) || unheard(err) || api.begun != agentStarts+1 {
				t.Errorf("%d starts: %v", api.begun, err)
			}
		}
	})
}

// One that runs and is not what was asked for is not asked again: the kubelet would find no other.
func TestAgent_ThatIsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &execs{other: "stranger"}
		all := agentsOf(t, api)
		for range 2 {
			if _, err := all.of(t.Context(), "a-0", mainContainer); err == nil || !strings.Contains(err.Error(), "another container was asked") || unheard(err) || api.begun != 1 {
				t.Errorf("%d starts: %v", api.begun, err)
			}
		}
	})
}

// blank is a host that takes every file.
type blank struct{ Machine }

func (blank) WriteFile(context.Context, string, string) error { return nil }

// A directory that a probe is not heard about is not known: the cell counts as one whose probe is lost, so that no run passes without it.
func TestSeesItsOwn_AProbeThatIsNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := roster{planNode("arm-1", "arm64"), planNode("x86-1", "amd64")}
		d := &directoryTrier{asker: asker{draft: &draft{roster: nodes}}, hosts: newHosts(map[string]Machine{"arm-1": blank{}})}
		a := agentOf(t, &execs{endsAt: []string{probe.OpRead}})
		if o := d.seesItsOwn(t.Context(), Cell{Src: "arm-1", Dst: "x86-1"}, a); o.verdict != report.Blocked || !o.lost {
			t.Errorf("%s (%s), lost: %t", o.verdict, o.reason, o.lost)
		}
	})
}
