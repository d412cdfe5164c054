package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

// agentStarts is how often an agent is started at most. The pauses between double: a kubelet or a runtime that starts again has a minute for it.
const agentStarts = 6

// agent is a container's agent for the whole run. Its exec ends with the kubelet, the runtime or a connection on the way, which says nothing of what
// cells find out: whoever asks next has it started again.
type agent struct {
	name  string // "a-0/probe"
	begin func(ctx context.Context) (*exec, error)
	again func(why error) // is told that it is started again
	pause time.Duration   // before that, the first time

	turn   chan struct{} // whoever stands in it has what follows
	exec   *exec         // the last that ran; nil = none has
	starts int
	ended  error // why the last one does not run
	given  error // why no other is started
}

// unheardError is of a probe that was heard and is not any more: of what is asked of it nothing is known, neither good nor bad.
type unheardError struct {
	name string
	err  error
}

func (e *unheardError) Error() string {
	return fmt.Sprintf("the probe in %s is not heard any more: %v", e.name, e.err)
}

func (e *unheardError) Unwrap() error { return e.err }

// unheard reports whether something is an error of a probe that is not heard any more.
func unheard(v any) bool {
	var u *unheardError
	err, ok := v.(error)
	return ok && errors.As(err, &u)
}

// ask gives an order and waits for its answer: once more, where the exec ended meanwhile. An error is why none runs, or the order's own.
func (a *agent) ask(ctx context.Context, o probe.Order) (probe.Answer, error) {
	answer, _, err := a.askOf(ctx, o)
	return answer, err
}

// askOf is ask. none is how long it took until an exec ran that answers.
func (a *agent) askOf(ctx context.Context, o probe.Order) (answer probe.Answer, none time.Duration, err error) {
	begun := time.Now()
	for {
		e, err := a.running(ctx)
		none = time.Since(begun)
		if err != nil {
			return probe.Answer{}, none, err
		}
		answer, err := e.ask(ctx, o)
		if !errors.As(err, new(*cutError)) {
			return answer, none, err
		}
		if o.Op == probe.OpAppend { // what it has written already would stand there twice
			return answer, none, a.silence(err)
		}
	}
}

// running returns the exec, which it starts where none runs.
func (a *agent) running(ctx context.Context) (*exec, error) {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if a.exec != nil {
		if a.ended = a.exec.over(); a.ended == nil {
			return a.exec, nil
		}
	}
	for a.given == nil {
		if a.starts == agentStarts {
			a.given = a.silence(a.ended)
			break
		}
		if err := a.rest(ctx); err != nil {
			return nil, err
		}
		e, err := a.begin(ctx)
		switch {
		case err == nil:
			a.starts, a.exec = a.starts+1, e
			return e, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !errors.As(err, new(*cutError)): // it runs, and is not what it has to be
			a.given = err
		case errors.Is(err, errSilent): // that took its time
			a.given = a.silence(err)
		}
		a.starts, a.ended = a.starts+1, err
	}
	return nil, a.given
}

// rest is the pause before another start.
func (a *agent) rest(ctx context.Context) error {
	if a.starts == 0 {
		return nil
	}
	a.again(plain(a.ended))
	select {
	case <-time.After(a.pause << (a.starts - 1)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// silence is the error of an agent that does not run, for the reason of its last exec.
func (a *agent) silence(why error) error {
	if a.exec == nil {
		return why // it was never heard
	}
	return &unheardError{a.name, plain(why)}
}

// plain is why an exec ended, without the words about whose it was.
func plain(err error) error {
	var cut *cutError
	if errors.As(err, &cut) {
		return cut.err
	}
	return err
}

// who is what it says it is.
func (a *agent) who() probe.Who {
	a.turn <- struct{}{}
	defer func() { <-a.turn }()
	return a.exec.who
}

// agents are a run's agents, by pod and container.
type agents struct {
	life      context.Context // of the run: agents last as long
	api       API
	namespace string
	view      *view
	pace      pace
	event     func(report.Event)
	mu        sync.Mutex
	all       map[string]*agent
}

// of returns a container's agent, which runs.
func (a *agents) of(ctx context.Context, pod, container string) (*agent, error) {
	name := pod + "/" + container
	a.mu.Lock()
	one := a.all[name]
	if one == nil {
		one = &agent{
			name: name, pause: a.pace.again, turn: make(chan struct{}, 1),
			begin: func(ctx context.Context) (*exec, error) { return a.start(ctx, pod, container) },
			again: func(why error) {
				a.event(report.Event{Kind: report.Progress, Step: "checks", Message: report.OneLine(fmt.Sprintf("the probe in %s is started again: %v", name, why))})
			},
		}
		a.all[name] = one
	}
	a.mu.Unlock()
	_, err := one.running(ctx)
	return one, err
}

// start starts a container's agent once.
func (a *agents) start(ctx context.Context, pod, container string) (*exec, error) {
	return startExec(ctx, a.life, a.api, a.namespace, pod, a.view.uid(pod), container, a.pace)
}

func (a *agents) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, one := range a.all {
		one.turn <- struct{}{}
		if one.exec != nil {
			one.exec.close()
		}
		<-one.turn
	}
}
