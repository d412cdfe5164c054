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
	if err := applyNode(ctx, api, s.Host, in); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d labels, %d taints", len(in.Labels), len(in.Taints)), nil
}

// registerWithin is how long a kubelet that has joined may take to register its node. kubeadm join ends before that, and a slow host
// under load took many seconds.
const registerWithin = 3 * time.Minute

// applyNode labels and taints the node as soon as there is one.
func applyNode(ctx context.Context, api API, name string, in plan.NodeInputs) error {
	ctx, cancel := context.WithTimeout(ctx, registerWithin)
	defer cancel()
	for {
		_, err := api.ApplyNode(ctx, name, in.Labels, in.Taints)
		if !errors.Is(err, kube.ErrNotFound) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the kubelet has not registered its node within %s: %w", registerWithin, err)
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
