package provision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/render"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/steps"
)

// readCephKeys reads the keys of Ceph's users, for the objects and to see whether they have changed. What is wrong with one is for the
// checks to say.
func (s *session) readCephKeys(ctx context.Context) {
	s.cephKeys, s.ceph.Keys = map[string]inventory.Secret{}, map[string]preflight.CephKey{}
	for _, u := range s.Cluster.CephUsers() {
		text, err := s.cephSecret(ctx, u)
		var key inventory.CephKey
		if err == nil {
			key, err = inventory.ParseCephKey(text)
		}
		s.cephKeys[u.ID], s.ceph.Keys[u.ID] = key.Secret, preflight.CephKey{Problem: err, AES256: key.AES256}
	}
}

// lookUpCephImages asks registries about the images that nodes are to pull: those that the inventory names and the bundle lacks.
func (s *session) lookUpCephImages(ctx context.Context) {
	var pulled []string
	for _, want := range s.Cluster.Spec.Storage.WantedImages() {
		if _, ok := s.bundle.Manifest.Find(want.Component, want.Ref); !ok && want.Ref != "" {
			pulled = append(pulled, want.Ref)
		}
	}
	s.ceph.Pulled = map[string][]platform.Arch{}
	for i, told := range s.askRegistries(ctx, pulled) {
		if told.err == nil {
			s.ceph.Pulled[i] = told.archs
		}
	}
}

// keyCommandPatience bounds a program that prints a key: it may ask a person, or a safe far away.
const keyCommandPatience = 2 * time.Minute

func (s *session) cephSecret(ctx context.Context, u inventory.CephUser) (string, error) {
	switch k := u.Key; {
	case len(k.Command) > 0:
		ctx, cancel := context.WithTimeout(ctx, keyCommandPatience)
		defer cancel()
		cmd := exec.CommandContext(ctx, k.Command[0], k.Command[1:]...)
		var out bytes.Buffer
		cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Dir(s.Cluster.Path), &out, s.Stderr
		if err := cmd.Run(); err != nil {
			return "", fmt.Errorf("keyCommand %s: %w", k.Command[0], err)
		}
		return out.String(), nil
	case k.Inline != "":
		return string(k.Inline), nil
	case k.File != "":
		b, err := os.ReadFile(k.File)
		return string(b), err
	default:
		return secret("key", "", k.Env)()
	}
}

// observeCSI asks the API server about ceph-csi's objects.
func (s *session) observeCSI(ctx context.Context, in plan.Input, out *facts.Cluster) error {
	if len(s.Cluster.Spec.Storage.Ceph) == 0 {
		classes, err := s.api.Owned(ctx, []kube.Kind{{APIVersion: "storage.k8s.io/v1", Kind: "StorageClass"}}, render.CephSelector)
		for _, c := range classes {
			out.CSIKept = append(out.CSIKept, c.String())
		}
		return err
	}
	var err error
	if out.Snapshots, err = s.api.HasKind(ctx, "snapshot.storage.k8s.io/v1", "VolumeSnapshotClass"); err != nil {
		return err
	}
	in.API = *out
	manifest := plan.CSIManifest(in)
	if manifest == nil {
		return nil
	}
	if out.CSI, err = observeObjects(ctx, s.api, manifest); err != nil {
		return err
	}
	left, err := steps.LeftOfCeph(ctx, s.api, manifest)
	if err != nil {
		return err
	}
	for _, o := range left.Gone {
		out.CSI.InPlace = false
		out.CSI.Differs = append(out.CSI.Differs, o.String()+facts.Left)
	}
	for _, o := range left.Kept {
		out.CSIKept = append(out.CSIKept, o.String())
	}
	for _, v := range left.Of {
		out.CSIOf = append(out.CSIOf, v.String())
	}
	return nil
}

// checkStorage asks the kernels of the hosts that the plan gives storage to, before anything is written. A run that changes nothing
// about storage asks nobody. ErrPreflight: a check failed.
func (s *session) checkStorage(ctx context.Context, p plan.Plan, checks []report.Check) ([]report.Check, error) {
	hosts := s.cephHosts(&p)
	if len(hosts) == 0 {
		return checks, nil
	}
	s.probeCeph(ctx, hosts)
	if err := ctx.Err(); err != nil {
		return checks, err
	}
	checks = s.problems()
	if len(preflight.Blocking(checks)) > 0 {
		return checks, ErrPreflight
	}
	return checks, nil
}

