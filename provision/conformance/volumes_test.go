package conformance

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/report"
)

var cephClasses = []StorageClass{{Name: "ceph-rbd", Driver: RBD, Grows: true}, {Name: "ceph-cephfs", Driver: CephFS, Grows: true}}

func volumesRun(t *testing.T, c *fake) report.ConformanceRun {
	t.Helper()
	o := c.options()
	o.Storage, o.Checks, o.Patience = slices.Clone(cephClasses), []string{"S9"}, 3*time.Second
	for i := range o.Storage {
		o.Storage[i].Retains = c.disks.keeps
	}
	d, err := fullRun(t, o)
	if err != nil && !c.disks.stays {
		t.Error(err)
	}
	return d
}

func TestRun_Volumes(t *testing.T) {
	for _, keeps := range []bool{false, true} {
		c := newFake(t, amd64, arm64)
		c.disks.keeps = keeps
		d := volumesRun(t, c)
		for _, cell := range d.Cells {
			if cell.Verdict != report.Passed {
				t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
			}
		}
		c.wantNothingLeft(t)
		if len(c.disks.claims) > 0 {
			t.Errorf("%d volumes are left in Ceph (the class retains: %v)", len(c.disks.claims), keeps)
		}
	}
}

// A class that retains keeps what no pod ever had: the run takes it away even so.
func TestRun_VolumesThatNobodyGotAreTakenAway(t *testing.T) {
	c := newFake(t, amd64, arm64)
	c.disks.keeps = true
	c.node("arm-1").stuck = true
	d := volumesRun(t, c)
	if d.Verdict() == report.Passed {
		t.Error("a node on which no pod starts passed")
	}
	if len(c.disks.claims) > 0 {
		t.Errorf("%d volumes are left in Ceph", len(c.disks.claims))
	}
}

// Every assertion can fail: what is wrong turns the cells red that are about it, and leaves the others.
func TestRun_VolumesThatAreNotWhatTheySay(t *testing.T) {
	has := func(words ...string) func(name string) bool {
		return func(name string) bool {
			for _, w := range words {
				if strings.Contains(name, w) {
					return true
				}
			}
			return false
		}
	}
	all := has("")
	for _, c := range []struct {
		name   string
		with   func(*fakeDisks)
		red    func(cell string) bool
		reason string
	}{
		{"the mount does not reach the host", func(d *fakeDisks) { d.elsewhere = true }, all, ""},
		{"what is mounted is not of Ceph", func(d *fakeDisks) { d.other = true }, all, "not of Ceph"},
		{"a device is given to two nodes", func(d *fakeDisks) { d.shared = true }, has("second-node"), "a second pod on another node has the device too"},
		{"a byte is an earlier one", func(d *fakeDisks) { d.stale = true }, has("moves"), "wrote bytes of digest"},
		{"writers do not see each other", func(d *fakeDisks) { d.apart = true }, has("moves", "shared-by"), ""},
		{"a volume does not grow", func(d *fakeDisks) { d.small = true }, has("grows"), "still sees"},
		{"the driver deletes nothing", func(d *fakeDisks) { d.stays = true }, has("deleted"), "is still there"},
		{"the provisioner refuses", func(d *fakeDisks) { d.refuses = "pool not found" }, all, "pool not found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, amd64, arm64)
			c.with(&f.disks)
			for _, cell := range volumesRun(t, f).Cells {
				want := map[bool]report.Verdict{true: report.Failing, false: report.Passed}[c.red(cell.Name)]
				if c.name == "writers do not see each other" && strings.Contains(cell.Name, "block") {
					continue // there is nothing to read
				}
				if cell.Verdict != want || want == report.Failing && !strings.Contains(cell.Reason, c.reason) {
					t.Errorf("%s: %s: %s, want %s %q", cell.ID(), cell.Verdict, cell.Reason, want, c.reason)
				}
			}
		})
	}
}

func TestNotEvery(t *testing.T) {
	whole := "a 0\nb 0\nb 1\na 1\n"
	for text, want := range map[string]string{
		whole:                     "",
		"a 0\nb 0\nb 1\n":         `line "a 1" 0 times`,
		whole + "a 1\n":           `line "a 1" 2 times`,
		whole + "c 0\n":           "1 lines that no one wrote",
		"a 0\nb 0\nb 1\na 1b 2\n": `line "a 1" 0 times`,
	} {
		if got := notEvery(text, []string{"a", "b"}, 2); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestMountOf(t *testing.T) {
	const mounts = `/dev/rbd0 /var/lib/kubelet/plugins/kubernetes.io/csi/rbd.csi.ceph.com/abc/globalmount/x ext4 rw 0 0
/dev/rbd0 /var/lib/kubelet/pods/uid-1/volumes/kubernetes.io~csi/pvc-1/mount ext4 rw 0 0
192.0.2.9:6789:/volumes/csi/x /var/lib/kubelet/pods/uid-2/volumes/kubernetes.io~csi/pvc-2/mount ceph rw 0 0
tmpfs /var/lib/kubelet/pods/uid-3/volumes/kubernetes.io~projected/token tmpfs rw 0 0
`
	for uid, want := range map[string][2]string{"uid-1": {"/dev/rbd0", "ext4"}, "uid-2": {"192.0.2.9:6789:/volumes/csi/x", "ceph"}, "uid-3": {}, "uid": {}} {
		if device, fstype := mountOf(mounts, uid); device != want[0] || fstype != want[1] {
			t.Errorf("%s: %s %s, want %v", uid, device, fstype, want)
		}
	}
}
