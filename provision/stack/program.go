package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/pulumi/pulumi/pkg/v3/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/hybridctl/hybridctl/provision/plan"
)

// rootType is the resource that the engine expects above all others.
const rootType = "pulumi:pulumi:Stack"

// program registers a plan's steps with the engine. It speaks to the resource monitor itself: Pulumi's SDK for programs, which does
// the same for any program, is larger than the rest of the engine.
type program struct {
	ctx     context.Context
	monitor pulumirpc.ResourceMonitorClient
	root    string // URN of the stack

	mu    sync.Mutex
	first error // the first failure; what needs a failed step is not registered
	all   sync.WaitGroup
}

// registration is a resource on its way: done is closed when the engine has answered, and urn is "" then if it failed.
type registration struct {
	done chan struct{}
	urn  string
}

// register is the plan as a program: every step at once, each as soon as what it needs is in place. It returns when all of them
// have been answered for, with the first failure.
func register(ctx context.Context, info plugin.RunInfo, p plan.Plan) (err error) {
	conn, err := grpc.NewClient(info.MonitorAddress, grpc.WithTransportCredentials(insecure.NewCredentials()), rpcutil.GrpcChannelOptions())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	r := &program{ctx: ctx, monitor: pulumirpc.NewResourceMonitorClient(conn)}
	root, err := r.send(&pulumirpc.RegisterResourceRequest{Type: rootType, Name: info.Project + "-" + info.Stack})
	if err != nil {
		return err
	}
	r.root = root
	outputs := &pulumirpc.RegisterResourceOutputsRequest{Urn: root, Outputs: &structpb.Struct{}}
	if _, err := r.monitor.RegisterResourceOutputs(ctx, outputs); err != nil {
		return err
	}
	hosts, steps := map[string]*registration{}, make(map[plan.ID]*registration, len(p.Steps))
	for _, s := range p.Steps {
		if s.Host != "" && hosts[s.Host] == nil {
			hosts[s.Host] = r.begin(&pulumirpc.RegisterResourceRequest{Type: hostType, Name: s.Host}, nil, nil)
		}
		request, err := stepRequest(s)
		if err != nil {
			r.failed(err)
			break
		}
		steps[s.ID] = r.begin(request, hosts[s.Host], needs(s, steps))
	}
	r.all.Wait()
	return r.first
}

// needs is what a step waits for. A plan that is a part of one does not have all of it.
func needs(s plan.Step, steps map[plan.ID]*registration) []*registration {
	var needed []*registration
	for _, d := range slices.Concat(s.DependsOn, s.Behind) {
		if steps[d] != nil {
			needed = append(needed, steps[d])
		}
	}
	return needed
}

// begin registers a resource once its parent (nil: the stack) and what it needs are there, and not at all if one of them failed.
func (r *program) begin(request *pulumirpc.RegisterResourceRequest, parent *registration, needed []*registration) *registration {
	g := &registration{done: make(chan struct{})}
	r.all.Go(func() {
		defer close(g.done)
		request.Parent = r.root
		if parent != nil {
			<-parent.done
			request.Parent = parent.urn
		}
		for _, n := range needed {
			<-n.done
			request.Dependencies = append(request.Dependencies, n.urn)
		}
		if request.Parent == "" || slices.Contains(request.Dependencies, "") {
			return
		}
		slices.Sort(request.Dependencies)
		request.Dependencies = slices.Compact(request.Dependencies)
		urn, err := r.send(request)
		if err != nil {
			r.failed(err)
			return
		}
		g.urn = urn
	})
	return g
}

func (r *program) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first == nil {
		r.first = err
	}
}

// send returns the URN when the resource is in place.
func (r *program) send(request *pulumirpc.RegisterResourceRequest) (string, error) {
	request.AcceptSecrets, request.AcceptResources, request.SupportsResultReporting = true, true, true
	answer, err := r.monitor.RegisterResource(r.ctx, request)
	if err != nil {
		return "", err
	}
	if answer.GetResult() != pulumirpc.Result_SUCCESS {
		return "", fmt.Errorf("resource %s [%s] failed to register", request.GetName(), request.GetType())
	}
	return answer.GetUrn(), nil
}

// stepRequest holds what the state shows of a step: no file bodies, no secrets, only digests.
func stepRequest(s plan.Step) (*pulumirpc.RegisterResourceRequest, error) {
	ids := make([]any, len(s.DependsOn))
	for i, d := range s.DependsOn {
		ids[i] = string(d)
	}
	inputs, err := structpb.NewStruct(map[string]any{
		"id": string(s.ID), "kind": string(s.Kind), "host": s.Host, "digest": s.Digest, "dependsOn": ids,
	})
	if err != nil {
		return nil, fmt.Errorf("step %q: %w", s.ID, err)
	}
	// Without an entry for each input the engine would take every input to depend on all that the step depends on.
	independent := map[string]*pulumirpc.RegisterResourceRequest_PropertyDependencies{}
	for name := range inputs.GetFields() {
		independent[name] = &pulumirpc.RegisterResourceRequest_PropertyDependencies{}
	}
	return &pulumirpc.RegisterResourceRequest{
		Type: stepType, Name: string(s.ID), Custom: true, Object: inputs, PropertyDependencies: independent,
	}, nil
}
