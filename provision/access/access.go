// Package access is the way to the API server: one client, made with the kubeconfig that is kept when it is of the cluster that the hosts know,
// else with that of a control plane. It changes nothing in the cluster.
package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/adopt"
	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/lock"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/proof"
	"github.com/hybridctl/hybridctl/provision/ready"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/steps"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// API is an API server for every room: each asks for the few calls that it uses. *kube.Client is one.
type API interface {
	adopt.API
	kube.LeaseAPI
	proof.API
	ready.API
	steps.API
	survey.API
}

// Options are what the way leads through.
type Options struct {
	Cluster  *inventory.Cluster
	StateDir string
	Fleet    *fleet.Fleet
	Waiting  func(what func() string) (over func())               // is told that a call waits, and may ask for what
	New      func(kubeconfig []byte, o kube.Options) (API, error) // nil = a client of package kube
}

// Server is the API server as a run knows it: there is one way to a client of it, Reach.
type Server struct {
	options Options

	mu     sync.Mutex
	API    API    // nil = there is none, or none is known
	Config []byte // the admin kubeconfig that API was made with; a secret
	Mark   string // of the cluster's lock, before the cluster was looked at; "" = not read
	markOf []byte // the kubeconfig that the mark was read with
}

// New returns the API server of a run that has not reached it yet.
func New(o Options) *Server {
	if o.New == nil {
		o.New = func(kubeconfig []byte, o kube.Options) (API, error) { return kube.New(kubeconfig, o) }
	}
	return &Server{options: o}
}

// Patience is how long an API server has to answer that may be gone.
const Patience = 10 * time.Second

// MarkEarly reads the lock's mark before the hosts are looked at, where the kept kubeconfig leads to an API server that answers directly.
// Whether that kubeconfig is this cluster's, the hosts have to tell.
func (s *Server) MarkEarly(ctx context.Context) {
	b, err := s.options.Fleet.Kept()
	if err != nil || s.use(b) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	_ = s.readMark(ctx) // it is asked again
	s.mu.Lock()
	defer s.mu.Unlock()
	s.API = nil
}

// readMark notes what the cluster's lock looks like, unless that was done with the same kubeconfig before.
func (s *Server) readMark(ctx context.Context) (err error) {
	if s.Mark != "" && bytes.Equal(s.markOf, s.Config) {
		return nil
	}
	s.markOf = s.Config
	s.Mark, err = lock.Mark(ctx, s.API)
	return err
}

// Reach is the one way to the API server: with the kubeconfig that is kept when it is of the cluster that the hosts know, else with
// that of a control plane. hosts are those that were asked; none = the run asks no host first. The lock's mark is read on the way.
// fleet.ErrNoKubeconfig: there is none anywhere. ErrRefused: none is kept, and the control plane is of a cluster with another name; or the one that
// is kept has ended, and the control plane is of another cluster.
func (s *Server) Reach(ctx context.Context, hosts survey.Hosts) error {
	var refused error // its certificate has ended, or was taken back: a control plane may have another
	kept, err := s.options.Fleet.Kept()
	switch {
	case err == nil && survey.Trusts(kept, hosts.Fact(s.options.Cluster.Bootstrap().Name)):
		if refused = s.ask(ctx, kept); !errors.Is(refused, kube.ErrUnauthorized) {
			return refused
		}
		s.API = nil
	case err != nil && !errors.Is(err, fleet.ErrNoKubeconfig):
		return err
	}
	_, none := kube.CAHashes(kept) // what cannot be read tells of no cluster either
	given, by, err := s.options.Fleet.Given(ctx, func(h inventory.Host) bool {
		f, asked := hosts[h.Name]
		return !asked || f.Kubeadm.AdminConf && survey.Initialised(f)
	})
	if err != nil && refused != nil {
		return fmt.Errorf("%w (the kubeconfig in %s%s), and no control plane gives another: %v", refused, s.options.StateDir, endedOn(kept), report.OneLine(err.Error()))
	}
	switch {
	case err != nil:
	case none != nil:
		err = s.sameName(ctx, hosts, by)
	case refused != nil && !sameAuthority(kept, given): // who refused it proved to be of its authority
		err = s.another(fmt.Errorf("%w (the kubeconfig in %s%s)", refused, s.options.StateDir, endedOn(kept)), by)
	}
	if err != nil {
		return err
	}
	return s.ask(ctx, given)
}

