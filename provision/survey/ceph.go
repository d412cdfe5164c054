package survey

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/secret"
)

// Ceph reads what can be known of Ceph without a host: the keys of its users, for the objects and to see whether they have changed, and
// the images that nodes are to pull. What is wrong with one is for the checks to say.
func (r Reader) Ceph(ctx context.Context, s *Seen) {
	s.Keys, s.Ceph = map[string]inventory.Secret{}, preflight.CephSeen{Keys: map[string]preflight.CephKey{}, Pulled: map[string][]platform.Arch{}}
	for _, u := range r.Cluster.CephUsers() {
		if r.NoPrograms && len(u.Key.Command) > 0 {
			continue
		}
		text, err := r.cephSecret(ctx, u)
		var key inventory.CephKey
		if err == nil {
			key, err = inventory.ParseCephKey(text)
		}
		s.Keys[u.ID], s.Ceph.Keys[u.ID] = key.Secret, preflight.CephKey{Problem: err, AES256: key.AES256}
	}
	var pulled []string // those that the inventory names and the bundle lacks
	for _, want := range r.Cluster.Spec.Storage.WantedImages() {
		if _, ok := r.Bundle.Manifest.Find(want.Component, want.Ref); !ok && want.Ref != "" {
			pulled = append(pulled, want.Ref)
		}
	}
	for i, told := range r.Registries(ctx, pulled) {
		if made, there, err := told.Get(); err == nil && there {
			s.Ceph.Pulled[i] = made
		}
	}
}

func (r Reader) cephSecret(ctx context.Context, u inventory.CephUser) (string, error) {
	switch k := u.Key; {
	case len(k.Command) > 0:
		text, err := r.printed(ctx, k.Command)
		if err != nil {
			return "", fmt.Errorf("keyCommand %w", err)
		}
		return text, nil
	case k.Inline != "":
		return string(k.Inline), nil
	case k.File != "":
		b, err := secret.File(k.File)
		return string(b), err
	default:
		return secret.From("key", "", k.Env)()
	}
}

// CephHosts are the hosts whose kernels are to be asked: all that mount volumes when storage is to be installed or there is no plan,
// else those that join.
func CephHosts(s Seen, p *plan.Plan) []string {
	all := p == nil
	if !all {
		if !plan.InstallsCSI(s.Cluster, s.Bundle) {
			return nil
		}
		csi, ok := p.Step(plan.ClusterID(plan.CSI))
		all = ok && csi.Action != plan.Unchanged && !p.Part
	}
	var out []string
	for _, h := range s.Cluster.Managed() {
		if !s.Cluster.Spec.Storage.Mounts(h) || s.Hosts.Fact(h.Name).Err != nil {
			continue
		}
		if all || joins(*p, h.Name) {
			out = append(out, h.Name)
		}
	}
	return out
}

func joins(p plan.Plan, name string) bool {
	for _, k := range []plan.Kind{plan.Init, plan.Join} {
		if st, ok := p.Step(plan.HostID(name, k)); ok && st.Action != plan.Unchanged {
			return true
		}
	}
	return false
}

// Kernels asks the kernels of hosts about Ceph, all at once: each may have to wait for a monitor that is not there.
func (r Reader) Kernels(ctx context.Context, s Seen, names []string) map[string]preflight.CephHost {
	out := map[string]preflight.CephHost{}
	questions := cephQuestions(s)
	var mu sync.Mutex
	g := new(errgroup.Group)
	g.SetLimit(r.Parallel)
	for _, name := range names {
		g.Go(func() error {
			r.Event(report.Event{Kind: report.Started, Host: name, Step: "ceph"})
			seen := r.askKernel(ctx, name, questions)
			r.done(name, "ceph", seen.Err)
			mu.Lock()
			defer mu.Unlock()
			out[name] = seen
			return nil
		})
	}
	_ = g.Wait() // what went wrong is each host's own
	return out
}

func (r Reader) askKernel(ctx context.Context, name string, questions []host.CephQuestion) preflight.CephHost {
	h, err := r.Fleet.Host(name)
	if err != nil {
		return preflight.CephHost{Err: err}
	}
	said, err := h.ProbeCeph(ctx, questions)
	if err != nil {
		return preflight.CephHost{Err: err}
	}
	seen := preflight.CephHost{Features: said.Features, Absent: said.Absent, Banners: said.Banners, Answers: map[string]preflight.CephAnswer{}}
	for id, a := range said.Answers {
		seen.Answers[id] = preflight.CephAnswer{Errno: a.Errno, Text: a.Text, Log: a.Log}
	}
	return seen
}

// cephQuestions are what every host is asked: each user whose key is one.
func cephQuestions(s Seen) []host.CephQuestion {
	var out []host.CephQuestion
	for _, u := range s.Cluster.CephUsers() {
		if s.Ceph.Keys[u.ID].Problem != nil {
			continue
		}
		q := host.CephQuestion{ID: u.ID, Monitors: u.Ceph.Monitors, User: u.Name, Key: string(s.Keys[u.ID])}
		if u.Ceph.MSMode != inventory.MSLegacy {
			q.Mode = u.Ceph.MSMode
		}
		if u.Type == inventory.CephTypeRBD {
			q.Pool = u.Ceph.RBD.Pool
		} else {
			q.FileSystem, q.Path = u.Ceph.CephFS.FSName, u.Ceph.CephFS.Directory()
		}
		out = append(out, q)
	}
	return out
}
