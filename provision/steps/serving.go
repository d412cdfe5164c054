package steps

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
)

// servingAsked is how often the API server is asked for a kubelet's request, and servingWithin how long it is awaited, at most.
const (
	servingAsked  = time.Second
	servingWithin = 2 * time.Minute
)

// serve approves the serving certificate that the kubelet of a new node asks for, where the inventory has it so, and waits until it is issued:
// without it nothing reaches the node's pods through the API server, etcd on a control plane among them. It returns what is to be told. What
// does not come, or asks for more than the host's own, is told and fails nothing: the node works but for that. old are requests of a kubelet that
// the host had before.
func (x *Steps) serve(ctx context.Context, api API, s plan.Step, old map[string]bool) (string, error) {
	if x.env.Serving == nil {
		return "", nil
	}
	x.say(s, "waiting for the kubelet to ask for its serving certificate")
	within := x.servingWithin
	if end, ok := ctx.Deadline(); ok {
		within = min(within, time.Until(end)/4)
	}
	end := time.Now().Add(within)
	for {
		told, done, err := x.approve(ctx, api, s.Host, old)
		if done || err != nil {
			return told, err
		}
		if !time.Now().Before(end) {
			return told, nil
		}
		if err := pause(ctx, x.servingAsked); err != nil {
			return "", err
		}
	}
}

// decided are the requests that are decided before a host joins: they say nothing of the kubelet that it gets, which
// asks again.
func (x *Steps) decided(ctx context.Context, api API) (map[string]bool, error) {
	if x.env.Serving == nil {
		return nil, nil
	}
	requests, err := api.ServingRequests(ctx)
	old := map[string]bool{}
	for _, r := range requests {
		old[r.Name] = r.Decided
	}
	return old, err
}

// approve approves what a host's kubelet asks for now. done: its newest certificate is issued, or its request must not be approved.
func (x *Steps) approve(ctx context.Context, api API, node string, old map[string]bool) (told string, done bool, err error) {
	requests, err := api.ServingRequests(ctx)
	if err != nil {
		return "", false, err
	}
	told = "its kubelet has not asked for a serving certificate: the next up approves it"
	for _, r := range requests {
		switch {
		case r.Node != node, old[r.Name]:
		case r.Issued:
			told, done = "serving certificate issued", true
		case r.Decided:
			told, done = "its serving certificate is approved and not yet issued", false
		default:
			if why := x.env.Serving(r); why != nil {
				told, done = fmt.Sprintf("the request %s for a serving certificate is not approved: %v", r.Name, why), true
				continue
			}
			err := api.ApproveServing(ctx, r)
			if errors.Is(err, kube.ErrConflict) || errors.Is(err, kube.ErrNotFound) {
				told, done = fmt.Sprintf("the request %s for a serving certificate was changed or deleted by another: the next up looks again", r.Name), false
				continue
			}
			if err != nil {
				return "", false, err
			}
			told, done = "its serving certificate is approved and not yet issued", false
		}
	}
	return told, done, nil
}

// with joins what a step did and what is to be told besides.
func with(did, told string) string {
	if told == "" {
		return did
	}
	return did + "; " + told
}
