package provision

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
	"github.com/hybridctl/hybridctl/provision/render"
	"github.com/hybridctl/hybridctl/provision/report"
)

const simFSID = "4f2e0b1c-8d3a-4e6f-9a7b-5c1d2e3f4a5b"

// cephKey is a well-formed key that is none.
func cephKey(secret string) string {
	return base64.StdEncoding.EncodeToString(append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0}, fmt.Sprintf("%-16s", secret)...))
}

// withCeph gives the simulated cluster a Ceph cluster. The images are some that the bundle has.
func (s *sim) withCeph() *sim {
	dir := s.t.TempDir()
	storage := &s.c.Spec.Storage
	storage.Ceph = inventory.CephClusters{{FSID: simFSID, Monitors: []string{"10.99.0.5:6789"},
		RBD:    inventory.CephRBD{Pool: "kube", User: "csi-rbd", KeyFile: filepath.Join(dir, "rbd"), StorageClass: "ceph-rbd"},
		CephFS: inventory.CephFS{FSName: "kubefs", User: "csi-fs", KeyCommand: []string{"cat", filepath.Join(dir, "fs")}, StorageClass: "ceph-fs"}}}
	storage.CSI.Images = inventory.CephImages{Driver: bundletest.Probe, Provisioner: bundletest.Ref(bundle.CoreDNS), Attacher: bundletest.Ref(bundle.Etcd), Registrar: bundletest.Ref(bundle.Pause)}
	inventory.Default(s.c)
	s.api.Config.Endpoint = s.c.Spec.Kubernetes.Endpoint // as kubeadm notes it
	s.setKey("rbd", "one")
	s.setKey("fs", "two")
	return s
}

