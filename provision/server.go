package provision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/lock"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/steps"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// server is the API server as a run knows it: there is one way to a client of it, access.
type server struct {
	Options
	fleet   *fleet.Fleet
	waiting func(what string) (over func()) // is told what a call waits for

	mu     sync.Mutex
	api    api    // nil = there is none, or none is known
	config []byte // the admin kubeconfig that api was made with
	mark   string // of the cluster's lock, before the cluster was looked at; "" = not read
	markOf []byte // the kubeconfig that the mark was read with
}

// askLock is how long an API server has to answer that may be gone.
const askLock = 10 * time.Second

// markEarly reads the lock's mark before the hosts are looked at, where the kept kubeconfig leads to an API server that answers directly.
// Whether that kubeconfig is this cluster's, the hosts have to tell.
func (s *server) markEarly(ctx context.Context) {
	b, err := s.fleet.Kept()
	if err != nil || s.use(b) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askLock)
	defer cancel()
	_ = s.readMark(ctx) // it is asked again
	s.mu.Lock()
	defer s.mu.Unlock()
	s.api = nil
}

// readMark notes what the cluster's lock looks like, unless that was done with the same kubeconfig before.
func (s *server) readMark(ctx context.Context) (err error) {
	if s.mark != "" && bytes.Equal(s.markOf, s.config) {
		return nil
	}
	s.markOf = s.config
	s.mark, err = lock.Mark(ctx, s.api)
	return err
}

// access is the one way to the API server: with the kubeconfig that is kept when it is of the cluster that the hosts know, else with
// that of a control plane. hosts are those that were asked; none = the run asks no host first. The lock's mark is read on the way.
// fleet.ErrNoKubeconfig: there is none anywhere. ErrRefused: none is kept, and the control plane is of a cluster with another name.
func (s *server) access(ctx context.Context, hosts survey.Hosts) error {
	var refused error // its certificate has ended, or was taken back: a control plane may have another
	kept, err := s.fleet.Kept()
	switch {
	case err == nil && survey.Trusts(kept, hosts.Fact(s.Cluster.Bootstrap().Name)):
		if refused = s.ask(ctx, kept); !errors.Is(refused, kube.ErrUnauthorized) {
			return refused
		}
		s.api = nil
	case err != nil && !errors.Is(err, fleet.ErrNoKubeconfig):
		return err
	}
	_, none := s.fleet.Kept()
	given, by, err := s.fleet.Given(ctx, func(h inventory.Host) bool {
		f, asked := hosts[h.Name]
		return !asked || f.Kubeadm.AdminConf && survey.Initialised(f)
	})
	if err != nil && refused != nil {
		return fmt.Errorf("%w (the kubeconfig in %s%s), and no control plane gives another: %v", refused, s.StateDir, endedOn(kept), report.OneLine(err.Error()))
	}
	if err == nil && none != nil {
		err = s.sameName(ctx, hosts, by)
	}
	if err != nil {
		return err
	}
	return s.ask(ctx, given)
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
func (s *server) sameName(ctx context.Context, hosts survey.Hosts, by inventory.Host) error {
	f, asked := hosts[by.Name]
	if !asked {
		text, err := s.fleet.ClusterMark(ctx, by)
		if err != nil {
			return fmt.Errorf("%s: %w", by.Name, err)
		}
		f.Belongs = facts.ReadBelonging(text)
	}
	if err := preflight.NameAgrees(s.Cluster, by.Name, f.Belongs); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// ask makes the client, and reads the lock's mark with it.
func (s *server) ask(ctx context.Context, kubeconfig []byte) error {
	if err := s.use(kubeconfig); err != nil {
		return err
	}
	return s.readMark(ctx)
}

// use makes the client of a kubeconfig.
func (s *server) use(kubeconfig []byte) error {
	named, err := kube.RenameContext(kubeconfig, s.Cluster.Metadata.Name)
	if err != nil {
		return err
	}
	c, err := s.client(named)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.api, s.config = c, named
	return nil
}

// client is where an API client is made. A server that kubeadm is told to be patient with is slow for us too.
func (s *server) client(kubeconfig []byte) (api, error) {
	return s.hooks.newAPI(kubeconfig, kube.Options{Dial: s.fleet.Dial, UserAgent: "hybridctl", Waiting: s.waiting, RetryFor: s.Cluster.Spec.Kubernetes.Timeouts.KubernetesAPICall.Std()})
}

// keepKubeconfig puts the kubeconfig in use into the state directory; "" = there is none.
func (s *server) keepKubeconfig() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.config == nil || s.api == nil {
		return "", nil
	}
	return s.fleet.Keep(s.config)
}

// noWay is why the API server is not known, in one line.
func noWay(err error) error {
	if errors.Is(err, fleet.ErrNoKubeconfig) {
		return fleet.ErrNoKubeconfig
	}
	return err
}

// kube returns the API client to steps.
func (s *server) kube(context.Context) (steps.API, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.api == nil {
		return nil, errors.New("the cluster is not initialised yet")
	}
	return s.api, nil
}

// initialised keeps the kubeconfig at once: whoever watches the rest of the run wants it.
func (s *server) initialised(kubeconfig []byte) error {
	if err := s.use(kubeconfig); err != nil {
		return err
	}
	_, err := s.keepKubeconfig()
	return err
}
