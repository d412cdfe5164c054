package provision

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
	"github.com/hybridctl/hybridctl/provision/render"
)

func TestDestroy_AsksForVolumesAlsoWhenTheInventoryHasNoStorageAnyMore(t *testing.T) {
	s := newSim(t, 1, remotetest.Options{}).withCeph()
	mustUp(t, s)
	s.c.Spec.Storage = inventory.Storage{}
	s.api.AllVolumes = []kube.Volume{{Name: "pvc-1", Class: "ceph-rbd", Claim: "default/db"}}
	if _, err := Destroy(context.Background(), DestroyOptions{Options: s.options()}); !errors.Is(err, ErrVolumes) {
		t.Errorf("error %v", err)
	}
}

// Storage was taken out of the inventory by hand, and no API server says whether there are volumes: the state directory knows that there may be,
// also after an up without storage, until storage was removed.
func TestDestroy_AsksForVolumesOfStorageThatOnlyTheStateKnows(t *testing.T) {
	for name, c := range map[string]struct {
		before func(t *testing.T, s *sim)
		want   error
	}{
		"taken out":       {func(*testing.T, *sim) {}, ErrVolumes},
		"and an up since": {func(t *testing.T, s *sim) { mustUp(t, s); mustUp(t, s) }, ErrVolumes},
		"and removed, and an up": {func(t *testing.T, s *sim) {
			if _, err := StorageRemove(context.Background(), StorageRemoveOptions{Options: s.options()}); err != nil {
				t.Fatal(err)
			}
			mustUp(t, s)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSim(t, 2, remotetest.Options{}).withCeph()
			mustUp(t, s)
			s.c.Spec.Storage = inventory.Storage{}
			inventory.Default(s.c)
			c.before(t, s)
			if s.api.Failing == nil {
				s.api.Failing = map[string]error{}
			}
			s.api.Failing["LeaseMark"] = errors.New("connection refused")
			s.changed()
			_, err := Destroy(context.Background(), DestroyOptions{Options: s.options()})
			if !errors.Is(err, c.want) || c.want == nil && err != nil || c.want != nil && s.changed() != 0 {
				t.Errorf("error %v", err)
			}
		})
	}
}

// An API server whose etcd began anew, as the disk of its data was not mounted, lists no volume.
func TestDestroy_AsksForVolumesOfAnAPIServerThatLostItsData(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{}).withCeph()
	mustUp(t, s)
	s.changed()
	config := s.api.Config
	s.api.Config = kube.ClusterConfiguration{}
	if _, err := s.destroy(); !errors.Is(err, ErrVolumes) || s.changed() != 0 {
		t.Errorf("error %v", err)
	}
	s.api.Config = config
	if _, err := s.destroy(); err != nil {
		t.Error(err)
	}
}

func TestDestroy_KeepsVolumesUnlessForced(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{}).withCeph()
	destroy := func(force bool) error {
		_, err := Destroy(context.Background(), DestroyOptions{Options: s.options(), Force: force})
		return err
	}
	if err := destroy(false); err != nil {
		t.Fatalf("before there is a cluster: %v", err)
	}
	mustUp(t, s)
	s.changed()
	s.api.AllVolumes = []kube.Volume{{Name: "pvc-1", Class: "ceph-rbd", Claim: "default/db"}}
	err := destroy(false)
	if !errors.Is(err, ErrVolumes) || !strings.Contains(err.Error(), "pvc-1 (ceph-rbd, claim default/db)") ||
		!strings.Contains(hint.Text(err), "stays in the pool kube or the file system kubefs") || s.changed() != 0 {
		t.Errorf("error %v, hint %q", err, hint.Text(err))
	}
	if err := destroy(true); err != nil {
		t.Error(err)
	}
	for name, h := range s.hosts {
		if len(h.markers) != 0 {
			t.Errorf("%s still has %v", name, h.markers)
		}
	}
}

func TestStorageRemove_TakesCephCSIOutAndAsksNoHost(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{}).withCeph()
	mustUp(t, s)
	before := s.connections()
	taken := 0
	remove := func(force bool) (Result, error) {
		return StorageRemove(context.Background(), StorageRemoveOptions{Options: s.options(), Force: force, TakeOut: func() error { taken++; return nil }})
	}
	s.api.AllVolumes = []kube.Volume{{Name: "pvc-1", Class: "ceph-rbd", Claim: "default/db"}}
	if _, err := remove(false); !errors.Is(err, ErrVolumes) || !strings.Contains(printed(err), "with --force ceph-csi is deleted, and an image or subvolume of each volume") || s.api.CSI == "" || taken != 0 {
		t.Errorf("with a volume: %v", err)
	}
	s.api.AllVolumes = nil
	r, err := remove(false)
	if err != nil || s.api.CSI != "" || taken != 1 || len(r.Changes) < 20 || len(s.api.OwnedObjects) != 0 || s.api.Holder != "" {
		t.Errorf("%v, %+v, lock %q", err, r.Changes, s.api.Holder)
	}
	if _, err := remove(false); err != nil {
		t.Errorf("again: %v", err)
	}
	s.wantAlone(before)
	// without storage in the inventory there is nothing left to do, and nothing to remove
	s.c.Spec.Storage = inventory.Storage{}
	s.changed()
	if r := mustUp(t, s); s.api.CSI != "" || s.changed() != 0 {
		t.Errorf("up changed %+v", r.Changes)
	}
	if _, err := remove(false); !errors.Is(err, ErrRefused) {
		t.Errorf("without storage: %v", err)
	}
}

