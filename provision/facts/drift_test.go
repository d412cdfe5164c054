package facts

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/host"
)

// aStep is a step that is done and in place: a small file, a large one, a unit, two modules and a setting.
func aStep(t *testing.T) (root, small, large string) {
	t.Helper()
	root = tree{
		"bin/uname":                      shellScript("echo x86_64"),
		"bin/systemctl":                  shellScript("shift; for u; do echo active; done"),
		"proc/sys/kernel/osrelease":      "6.1.0\n",
		"proc/sys/net/ipv4/ip_forward":   "1\n",
		"proc/sys/net/ipv4/tcp_rmem":     "4096\t131072\n",
		"sys/module/overlay/initstate":   "live\n",
		"sys/module/br_netfilter/x":      "",
		"lib/modules/6.1.0/modules.dep":  "kernel/fs/overlay.ko:\n",
		"lib/modules/6.1.0/modules.misc": "",
		"srv/config.toml":                "version = 3\n",
		"srv/big binary":                 strings.Repeat("x", 1<<20+1),
	}.write(t)
	small, large = filepath.Join(root, "srv/config.toml"), filepath.Join(root, "srv/big binary")
	m := host.Marker{State: host.MarkerDone, Digest: "sha256:1", Units: []string{"example.service"},
		Modules: []string{"overlay", "br_netfilter"}, Sysctls: map[string]string{"net.ipv4.ip_forward": "1", "net.ipv4.tcp_rmem": "4096 131072"}}
	for _, path := range []string{small, large} {
		m.Files = append(m.Files, markerFile(t, path))
	}
	mkdir(t, root, host.MarkerDir)
	write(t, filepath.Join(root, host.MarkerDir, "runtime"), string(m.Encode()), 0o644)
	return root, small, large
}

func markerFile(t *testing.T, path string) host.MarkerFile {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return host.MarkerFile{SHA256: hex.EncodeToString(sum[:]), Size: fi.Size(), Mode: fmt.Sprintf("%o", fi.Mode().Perm()),
		ModTime: fi.ModTime().UnixNano(), Path: path}
}

