package facts

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/remote"
)

// Target is a host to ask.
type Target struct {
	Name string
	// Dial opens the host's connection, or returns the one that is open; the caller keeps it for the rest of the run and closes
	// it. Its error is for the user and becomes Host.Err as it is.
	Dial func(ctx context.Context) (remote.Runner, error)
	// Writes says that writes are timed there, as Ask.Synced has it: etcd is to run on it. It costs a tenth of a second, and a worker's SD card.
	Writes bool
}

// Gather asks all targets at once, at most parallel at a time (0 = no bound): one Dial and one command for each. The hosts are
// in the order of the targets; one that could not be asked has an Err. done is told of each host when it is known, by many
// goroutines at once; it may be nil.
func Gather(ctx context.Context, targets []Target, ask Ask, parallel int, done func(Host)) []Host {
	if parallel <= 0 || parallel > len(targets) {
		parallel = len(targets)
	}
	commands := map[bool]remote.Command{false: ask.command(false), true: ask.command(true)}
	hosts := make([]Host, len(targets))
	next := make(chan int)
	var workers sync.WaitGroup
	for range parallel { // all the waiting for hosts at the start of a run is done here, so that their delays do not add up
		workers.Go(func() {
			for i := range next {
				hosts[i] = gatherOne(ctx, targets[i], commands[targets[i].Writes])
				if done != nil {
					done(hosts[i])
				}
			}
		})
	}
	for i := range targets {
		next <- i
	}
	close(next)
	workers.Wait()
	return hosts
}

func gatherOne(ctx context.Context, t Target, cmd remote.Command) Host {
	if err := ctx.Err(); err != nil {
		return Host{Name: t.Name, Err: err}
	}
	r, err := t.Dial(ctx)
	if err != nil {
		return Host{Name: t.Name, Err: err}
	}
	h, err := observe(ctx, r, cmd)
	h.Name, h.Err = t.Name, err
	return h
}

// answerSize is what a working node's answer has, and some room.
const answerSize = 16 << 10

func observe(ctx context.Context, r remote.Runner, cmd remote.Command) (Host, error) {
	out := reply{now: time.Now}
	out.text.Grow(answerSize)
	out.sent = out.now()
	cmd.Stdout = &out
	if _, err := r.Run(ctx, cmd); err != nil {
		return Host{}, err
	}
	took := out.now().Sub(out.sent)
	h, clock, err := parse(out.text.Bytes())
	if err != nil {
		return Host{}, err
	}
	h.Speed.within(took)
	h.ClockOffset, h.RoundTrip = out.offset(clock)
	h.Time = clock.time
	return h, nil
}

// Lacking is the Err of a host that has not even the program that its facts are read with. The user installs it; of the host's facts only
// who it is and which tools it has are known.
type Lacking struct {
	Tool string
	Host Host
}

func (e *Lacking) Error() string {
	return "the host has no working " + e.Tool + ", and nothing more can be read of it without"
}

// Unreachable reports whether the host, or the way to it, did not answer: nothing is known of it, and later it may be there. Any
// other Err wants mending: keys, sudo, a changed host key.
func (h Host) Unreachable() bool {
	for _, kind := range []error{remote.ErrUnreachable, remote.ErrClosed, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(h.Err, kind) {
			return true
		}
	}
	return false
}

// Mend says where the user looks to mend Err, or a login that prints; "" = there is no such place.
func (h Host) Mend() string {
	if h.Err == nil && h.LoginPrints != "" {
		return remote.QuietLogin
	}
	return remote.Mend(h.Err)
}

// reply collects what the script prints and notes when the host's clock came, which the script prints first. So neither making
// the connection nor the script's own time is part of the round trip.
type reply struct {
	now        func() time.Time
	sent, came time.Time
	text       bytes.Buffer
}

func (r *reply) Write(p []byte) (int, error) {
	// A login shell's start-up file may have printed something before. Only what is new is searched, and as much before it as the
	// beginning of the document may reach back: a host that prints without end is not to cost more and more.
	from := max(0, r.text.Len()-len(documentStart)+1)
	n, err := r.text.Write(p)
	if r.came.IsZero() && bytes.Contains(r.text.Bytes()[from:], []byte(documentStart)) {
		r.came = r.now()
	}
	return n, err
}

// offset returns by how much the host's clock is ahead of ours, if it was read in the middle of the round trip. That is off by
// half the round trip at most, and by the clock's own precision.
func (r *reply) offset(c clock) (offset, roundTrip time.Duration) {
	if c.time.IsZero() {
		return 0, 0
	}
	roundTrip = r.came.Sub(r.sent)
	middle := r.sent.Add(roundTrip / 2)
	return c.time.Add(c.precision / 2).Sub(middle), roundTrip + c.precision
}
