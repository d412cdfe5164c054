package stack

import (
	"slices"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/hybridctl/hybridctl/provision/plan"
)

type hostResource struct{ pulumi.ResourceState }

type stepResource struct{ pulumi.CustomResourceState }

// program is the plan as a Pulumi program. Its inputs are what the state shows: no file bodies, no secrets, only digests.
func program(p plan.Plan) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		hosts := map[string]pulumi.Resource{}
		done := make(map[plan.ID]pulumi.Resource, len(p.Steps))
		for _, s := range p.Steps {
			parent, err := hostFor(ctx, s.Host, hosts)
			if err != nil {
				return err
			}
			r := &stepResource{}
			if err := ctx.RegisterResource(stepType, string(s.ID), inputs(s), r, parent, dependsOn(s, done)); err != nil {
				return err
			}
			done[s.ID] = r
		}
		return nil
	}
}

// hostFor makes the host's component when its first step comes. Steps of the cluster belong to the stack itself.
func hostFor(ctx *pulumi.Context, name string, hosts map[string]pulumi.Resource) (pulumi.ResourceOption, error) {
	if name == "" {
		return pulumi.Parent(nil), nil
	}
	if hosts[name] == nil {
		h := &hostResource{}
		if err := ctx.RegisterComponentResource(hostType, name, h); err != nil {
			return nil, err
		}
		hosts[name] = h
	}
	return pulumi.Parent(hosts[name]), nil
}

func dependsOn(s plan.Step, done map[plan.ID]pulumi.Resource) pulumi.ResourceOption {
	var deps []pulumi.Resource
	for _, d := range slices.Concat(s.DependsOn, s.Behind) {
		if done[d] != nil { // a plan that is a part does not have all of them
			deps = append(deps, done[d])
		}
	}
	return pulumi.DependsOn(deps)
}

func inputs(s plan.Step) pulumi.Map {
	ids := make([]string, len(s.DependsOn))
	for i, d := range s.DependsOn {
		ids[i] = string(d)
	}
	return pulumi.Map{
		"id": pulumi.String(s.ID), "kind": pulumi.String(s.Kind), "host": pulumi.String(s.Host),
		"digest": pulumi.String(s.Digest), "dependsOn": pulumi.ToStringArray(ids),
	}
}
