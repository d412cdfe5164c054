// Package conformance proves that a mixed cluster works: it runs the scenarios "new-deployment" and "scale-out" as cells of a matrix
// that is planned before anything runs, and every cell ends as pass, fail, flaky or blocked. It is not the CNCF's conformance suite:
// it asks who answered, on which node and architecture, rather than whether something answered. It makes objects in one namespace
// of its own, and takes them away again. Where the truth is on a host, it is told through the interface Machine.
package conformance

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

// The sentinels. What to do about them:
var (
	// ErrUsage: a scenario, check or node that does not exist. The user mends the command.
	ErrUsage = errors.New("conformance")
	// ErrLeftovers: objects of an earlier run are in the cluster. The user removes them with "hybridctl conformance clean".
	ErrLeftovers = errors.New("leftovers of an earlier run")
	// ErrSetup: the run could not begin: a namespace that may not be made, probes that do not start. The report says so too.
	ErrSetup = errors.New("the conformance run could not begin")
	// ErrFailed: a cell failed. The report tells which, and why.
	ErrFailed = errors.New("conformance checks failed")
	// ErrFlaky: no cell failed, and some were right only at a later attempt. The user looks at the report, and runs them again.
	ErrFlaky = errors.New("conformance checks were flaky: right, but not at the first attempt")
	// ErrUnproven: no cell could be tried, so that nothing is proven. The report says what is missing.
	ErrUnproven = errors.New("nothing was proven: no conformance check could be tried")
)

// Verdict is a run's verdict as an error: nil, ErrFailed, ErrFlaky or ErrUnproven. Only a run that proved something, and found nothing wrong, has
// none.
func Verdict(run report.ConformanceRun) error {
	switch run.Verdict() {
	case report.Passed:
		return nil
	case report.Flaky:
		return ErrFlaky
	case report.Blocked:
		return ErrUnproven
	default:
		return ErrFailed
	}
}

// API is what a run wants of the API server; *kube.Client is it.
type API interface {
	kube.LeaseAPI
	Nodes(ctx context.Context) ([]kube.Node, error)
	Namespaces(ctx context.Context, label string) ([]string, error)
	Apply(ctx context.Context, manifests []byte, o kube.ApplyOptions) ([]kube.ObjectChange, error)
	Create(ctx context.Context, manifests []byte) error
	Delete(ctx context.Context, manifests []byte) ([]kube.ObjectChange, error)
	DeleteNamespace(ctx context.Context, name string) error
	Pods(ctx context.Context, namespace, labels string) ([]kube.Pod, error)
	WaitPods(ctx context.Context, namespace string, missing func([]kube.Pod, []kube.Event) []kube.Missing, o kube.WaitOptions) error
	Services(ctx context.Context, namespace string) ([]kube.Service, error)
	Events(ctx context.Context, namespace string) ([]kube.Event, error)
	PodLog(ctx context.Context, namespace, pod, container string, limit int64) ([]byte, error)
	Exec(ctx context.Context, o kube.ExecOptions) error
	WaitNodesReady(ctx context.Context, names []string, o kube.WaitOptions) error
	Volumes(ctx context.Context, drivers []string) ([]kube.Volume, error)
	WaitNoVolumes(ctx context.Context, namespace, claim string, o kube.WaitOptions) error
	WaitDaemonSets(ctx context.Context, nodes []string, o kube.WaitOptions) error
	NodeLeases(ctx context.Context) (map[string]time.Time, error)
}

// Machine is a host beneath a node, reached without the cluster.
type Machine interface {
	// UnameM is what uname -m prints there.
	UnameM(ctx context.Context) (string, error)
	// DropUDP throws away the datagrams that come from an address to a port, until RemoveFaults: for self-tests. The rule bears the run's ID, so
	// that it is found when the run was killed. Faults are the IDs of the runs of which such rules are there.
	DropUDP(ctx context.Context, runID, from string, port int) error
	Faults(ctx context.Context) ([]string, error)
	RemoveFaults(ctx context.Context, runID string) error
	MakeDir(ctx context.Context, path string) error
	// Dirs are the names of the directories in one; none when it is not there.
	Dirs(ctx context.Context, path string) ([]string, error)
	WriteFile(ctx context.Context, path, text string) error
	// ReadFile returns a file's text and its device and inode, "device:inode".
	ReadFile(ctx context.Context, path string) (text, id string, err error)
	RemoveDir(ctx context.Context, path string) error
	// ImportImage puts an image, a tar of an OCI layout, into the node's runtime; RemoveImage takes it away.
	ImportImage(ctx context.Context, write func(io.Writer) error) error
	RemoveImage(ctx context.Context, ref string) error
	// Evidence is what the host's journals, interfaces and rules say, without secrets.
	Evidence(ctx context.Context) ([]byte, error)
}

