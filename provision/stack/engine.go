package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/pulumi/pulumi/pkg/v3/display"
	"github.com/pulumi/pulumi/pkg/v3/engine"
	"github.com/pulumi/pulumi/pkg/v3/resource/deploy"
	"github.com/pulumi/pulumi/pkg/v3/util/cancel"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag/colors"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/env"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
)

// DefaultParallel is how many steps, and so hosts, are worked on at once: steps wait for hosts rather than compute here.
const DefaultParallel = 256

// Pulumi is cut off from the user's environment and home: a run must not depend on PULUMI_… variables, look for plugins there, or
// read the credentials of a Pulumi account, which it does to tell plugins when it is told of no backend.
// The engine reads this variable from many goroutines, so it is set before there are any.
func init() {
	env.Global = env.MapStore{"PULUMI_BACKEND_URL": "file:///nonexistent", "PULUMI_HOME": "/nonexistent"}
}

// operation is engine.Update or engine.Destroy.
type operation func(engine.UpdateInfo, *engine.Context, engine.UpdateOptions, bool) (*deploy.Plan, display.ResourceChanges, error)

// carryOut runs the engine over the state, journals what is done and folds the journal into the state. Its error is not about
// steps: those are in the run.
func (s *Store) carryOut(ctx context.Context, op operation, r *run, parallel int) error {
	name, err := tokens.ParseStackName(r.plan.Cluster)
	if err != nil {
		return fmt.Errorf("%q cannot be the name of a cluster: %w", r.plan.Cluster, err)
	}
	base, err := s.base(ctx, r.plan)
	if err != nil {
		return err
	}
	j, err := s.startJournal(base, r.plan, r.halt)
	if err != nil {
		return err
	}
	if parallel <= 0 {
		parallel = DefaultParallel
	}
	done := make(chan error, 1)
	go func() { // may outlive this call: an executor that does not heed its context cannot be ended
		done <- runEngine(op, j, engine.UpdateInfo{
			Root:    s.dir,
			Project: &workspace.Project{Name: pkg, Runtime: workspace.NewProjectRuntimeInfo(pkg, nil)},
			Target: &deploy.Target{Name: name, Organization: "organization", Config: config.Map{},
				Decrypter: config.NopDecrypter, Snapshot: base},
		}, engine.UpdateOptions{
			Parallel:             int32(min(parallel, math.MaxInt32)),
			HostFactory:          hostFactory(r),
			ContinueOnError:      true,
			SkipPluginPreInstall: true,
		})
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
	}
	if r.explains(err) {
		err = nil
	}
	if failed := j.close(); failed != nil { // the next OpenStore folds it, when there is room again
		return errors.Join(err, failed)
	}
	return errors.Join(err, s.fold())
}

// runEngine returns when the engine has come to its regular end; the provider ends it early by refusing steps.
func runEngine(op operation, j *journal, info engine.UpdateInfo, o engine.UpdateOptions) error {
	cancelCtx, source := cancel.NewContext(context.Background())
	defer source.Terminate() // lets the engine close its servers
	events := make(chan engine.Event)
	problem := make(chan string, 1)
	go func() { problem <- firstProblem(events) }()
	_, _, err := op(info, &engine.Context{Cancel: cancelCtx, Events: events, SnapshotManager: j.manager}, o, false)
	if said := <-problem; err != nil {
		return errors.New("pulumi engine: " + cmp.Or(said, err.Error()))
	}
	return nil
}

// firstProblem drains the events up to the engine's last, and returns the first error among them in plain words: the engine's own
// error only says that there was one.
func firstProblem(events <-chan engine.Event) string {
	first := ""
	for e := range events {
		if e.Type == engine.CancelEvent {
			return first
		}
		if d, ok := e.Payload().(engine.DiagEventPayload); ok && d.Severity == diag.Error && first == "" {
			first = strings.TrimSpace(colors.Never.Colorize(d.Prefix + d.Message))
		}
	}
	return first
}
