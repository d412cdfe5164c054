package provision

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/render"
	"github.com/hybridctl/hybridctl/provision/report"
)

// joining keeps a session off the hosts that are nodes already and are to stay so. It may connect to one control plane alone, and only when it must: for the
// kubeconfig when the state directory has none, as the way to an API server that does not answer directly, and for the certificates that
// a further control plane needs.
type joining struct {
	mu      sync.Mutex
	ways    []remote.Runner // to control planes, the last is the one in use; none = none was needed
	guard   bool            // nodes join with guardTaint
	leaves  []leaver        // nodes whose hosts were installed anew
	members []string        // the control planes that may be used, the best first; nil = any, as it is not known yet which are there
}

// close is safe on nil.
func (j *joining) close() {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range j.ways {
		_ = r.Close() // the run is over: nothing can be lost
	}
}

// connectToMember returns the connection to a control plane, the first that can be made. accept may refuse one that is connected.
func (s *session) connectToMember(ctx context.Context, accept func(context.Context, remote.Runner) error) (remote.Runner, error) {
	j := s.joining
	j.mu.Lock()
	defer j.mu.Unlock()
	if n := len(j.ways); n > 0 && (j.members == nil || slices.Contains(j.members, j.ways[n-1].Name())) {
		return j.ways[n-1], nil
	}
	all := s.controlPlanes()
	if j.members != nil {
		all = nil
		for _, name := range j.members {
			h, _ := s.Cluster.Host(name)
			all = append(all, h)
		}
	}
	var errs []error
	for _, h := range all {
		s.event(report.Event{Kind: report.Progress, Host: h.Name, Step: "api", Message: "connecting, as the one way to the cluster"})
		r, err := s.dialer.Dial(ctx, hostConfig(s.Cluster, h))
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", h.Name, err))
			continue
		}
		if err := accept(ctx, r); err != nil {
			_ = r.Close() // nothing was said that could be lost
			errs = append(errs, fmt.Errorf("%s: %w", h.Name, err))
			continue
		}
		j.ways = append(j.ways, r)
		return r, nil
	}
	return nil, errors.Join(append(errs, errNoWay)...)
}

func acceptAny(context.Context, remote.Runner) error { return nil }

// tunnelThroughOne dials from a control plane.
func (s *session) tunnelThroughOne(ctx context.Context, network, addr string) (net.Conn, error) {
	for again := true; ; again = false {
		r, err := s.connectToMember(ctx, acceptAny)
		if err != nil {
			return nil, err
		}
		conn, err := r.DialContext(ctx, network, addr)
		if !again || !errors.Is(err, remote.ErrClosed) || ctx.Err() != nil {
			return conn, err
		}
		s.joining.lose(r) // the host may have started anew
	}
}

// lose forgets a way that is none any more.
func (j *joining) lose(way remote.Runner) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ways = slices.DeleteFunc(j.ways, func(r remote.Runner) bool { return r == way })
	_ = way.Close() // it is lost already
}