// Kubeconfig returns the admin kubeconfig: the one that is kept and has not ended, else a control plane's. It is a secret. Errors: ErrRefused: none is
// kept, and the control plane is of a cluster with another name, or of another one than what is kept. kube.ErrKubeconfig: what is kept is none.
func (s *Server) Kubeconfig(ctx context.Context) ([]byte, error) {
	kept, none := s.options.Fleet.Kept()
	ended := ""
	switch {
	case none == nil:
		if _, bad := kube.CAHashes(kept); bad != nil {
			return nil, hint.With(fmt.Errorf("%s: %w", filepath.Join(s.options.StateDir, fleet.KubeconfigFile), bad), "delete the file, and run it again: a control plane gives another")
		}
		if ended = endedOn(kept); ended == "" {
			return kept, nil
		}
	case !errors.Is(none, fleet.ErrNoKubeconfig):
		return nil, none
	}
	s.options.Fleet.Only() // no host is of interest but for it
	given, by, err := s.options.Fleet.Given(ctx, nil)
	switch {
	case err != nil && none == nil:
		return nil, fmt.Errorf("the kubeconfig in %s%s, is of no use, and no control plane gives another: %w", s.options.StateDir, ended, err)
	case errors.Is(err, fleet.ErrNoKubeconfig):
		err = hint.With(fmt.Errorf("%s holds no kubeconfig, and %w", s.options.StateDir, err),
			`"hybridctl preflight -f %s" says what keeps a host from answering; where there is no cluster yet, "hybridctl up" makes it`, s.options.Cluster.Path)
	case err != nil:
	case none != nil:
		err = s.sameName(ctx, nil, by)
	case !sameAuthority(kept, given):
		err = s.another(fmt.Errorf("the kubeconfig in %s%s, is of no use", s.options.StateDir, ended), by)
	}
	if err != nil {
		return nil, err
	}
	return kube.RenameContext(given, s.options.Cluster.Metadata.Name)
}

// another refuses what a control plane of another cluster gives.
func (s *Server) another(why error, by inventory.Host) error {
	return hint.With(fmt.Errorf("%w: %w, and %s is of another cluster", ending.ErrRefused, why, by.Name), "see to the address of %s in the inventory (%s)", by.Name, by.Address)
}

// sameAuthority reports whether two kubeconfigs have an authority in common.
func sameAuthority(a, b []byte) bool {
	of, errA := kube.CAHashes(a)
	other, errB := kube.CAHashes(b)
	return errA == nil && errB == nil && slices.ContainsFunc(of, func(h string) bool { return slices.Contains(other, h) })
}

// endedOn says when a kubeconfig's certificate has ended; "" = it has not, or has none.
func endedOn(kubeconfig []byte) string {
	_, end, err := kube.ClientCertificate(kubeconfig)
	if err != nil || end.IsZero() || time.Now().Before(end) {
		return ""
	}
	return ", which ended on " + end.UTC().Format(time.DateOnly)
}

// sameName refuses the word of a control plane whose mark has another cluster's name, where nothing else tells which cluster is meant.
func (s *Server) sameName(ctx context.Context, hosts survey.Hosts, by inventory.Host) error {
	f, asked := hosts[by.Name]
	if !asked {
		text, err := s.options.Fleet.ClusterMark(ctx, by)
		if err != nil {
			return fmt.Errorf("%s: %w", by.Name, err)
		}
		f.Belongs = facts.ReadBelonging(text)
	}
	return ending.Refused(preflight.NameAgrees(s.options.Cluster, by.Name, f.Belongs))
}

// ask makes the client, and reads the lock's mark with it.
func (s *Server) ask(ctx context.Context, kubeconfig []byte) error {
	if err := s.use(kubeconfig); err != nil {
		return err
	}
	return s.readMark(ctx)
}

// use makes the client of a kubeconfig.
func (s *Server) use(kubeconfig []byte) error {
	named, err := kube.RenameContext(kubeconfig, s.options.Cluster.Metadata.Name)
	if err != nil {
		return err
	}
	c, err := s.Client(named)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.API, s.Config = c, named
	return nil
}

// Client is where an API client is made. A server that kubeadm is told to be patient with is slow for us too.
func (s *Server) Client(kubeconfig []byte) (API, error) {
	return s.options.New(kubeconfig, kube.Options{Dial: s.options.Fleet.Dial, UserAgent: "hybridctl", Waiting: s.options.Waiting, RetryFor: s.options.Cluster.Spec.Kubernetes.Timeouts.KubernetesAPICall.Std()})
}

// Known is the API server as far as it is known now; nil = there is none, or none is known.
func (s *Server) Known() API {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.API
}

// KeepKubeconfig puts the kubeconfig in use into the state directory; "" = there is none.
func (s *Server) KeepKubeconfig() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Config == nil || s.API == nil {
		return "", nil
	}
	return s.options.Fleet.Keep(s.Config)
}

// NoWay is why the API server is not known, in one line.
func NoWay(err error) error {
	if errors.Is(err, fleet.ErrNoKubeconfig) {
		return fleet.ErrNoKubeconfig
	}
	return err
}

// Kube returns the API client to steps.
func (s *Server) Kube(context.Context) (steps.API, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.API == nil {
		return nil, errors.New("the cluster is not initialised yet")
	}
	return s.API, nil
}

// Initialised keeps the kubeconfig at once: whoever watches the rest of the run wants it.
func (s *Server) Initialised(kubeconfig []byte) error {
	if err := s.use(kubeconfig); err != nil {
		return err
	}
	_, err := s.KeepKubeconfig()
	return err
}

// Merge adds the cluster to the user's kubeconfig; "" = to none.
func (s *Server) Merge(path string) error {
	if path == "" {
		return nil
	}
	if s.Config == nil {
		return errors.New("there is no kubeconfig to merge")
	}
	return kube.MergeKubeconfig(path, s.Config, s.options.Cluster.Metadata.Name)
}
