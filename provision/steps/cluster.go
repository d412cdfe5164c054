package steps

import (
	"context"
	"fmt"

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
	if _, err := api.ApplyNode(ctx, s.Host, in.Labels, in.Taints); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d labels, %d taints", len(in.Labels), len(in.Taints)), nil
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
	changed := 0
	for _, c := range changes {
		if c.Action != report.Unchanged {
			changed++
		}
	}
	return fmt.Sprintf("%s: %d of %d objects changed", in.Provider, changed, len(changes)), nil
}