// setKey writes a user's key, which is named by the last part of its file.
func (s *sim) setKey(name, secret string) {
	s.t.Helper()
	file := filepath.Join(filepath.Dir(s.c.Spec.Storage.Ceph[0].RBD.KeyFile), name)
	if err := os.WriteFile(file, []byte(cephKey(secret)+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// probes counts how often kernels were asked about Ceph since the last call.
func (s *sim) probes() map[string]int {
	n := map[string]int{}
	for name, h := range s.hosts {
		h.mu.Lock()
		if h.probes > 0 {
			n[name] = h.probes
		}
		h.probes = 0
		h.mu.Unlock()
	}
	return n
}

// failing are the names of the checks that failed, with their hosts.
func failing(checks []report.Check) []string {
	var out []string
	for _, c := range checks {
		if c.Status == report.Fail {
			out = append(out, c.Host+" "+c.Name)
		}
	}
	return out
}

func TestUp_WithoutStorageAsksNothingAboutCeph(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	r := mustUp(t, s)
	if _, ok := r.Plan.Step(plan.ClusterID(plan.CSI)); ok || len(s.probes()) > 0 || s.api.CSI != "" || s.api.Waited != nil {
		t.Errorf("waited %v, plan %+v", s.api.Waited, r.Plan.Steps)
	}
	if err := s.preflight(); err != nil || len(s.probes()) > 0 {
		t.Errorf("preflight: %v", err)
	}
}

func (s *sim) preflight() error {
	_, err := Preflight(context.Background(), s.options())
	return err
}

func TestUp_InstallsStorageOnceAndAsksEveryKernelBefore(t *testing.T) {
	s := newSim(t, 3, remotetest.Options{}).withCeph()
	mustUp(t, s)
	if n := s.probes(); len(n) != 3 || n["host-2"] != 1 {
		t.Errorf("probes %v", n)
	}
	if !strings.Contains(s.api.CSI, base64.StdEncoding.EncodeToString([]byte(cephKey("one")))) {
		t.Error("the key of the block devices' user is not in its secret")
	}
	if want := []string{"host-1,host-2,host-3: rbd.csi.ceph.com,cephfs.csi.ceph.com"}; !slices.Equal(s.api.Waited, want) {
		t.Errorf("waited for %v, want %v", s.api.Waited, want)
	}
	s.changed()
	before := s.fleet.Stats().Execs
	r := mustUp(t, s)
	if execs := s.fleet.Stats().Execs - before; execs != 3 || s.changed() != 0 || r.Plan.Changes() != 0 || len(s.probes()) != 0 {
		t.Errorf("the second run: %d execs, %d changes planned", execs, r.Plan.Changes())
	}
}

func TestUp_ProvisionersMeantForAHostThatFailedAreNotWaitedFor(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{}).withCeph()
	s.hosts["host-2"].fail["kubeadm"] = "the moon is in the way"
	provisioner := "ceph-csi/" + render.RBD.Provisioner()
	if _, err := s.up(); !errors.Is(err, ErrPartial) || slices.Contains(s.api.WaitedFor, provisioner) || s.api.CSI == "" {
		t.Errorf("error %v, waited for %v", err, s.api.WaitedFor)
	}
	delete(s.hosts["host-2"].fail, "kubeadm")
	mustUp(t, s)
	if !slices.Contains(s.api.WaitedFor, provisioner) {
		t.Errorf("waited for %v", s.api.WaitedFor)
	}
}

func TestUp_AnotherKeyIsRolledOut(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{}).withCeph()
	mustUp(t, s)
	s.changed()
	s.setKey("fs", "three")
	r := mustUp(t, s)
	if st, _ := r.Plan.Step(plan.ClusterID(plan.CSI)); st.Action != plan.Update || r.Plan.Changes() != 1 || s.changed() != 0 {
		t.Errorf("planned %+v", st)
	}
	if !strings.Contains(s.api.CSI, base64.StdEncoding.EncodeToString([]byte(cephKey("three")))) {
		t.Error("the new key is not there")
	}
}

func TestUp_JoiningHostIsAskedAlone(t *testing.T) {
	s := newSim(t, 4, remotetest.Options{}).withCeph()
	all := s.c.Spec.Hosts
	s.c.Spec.Hosts = all[:3]
	mustUp(t, s)
	s.probes()
	s.api.Waited = nil
	s.c.Spec.Hosts = all
	mustUp(t, s)
	if n := s.probes(); len(n) != 1 || n["host-4"] != 1 {
		t.Errorf("probes %v", n)
	}
	if len(s.api.Waited) != 1 || !strings.HasPrefix(s.api.Waited[0], "host-1,host-2,host-3,host-4:") {
		t.Errorf("waited for %v", s.api.Waited)
	}
}

func TestUp_BundleWithoutImagesOfStorage(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{}).withCeph()
	s.c.Spec.Storage.CSI.Images = inventory.CephImages{}
	r, err := s.up()
	if !errors.Is(err, ErrPreflight) || !slices.Equal(failing(r.Checks), []string{" ceph-images"}) {
		t.Fatalf("error %v, failing %v", err, failing(r.Checks))
	}
	if s.changed() != 0 || len(s.probes()) != 0 {
		t.Error("something was done")
	}
	s.c.Spec.Preflight.Ignore = []string{"ceph-images"}
	r = mustUp(t, s)
	if notes := strings.Join(r.Plan.Notes, "\n"); !strings.Contains(notes, "ceph-csi is not installed: the bundle has no image for ceph-csi") || s.api.CSI != "" || len(s.probes()) != 0 {
		t.Errorf("notes %q", notes)
	}
}

// recorder keeps every event as text.
type recorder struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *recorder) Event(e report.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(&r.b, "%+v %v\n", e, e.Err)
}

// TestUp_CephRefusesAndTheKeyIsNowhere: nothing is installed, and no command, event, result, error or file has the key.
func TestUp_CephRefusesAndTheKeyIsNowhere(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{}).withCeph()
	s.hosts["host-2"].ceph = map[string]string{"0.rbd": "said Permission denied\nlog libceph: auth protocol 'cephx' mauth authentication failed: -13\n"}
	events := &recorder{}
	o := UpOptions{Options: s.options()}
	o.Progress = events
	r, err := Up(context.Background(), o)
	if !errors.Is(err, ErrPreflight) || !slices.Equal(failing(r.Checks), []string{"host-2 ceph-rbd"}) {
		t.Fatalf("error %v, failing %v", err, failing(r.Checks))
	}
	if s.changed() != 0 || s.api.CSI != "" || len(s.api.AllNodes) != 0 {
		t.Error("something was done")
	}
	s.wantNoKey(t, r, err, events)

	// Neither has a run that goes well.
	s.hosts["host-2"].ceph = nil
	if r, err = Up(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	s.wantNoKey(t, r, err, events)
	p, checks, err := Plan(context.Background(), s.options())
	if err != nil {
		t.Fatal(err)
	}
	s.wantNoKey(t, Result{Plan: p, Checks: checks}, err, events)
}

