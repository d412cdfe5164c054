package progress

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vbauerster/mpb/v8"

	"github.com/hybridctl/hybridctl/provision/golden"
	"github.com/hybridctl/hybridctl/provision/report"
)

// terminal understands the few codes that the live view uses, and keeps what a user would see.
type terminal struct {
	mu     sync.Mutex
	lines  []string // the last is the cursor's
	frames chan struct{}
}

func newTerminal() *terminal {
	return &terminal{lines: []string{""}, frames: make(chan struct{}, 1000)}
}

func (s *terminal) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := string(b)
	for rest != "" {
		switch {
		case strings.HasPrefix(rest, "\x1b["):
			end := strings.IndexAny(rest, "AJm")
			s.code(rest[2:end], rest[end])
			rest = rest[end+1:]
		case rest[0] == '\n':
			s.lines = append(s.lines, "")
			rest = rest[1:]
		default:
			end := strings.IndexAny(rest, "\x1b\n")
			if end < 0 {
				end = len(rest)
			}
			s.lines[len(s.lines)-1] += rest[:end]
			rest = rest[end:]
		}
	}
	s.frames <- struct{}{}
	return len(b), nil
}

// code carries out a control sequence. Cursor up is always followed by "erase below", so lines beneath are dropped at once.
func (s *terminal) code(arg string, final byte) {
	if final != 'A' {
		return
	}
	n, err := strconv.Atoi(arg)
	if err != nil || n >= len(s.lines) {
		panic(fmt.Sprintf("cursor up by %q on %d lines", arg, len(s.lines)))
	}
	s.lines = append(s.lines[:len(s.lines)-1-n], "")
}

func (s *terminal) screen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

type liveTest struct {
	*live
	screen  *terminal
	refresh chan any
}

// newLiveTest returns a view that draws when told to, on a terminal of this size, at 12:00:10.
func newLiveTest(t *testing.T, hosts []string, width, height int) liveTest {
	t.Helper()
	lt := liveTest{screen: newTerminal(), refresh: make(chan any)}
	o := Options{Out: lt.screen, Hosts: hosts, Now: func() time.Time { return at(10) }}
	lt.live = newLive(o, func() (int, int) { return width, height }, mpb.WithManualRefresh(lt.refresh))
	return lt
}

func (lt liveTest) drawn() string {
	lt.refresh <- at(10)
	<-lt.screen.frames
	return lt.screen.screen()
}

func TestLive_OneRowPerHost(t *testing.T) {
	v := newLiveTest(t, []string{"arm-1", "x86-1"}, 100, 24)
	for _, e := range events()[:5] {
		v.Event(e)
	}
	golden.Check(t, "live.txt", v.drawn())
	for _, e := range events()[5:] {
		v.Event(e)
	}
	v.pump.Suspend(func() {}) // wait for a write under way
	v.Close()
	golden.Check(t, "live-closed.txt", v.screen.screen())
}

func TestLive_MoreHostsThanRows(t *testing.T) {
	var hosts []string
	for i := range 500 {
		hosts = append(hosts, fmt.Sprintf("rack-%03d", i))
	}
	v := newLiveTest(t, hosts, 80, 10)
	for _, i := range []int{3, 250, 499} {
		v.Event(report.Event{Time: at(0), Kind: report.Started, Host: hosts[i], Step: "runtime"})
	}
	v.Event(report.Event{Time: at(1), Kind: report.Started, Host: hosts[3], Step: "images"})
	v.Event(report.Event{Time: at(2), Kind: report.Progress, Host: hosts[3], Step: "images", Bytes: 1, Total: 4})
	got := v.drawn()
	golden.Check(t, "live-many.txt", got)
	if rows := strings.Count(got, "\n"); rows >= 10 {
		t.Errorf("%d rows on a terminal of 10", rows)
	}
	v.Close()
	if got := v.screen.screen(); got != "" {
		t.Errorf("left on the terminal: %q", got)
	}
}

func TestLive_NeverWiderThanTheTerminal(t *testing.T) {
	for _, width := range []int{1, 8, 20, 40, 79} {
		v := newLiveTest(t, []string{"a-host-with-a-name-longer-than-the-column", "x86-1"}, width, 24)
		for _, e := range events()[:5] {
			v.Event(e)
		}
		for l := range strings.Lines(v.drawn()) {
			if n := len([]rune(strings.TrimSuffix(l, "\n"))); n > width {
				t.Errorf("width %d: row of %d: %q", width, n, l)
			}
		}
		v.Close()
	}
}