// useKept makes the API client from the state directory's kubeconfig, else from a control plane's. ErrRefused: there is no cluster.
func (s *session) useKept(ctx context.Context) error {
	b, err := os.ReadFile(filepath.Join(s.StateDir, kubeconfigFile))
	if err == nil {
		return s.useKubeconfig(b)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	_, err = s.connectToMember(ctx, func(ctx context.Context, r remote.Runner) (err error) {
		b, err = host.New(r).ReadFile(ctx, host.AdminConf)
		return err
	})
	if err != nil {
		return fmt.Errorf("%w: there is no cluster yet, or none of its control planes gives its kubeconfig: run \"hybridctl up -f %s\" first (%s)",
			ErrRefused, s.Cluster.Path, report.OneLine(err.Error()))
	}
	return s.useKubeconfig(b)
}

// guardTaint keeps pods off a new node until it is proven.
var guardTaint = render.Taint{Key: "hybridctl.dev/not-proven", Effect: "NoSchedule"}

func (s *session) joinTaint() *render.Taint {
	if s.joining == nil || !s.joining.guard {
		return nil
	}
	return &guardTaint
}

// letIn takes the guard away from nodes that were proven. When the proof failed the guard stays, and the result says how it goes.
func (s *session) letIn(ctx context.Context, nodes []string, proof error, r *Result) error {
	if s.joinTaint() == nil || len(nodes) == 0 {
		return nil
	}
	if proof != nil || r.Conformance == nil {
		s.guardStays(nodes, r)
		return nil
	}
	var errs []error
	for _, n := range nodes {
		errs = append(errs, s.api.Untaint(ctx, n, guardTaint.Key))
	}
	return errors.Join(errs...)
}

// guardStays says how pods get to nodes of which nothing was proven.
func (s *session) guardStays(nodes []string, r *Result) {
	if s.joinTaint() == nil || len(nodes) == 0 {
		return
	}
	r.Notes = append(r.Notes, fmt.Sprintf("the taint %s stays on %s, as nothing was proven of them: kubectl taint nodes %s %s- lets pods in",
		guardTaint.Key, some(nodes), strings.Join(nodes, " "), guardTaint.Key))
}

// leftGuarded says the same of nodes that an earlier run has left so.
func leftGuarded(nodes []kube.Node) []string {
	var names []string
	for _, n := range nodes {
		if slices.ContainsFunc(n.Taints, func(t string) bool { return strings.HasPrefix(t, guardTaint.Key+":") }) {
			names = append(names, n.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("an earlier run left the taint %s on %s, and pods do not get there: hybridctl conformance --scenario scale-out --nodes %s proves them, kubectl taint nodes %s %s- lets pods in",
		guardTaint.Key, some(names), strings.Join(names, ","), strings.Join(names, " "), guardTaint.Key)}
}

// pkiHost is where a further control plane's certificates come from: one that is finished, else the one that is initialised first.
func (s *session) pkiHost() string {
	if s.joining != nil && len(s.joining.members) > 0 {
		return s.joining.members[0]
	}
	for _, h := range s.controlPlanes() {
		if initialised(s.facts[h.Name]) && s.facts[h.Name].Kubeadm.AdminConf {
			return h.Name
		}
	}
	return s.Cluster.Bootstrap().Name
}

// hostOrMember is host, and for what certificates come from also a control plane that was there before: in a scale-out, and of a cluster
// that was adopted.
func (s *session) hostOrMember(name string) (*host.Host, error) {
	if h, _ := s.Cluster.Host(name); s.joining == nil && name == s.pkiHost() && !h.IsManaged() {
		return s.way(context.Background(), h) // the dialer's own timeouts bound it
	}
	if s.joining == nil || !slices.Contains(s.joining.members, name) {
		return s.host(name)
	}
	r, err := s.connectToMember(context.Background(), acceptAny) // the dialer's own timeouts bound it
	if err != nil {
		return nil, err
	}
	return host.New(r), nil
}

// avoidMembers settles on the control planes that neither leave nor join.
func (s *session) avoidMembers(nodes []kube.Node, moving []string) {
	s.chooseMembers(slices.DeleteFunc(slices.Clone(nodes), func(n kube.Node) bool { return slices.Contains(moving, n.Name) }))
}

// chooseMembers settles on the control planes that are Ready, the one that is connected before the others.
func (s *session) chooseMembers(nodes []kube.Node) {
	j := s.joining
	j.mu.Lock()
	defer j.mu.Unlock()
	j.members = nil
	for _, n := range nodes {
		if _, ours := s.Cluster.Host(n.Name); !n.ControlPlane || !n.Ready || !ours {
			continue
		}
		if len(j.ways) > 0 && j.ways[len(j.ways)-1].Name() == n.Name {
			j.members = slices.Insert(j.members, 0, n.Name)
		} else {
			j.members = append(j.members, n.Name)
		}
	}
}
