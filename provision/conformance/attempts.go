package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

// attempt is one attempt; an error is one that no one could make, from which nothing follows.
type attempt func(ctx context.Context, nonce string) (probe.Attempt, error)

// made is an attempt that was made, and an error when it was not.
func made(a probe.Attempt) (probe.Attempt, error) {
	if a.Ending == probe.Untried || a.Ending == "" {
		return a, errors.New(cmp.Or(a.Error, "the probe does not say how its attempt ended"))
	}
	return a, nil
}

// settled is how long the rules of a Service needed.
type settled struct {
	lag  time.Duration // from its endpoint to the first answer; 0 = the first attempt was answered
	late bool          // it was waited for as long as rules may need, in vain
}

// rules knows how long the rules that follow a change of the cluster may need, and tries again for so long.
type rules struct {
	now  func() time.Time
	pace pace
}

// settle attempts until a probe answers. kube-proxy's rules follow a Service and its endpoint with a delay: as long as they may need,
// attempts do not count. That is counted from when both were there, so that a Service that is dead later has no grace any more; away is how long
// no attempt could be made meanwhile, as try tells it, which is not the rules' time.
func (r rules) settle(ctx context.Context, since time.Time, try attempt, away *time.Duration) (s settled) {
	spent := func() time.Duration { return r.now().Sub(since) - *away }
	for i := 0; spent() < r.pace.rulesLag; i++ {
		a, err := try(ctx, fmt.Sprint("settle/", i))
		switch {
		case ctx.Err() != nil, unheard(err):
			return s
		case err == nil && a.Ending == probe.Answered && i == 0:
			return s
		case err == nil && a.Ending == probe.Answered:
			s.lag = spent()
			return s
		}
		select {
		case <-ctx.Done():
			return s
		case <-time.After(r.pace.rulesPause):
			s.late = err == nil && spent() >= r.pace.rulesLag
		}
	}
	return s
}

// answersAt returns no error when a probe answers within the time of the rules, for what can only be found out when it does.
func (r rules) answersAt(ctx context.Context, since time.Time, try attempt, away *time.Duration) error {
	s := r.settle(ctx, since, try, away)
	if !s.late && s.lag > 0 {
		return nil
	}
	a, err := try(ctx, "answers")
	switch {
	case err != nil:
		return err
	case a.Ending != probe.Answered:
		return errors.New(a.Error)
	}
	return nil
}

// with says in an outcome how long the rules needed. A pass that came after more time than they may need is none.
func (s settled) with(o outcome, lag time.Duration) outcome {
	o.lag = s.lag
	if s.late && (o.verdict == report.Passed || o.verdict == report.Flaky) {
		o.fail("it did not answer until more than %s after its endpoint was there", lag)
	}
	return o
}

// silences is how many attempts in a row have to stay without an answer: one packet may be lost.
const silences = 3

// shut is something that has to refuse, or not to answer.
type shut struct {
	try       attempt
	otherwise string // what is wrong when it answers
	// control is an attempt of the same source that has to be answered: the silence of something that no one can hear
	// proves nothing.
	control attempt
	beside  string // what the control is, for people
	// unseen is the outcome when nothing can be seen from there.
	unseen func(format string, args ...any) outcome
}

// closes attempts until it is shut, for as long as rules may need.
func (r rules) closes(ctx context.Context, s shut) outcome {
	since := r.now()
	silent := 0
	for i := 0; silent < silences; i++ {
		a, err := s.try(ctx, fmt.Sprint("closed/", i))
		switch {
		case err != nil:
			return s.unseen("whether it is closed cannot be seen: %v", err)
		case a.Ending == probe.Answered, a.Ending == probe.Strange:
			if silent = 0; r.now().Sub(since) >= r.pace.rulesLag {
				return failed("%s, %s later", s.otherwise, r.pace.rulesLag)
			}
		case a.Ending == probe.Refused:
			silent = silences
			continue
		default:
			silent++
		}
		r.pause(ctx)
	}
	o := r.controlled(ctx, s)
	o.lag = r.now().Sub(since)
	return o
}

// stays attempts a few times what has to be shut all the time.
func (r rules) stays(ctx context.Context, s shut) outcome {
	for i := range silences {
		a, err := s.try(ctx, fmt.Sprint("shut/", i))
		switch {
		case err != nil:
			return s.unseen("whether it is closed cannot be seen: %v", err)
		case a.Reply != nil:
			return failed("%s: %s on %s answers", s.otherwise, a.Reply.Pod, a.Reply.Node)
		case a.Ending == probe.Strange:
			return failed("%s: %s", s.otherwise, a.Error)
		}
		r.pause(ctx)
	}
	return r.controlled(ctx, s)
}

// controlled passes when the control is answered.
func (r rules) controlled(ctx context.Context, s shut) outcome {
	var last string
	for i := range silences { // one packet may be lost here too
		a, err := s.control(ctx, fmt.Sprint("control/", i))
		switch {
		case err == nil && a.Ending == probe.Answered:
			return passed()
		case unheard(err):
			return s.unseen("whether it is closed cannot be seen: %v", err)
		case err != nil:
			last = err.Error()
		default:
			last = a.Error
		}
		r.pause(ctx)
	}
	return s.unseen("nothing answers, and neither does %s: that silence proves nothing (%s)", s.beside, last)
}

// pause is between two attempts.
func (r rules) pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(r.pace.rulesPause):
	}
}
