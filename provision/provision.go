// Package provision is the front door: one function per verb, each of which reads like a table of contents and decides nothing
// itself. Only this package sees both ends of the street, the inventory and the reports.
package provision

import (
	"context"
	"errors"
	"io"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// The sentinels that cmd maps to exit codes; each error that a verb returns wraps at most one of them.
var (
	// ErrPreflight: a check failed; nothing was written. The user mends the host, or names the check in preflight.ignore.
	ErrPreflight = errors.New("preflight checks failed")
	// ErrPartial: some hosts failed, the rest finished. Running the same command again goes on.
	ErrPartial = errors.New("stopped part-way")
	// ErrDeclined: the user said no to the plan. Nothing was written.
	ErrDeclined = errors.New("nothing was done: the plan was not confirmed")
	// ErrLocked: another run holds the cluster's state. The user waits for it.
	ErrLocked = errors.New("another hybridctl is at work on this cluster")
	// ErrBundle: the bundle is missing, damaged, or lacks what the inventory asks for. The user mends it.
	ErrBundle = errors.New("bundle")
)

// Options are what every verb needs. The zero value of each field works, but for Cluster.
type Options struct {
	Cluster  *inventory.Cluster
	StateDir string      // default: .hybridctl/<cluster name> beside the inventory
	Progress report.Sink // default: report.Discard
	Stderr   io.Writer   // for questions: passphrases, sudo passwords; nil = never ask

	// Parallel bounds how many hosts are worked on at once; 0 = 256.
	Parallel int

	// Ask is called with the plan when there is something to do; nil = do not ask. False ends with ErrDeclined.
	Ask func(plan.Plan) bool
	// Prompt asks the user for a secret (without echo); nil = never ask.
	Prompt func(question string) (string, error)
	// Stop is closed on the first ^C: running steps finish, no new ones start. The ctx's end is the second ^C.
	Stop <-chan struct{}
}

// Result is what Up and Destroy leave.
type Result struct {
	Cluster    string          `json:"cluster"`
	Plan       plan.Plan       `json:"plan"`
	Changes    []report.Change `json:"changes"`
	Checks     []report.Check  `json:"checks,omitempty"` // preflight checks that did not pass
	Hosts      []HostResult    `json:"hosts"`
	Kubeconfig string          `json:"kubeconfig,omitempty"` // path
}

// HostResult is the end of one host.
type HostResult struct {
	Name   string        `json:"name"`
	Arch   string        `json:"arch,omitempty"`
	Action report.Action `json:"action"`          // the strongest of its steps
	Error  string        `json:"error,omitempty"` // why it failed
	Next   string        `json:"next,omitempty"`  // the command that goes on
}

// UpOptions are Up's own.
type UpOptions struct {
	Options
	MergeKubeconfig string // path of a kubeconfig to merge into; "" = do not
}

// Up makes the cluster what the inventory says.
// Errors: ErrPreflight, ErrPartial, ErrDeclined, ErrLocked, ErrBundle, context.Canceled, or others for the user.
func Up(ctx context.Context, o UpOptions) (Result, error) { return Result{}, errors.ErrUnsupported }

// Plan tells what Up would do; it writes nothing anywhere but known_hosts.
func Plan(ctx context.Context, o Options) (plan.Plan, []report.Check, error) {
	return plan.Plan{}, nil, errors.ErrUnsupported
}

// Preflight runs every check on every host and returns all results, sorted by host and name. ErrPreflight when one failed.
func Preflight(ctx context.Context, o Options) ([]report.Check, error) {
	return nil, errors.ErrUnsupported
}

// Destroy takes the cluster away, in reverse order; hosts end as clean as before.
func Destroy(ctx context.Context, o Options) (Result, error) { return Result{}, errors.ErrUnsupported }

// StatusReport is what Status finds.
type StatusReport struct {
	Cluster string       `json:"cluster"`
	API     string       `json:"api"` // "answers", or why not
	Version string       `json:"version,omitempty"`
	Hosts   []HostStatus `json:"hosts"`
	Notes   []string     `json:"notes,omitempty"` // what differs from the inventory
}

// HostStatus is one host with its node.
type HostStatus struct {
	Name    string   `json:"name"`
	Address string   `json:"address"`
	Role    string   `json:"role"`
	Arch    string   `json:"arch"`
	OS      string   `json:"os,omitempty"`
	Kernel  string   `json:"kernel,omitempty"`
	Page    int      `json:"pageSize,omitempty"`
	Host    string   `json:"host"` // "reachable" or why not
	Node    string   `json:"node"` // Ready, NotReady, "not joined", "unknown"
	Kubelet string   `json:"kubelet,omitempty"`
	Differs []string `json:"differs,omitempty"`
}

// Status looks at hosts and API and tells what is there. Unreachable hosts are part of the answer, not an error.
func Status(ctx context.Context, o Options) (StatusReport, error) {
	return StatusReport{}, errors.ErrUnsupported
}

// Kubeconfig returns the admin kubeconfig: from the state, else from a control-plane host. It is a secret.
func Kubeconfig(ctx context.Context, o Options) ([]byte, error) { return nil, errors.ErrUnsupported }