// What somebody keeps in ceph-csi's namespace does not go with it.
func TestStorageRemove_LeavesTheNamespaceInWhichSomebodyKeepsThings(t *testing.T) {
	s := newSim(t, 1, remotetest.Options{}).withCeph()
	mustUp(t, s)
	namespace := s.ownedNow("Namespace")
	s.api.Strangers = []kube.Object{{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: namespace[0], Name: "dashboard"}, {APIVersion: "v1", Kind: "Secret", Namespace: "default", Name: "mine"}}
	r, err := StorageRemove(context.Background(), StorageRemoveOptions{Options: s.options()})
	if err != nil || !slices.Equal(s.ownedNow("Namespace"), namespace) || len(s.api.OwnedObjects) != 1 {
		t.Errorf("error %v, left %v", err, s.api.OwnedObjects)
	}
	if last := r.Plan.Notes[len(r.Plan.Notes)-1]; last != "the namespace stays with what is in it and is not ceph-csi's: PersistentVolumeClaim/"+namespace[0]+"/dashboard" {
		t.Errorf("told %q", last)
	}
	s.api.Strangers = s.api.Strangers[1:]
	if _, err := StorageRemove(context.Background(), StorageRemoveOptions{Options: s.options()}); err != nil || len(s.api.OwnedObjects) > 0 {
		t.Errorf("error %v, left %v", err, s.api.OwnedObjects)
	}
}

// ownedNow are the kinds and names of ceph-csi's objects that there are of a kind.
func (s *sim) ownedNow(kind string) []string {
	var out []string
	for o := range s.api.OwnedObjects {
		if o.Kind == kind {
			out = append(out, o.Name)
		}
	}
	slices.Sort(out)
	return out
}

// A class that left the inventory goes with its secret, unless volumes are of it; so does a driver.
func TestUp_TakesAwayWhatLeftTheInventoryOfStorage(t *testing.T) {
	s := newSim(t, 1, remotetest.Options{}).withCeph()
	mustUp(t, s)
	ceph := &s.c.Spec.Storage.Ceph[0]
	secret := func(class string) string { return render.CephClass{Class: class}.SecretName() }
	s.api.AllVolumes = []kube.Volume{{Name: "pvc-1", Class: "ceph-rbd", Claim: "default/db", Driver: render.RBD.DriverName(),
		Attributes: map[string]string{"clusterID": simFSID}, Secrets: []string{"ceph-csi/" + secret("ceph-rbd")}}}
	ceph.RBD.StorageClass = "block"
	r := mustUp(t, s)
	if got := s.ownedNow("StorageClass"); !slices.Equal(got, []string{"block", "ceph-fs", "ceph-rbd"}) || !slices.Contains(s.ownedNow("Secret"), secret("ceph-rbd")) {
		t.Errorf("with a volume: %v, %v", got, s.ownedNow("Secret"))
	}
	if r.Plan.Changes() != 1 {
		t.Errorf("%d changes", r.Plan.Changes())
	}
	r = mustUp(t, s)
	if notes := strings.Join(r.Plan.Notes, "\n"); r.Plan.Changes() != 0 || !strings.Contains(notes, "stays while volumes need it") || !strings.Contains(notes, "pvc-1 (ceph-rbd, claim default/db)") {
		t.Errorf("again: %d changes, %q", r.Plan.Changes(), notes)
	}

	s.api.AllVolumes = nil
	if r := mustUp(t, s); r.Plan.Changes() != 1 || !slices.Equal(s.ownedNow("StorageClass"), []string{"block", "ceph-fs"}) {
		t.Errorf("when the volume is deleted: %d changes, %v", r.Plan.Changes(), s.ownedNow("StorageClass"))
	}
	ceph.CephFS = inventory.CephFS{}
	r = mustUp(t, s)
	if st, _ := r.Plan.Step(plan.ClusterID(plan.CSI)); st.Action != plan.Update || !slices.Contains(st.Details, "CSIDriver/cephfs.csi.ceph.com: is in the inventory no more") {
		t.Errorf("planned %+v", st)
	}
	if got := s.ownedNow("StorageClass"); !slices.Equal(got, []string{"block"}) || !slices.Equal(s.ownedNow("Secret"), []string{secret("block")}) ||
		!slices.Equal(s.ownedNow("DaemonSet"), []string{render.RBD.Name() + "-nodeplugin"}) || !slices.Equal(s.ownedNow("Namespace"), []string{"ceph-csi"}) {
		t.Errorf("without volumes: %v", s.api.OwnedObjects)
	}
	if r := mustUp(t, s); r.Plan.Changes() != 0 {
		t.Errorf("again: %+v", r.Plan.Steps)
	}

	s.c.Spec.Storage = inventory.Storage{}
	r = mustUp(t, s)
	if notes := strings.Join(r.Plan.Notes, "\n"); len(s.api.OwnedObjects) == 0 || !strings.Contains(notes, `"hybridctl storage remove" takes it out`) {
		t.Errorf("without storage in the inventory: %q", notes)
	}
	if r, err := StorageRemove(context.Background(), StorageRemoveOptions{Options: s.options()}); err != nil || len(s.api.OwnedObjects) != 0 || !strings.Contains(strings.Join(r.Plan.Notes, ""), "StorageClass/block") {
		t.Errorf("storage remove: %v, %q, left %v", err, r.Plan.Notes, s.api.OwnedObjects)
	}
}
