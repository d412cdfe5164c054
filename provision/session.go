package provision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/restarts"
	"github.com/hybridctl/hybridctl/provision/stack"
	"github.com/hybridctl/hybridctl/provision/steps"
)

// session is what one run knows: the hosts it is connected to, what they are, and the way to the API server.
type session struct {
	Options
	dialer *remote.Dialer
	bundle *bundle.Bundle

	joining *joining // of a scale-out or a removal; nil = the session is of all hosts

	mu      sync.Mutex
	runners map[string]remote.Runner
	facts   map[string]facts.Host
	api     api
	config  []byte // admin kubeconfig

	nodes []kube.Node // before the run changed anything; nil = it did not ask

	lockMark string // see markLock; "" = no API server was there
	lockOf   []byte // the kubeconfig it was read with; nil = that in use

	cephKeys map[string]inventory.Secret // by ID of the user
	ceph     preflight.CephSeen

	newAPI func(kubeconfig []byte, o kube.Options) (api, error)

	reminder *report.Reminder // in front of the caller's sink
	restarts *restarts.Watch  // of control planes; nil = no one looks yet
}

// api is what a run wants of the API server; *kube.Client is it.
type api interface {
	steps.API
	Diff(ctx context.Context, manifests []byte) ([]kube.ObjectChange, error)
	HasKind(ctx context.Context, apiVersion, kind string) (bool, error)
	WaitCSINodes(ctx context.Context, nodes, drivers []string, o kube.WaitOptions) error
	kube.LeaseAPI
	Untaint(ctx context.Context, node, key string) error
	DrainPods(ctx context.Context, node string) ([]kube.DrainPod, error)
	Cordon(ctx context.Context, node string) error
	Drain(ctx context.Context, pods []kube.DrainPod, progress func([]kube.Missing)) error
	WaitDetached(ctx context.Context, node string, o kube.WaitOptions) error
	PodTemplates(ctx context.Context) ([]kube.PodTemplate, error)
	SeenPods(ctx context.Context) (kube.SeenPods, error)
	NodeImages(ctx context.Context) (map[string][][]string, error)
	ClusterConfiguration(ctx context.Context) (kube.ClusterConfiguration, error)
	Version(ctx context.Context) (string, error)
	WaitDeployment(ctx context.Context, namespace, name string, o kube.WaitOptions) error
	CheckDNS(ctx context.Context, dial kube.DialFunc, clusterDomain string) error
	conformance.API
}

func newClient(kubeconfig []byte, o kube.Options) (api, error) { return kube.New(kubeconfig, o) }

// kubeconfigFile is the admin kubeconfig's name in the state directory.
const kubeconfigFile = "kubeconfig"

// knownHostsFile is where the keys of hosts are kept in the state directory.
const knownHostsFile = "known_hosts"

// open starts a session: nothing is connected yet.
func open(o Options) (*session, error) {
	dialer, err := newDialer(o)
	if err != nil {
		return nil, err
	}
	reminder := report.Remind(o.Progress)
	o.Progress = reminder
	return &session{Options: o, dialer: dialer, runners: map[string]remote.Runner{}, facts: map[string]facts.Host{}, newAPI: o.newAPI, reminder: reminder}, nil
}

// begin opens a run that writes: the cluster's state, which nobody else has until end, and a session. ErrLocked: another run has it.
func begin(o Options) (store *stack.Store, s *session, end func(), err error) {
	if store, err = stack.OpenStore(o.StateDir); err != nil {
		return nil, nil, nil, err
	}
	if s, err = open(o); err != nil {
		store.Close()
		return nil, nil, nil, err
	}
	return store, s, func() { s.close(); store.Close() }, nil
}

// close ends every connection.
func (s *session) close() {
	s.stopWaiting()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.runners {
		_ = r.Close() // the run is over: nothing can be lost
	}
	s.joining.close()
	_ = s.dialer.Close()
}

// openBundle opens the bundle; every way it can be wrong is an ErrBundle.
func (s *session) openBundle() error {
	b, err := bundle.Open(s.Cluster.Spec.Bundle)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBundle, err)
	}
	s.bundle = b
	return nil
}

// gather connects to every managed host and learns what it is: one connection and one command each.
func (s *session) gather(ctx context.Context) []facts.Host {
	return s.gatherFrom(ctx, s.Cluster.Managed())
}

func (s *session) gatherFrom(ctx context.Context, from []inventory.Host) []facts.Host {
	targets := make([]facts.Target, len(from))
	for i, h := range from {
		targets[i] = facts.Target{Name: h.Name, Dial: func(ctx context.Context) (remote.Runner, error) { return s.dial(ctx, h) }}
	}
	hosts := facts.Gather(ctx, targets, preflight.Ask(s.Cluster), s.Parallel, func(h facts.Host) {
		e := report.Event{Kind: report.Done, Host: h.Name, Step: "facts", Action: report.Unchanged}
		if h.Err != nil {
			e.Action, e.Err = report.Failed, h.Err
		}
		s.event(e)
	})
	for _, h := range hosts {
		s.facts[h.Name] = h
	}
	return hosts
}