func (s *sim) wantNoKey(t *testing.T, r Result, err error, events *recorder) {
	t.Helper()
	var seen bytes.Buffer
	asJSON, e := json.Marshal(r)
	if e != nil {
		t.Fatal(e)
	}
	fmt.Fprintf(&seen, "%s\n%v\n", asJSON, err)
	seen.Write(events.b.Bytes())
	for _, h := range s.hosts {
		fmt.Fprintln(&seen, h.asked, h.markers)
	}
	e = filepath.Walk(s.state, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		fmt.Fprintf(&seen, "%s\n%s\n", path, b)
		return err
	})
	if e != nil && !os.IsNotExist(e) {
		t.Fatal(e)
	}
	if seen.Len() < 1000 {
		t.Fatalf("only %d bytes were looked at", seen.Len())
	}
	for _, secret := range []string{cephKey("one"), cephKey("two")} {
		for _, form := range disguises(secret) {
			if i := strings.Index(seen.String(), form); i >= 0 {
				t.Errorf("a key is in: …%s", seen.String()[max(0, i-100):i])
			}
		}
	}
}

// disguises are what a secret looks like: plain, in base64 wherever it begins, and in base64 of that, as in a manifest that is data.
func disguises(secret string) []string {
	once := encodings(secret)
	out := append([]string{secret}, once...)
	for _, e := range once {
		out = append(out, encodings(e)...)
	}
	return out
}

// encodings are the parts of base64 that do not depend on what stands before and after, for each way that it can begin.
func encodings(s string) []string {
	var out []string
	for before := range 3 {
		e := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", before) + s))
		out = append(out, e[4:len(e)-4])
	}
	return out
}

func TestUp_KeyThatIsNone(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*inventory.Ceph)
		want   string
	}{
		"no file":           {func(c *inventory.Ceph) { c.RBD.KeyFile = "/nowhere/key" }, "client.csi-rbd (spec.storage.ceph.rbd): /nowhere/key: no such file"},
		"no variable":       {func(c *inventory.Ceph) { c.RBD.KeyFile, c.RBD.KeyEnv = "", "HYBRIDCTL_TEST_NOT_SET" }, "HYBRIDCTL_TEST_NOT_SET, which is to hold the key, is not set"},
		"command fails":     {func(c *inventory.Ceph) { c.CephFS.KeyCommand = []string{"false"} }, "client.csi-fs (spec.storage.ceph.cephfs): keyCommand false: exit status 1"},
		"command says none": {func(c *inventory.Ceph) { c.CephFS.KeyCommand = []string{"true"} }, "it is empty"},
		"not what a key is": {func(c *inventory.Ceph) { c.CephFS.KeyCommand = []string{"echo", "hello"} }, "it is not base64"},
		"command not there": {func(c *inventory.Ceph) { c.CephFS.KeyCommand = []string{"/nowhere/x"} }, "keyCommand /nowhere/x: "},
	} {
		s := newSim(t, 1, remotetest.Options{}).withCeph()
		c.change(&s.c.Spec.Storage.Ceph[0])
		r, err := s.up()
		if !errors.Is(err, ErrPreflight) || len(failing(r.Checks)) != 1 || s.changed() != 0 {
			t.Fatalf("%s: error %v, failing %v", name, err, failing(r.Checks))
		}
		i := slices.IndexFunc(r.Checks, func(c report.Check) bool { return c.Name == "ceph-keys" })
		if i < 0 || !strings.Contains(r.Checks[i].Message, c.want) {
			t.Errorf("%s: %+v", name, r.Checks)
		}
	}
}

func TestPreflight_AsksEveryKernelAboutCeph(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{}).withCeph()
	s.hosts["host-1"].ceph = map[string]string{"0.cephfs": "said No such file or directory\n"}
	checks, err := Preflight(context.Background(), s.options())
	if !errors.Is(err, ErrPreflight) || !slices.Equal(failing(checks), []string{"host-1 ceph-cephfs"}) || len(s.probes()) != 2 || s.changed() != 0 {
		t.Errorf("error %v, failing %v", err, failing(checks))
	}
	s.hosts["host-1"].ceph = nil
	if err := s.preflight(); err != nil {
		t.Error(err)
	}
}

