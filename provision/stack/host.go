package stack

import (
	"context"
	"fmt"

	"github.com/pulumi/pulumi/pkg/v3/engine"
	pluginhost "github.com/pulumi/pulumi/pkg/v3/host"
	"github.com/pulumi/pulumi/pkg/v3/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/env"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"

	"github.com/hybridctl/hybridctl/provision/plan"
)

// pluginHost answers the engine's requests for plugins from this process: nothing is looked up on the disk, started or downloaded.
// The rest is the stock host's, embedded so that most changes to the interface do not reach us.
type pluginHost struct {
	plugin.Host
	run *run
}

func hostFactory(r *run) engine.HostFactory {
	return func(ctx context.Context, d, status diag.Sink, debug plugin.DebugContext) (plugin.Host, error) {
		stock, err := pluginhost.New(ctx, d, status, debug, nil, nil, nil, nil)
		if err != nil {
			return nil, err
		}
		return pluginHost{Host: stock, run: r}, nil
	}
}

func (h pluginHost) Provider(_ *plugin.Context, d workspace.PluginDescriptor, _ env.Env) (plugin.Provider, error) {
	if d.Name != pkg {
		return nil, fmt.Errorf("the state needs the Pulumi provider %q, which is not one of this program's", d.Name)
	}
	return &provider{run: h.run}, nil
}

func (h pluginHost) LanguageRuntime(*plugin.Context, string) (plugin.LanguageRuntime, error) {
	return language{plan: h.run.plan}, nil
}

func (h pluginHost) ResolvePlugin(_ *plugin.Context, d workspace.PluginDescriptor) (*workspace.PluginInfo, error) {
	return &workspace.PluginInfo{Name: d.Name, Kind: apitype.ResourcePlugin}, nil
}

func (h pluginHost) SignalCancellation() error { return nil }

// language runs the plan as a program. The embedded interface is nil: its other methods serve the pulumi command
// (new projects, packages, plugins) and the engine never calls them.
type language struct {
	plugin.LanguageRuntime
	plan plan.Plan
}

// Run answers with the program's own failure, which the engine tells among its diagnostics.
func (l language) Run(ctx context.Context, info plugin.RunInfo) (string, bool, error) {
	if err := register(ctx, info, l.plan); err != nil {
		return err.Error(), false, nil
	}
	return "", false, nil
}

func (l language) GetRequiredPackages(context.Context, plugin.ProgramInfo) (
	[]workspace.PackageDescriptor, []workspace.PackageSpec, error,
) {
	return nil, nil, nil
}

func (l language) GetPluginInfo(context.Context) (plugin.PluginInfo, error) {
	return plugin.PluginInfo{}, nil
}

func (l language) Cancel(context.Context) error { return nil }
func (l language) Close() error                 { return nil }
