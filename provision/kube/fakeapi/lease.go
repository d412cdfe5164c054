package fakeapi

import (
	"cmp"
	"context"
	"fmt"

	"github.com/hybridctl/hybridctl/provision/kube"
)

func (a *API) LeaseMark(context.Context, string) (string, error) {
	if err := a.Failing["LeaseMark"]; err != nil {
		return "", err
	}
	a.Lock()
	defer a.Unlock()
	return markAfter(a.Held), nil
}

// markAfter is the mark of a lease that was taken so often.
func markAfter(held int) string {
	if held == 0 {
		return kube.NoLease
	}
	return fmt.Sprint("mark ", held)
}

func (a *API) TakeLease(_ context.Context, o kube.LeaseOptions) error {
	a.Lock()
	defer a.Unlock()
	switch {
	case o.Break:
	case a.Holder != "" && !a.Expired:
		return fmt.Errorf("%w by %s", kube.ErrHeld, a.Holder)
	case o.Mark != "" && o.Mark != markAfter(a.Held):
		return kube.ErrStale
	}
	a.Holder, a.Expired = o.Holder, false
	a.Held++
	return nil
}

func (a *API) RenewLease(ctx context.Context, _ kube.LeaseOptions) error {
	if a.Renewed != nil {
		select {
		case a.Renewed <- struct{}{}:
		case <-ctx.Done():
		}
	}
	a.Lock()
	defer a.Unlock()
	return a.Lost
}

func (a *API) ReleaseLease(ctx context.Context, o kube.LeaseOptions) error {
	a.Lock()
	defer a.Unlock()
	if err := cmp.Or(ctx.Err(), a.Failing["ReleaseLease"]); err != nil {
		return err
	}
	if a.Holder == o.Holder {
		a.Holder = ""
	}
	return nil
}
