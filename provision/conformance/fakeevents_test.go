package conformance

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
)

func (c *fake) event(p *fakePod, kind, reason, message string) {
	c.events = append(c.events, kube.Event{Object: "Pod/" + p.Name, Type: kind, Reason: reason, Message: message, Count: 1, Last: time.Unix(int64(len(c.events)), 0)})
}

func (c *fake) Events(context.Context, string) ([]kube.Event, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.events), nil
}

func (c *fake) PodLog(_ context.Context, _, pod, _ string, _ int64) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.pods[pod]; p != nil {
		return []byte(p.log), nil
	}
	return nil, fmt.Errorf("no pod %s", pod)
}