func TestLive_SuspendClearsTheTerminalAndComesBack(t *testing.T) {
	v := newLiveTest(t, []string{"arm-1"}, 80, 24)
	v.drawn()
	v.Suspend(func() {
		if got := v.screen.screen(); got != "" {
			t.Errorf("while suspended: %q", got)
		}
		fmt.Fprintln(v.screen, "question? yes")
		for len(v.screen.frames) > 0 {
			<-v.screen.frames
		}
	})
	if got := v.drawn(); !strings.HasPrefix(got, "question? yes\narm-1") {
		t.Errorf("after: %q", got)
	}
	v.Close()
}

func TestLive_PanicWhileSuspendedGivesTheTerminalBack(t *testing.T) {
	v := newLiveTest(t, []string{"arm-1"}, 80, 24)
	v.drawn()
	func() {
		defer func() { _ = recover() }()
		defer v.Close()
		v.Suspend(func() { panic("a bug") })
	}()
	if got := v.screen.screen(); got != "" {
		t.Errorf("left on the terminal: %q", got)
	}
}

// What is said in passing has no end that is told of: it must not stand there when it has long stopped being so.
func TestFleet_ForgetsWhatWasSaidInPassing(t *testing.T) {
	f := newFleet([]string{"x86-1"}, at(0))
	f.apply(report.Event{Time: at(0), Kind: report.Started, Host: "x86-1", Step: "join"})
	f.apply(report.Event{Time: at(1), Kind: report.Progress, Host: "x86-1", Step: "api", Message: "connecting"})
	for seconds, want := range map[int]string{2: "api", 31: "api", 32: "join"} {
		g := newFleet([]string{"x86-1"}, at(0))
		g.hosts[0].running = append(g.hosts[0].running, f.hosts[0].running...)
		if got := g.rows(5, at(seconds))[0].step; got != want {
			t.Errorf("after %d s: %s, want %s", seconds, got, want)
		}
	}
	f.apply(report.Event{Time: at(60), Kind: report.Progress, Host: "x86-1", Step: "api", Message: "connecting"})
	if got := f.rows(5, at(61))[0].step; got != "api" {
		t.Errorf("said again: %s", got)
	}
	f.apply(report.Event{Time: at(61), Kind: report.Progress, Host: "bundle", Step: "hash", Bytes: 1, Total: 2})
	if got := f.rows(5, at(600))[1].step; got != "hash" {
		t.Errorf("how far something is: %q", got)
	}
}

// A wait stands there until it is over, however rarely it is told of, with how long it has lasted.
func TestFleet_KeepsAWaitUntilItIsOver(t *testing.T) {
	f := newFleet([]string{"x86-1"}, at(0))
	wait := report.Event{Time: at(105), Since: at(0), Kind: report.Progress, Step: "wait", Message: "waiting for the API server, 1m45s so far; for registries, 1m40s so far"}
	f.apply(wait)
	shows := func(seconds int, step, text string) {
		t.Helper()
		if got := f.rows(5, at(seconds))[1]; got.step != step || !strings.HasPrefix(got.text, text) {
			t.Errorf("after %d s: %q %q, want %q %q", seconds, got.step, got.text, step, text)
		}
	}
	shows(224, "wait", wait.Message+"  3m44s")
	f.apply(report.Event{Time: at(230), Since: at(5), Kind: report.Over, Step: "wait", Message: "waiting for registries, 3m45s so far"})
	shows(260, "wait", "waiting for registries, 3m45s so far  4m15s")
	f.apply(report.Event{Time: at(270), Kind: report.Over, Step: "wait"})
	shows(270, "", "waiting")
	f.apply(report.Event{Time: at(271), Kind: report.Over, Step: "wait"})
	shows(271, "", "waiting")
}

// A note is too long for a row, and stays.
func TestLive_NotesStandAboveTheRows(t *testing.T) {
	v := newLiveTest(t, []string{"x86-1"}, 40, 24)
	note := "etcd on x86-1 ends and is started again; its last words: no space left on the device"
	v.Event(report.Event{Time: at(0), Kind: report.Note, Host: "x86-1", Step: "static pods", Message: note})
	v.pump.Suspend(func() {}) // wait for a write under way
	v.Close()
	if h := v.fleet.host("x86-1"); len(h.running) > 0 {
		t.Errorf("it is a step of the host, too: %+v", h.running)
	}
	if got := v.screen.screen(); got != "12:00:00 x86-1 static pods  "+note+"\n" {
		t.Errorf("left on the terminal: %q", got)
	}
}