// cephHosts are the hosts whose kernels are to be asked: all that mount volumes when storage is to be installed or there is no plan,
// else those that join.
func (s *session) cephHosts(p *plan.Plan) []string {
	all := p == nil
	if !all {
		if !plan.InstallsCSI(s.Cluster, &s.bundle.Manifest) {
			return nil
		}
		csi, ok := p.Step(plan.ClusterID(plan.CSI))
		all = ok && csi.Action != plan.Unchanged && !p.Part
	}
	var out []string
	for _, h := range s.Cluster.Managed() {
		if !s.Cluster.Spec.Storage.Mounts(h) || s.facts[h.Name].Err != nil {
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

// probeCeph asks all those hosts at once: each may have to wait for a monitor that is not there.
func (s *session) probeCeph(ctx context.Context, names []string) {
	s.ceph.Hosts = map[string]preflight.CephHost{}
	var mu sync.Mutex
	g := new(errgroup.Group)
	g.SetLimit(s.Parallel)
	for _, name := range names {
		g.Go(func() error {
			s.event(report.Event{Kind: report.Started, Host: name, Step: "ceph"})
			seen := s.askCeph(ctx, name)
			e := report.Event{Kind: report.Done, Host: name, Step: "ceph", Action: report.Unchanged}
			if seen.Err != nil {
				e.Action, e.Err = report.Failed, seen.Err
			}
			s.event(e)
			mu.Lock()
			defer mu.Unlock()
			s.ceph.Hosts[name] = seen
			return nil
		})
	}
	_ = g.Wait() // what went wrong is each host's own
}

func (s *session) askCeph(ctx context.Context, name string) preflight.CephHost {
	h, err := s.host(name)
	if err != nil {
		return preflight.CephHost{Err: err}
	}
	said, err := h.ProbeCeph(ctx, s.cephQuestions())
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
func (s *session) cephQuestions() []host.CephQuestion {
	var out []host.CephQuestion
	for _, u := range s.Cluster.CephUsers() {
		if s.ceph.Keys[u.ID].Problem != nil {
			continue
		}
		q := host.CephQuestion{ID: u.ID, Monitors: u.Ceph.Monitors, User: u.Name, Key: string(s.cephKeys[u.ID])}
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

// storageReady waits until every node that is to mount volumes lists every driver, and what makes volumes runs.
func (s *session) storageReady(ctx context.Context, names []string, window time.Duration, r Result) error {
	st, ok := r.Plan.Step(plan.ClusterID(plan.CSI))
	if r.Plan.Part {
		if err := s.storageJoined(ctx, names); err != nil {
			return err
		}
		names = nil // what the others list, they listed before
	}
	failed := slices.DeleteFunc(slices.Clone(r.Changes), func(c report.Change) bool {
		return c.Error == "" && c.Action != report.Skipped && c.Action != report.Failed
	})
	if !ok || slices.ContainsFunc(failed, func(c report.Change) bool { return c.Kind == string(plan.CSI) }) {
		return nil
	}
	in, ok := st.Inputs.(plan.CSIInputs)
	if !ok {
		return fmt.Errorf("inputs of kind %T", st.Inputs)
	}
	o := kube.WaitOptions{Progress: s.missing}
	if names = s.mounting(names); len(names) > 0 {
		if err := s.api.WaitCSINodes(ctx, names, in.Drivers, o); err != nil {
			return err
		}
	}
	if window == 0 || len(failed) > 0 { // provisioners may have been meant for a host that failed: the run that finishes it waits
		return nil
	}
	for _, d := range in.Provisioners {
		if err := s.api.WaitDeployment(ctx, in.Namespace, d, o); err != nil {
			return err
		}
	}
	return nil
}

// storageJoined waits until nodes that joined list every driver, where ceph-csi is installed: up does that.
func (s *session) storageJoined(ctx context.Context, names []string) error {
	storage := s.Cluster.Spec.Storage
	if names = s.mounting(names); len(names) == 0 {
		return nil
	}
	pods, err := s.api.Pods(ctx, storage.CSI.Namespace, "")
	if err != nil || len(pods) == 0 {
		return err
	}
	var drivers []string
	if storage.HasRBD() {
		drivers = append(drivers, render.RBD.DriverName())
	}
	if storage.HasCephFS() {
		drivers = append(drivers, render.CephFS.DriverName())
	}
	return s.api.WaitCSINodes(ctx, names, drivers, kube.WaitOptions{Progress: s.missing})
}

// mounting are the nodes that are to mount volumes.
func (s *session) mounting(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		h, _ := s.Cluster.Host(name)
		return !s.Cluster.Spec.Storage.Mounts(h)
	})
}

// ErrVolumes: volumes would stay in Ceph that no cluster knows of any more. The user deletes them first, or forces.
var ErrVolumes = errors.New("there are volumes in Ceph")

// mayOrphan refuses to take a cluster away whose volumes in Ceph would be forgotten. A cluster that was never initialised has none.
func (s *session) mayOrphan(ctx context.Context, force bool) error {
	storage := s.Cluster.Spec.Storage
	if force || s.notBegun() || len(storage.Ceph) == 0 && s.lockMark == "" {
		return nil // of a cluster without Ceph, only an API server that answers is asked: storage may have been taken out of the inventory by hand
	}
	err := s.loadKubeconfig(ctx)
	if err == nil && s.api == nil {
		err = errors.New("no control-plane host that answers has an admin kubeconfig")
	}
	if err != nil {
		return fmt.Errorf("%w, perhaps: the API server could not be asked (%v); with --force the cluster goes all the same, and what it has in Ceph stays there", ErrVolumes, err)
	}
	return s.refuseOrphans(ctx, "the cluster goes")
}

// refuseOrphans refuses when there are volumes in Ceph; goes is what happens to them with --force.
func (s *session) refuseOrphans(ctx context.Context, goes string) error {
	volumes, err := s.api.StoredBy(ctx, []string{render.RBD.DriverName(), render.CephFS.DriverName()})
	if err != nil {
		return fmt.Errorf("%w, perhaps: the API server could not be asked (%v); with --force %s all the same, and what it has in Ceph stays there", ErrVolumes, err, goes)
	}
	if len(volumes) == 0 {
		return nil
	}
	var names []string
	for _, v := range volumes {
		names = append(names, v.String())
	}
	return fmt.Errorf("%w: %s; delete the claims and snapshots first (those of a class with reclaimPolicy Retain leave their images behind even so); with --force %s, and of each volume an image or subvolume stays in %s",
		ErrVolumes, some(names), goes, whereIn(s.Cluster.Spec.Storage))
}

// whereIn names the pools and file systems of the inventory.
func whereIn(s inventory.Storage) string {
	var out []string
	for _, c := range s.Ceph {
		if c.RBD.Wanted() {
			out = append(out, "the pool "+c.RBD.Pool)
		}
		if c.CephFS.Wanted() {
			out = append(out, "the file system "+c.CephFS.FSName)
		}
	}
	if len(out) == 0 {
		return "Ceph"
	}
	return strings.Join(out, " or ")
}
