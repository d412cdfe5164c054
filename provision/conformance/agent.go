package conformance

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/probe"
)

// probePath is where the probe is in its image.
const probePath = "/probe"

// exec is one exec of the probe's agent in a container: orders go in, answers come out. It goes by way of the kubelet and so works where the pod
// network does not.
type exec struct {
	who probe.Who

	mu      sync.Mutex
	next    int
	waiting map[int]chan probe.Answer
	ended   error // why nothing is answered any more

	patience time.Duration // after the time of an order
	orders   chan []byte
	in       *io.PipeWriter
	answers  *io.PipeWriter
	stop     context.CancelFunc
	done     chan struct{}
}

// errSilent: a node that is gone does not say so, and neither does the API server for a long time.
var errSilent = errors.New("the probe does not answer any more")

// cutError is of an exec that has ended, or does not answer: what was asked of it is not known.
type cutError struct{ err error }

func (e *cutError) Error() string { return e.err.Error() }
func (e *cutError) Unwrap() error { return e.err }

// startExec starts a container's agent, which lasts as long as life, and asks who it is: a kubelet may run it in another one. An agent that has not
// answered when the pace's time is over after that of its order is given up.
func startExec(ctx, life context.Context, api API, namespace, pod, uid, container string, pace pace) (*exec, error) {
	running, stop := context.WithCancel(life)
	orders, in := io.Pipe()
	out, answers := io.Pipe()
	a := &exec{
		waiting: map[int]chan probe.Answer{}, patience: pace.start, orders: make(chan []byte), in: in, answers: answers, stop: stop, done: make(chan struct{}),
	}
	go func() { // ends with the exec
		var words tail
		err := api.Exec(running, kube.ExecOptions{
			Namespace: namespace, Pod: pod, Container: container, Argv: []string{probePath, "agent"},
			Stdin: orders, Stdout: answers, Stderr: &words,
		})
		if err == nil {
			err = errors.New("the probe's agent has ended")
		}
		if text := words.String(); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		_ = answers.CloseWithError(err)
		_ = orders.CloseWithError(err)
	}()
	go a.listen(out)
	go a.speak()
	answer, err := a.ask(ctx, probe.Order{Op: probe.OpWho})
	if err == nil && answer.Who == nil {
		err = errors.New("the probe does not say who it is")
	}
	if err != nil {
		a.close()
		return nil, fmt.Errorf("the probe in %s/%s: %w", pod, container, err)
	}
	switch a.who = *answer.Who; {
	case a.who.Version != probe.Version:
		err = hint.With(fmt.Errorf("the probe in %s speaks version %d, this hybridctl version %d", pod, a.who.Version, probe.Version), "make the bundle again")
	case a.who.UID != uid || a.who.Container != container:
		err = fmt.Errorf("another container was asked than %s of pod %s (%s): %s of pod %s (%s) on %s", container, pod, uid, a.who.Container, a.who.Pod, a.who.UID, a.who.Node)
	}
	if err != nil {
		a.close()
		return nil, err
	}
	a.patience = pace.answer
	return a, nil
}

// listen hands answers to those who wait for them.
func (a *exec) listen(out *io.PipeReader) {
	defer close(a.done)
	lines := bufio.NewScanner(out)
	lines.Buffer(make([]byte, 0, 4<<10), maxAnswer)
	for {
		answer, err := nextAnswer(lines)
		a.mu.Lock()
		if err != nil {
			a.ended = err
			for _, w := range a.waiting {
				close(w)
			}
			a.waiting = nil
			a.mu.Unlock()
			_ = out.CloseWithError(err)
			return
		}
		if w, ok := a.waiting[answer.ID]; ok {
			w <- answer
			delete(a.waiting, answer.ID)
		}
		a.mu.Unlock()
	}
}

// maxAnswer bounds a line that a probe says, in bytes: it says what a container says that anybody may have changed. The longest answer is a
// file's text, of which JSON makes at most six times as much.
const maxAnswer = 1 << 20

// nextAnswer reads an answer.
func nextAnswer(lines *bufio.Scanner) (answer probe.Answer, err error) {
	switch {
	case lines.Scan():
		if err = json.Unmarshal(lines.Bytes(), &answer); err != nil {
			err = fmt.Errorf("what the probe says is no answer: %w", err)
		}
	case errors.Is(lines.Err(), bufio.ErrTooLong):
		err = fmt.Errorf("the probe says more than %d bytes at once: that is no answer", maxAnswer)
	default:
		err = cmp.Or(lines.Err(), io.EOF)
	}
	return answer, err
}

// speak writes orders. One that cannot be written waits here, and no one waits for it without end.
func (a *exec) speak() {
	for {
		select {
		case line := <-a.orders:
			if _, err := a.in.Write(line); err != nil {
				return // listen says why
			}
		case <-a.done:
			return
		}
	}
}

// ask gives an order and waits for its answer. An error is the exec's end (cutError), or the order's own.
func (a *exec) ask(ctx context.Context, o probe.Order) (probe.Answer, error) {
	answered := make(chan probe.Answer, 1)
	a.mu.Lock()
	if a.waiting == nil {
		a.mu.Unlock()
		return probe.Answer{}, &cutError{a.ended}
	}
	a.next++
	o.ID = a.next
	a.waiting[o.ID] = answered
	a.mu.Unlock()
	line, err := json.Marshal(o)
	if err != nil {
		return probe.Answer{}, err
	}
	late := time.NewTimer(a.patience + time.Duration(max(1, len(o.Nonces))*o.TimeoutMillis)*time.Millisecond)
	defer late.Stop()
	select {
	case a.orders <- append(line, '\n'):
	case <-a.done: // and so is answered
	case <-late.C:
		return probe.Answer{}, a.giveUp()
	case <-ctx.Done():
		return probe.Answer{}, ctx.Err()
	}
	select {
	case answer, ok := <-answered:
		if !ok {
			return probe.Answer{}, &cutError{a.ended}
		}
		if answer.Error != "" {
			return answer, &orderError{answer}
		}
		return answer, nil
	case <-late.C:
		return probe.Answer{}, a.giveUp()
	case <-ctx.Done():
		return probe.Answer{}, ctx.Err()
	}
}

// giveUp ends an exec that does not answer, so that no one else waits for it.
func (a *exec) giveUp() error {
	_ = a.answers.CloseWithError(errSilent)
	a.stop()
	return &cutError{errSilent}
}

// over is why it has ended; nil while it runs.
func (a *exec) over() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ended
}

// orderError is an order that the probe could not carry out.
type orderError struct{ answer probe.Answer }

func (e *orderError) Error() string { return e.answer.Error }

func (a *exec) close() {
	_ = a.in.Close()
	a.stop()
	_ = a.answers.Close()
	<-a.done
}

// tail keeps the end of what a program says.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > 1000 {
		t.b = t.b[len(t.b)-1000:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
