package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/kube"
)

// A run that is at work holds a Lease in its own namespace, with which it goes. Whoever cleans up takes that first: a run of another operator is
// at work as long as it renews it.
const (
	atWork    = "at-work"
	atWorkFor = 2 * time.Minute // how long a run is believed to be at work that does not renew it
)

func leaseOf(runID string) kube.LeaseOptions {
	return kube.LeaseOptions{Name: namespacePrefix + runID + "/" + atWork, Holder: kube.NewHolder(), TTL: atWorkFor}
}

// attend holds the run's lease until release; lost is told why it is another's. without is how long it may not be renewed; 0 = atWorkFor.
func attend(ctx context.Context, api kube.LeaseAPI, runID string, without time.Duration, lost func(error)) (release func(context.Context), err error) {
	o := leaseOf(runID)
	o.TTL = cmp.Or(without, o.TTL)
	held, err := kube.Hold(ctx, api, o)
	if err != nil {
		return nil, err
	}
	over := make(chan struct{})
	go func() { // ends with release
		select {
		case <-held.Lost():
			lost(fmt.Errorf("what the run made is being cleaned up, or may be: %w", held.Err()))
		case <-over:
		}
	}()
	return func(ctx context.Context) {
		close(over)
		_ = held.Release(ctx) // it goes with the namespace; one that stays ends by itself
	}, nil
}

// takeOver takes the lease of a run whose namespace is in the cluster, until release. The error says who is at work in it; breaks takes it even so. A
// run without a lease has ended, or did not come to make anything.
func takeOver(ctx context.Context, api kube.LeaseAPI, runID string, breaks bool) (release func(context.Context), err error) {
	o := leaseOf(runID)
	o.Break = breaks
	mark, err := api.LeaseMark(ctx, o.Name)
	if err != nil {
		return nil, fmt.Errorf("run %s is left alone, as it is not known whether it is at work: %w", runID, err)
	}
	if mark == kube.NoLease {
		return func(context.Context) {}, nil
	}
	held, err := kube.Hold(ctx, api, o)
	if errors.Is(err, kube.ErrHeld) {
		return nil, hint.With(fmt.Errorf("run %s is at work, and is left alone: %w", runID, err),
			"when that run is gone, its lease ends within %s; --break-lock cleans up at once", atWorkFor)
	}
	if err != nil {
		return nil, fmt.Errorf("run %s is left alone: %w", runID, err)
	}
	return func(ctx context.Context) { _ = held.Release(ctx) }, nil
}
