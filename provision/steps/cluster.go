package steps

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

func (x *Steps) applyNode(ctx context.Context, s plan.Step, _ *host.Host) (string, error) {
	in, ok := s.Inputs.(plan.NodeInputs)
	if !ok {
		return "", fmt.Errorf("inputs of kind %T", s.Inputs)
	}
	api, err := x.env.Kube(ctx)
	if err != nil {
		return "", err
	}
	there, err := registered(ctx, x.env.RegisterWithin, func(ctx context.Context) (bool, error) {
		_, err := api.ApplyNode(ctx, s.Host, in.Labels, in.Taints)
		if errors.Is(err, kube.ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	})
	switch {
	case err != nil:
		return "", err
	case !there:
		return "", fmt.Errorf("the kubelet has not registered its node within %s", x.env.RegisterWithin)
	}
	return fmt.Sprintf("%d labels, %d taints", len(in.Labels), len(in.Taints)), nil
}

// registered asks every second until a node is there, or until its kubelet has had its time.
func registered(ctx context.Context, within time.Duration, ask func(context.Context) (bool, error)) (bool, error) {
	end := time.After(within)
	for {
		if there, err := ask(ctx); there || err != nil {
			return there, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-end:
			return false, nil
		case <-time.After(time.Second):
		}
	}
}

func (x *Steps) applyCNI(ctx context.Context, s plan.Step, _ *host.Host) (string, error) {
	in, ok := s.Inputs.(plan.CNIInputs)
	if !ok {
		return "", fmt.Errorf("inputs of kind %T", s.Inputs)
	}
	api, err := x.env.Kube(ctx)
	if err != nil {
		return "", err
	}
	changes, err := api.Apply(ctx, in.Manifest, kube.ApplyOptions{Force: true})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: %d of %d objects changed", in.Provider, changed(changes), len(changes)), nil
}

// changed counts the objects that were not as wanted.
func changed(changes []kube.ObjectChange) int {
	n := 0
	for _, c := range changes {
		if c.Action != report.Unchanged {
			n++
		}
	}
	return n
}
