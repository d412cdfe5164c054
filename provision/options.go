package provision

import (
	"cmp"
	"context"
	"io"
	"path/filepath"
	"time"

	"github.com/hybridctl/hybridctl/provision/access"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/stack"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// Options are what every verb needs. The zero value of each field works, but for Cluster.
type Options struct {
	Cluster  *inventory.Cluster
	StateDir string      // default: .hybridctl/<cluster name> beside the inventory
	Progress report.Sink // default: report.Discard
	Stderr   io.Writer   // of a program of the user's that prints a key; nil = no one sees it

	// Parallel bounds how many hosts are worked on at once; 0 = 256.
	Parallel int

	// Ask is called with the plan when there is something to do; nil = do not ask. False ends with ErrDeclined.
	Ask func(plan.Plan) bool
	// Prompt asks the user for a secret (without echo); nil = never ask.
	Prompt func(question string) (string, error)
	// Stop is closed on the first ^C: running steps finish, no new ones start. The ctx's end is the second ^C.
	Stop <-chan struct{}

	// AuditRegistries are asked by the audit besides the well-known ones and those of the inventory.
	AuditRegistries []string

	// Catalogue is a catalogue of the user's, for an inventory without a bundle; "" = hybridctl's own.
	Catalogue string

	// BreakLock takes the cluster's lock from whoever has it: for a holder that is gone.
	BreakLock bool

	hooks hooks
}

// hooks are what tests put in a run's way; the zero value is what users have.
type hooks struct {
	leaseTTL                        time.Duration                                                    // of the cluster's lock
	registryPatience, restartsEvery time.Duration                                                    // as survey.Reader and restarts.New have them
	askRegistry                     func(ctx context.Context, image string) ([]platform.Arch, error) // as survey.Reader has it
	registerWithin                  time.Duration                                                    // as steps.Env has it
	cache                           string                                                           // as fetch.Options has it
	program                         func(name string) (string, error)                                // as fetch.Options has it
	newAPI                          func(kubeconfig []byte, o kube.Options) (access.API, error)      // without a cluster
}

func (o Options) withDefaults() Options {
	if o.StateDir == "" {
		o.StateDir = DefaultStateDir(o.Cluster)
	}
	if o.Progress == nil {
		o.Progress = report.Discard
	}
	if o.Parallel == 0 {
		o.Parallel = stack.DefaultParallel
	}
	if o.Stop == nil {
		o.Stop = make(chan struct{})
	}
	o.hooks.registryPatience = cmp.Or(o.hooks.registryPatience, survey.RegistryPatience)
	return o
}

// ReportDir is where the report of a conformance run goes: beside the state, unless the user names another place.
func ReportDir(o Options, given string) string {
	if given != "" {
		return given
	}
	return filepath.Join(o.withDefaults().StateDir, "conformance")
}

// DefaultStateDir is where a cluster's state is kept unless the user names another place: beside its inventory.
func DefaultStateDir(c *inventory.Cluster) string {
	return filepath.Join(filepath.Dir(c.Path), ".hybridctl", c.Metadata.Name)
}

// stoppable returns a context that ends on the first ^C: for the reading parts of a run, where there is nothing to finish.
func (o Options) stoppable(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // ends with the context
		select {
		case <-o.Stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// event sends a piece of progress.
func (o Options) event(e report.Event) {
	e.Time = time.Now()
	o.Progress.Event(e)
}