// ImageMaker makes images of the probe.
type ImageMaker interface {
	// Archive writes the images as one OCI archive. Their digests never were before: they follow from the salt.
	Archive(ctx context.Context, w io.Writer, salt string, images []MadeImage) error
	// Can reports whether there is a program for what an image holds.
	Can(image MadeImage) bool
}

// MadeImage is an image under a name: it claims an architecture, and holds the program of one.
type MadeImage struct {
	Ref           string
	Holds, Claims platform.Arch
}

// Vantage is a place outside the cluster from which NodePorts are dialled.
type Vantage struct {
	Name string // "operator", or a host's name
	Dial probe.Dialer
	// Problem is why it cannot serve; its cells are then blocked with it. Unreached is the same for single nodes, by name: a run finds it out.
	Problem   string
	Unreached map[string]string
	// TCPOnly is a vantage behind an SSH connection, which carries no datagrams.
	TCPOnly bool
	// Addresses are its own, as it reaches a target; nil = they are not known.
	Addresses func(target string) []string
}

// Options are what a run needs.
type Options struct {
	API      API
	Cluster  string // name, for the report
	Tool     string // hybridctl's version, for the report
	Scenario Scenario
	Checks   []string // IDs; nil = all of the scenario
	Quick    bool     // a smaller matrix: who answers whom, once
	NewNodes []string // of the scale-out scenario: what was added
	Image    string   // of the probe, as nodes know it; empty = the bundle has none, and nothing can run

	// Machines are the nodes' hosts by node name; a node without one has the cells blocked that need it, with the reason given here.
	Machines  map[string]Machine
	NoMachine map[string]string
	// NoProbe is, by node name, why a node cannot run the probe; its cells that need one are blocked with it.
	NoProbe  map[string]string
	Facts    map[string]NodeFacts // by node name, what hosts said of themselves
	Images   ImageMaker
	Vantages []Vantage
	// Registry is the inventory's private registry; nil = none is named.
	Registry *Registry
	// Storage are the classes of volumes that check S9 proves; NoStorage is why there are none.
	Storage   []StorageClass
	NoStorage string
	// Before are the pods, and NodesBefore the nodes, as they were before a scale-out; nil = at the beginning of this run.
	Before      []kube.Pod
	NodesBefore []kube.Node

	DNSDomain string // "cluster.local"
	// DaemonSets are those, as namespace/name, that have to want every node; nil = they are not known, and one whichever has to.
	DaemonSets []string
	// NodeRanges: the pod network gives pods addresses of their nodes' podCIDR. Others (Calico's and Cilium's own) ignore it, and it is set even so.
	NodeRanges bool
	// OverlayPort is the UDP port by which the pod network takes packets from node to node; a self-test closes it.
	OverlayPort int
	Window      time.Duration
	Patience    time.Duration // how long pods have to start
	MaxPairs    int           // of nodes; more are sampled. 0 = DefaultMaxPairs
	Seed        uint64
	RunID       string

	Keep          bool // leave everything in the cluster
	KeepOnFailure bool
	Fault         *Fault // of a self-test; nil = none

	Event    func(report.Event)
	Planned  func([]Cell) // called with the matrix before anything runs
	Evidence func(name string, body []byte) (path string, err error)
	Now      func() time.Time

	pace pace // zero = usual
}

// NodeFacts are what only a host tells of itself.
type NodeFacts struct {
	PageKiB int
	CPU     string // class of processor, for people
	// Address is where SSH goes to, and SSHPort its port; 0 = 22.
	Address string
	SSHPort int
}

// Registry is a private registry that check R pulls from.
type Registry struct {
	Image    string // reference with its registry
	Username string
	Password func() (string, error) // read when it is used

	// NodesKnow: the nodes have the login themselves (spec.registries), so that pods need no secret; then Refuses asks the registry without a login.
	NodesKnow bool
	// Refuses reports whether the registry refuses whoever has no login; the error says why that is not known.
	Refuses func(ctx context.Context) (bool, error)
}

// DefaultMaxPairs is how many ordered pairs of nodes are tried before a sample is drawn: ten nodes' worth.
const DefaultMaxPairs = 90
