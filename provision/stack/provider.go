package stack

import (
	"context"
	"fmt"

	"github.com/pulumi/pulumi/pkg/v3/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"github.com/hybridctl/hybridctl/provision/plan"
)

// The names the state knows our resources by.
const (
	pkg      = "hybridctl"
	hostType = pkg + ":index:Host"
	stepType = pkg + ":index:Step"
)

// provider hands the engine's calls to the run. It shares memory with the engine, so it never changes what it is given.
// Its answers leave Status at OK, with errors too: a failed step is not of unknown state, as the next run looks at the host.
type provider struct {
	plugin.UnimplementedProvider
	run *run
}

func (p *provider) Close() error { return nil }

// SignalCancellation does nothing: run refuses new steps, and cancels those that run through their own context.
func (p *provider) SignalCancellation(context.Context) error { return nil }

func (p *provider) Handshake(context.Context, plugin.ProviderHandshakeRequest) (*plugin.ProviderHandshakeResponse, error) {
	return &plugin.ProviderHandshakeResponse{AcceptSecrets: true, AcceptResources: true, AcceptOutputs: true}, nil
}

func (p *provider) GetPluginInfo(context.Context) (plugin.PluginInfo, error) {
	return plugin.PluginInfo{}, nil
}

func (p *provider) CheckConfig(_ context.Context, r plugin.CheckConfigRequest) (plugin.CheckConfigResponse, error) {
	return plugin.CheckConfigResponse{Properties: r.News}, nil
}

func (p *provider) DiffConfig(context.Context, plugin.DiffConfigRequest) (plugin.DiffConfigResponse, error) {
	return plugin.DiffResult{Changes: plugin.DiffNone}, nil
}

func (p *provider) Configure(context.Context, plugin.ConfigureRequest) (plugin.ConfigureResponse, error) {
	return plugin.ConfigureResponse{}, nil
}

func (p *provider) Check(_ context.Context, r plugin.CheckRequest) (plugin.CheckResponse, error) {
	return plugin.CheckResponse{Properties: r.News}, nil
}

// Diff answers from the plan, which saw the hosts: a step that drifted is to be done again although its inputs are the same, and
// one that is in place only has its inputs recorded.
func (p *provider) Diff(_ context.Context, r plugin.DiffRequest) (plugin.DiffResponse, error) {
	if p.run.steps[stepID(r.NewInputs)].Action == plan.Unchanged {
		return plugin.DiffResult{Changes: plugin.DiffNone}, nil
	}
	return plugin.DiffResult{Changes: plugin.DiffSome, ChangedKeys: []resource.PropertyKey{"digest"}}, nil
}

func (p *provider) Create(_ context.Context, r plugin.CreateRequest) (plugin.CreateResponse, error) {
	id := stepID(r.Properties)
	if err := p.run.step(id); err != nil {
		return plugin.CreateResponse{}, err
	}
	return plugin.CreateResponse{ID: resource.ID(id), Properties: resource.PropertyMap{}}, nil
}

func (p *provider) Update(_ context.Context, r plugin.UpdateRequest) (plugin.UpdateResponse, error) {
	if err := p.run.step(stepID(r.NewInputs)); err != nil {
		return plugin.UpdateResponse{}, err
	}
	return plugin.UpdateResponse{Properties: resource.PropertyMap{}}, nil
}

func (p *provider) Delete(_ context.Context, r plugin.DeleteRequest) (plugin.DeleteResponse, error) {
	if !p.run.undoing { // base and program name the same steps, so the engine has nothing to delete; Up must never undo
		return plugin.DeleteResponse{}, fmt.Errorf("step %s is not to be undone", r.ID)
	}
	if err := p.run.step(plan.ID(r.ID)); err != nil {
		return plugin.DeleteResponse{}, err
	}
	return plugin.DeleteResponse{}, nil
}

// stepID reads the ID from a resource's inputs. It is never secret or unknown: program sets it from the plan.
func stepID(inputs resource.PropertyMap) plan.ID {
	return plan.ID(inputs["id"].StringValue())
}