// A cluster ID that a volume has in its name must not go.
func TestUp_ClusterIDOfAVolumeStays(t *testing.T) {
	s := newSim(t, 1, remotetest.Options{}).withCeph()
	mustUp(t, s)
	was := s.api.CSI
	s.api.AllVolumes = []kube.Volume{{Name: "pvc-1", Claim: "default/db", Attributes: map[string]string{"clusterID": simFSID}}}
	s.c.Spec.Storage.Ceph[0].ClusterID = "renamed"
	if _, err := s.up(); !errors.Is(err, ErrPartial) || s.api.CSI != was {
		t.Errorf("error %v, applied %v", err, s.api.CSI != was)
	}
	s.api.AllVolumes = nil
	mustUp(t, s)
}

// What the driver could not find any more must not be taken from it: it would take the deletion of such a volume for done.
func TestUp_VolumesStayWithinReachOfTheDriver(t *testing.T) {
	for name, test := range map[string]struct {
		volume kube.Volume
		change func(c *inventory.Ceph)
		want   string
	}{
		"another group": {kube.Volume{Driver: render.CephFS.DriverName(), Attributes: map[string]string{"clusterID": simFSID, "subvolumePath": "/volumes/csi/csi-vol-1/x"}},
			func(c *inventory.Ceph) { c.CephFS.SubvolumeGroup = "csi2" }, "outside of the subvolume group csi2"},
		"another protocol": {kube.Volume{Driver: render.CephFS.DriverName(), Attributes: map[string]string{"clusterID": simFSID, "kernelMountOptions": "ms_mode=prefer-crc"}},
			func(c *inventory.Ceph) { c.CephFS.SubvolumeGroup = "csi2" }, "ms_mode=prefer-crc"},
		"a driver that is no more": {kube.Volume{Driver: render.RBD.DriverName(), Attributes: map[string]string{"clusterID": simFSID}},
			func(c *inventory.Ceph) { c.RBD, c.ClusterID = inventory.CephRBD{}, "renamed" }, "of the cluster ID " + simFSID},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSim(t, 1, remotetest.Options{}).withCeph()
			mustUp(t, s)
			was := s.api.CSI
			test.volume.Name, test.volume.Claim = "pvc-1", "default/db"
			s.api.AllVolumes = []kube.Volume{test.volume}
			test.change(&s.c.Spec.Storage.Ceph[0])
			r, err := s.up()
			told := false
			for _, c := range r.Changes {
				told = told || strings.Contains(c.Error, test.want)
			}
			if !errors.Is(err, ErrPartial) || !told || s.api.CSI != was {
				t.Errorf("error %v, %+v, applied %v", err, r.Changes, s.api.CSI != was)
			}
		})
	}
}

func TestUp_AsksTheRegistryForTheDriversImages(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{}).withCeph()
	s.c.Spec.Storage.CSI.Images.Driver = "quay.example/cephcsi:v3.15.0"
	o := s.options()
	var asked []string
	o.hooks.askRegistry = func(_ context.Context, image string) ([]platform.Arch, error) {
		asked = append(asked, image)
		return []platform.Arch{platform.AMD64}, nil
	}
	r, err := Up(context.Background(), UpOptions{Options: o})
	if !errors.Is(err, ErrPreflight) || !slices.Equal(asked, []string{"quay.example/cephcsi:v3.15.0"}) || s.changed() != 0 {
		t.Errorf("%v, asked %q", err, asked)
	}
	if !slices.ContainsFunc(r.Checks, func(c report.Check) bool { return c.Name == "ceph-images" && strings.Contains(c.Message, "for arm64") }) {
		t.Errorf("%+v", r.Checks)
	}
}

// Who looks at a plan has not said yes to the programs of an inventory: one that prints a key is run by up, and not by plan.
func TestPlan_RunsNoProgramOfTheInventory(t *testing.T) {
	s := newSim(t, 1, remotetest.Options{}).withCeph()
	ran := filepath.Join(t.TempDir(), "ran")
	fs := &s.c.Spec.Storage.Ceph[0].CephFS
	fs.KeyCommand = []string{"sh", "-c", `touch "$0" && cat "$1"`, ran, fs.KeyCommand[1]}
	p, _, err := Plan(context.Background(), s.options())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("the program was run")
	}
	if step, ok := p.Step(plan.ClusterID(plan.CSI)); !ok || step.Action != plan.Unknown || !strings.Contains(step.Reason, "keyCommand") {
		t.Errorf("%+v", step)
	}
	if _, err := s.up(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(ran); err != nil {
		t.Error(err)
	}
}
