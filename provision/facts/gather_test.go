package facts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/remote"
)

// answering is a Runner that answers every command with its text.
type answering struct {
	remote.Runner // everything else panics
	text          string
	err           error
	runs          atomic.Int64
	last          remote.Command
}

func (a *answering) Run(_ context.Context, cmd remote.Command) (remote.Output, error) {
	a.runs.Add(1)
	a.last = cmd
	if a.err != nil {
		return remote.Output{}, a.err
	}
	for _, part := range []string{a.text[:len(a.text)/2], a.text[len(a.text)/2:]} {
		if _, err := io.WriteString(cmd.Stdout, part); err != nil {
			return remote.Output{}, err
		}
	}
	return remote.Output{}, nil
}

func dialing(r remote.Runner, err error) func(context.Context) (remote.Runner, error) {
	return func(context.Context) (remote.Runner, error) { return r, err }
}

func answer(hostname string, at time.Time) string {
	return fmt.Sprintf(`{"clock":"%d.%09d","machine":"aarch64\n","hostname":"%s\n"}`, at.Unix(), at.Nanosecond(), hostname)
}

func TestGather(t *testing.T) {
	down := fmt.Errorf("10.0.0.4:22: connection refused: %w", remote.ErrUnreachable)
	sudo := fmt.Errorf("wrong password: %w", remote.ErrSudoPassword)
	good, late := &answering{text: answer("one", time.Now())}, &answering{text: answer("two", time.Now().Add(time.Hour))}
	refused, mute := &answering{err: sudo}, &answering{text: "go away"}
	targets := []Target{
		{Name: "a", Dial: dialing(good, nil)}, {Name: "b", Dial: dialing(late, nil)}, {Name: "c", Dial: dialing(refused, nil)}, {Name: "d", Dial: dialing(nil, down)}, {Name: "e", Dial: dialing(mute, nil)},
	}
	var mu sync.Mutex
	done := map[string]int{}
	hosts := Gather(context.Background(), targets, Ask{Modules: []string{"overlay"}}, 2, func(h Host) {
		mu.Lock()
		defer mu.Unlock()
		done[h.Name]++
	})
	for i, h := range hosts {
		if h.Name != targets[i].Name || done[h.Name] != 1 {
			t.Errorf("host %d is %s, told %d times", i, h.Name, done[h.Name])
		}
	}
	if a, b := hosts[0], hosts[1]; a.Err != nil || b.Err != nil || a.Hostname != "one" || b.Hostname != "two" {
		t.Errorf("got %+v and %+v", a, b)
	}
	if d := hosts[0].ClockOffset; d > 0 || d < -time.Minute {
		t.Errorf("offset %v of a clock like ours", d)
	}
	if d := hosts[1].ClockOffset; d > time.Hour || d < time.Hour-time.Minute {
		t.Errorf("offset %v of a clock an hour ahead", d)
	}
	for i, want := range map[int]error{2: sudo, 3: down} {
		if hosts[i].Err != want { // as it is: it is a sentence for the user
			t.Errorf("%s: got %v, want %v", hosts[i].Name, hosts[i].Err, want)
		}
	}
	if hosts[2].Unreachable() || !hosts[3].Unreachable() || hosts[4].Unreachable() || hosts[0].Unreachable() {
		t.Error("the one that is unreachable is d")
	}
	if err := hosts[4].Err; err == nil || !strings.Contains(err.Error(), `"go away"`) {
		t.Errorf("got %v", err)
	}
	for _, r := range []*answering{good, late, refused, mute} {
		if n := r.runs.Load(); n != 1 || !r.last.Sudo || r.last.Args[0] != "overlay" || r.last.Args[6] != "/var/lib/hybridctl/steps" {
			t.Errorf("%d commands, the last %+v", n, r.last)
		}
	}
}

func TestGather_Interrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	first := &answering{text: answer("one", time.Now())}
	targets := []Target{{Name: "a", Dial: func(context.Context) (remote.Runner, error) { cancel(); return first, nil }}}
	for i := range 9 {
		targets = append(targets, Target{Name: fmt.Sprint(i), Dial: func(context.Context) (remote.Runner, error) {
			return nil, errors.New("dialed after the interruption")
		}})
	}
	hosts := Gather(ctx, targets, Ask{}, 1, nil)
	for _, h := range hosts[1:] {
		if !errors.Is(h.Err, context.Canceled) {
			t.Errorf("%s: %v", h.Name, h.Err)
		}
	}
}

func TestGather_NoHosts(t *testing.T) {
	if hosts := Gather(context.Background(), nil, Ask{}, 0, nil); len(hosts) != 0 {
		t.Errorf("got %v", hosts)
	}
}

// TestReply_Offset: the window is from sending to the clock's arrival; what the script does afterwards does not matter.
func TestReply_Offset(t *testing.T) {
	sent := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		host, came    time.Duration // after sent
		precision     time.Duration
		offset, round time.Duration
	}{
		"same clock, no delay":  {0, 0, 0, 0, 0},
		"same clock, 100 ms":    {50 * time.Millisecond, 100 * time.Millisecond, 0, 0, 100 * time.Millisecond},
		"ahead":                 {7 * time.Second, 2 * time.Second, 0, 6 * time.Second, 2 * time.Second},
		"behind":                {-7 * time.Second, 2 * time.Second, 0, -8 * time.Second, 2 * time.Second},
		"whole seconds, 100 ms": {0, 100 * time.Millisecond, time.Second, 450 * time.Millisecond, 1100 * time.Millisecond},
	} {
		now := sent
		r := reply{now: func() time.Time { return now }, sent: sent}
		now = sent.Add(c.came / 4)
		r.Write([]byte("a login shell's greeting {"))
		now = sent.Add(c.came)
		r.Write([]byte(`"clock":"12`)) // the brace came with the greeting
		now = sent.Add(time.Hour)
		r.Write([]byte(`.5"}`))
		offset, round := r.offset(clock{sent.Add(c.host), c.precision})
		if offset != c.offset || round != c.round {
			t.Errorf("%s: offset %v, round trip %v, want %v, %v", name, offset, round, c.offset, c.round)
		}
	}
	if offset, round := (&reply{now: time.Now, sent: sent}).offset(clock{}); offset != 0 || round != 0 {
		t.Errorf("a clock that could not be read is off by %v, %v", offset, round)
	}
}

func TestAsk_And(t *testing.T) {
	a := Ask{Modules: []string{"overlay"}, Tools: []string{"tar", "tar"}}.And(Ask{Modules: []string{"vxlan", "overlay"}, Units: []string{"x.service"}})
	if got := strings.Join(a.args("/m"), "|"); got != "overlay vxlan|tar|||x.service||/m" {
		t.Errorf("got %q", got)
	}
}

// Writes are timed where etcd is to run, and processes everywhere: a worker's disk is left alone.
func TestGather_TimesWritesWhereItIsSaid(t *testing.T) {
	plane, worker := &answering{text: answer("one", time.Now())}, &answering{text: answer("two", time.Now())}
	Gather(context.Background(), []Target{{Name: "a", Dial: dialing(plane, nil), Writes: true}, {Name: "b", Dial: dialing(worker, nil)}}, Ask{Synced: "/var/lib/etcd"}, 0, nil)
	for want, asked := range map[string]*answering{"/var/lib/etcd": plane, "-": worker} {
		if args := asked.last.Args; !slices.Contains(args, want) || len(args) != 7 {
			t.Errorf("no %s in %q", want, args)
		}
	}
	if args := (Ask{}).command(false).Args; slices.Contains(args, "-") {
		t.Errorf("nothing is timed: %q", args)
	}
}
