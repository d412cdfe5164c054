package host

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const cephKey = "AQBnotakeyatallnotakeyatallnotakeyatall=="

// cephSandbox has a /sys with rbd, a kernel log that grows by one line at each question, and a mount that says what it was told to.
func cephSandbox(t *testing.T) sandbox {
	s := newSandbox(t)
	for _, d := range []string{"sys/bus/rbd", "sys/module/ceph", "opt"} {
		if err := os.MkdirAll(s.path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"sys/bus/rbd/supported_features": "0x1bf\n", "sys/bus/rbd/add_single_major": "",
		"opt/log": "[    1.000001] old libceph: line\n[   10.000001] systemd: up\n"} {
		if err := os.WriteFile(s.path(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.tool("dmesg", "cat /opt/log")
	s.tool("dd", `echo "dd $*" >>/opt/calls
cat >/opt/written
echo "[   11.5] libceph: client4123 fsid 4f2e0b1c" >>/opt/log
echo "[   11.6] eth0: link up" >>/opt/log
echo "dd: error writing '/sys/bus/rbd/add_single_major': No such file or directory" >&2
exit 1`)
	s.tool("unshare", `echo "unshare $*" >>/opt/calls
cat /run/hybridctl/*/fstab >/opt/fstab; stat -c %a /run/hybridctl/*/fstab >>/opt/fstab
cat /opt/mount >&2; exit "$(cat /opt/status)"`)
	return s
}

func TestCephProbeScript(t *testing.T) {
	s := cephSandbox(t)
	for name, text := range map[string]string{"opt/mount": "mount: /x: mount(2) system call failed: No route to host.\n dmesg(1) may tell more.\n", "opt/status": "32"} {
		if err := os.WriteFile(s.path(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	monitor := listen(t, "ceph v027 and more")
	questions := []CephQuestion{
		{ID: "0.rbd", Monitors: []string{monitor}, User: "csi-rbd", Pool: "kube", Key: cephKey},
		{ID: "0.cephfs", Monitors: []string{monitor}, User: "csi-fs", Mode: "secure", FileSystem: "kubefs", Path: "/volumes/csi", Key: cephKey},
	}
	status, out, errs := s.run("ceph-probe", cephQuestions(questions), s.path("sys"))
	if status != 0 || errs != "" {
		t.Fatalf("exit %d: %s", status, errs)
	}
	want := CephSaid{Features: 0x1bf, Absent: map[string]string{}, Banners: map[string]string{monitor: "ceph v027"}, Answers: map[string]CephAnswer{
		"0.rbd": {Errno: "ENOENT", Text: "dd: error writing '/sys/bus/rbd/add_single_major': No such file or directory (exit status 1)",
			Log: []string{"libceph: client4123 fsid 4f2e0b1c"}},
		"0.cephfs": {Errno: "EHOSTUNREACH", Text: "mount: /x: mount(2) system call failed: No route to host.  dmesg(1) may tell more. (exit status 32)"},
	}}
	if d := cmp.Diff(want, parseCephSaid(out)); d != "" {
		t.Errorf("%s\n%s", d, out)
	}
	written := s.read("opt", "written")
	if image := strings.TrimPrefix(written, monitor+" name=csi-rbd,secret="+cephKey+",mount_timeout=5 kube probe-"); len(image) != 38 || !strings.HasSuffix(image, " -") {
		t.Errorf("written: %q", written)
	}
	fstab := s.read("opt", "fstab")
	if !strings.HasPrefix(fstab, monitor+":/volumes/csi /run/hybridctl/ceph-probe.") || !strings.HasSuffix(fstab,
		"/mnt ceph name=csi-fs,secret="+cephKey+",mount_timeout=5,ms_mode=secure,mds_namespace=kubefs,ro 0 0\n600\n") {
		t.Errorf("fstab: %q", fstab)
	}
	calls := s.read("opt", "calls")
	if strings.Contains(calls, cephKey[:10]) || strings.Contains(out, cephKey[:10]) || !strings.Contains(calls, "modprobe rbd\n") || !strings.Contains(calls, "modprobe -r rbd\n") || strings.Contains(calls, "modprobe ceph") {
		t.Errorf("calls:\n%s", calls)
	}
	if _, err := os.Stat(s.path("run", "hybridctl")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("/run/hybridctl is left: %v", err)
	}
}

func TestCephProbeScript_NothingThere(t *testing.T) {
	s := newSandbox(t)
	s.tool("modprobe", `echo "modprobe: FATAL: Module $1 not found in directory /lib/modules/6.1" >&2; exit 1`)
	s.tool("dmesg", "cat /dev/null")
	s.tool("unshare", `echo "mount: /x: unknown filesystem type 'ceph'." >&2; exit 32`)
	monitor := listen(t, "SSH-2.0-x")
	closed := "127.0.0.1:1"
	status, out, errs := s.run("ceph-probe", cephQuestions([]CephQuestion{
		{ID: "a", Monitors: []string{monitor, closed}, User: "u", Pool: "p", Key: cephKey},
		{ID: "b", Monitors: []string{monitor, closed}, User: "u", FileSystem: "f", Path: "/", Key: cephKey},
	}), s.path("no-sys"))
	if status != 0 || errs != "" {
		t.Fatalf("exit %d: %s", status, errs)
	}
	got := parseCephSaid(out)
	if _, answered := got.Answers["a"]; answered || got.Features != 0 || !strings.Contains(got.Absent["rbd"], "Module rbd not found") || got.Answers["b"].Errno != "ENODEV" {
		t.Errorf("got %+v", got)
	}
	if got.Banners[monitor] != "SSH-2.0-x" || !strings.Contains(got.Banners[closed], "Connection refused") {
		t.Errorf("banners %q", got.Banners)
	}
}

func TestCephProbeScript_CutOffInputDoesNothing(t *testing.T) {
	s := cephSandbox(t)
	q := cephQuestions([]CephQuestion{{ID: "a", Monitors: []string{"127.0.0.1:1"}, User: "u", Pool: "p", Key: cephKey}})
	status, out, errs := s.run("ceph-probe", q[:len(q)-3], s.path("sys"))
	if status != 70 || out != "" || !strings.Contains(errs, "nothing was done") || strings.Contains(errs, cephKey[:10]) {
		t.Errorf("exit %d: %q, %q", status, out, errs)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "opt", "calls")); !os.IsNotExist(err) {
		t.Errorf("something was called: %s", s.read("opt", "calls"))
	}
}

// listen is a server on loopback that says something to everybody.
func listen(t *testing.T, words string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(words))
			c.Close()
		}
	}()
	return l.Addr().String()
}
