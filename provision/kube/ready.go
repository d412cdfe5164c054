package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// readyzPatience bounds one question, so that a server that accepts connections and is silent is asked again.
const readyzPatience = 10 * time.Second

// WaitAPI returns when the API server says that it is ready, over any route. Nothing can be watched before that, so it asks
// again and again. When ctx ends it returns ErrNotReady with the last reason; credentials or a server that are not the
// kubeconfig's end it at once.
func (c *Client) WaitAPI(ctx context.Context) error {
	defer c.waits("the API server at " + c.server + " to be ready")()
	pause := newBackoff(100*time.Millisecond, 2*time.Second)
	last := c.noAnswer("in time")
	for {
		err := c.readyz(ctx)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrUnauthorized), errors.Is(err, ErrUntrusted):
			return err
		case ctx.Err() == nil:
			last = err
		}
		if stopped := sleep(ctx, pause.Step()); stopped != nil {
			return &failure{ErrNotReady, "the API server is not ready: " + ended(stopped, last).Error(), ended(stopped, last)}
		}
	}
}

func (c *Client) readyz(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, min(readyzPatience, c.requestTimeout))
	defer cancel()
	body, err := c.core.RESTClient().Get().AbsPath("/readyz").MaxRetries(0).Do(bounded).Raw()
	if err == nil {
		return nil
	}
	if failing := failingChecks(string(body)); failing != "" {
		return fmt.Errorf("%s answers that it waits for %s", c.server, failing)
	}
	if bounded.Err() != nil {
		return c.noAnswer("in time")
	}
	return c.explain(err)
}

// failingChecks lists the names of the checks that /readyz says are failing, in lines such as "[-]etcd failed: reason withheld".
func failingChecks(body string) string {
	var names []string
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, "[-]"); ok {
			name, _, _ := strings.Cut(rest, " ")
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