func TestDrift(t *testing.T) {
	mtime := func(path string) time.Time {
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return fi.ModTime()
	}
	rewrite := func(path, text string) { // the time stays as it was
		old := mtime(path)
		write(t, path, text, 0o644)
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(path string) {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	touch := func(path string) {
		now := mtime(path).Add(1) // one nanosecond
		if err := os.Chtimes(path, now, now); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		change func(root, small, large string)
		want   string // SMALL and LARGE are the paths; "" = in place
	}{
		"nothing":            {func(_, _, _ string) {}, ""},
		"small file touched": {func(_, small, _ string) { touch(small) }, ""},
		"small file edited":  {func(_, small, _ string) { rewrite(small, "version = 2\n") }, "SMALL was edited"},
		"small file grown":   {func(_, small, _ string) { rewrite(small, strings.Repeat("y", 2<<20)) }, "SMALL has 2097152 bytes, it had 12"},
		"file gone":          {func(_, small, _ string) { remove(small) }, "SMALL is gone"},
		"all files gone":     {func(root, _, _ string) { remove(filepath.Join(root, "srv")) }, "SMALL is gone; LARGE is gone"},
		"file is a link": {func(root, small, _ string) {
			remove(small)
			if err := os.Symlink("/etc/passwd", small); err != nil {
				t.Fatal(err)
			}
		}, "SMALL is not a regular file any more"},
		"file is a pipe that nobody writes to": {func(root, small, _ string) {
			remove(small)
			if err := syscall.Mkfifo(small, 0o644); err != nil {
				t.Fatal(err)
			}
		}, "SMALL is not a regular file any more"},
		"mode changed":       {func(_, small, _ string) { os.Chmod(small, 0o600) }, "the mode of SMALL is 600, it was 644"},
		"setuid":             {func(_, _, large string) { os.Chmod(large, 0o644|os.ModeSetuid) }, "the mode of LARGE is 4644, it was 644"},
		"large file touched": {func(_, _, large string) { touch(large) }, "LARGE was written to"},
		"large file cut":     {func(_, _, large string) { rewrite(large, "x") }, "LARGE was edited"},
		"large file longer":  {func(_, _, large string) { rewrite(large, strings.Repeat("x", 1<<20+2)) }, "LARGE has 1048578 bytes, it had 1048577"},
		"unit stopped": {func(root, _, _ string) {
			write(t, filepath.Join(root, "bin/systemctl"), shellScript("shift; for u; do echo inactive; done; exit 3"), 0o755)
		}, "the unit example.service is inactive"},
		"unit failed": {func(root, _, _ string) {
			write(t, filepath.Join(root, "bin/systemctl"), shellScript("shift; for u; do echo failed; done; exit 3"), 0o755)
		}, "the unit example.service is failed"},
		"systemd does not answer": {func(root, _, _ string) {
			write(t, filepath.Join(root, "bin/systemctl"), shellScript("exit 1"), 0o755)
		}, "the unit example.service could not be asked about"},
		"module unloaded": {func(root, _, _ string) { remove(filepath.Join(root, "sys/module/overlay")) }, "the kernel module overlay is not loaded"},
		"module gone":     {func(root, _, _ string) { remove(filepath.Join(root, "sys/module/br_netfilter")) }, "the kernel module br_netfilter is not loaded"},
		"setting changed": {func(root, _, _ string) {
			write(t, filepath.Join(root, "proc/sys/net/ipv4/ip_forward"), "0\n", 0o644)
		}, `the kernel setting net.ipv4.ip_forward is "0", it was "1"`},
		"setting gone": {func(root, _, _ string) {
			remove(filepath.Join(root, "proc/sys/net/ipv4/tcp_rmem"))
		}, "the kernel setting net.ipv4.tcp_rmem does not exist any more"},
	} {
		t.Run(name, func(t *testing.T) {
			root, small, large := aStep(t)
			c.change(root, small, large)
			h, err := parsed(run(t, []string{"sh"}, root, Ask{}))
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			if c.want != "" {
				want = strings.Split(strings.NewReplacer("SMALL", small, "LARGE", large).Replace(c.want), "; ")
			}
			if got := h.Markers["runtime"].Drift; !reflect.DeepEqual(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// A marker that cannot be read is a fact: its step was begun here, and what it brought is ours.
func TestBadMarkers(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "zeroed": strings.Repeat("\x00", 600), "zeroed below": "state done\ndigest sha256:1\n" + strings.Repeat("\x00", 60),
		"cut at a line's end": "begin\nstate done\ndigest sha256:1\n", "another's": "{\"state\": \"done\"}\n"} {
		t.Run(name, func(t *testing.T) {
			root, _, _ := aStep(t)
			write(t, filepath.Join(root, host.MarkerDir, "kubernetes"), text, 0o644)
			write(t, filepath.Join(root, host.MarkerDir, "os.new"), text, 0o644) // was being written
			write(t, filepath.Join(mkdir(t, root, "usr/local/bin"), "kubelet"), shellScript("exit"), 0o755)
			h, err := parsed(run(t, []string{"sh"}, root, Ask{Tools: []string{"kubelet"}}))
			if err != nil {
				t.Fatal(err)
			}
			if _, readable := h.Markers["kubernetes"]; readable || !reflect.DeepEqual(h.BadMarkers, []string{"kubernetes"}) || !h.Marked("kubernetes") || !h.Marked("runtime") || h.Marked("os") {
				t.Errorf("bad: %q, markers %v", h.BadMarkers, h.Markers)
			}
			if h.Kubelet.Path == "" || !h.Kubelet.Ours {
				t.Errorf("its kubelet: %+v", h.Kubelet)
			}
		})
	}
}

// TestDrift_Busybox has busybox for every program: its stat knows whole seconds only.
func TestDrift_Busybox(t *testing.T) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no busybox on this machine")
	}
	root, small, large := aStep(t)
	for _, applet := range []string{"awk", "date", "getconf", "od", "sha256sum", "stat", "timeout"} {
		if err := os.Symlink(busybox, filepath.Join(root, "bin", applet)); err != nil {
			t.Fatal(err)
		}
	}
	drift := func() []string {
		h, err := parsed(run(t, []string{"busybox", "sh"}, root, Ask{Directories: []string{"/srv"}}))
		if err != nil {
			t.Fatal(err)
		}
		if h.DiskFree["/srv"] == 0 {
			t.Errorf("free space: %v", h.DiskFree)
		}
		return h.Markers["runtime"].Drift
	}
	if got := drift(); got != nil {
		t.Errorf("in place, but: %q", got)
	}
	write(t, small, "edited\n", 0o644)
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(large, later, later); err != nil {
		t.Fatal(err)
	}
	if got, want := drift(), []string{small + " was edited", large + " was written to"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