// dial connects to a host and remembers the connection for the rest of the run.
func (s *session) dial(ctx context.Context, h inventory.Host) (remote.Runner, error) {
	s.event(report.Event{Kind: report.Started, Host: h.Name, Step: "facts"})
	r, err := s.dialer.Dial(ctx, hostConfig(s.Cluster, h))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runners[h.Name] = r
	return r, nil
}

// host returns a connected host. A host that could not be reached when the run began is tried once more: it may be back, and the
// error is then of now.
func (s *session) host(name string) (*host.Host, error) {
	s.mu.Lock()
	r, ok := s.runners[name]
	s.mu.Unlock()
	if ok {
		return host.New(r), nil
	}
	if f := s.facts[name]; f.Err != nil {
		return nil, f.Err
	}
	if h, known := s.Cluster.Host(name); known && !h.IsManaged() {
		return nil, fmt.Errorf("hybridctl does not manage %s (managed: false) and does not connect to it", name)
	}
	if s.joining != nil {
		return nil, fmt.Errorf("this run does not connect to %s: it was a node before", name)
	}
	return nil, fmt.Errorf("%s is not connected", name)
}

// loadKubeconfig takes the kubeconfig from the state directory, else from the bootstrap host when that is initialised.
func (s *session) loadKubeconfig(ctx context.Context) error {
	b, err := os.ReadFile(filepath.Join(s.StateDir, kubeconfigFile))
	if err == nil && s.ofThisCluster(b) {
		return s.useKubeconfig(b)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, h := range s.controlPlanes() {
		if h.IsManaged() && (!s.facts[h.Name].Kubeadm.AdminConf || !initialised(s.facts[h.Name])) {
			continue
		}
		c, err := s.way(ctx, h)
		if err != nil {
			continue
		}
		if b, err = c.ReadFile(ctx, host.AdminConf); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		return s.useKubeconfig(b)
	}
	return nil
}

// way returns a control plane's connection. One that is not managed is connected to now: it is asked for nothing but the way.
func (s *session) way(ctx context.Context, h inventory.Host) (*host.Host, error) {
	s.mu.Lock()
	_, connected := s.runners[h.Name]
	s.mu.Unlock()
	if !h.IsManaged() && !connected {
		if _, err := s.dial(ctx, h); err != nil {
			return nil, err
		}
	}
	return s.host(h.Name)
}

// notBegun tells whether it is known that there is no cluster yet.
func (s *session) notBegun() bool {
	first := s.Cluster.Bootstrap()
	f := s.facts[first.Name]
	if _, joined := f.Markers[string(plan.Join)]; joined || !first.IsManaged() || f.Err != nil {
		return false // whoever joins is given a cluster by others
	}
	return !slices.ContainsFunc(s.controlPlanes(), func(h inventory.Host) bool { return initialised(s.facts[h.Name]) })
}

// ofThisCluster tells whether a kubeconfig trusts the authority that the bootstrap host has now: hosts may have been reset and
// initialised again since it was kept.
func (s *session) ofThisCluster(kubeconfig []byte) bool {
	now := s.facts[s.Cluster.Bootstrap().Name].Kubeadm.CACertHash
	if now == "" {
		return true // the host does not tell
	}
	hashes, err := kube.CAHashes(kubeconfig)
	return err == nil && slices.Contains(hashes, now)
}

// initialised tells whether a host is a finished control plane of ours.
func initialised(f facts.Host) bool {
	for _, k := range []plan.Kind{plan.Init, plan.Join} {
		if m, ok := f.Markers[string(k)]; ok && m.State == host.MarkerDone {
			return true
		}
	}
	return false
}

func (s *session) controlPlanes() []inventory.Host {
	var out []inventory.Host
	for _, h := range s.Cluster.Spec.Hosts {
		if h.Role == inventory.ControlPlane {
			out = append(out, h)
		}
	}
	return out
}

// useKubeconfig makes the API client.
func (s *session) useKubeconfig(b []byte) error {
	named, err := kube.RenameContext(b, s.Cluster.Metadata.Name)
	if err != nil {
		return err
	}
	c, err := s.newAPI(named, s.kubeOptions())
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !bytes.Equal(s.lockOf, named) {
		s.lockMark = ""
	}
	s.api, s.config = c, named
	return nil
}

// kubeOptions say how the API server is asked. One that kubeadm is told to be patient with is slow for us too.
func (s *session) kubeOptions() kube.Options {
	return kube.Options{Dial: s.tunnel, UserAgent: "hybridctl", Waiting: s.waitingFor, RetryFor: s.Cluster.Spec.Kubernetes.Timeouts.KubernetesAPICall.Std()}
}

// saveKubeconfig keeps the kubeconfig in the state directory.
func (s *session) saveKubeconfig() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := filepath.Join(s.StateDir, kubeconfigFile)
	if s.config == nil {
		return "", nil
	}
	return path, kube.WriteKubeconfig(path, s.config)
}

// kube returns the API client.
func (s *session) kube(context.Context) (steps.API, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.api == nil {
		return nil, errors.New("the cluster is not initialised yet")
	}
	return s.api, nil
}
