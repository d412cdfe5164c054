package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// newBackoff gives growing pauses with some jitter, for what cannot be watched.
func newBackoff(first, longest time.Duration) wait.Backoff {
	return wait.Backoff{Duration: first, Factor: 1.6, Jitter: 0.2, Steps: 1000, Cap: longest}
}

// do carries out one request, again while it meets transient errors, within ctx and the client's RetryFor. The error says
// what was tried and, in one sentence, the last thing that was in the way.
func (c *Client) do(ctx context.Context, what string, request func(ctx context.Context) error) error {
	defer c.waits("the API server, to " + what)()
	pause, end := newBackoff(200*time.Millisecond, 5*time.Second), time.Now().Add(c.retryFor)
	last := c.noAnswer("in time")
	for {
		err := c.attempt(ctx, request)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, ended(ctx.Err(), last))
		}
		if !Transient(err) || time.Now().Add(asksFor(err)).After(end) {
			return fmt.Errorf("%s: %w", what, err)
		}
		last = err
		if stopped := sleep(ctx, max(pause.Step(), asksFor(err))); stopped != nil {
			return fmt.Errorf("%s: %w", what, ended(stopped, last))
		}
	}
}

// noAnswer is ErrUnreachable of a server that took the request and was silent.
func (c *Client) noAnswer(when string) error {
	return &failure{kind: ErrUnreachable, text: "the API server at " + c.server + " did not answer " + when}
}

// attempt bounds one request in time and explains its error.
func (c *Client) attempt(ctx context.Context, request func(ctx context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, c.requestTimeout)
	defer cancel()
	err := request(bounded)
	if err == nil {
		return nil
	}
	if ctx.Err() == nil && bounded.Err() != nil {
		return c.noAnswer(fmt.Sprintf("a request within %v", c.requestTimeout))
	}
	return c.explain(err)
}

// sleep pauses, and returns the context's error when that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// ended is the error of something that was given up because its context ended: after an interruption that alone is of
// interest, after a timeout it is what was in the way until then. errors.Is finds both.
func ended(stopped, last error) error {
	if errors.Is(stopped, context.Canceled) {
		return stopped
	}
	return &failure{kind: stopped, text: last.Error(), cause: last}
}

// unmarshalJSON decodes an answer of the API server's own.
func unmarshalJSON(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("the API server's answer is not JSON: %w", err)
	}
	return nil
}
