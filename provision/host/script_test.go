package host

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hybridctl/hybridctl/templates"
)

// sandbox runs the scripts for real, in a mount namespace of their own: /var/lib, /run, /opt and /etc/systemd/system are folders of
// the test, systemctl and modprobe write down how they were called. So are /etc, /usr/local/bin and /var/log when the test makes etc, local-bin and var-log.
//
// What before says is done there ahead of the script, what after says behind it; after's output is in the file "after".
type sandbox struct {
	t             *testing.T
	dir           string
	before, after string
}

// namespaces is why no mount namespace can be made: a container's root may not, and unshare may not be there.
var namespaces = sync.OnceValue(func() error {
	out, err := exec.Command("unshare", "-m", "true").CombinedOutput()
	if err != nil {
		return fmt.Errorf("unshare -m: %w: %s", err, out)
	}
	return nil
})

func newSandbox(t *testing.T) sandbox {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mount namespaces need root: this runs where the lab runs")
	}
	if err := namespaces(); err != nil {
		t.Skip("mount namespaces cannot be made here; this runs where the lab runs: ", err)
	}
	s := sandbox{t: t, dir: t.TempDir()}
	for _, d := range []string{"var-lib", "run", "opt", "units", "bin"} {
		if err := os.MkdirAll(s.path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.tool("systemctl", `echo "systemctl $*" >>/opt/calls; case $1 in is-active) [ -e /opt/active ] ;; is-enabled) false ;; esac`)
	s.tool("modprobe", `echo "modprobe $*" >>/opt/calls`)
	return s
}

func (s sandbox) path(p ...string) string { return filepath.Join(append([]string{s.dir}, p...)...) }

func (s sandbox) tool(name, body string) {
	if err := os.WriteFile(s.path("bin", name), []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// run runs a script with these arguments and this standard input; it returns the exit status, standard output and standard error.
func (s sandbox) run(script string, stdin []byte, args ...string) (int, string, string) {
	s.t.Helper()
	mount := `set -e; mount --make-rprivate /; cd "$0"
for p in etc:/etc local-bin:/usr/local/bin var-log:/var/log; do [ ! -e "${p%%:*}" ] || mount --bind "${p%%:*}" "${p#*:}"; done
for p in var-lib:/var/lib run:/run opt:/opt units:/etc/systemd/system; do mount --bind "${p%%:*}" "${p#*:}"; done
PATH=$0/bin:$PATH; cd /
` + s.before + `
set +e; sh "$@"; code=$?
{ :
` + s.after + `
} >"$0/after"; exit $code`
	file := s.path("script.sh")
	if err := os.WriteFile(file, []byte(templates.Script(script)), 0o644); err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command("unshare", append([]string{"-m", "sh", "-c", mount, s.dir, file}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func (s sandbox) read(p ...string) string {
	b, err := os.ReadFile(s.path(p...))
	if err != nil {
		return "(" + err.Error() + ")"
	}
	return string(b)
}

func (s sandbox) stage(step, body string) string {
	sum := sha256.Sum256([]byte(body))
	name := hex.EncodeToString(sum[:])
	dir := s.path("var-lib", "hybridctl", "upload", step)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return name
}

const staging = UploadDir + "/runtime"

func runtimeFiles(sha string) Files {
	return Files{Step: "runtime", Digest: "sha256:d1",
		Binaries: []Binary{{Path: "/opt/bin/a", Mode: "0755", SHA256: sha}, {Path: "/opt/bin/same", Mode: "0755", SHA256: sha}},
		Texts:    []Text{{Path: "/opt/etc/conf", Mode: "0644", Body: []byte("one\n")}},
		Modules:  []string{"overlay"}, Units: []string{"x.service"}}
}

func TestApplyScript(t *testing.T) {
	s := newSandbox(t)
	f := runtimeFiles(s.stage("runtime", "binary"))
	status, out, errs := s.run("apply", f.directives(), staging)
	if status != 0 {
		t.Fatalf("exit %d: %s", status, errs)
	}
	if want := "changed /opt/bin/a\nchanged /opt/bin/same\nchanged /opt/etc/conf\nrestarted x.service\n"; out != want {
		t.Errorf("printed %q, want %q", out, want)
	}
	if got := s.read("opt", "bin", "a"); got != "binary" {
		t.Errorf("the binary is %q", got)
	}
	m, err := ParseMarker("runtime", []byte(s.read("var-lib", "hybridctl", "steps", "runtime")))
	if err != nil || m.State != MarkerDone || m.Digest != "sha256:d1" || len(m.Files) != 3 || len(m.Modules) != 1 || len(m.Units) != 1 {
		t.Fatalf("marker %+v, error %v", m, err)
	}
	if text := s.read("var-lib", "hybridctl", "steps", "runtime"); !strings.HasPrefix(text, "begin\n") || !strings.HasSuffix(text, "\nend\n") {
		t.Errorf("one that was cut could not be told from the marker %q", text)
	}
	info, err := os.Stat(s.path("opt", "etc", "conf"))
	if err != nil || m.Files[2].ModTime != info.ModTime().UnixNano() || m.Files[2].Size != 4 || m.Files[2].Mode != "644" {
		t.Errorf("marker has %+v, the file %v", m.Files[2], info)
	}
	if _, err := os.Stat(s.path("var-lib", "hybridctl", "upload", "runtime")); !os.IsNotExist(err) {
		t.Errorf("the upload directory stays: %v", err)
	}

	if left, err := os.ReadDir(s.path("run", "hybridctl")); err != nil || len(left) != 0 {
		t.Errorf("left in /run/hybridctl: %v, error %v", left, err)
	}

	// again: nothing changes, nothing restarts
	if err := os.WriteFile(s.path("opt", "active"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if status, out, errs = s.run("apply", f.directives(), staging); status != 0 || out != "" {
		t.Errorf("the second run: exit %d, printed %q, %s", status, out, errs)
	}
	// one file edited by someone: only that one is mended, and the running unit restarted
	if err := os.WriteFile(s.path("opt", "etc", "conf"), []byte("two\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if status, out, _ = s.run("apply", f.directives(), staging); status != 0 || out != "changed /opt/etc/conf\nrestarted x.service\n" {
		t.Errorf("after the edit: exit %d, printed %q", status, out)
	}
}

func TestApplyScript_DamagedUploadIsNeverLanded(t *testing.T) {
	s := newSandbox(t)
	sha := s.stage("runtime", "binary")
	if err := os.WriteFile(s.path("var-lib", "hybridctl", "upload", "runtime", sha), []byte("binaro"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, _, errs := s.run("apply", runtimeFiles(sha).directives(), staging)
	if status != 71 || !strings.Contains(errs, "/opt/bin/a: the upload is damaged") {
		t.Errorf("exit %d: %s", status, errs)
	}
	if _, err := os.Stat(s.path("opt", "bin", "a")); !os.IsNotExist(err) {
		t.Errorf("a damaged file landed: %v", err)
	}
	if m, err := ParseMarker("runtime", []byte(s.read("var-lib", "hybridctl", "steps", "runtime"))); err != nil || m.State != MarkerStarted {
		t.Errorf("marker %+v, error %v", m, err)
	}
	if _, err := os.Stat(s.path("var-lib", "hybridctl", "upload", "runtime", sha)); !os.IsNotExist(err) {
		t.Errorf("the damaged upload stays, a resume would go on from it: %v", err)
	}
}

// However it ends, no text of it stays where another may find it: in no file of /run, and beside no file that was to
// land unless no one could clean up.
func TestApplyScript_LeavesNoInputBehind(t *testing.T) {
	for how, number := range map[string]os.Signal{
		"KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "PIPE": syscall.SIGPIPE,
	} {
		if signal.Ignored(number) { // under nohup, or in the background of a script: what we start cannot be ended by it either
			continue
		}
		for _, tool := range []string{"modprobe", "base64"} {
			t.Run(how+" at "+tool, func(t *testing.T) {
				s := newSandbox(t)
				s.tool(tool, "cat /run/hybridctl/* >/opt/seen 2>/dev/null; kill -"+how+" $PPID; cat")
				f := Files{Step: "os", Digest: "sha256:d1", Texts: []Text{{Path: "/opt/etc/conf", Mode: "0600", Body: []byte("s3cret\n")}}, Modules: []string{"overlay"}}
				code, _, errs := s.run("apply", f.directives(), staging)
				if code == 0 {
					t.Fatalf("it was not killed: %s", errs)
				}
				if left, err := os.ReadDir(s.path("run", "hybridctl")); err != nil || len(left) != 0 {
					t.Errorf("left in /run/hybridctl: %v, error %v", left, err)
				}
				if seen := s.read("opt", "seen"); seen != "" {
					t.Errorf("another finds %q there while it works", seen)
				}
				if left, _ := filepath.Glob(s.path("opt", "etc", ".hybridctl.*")); len(left) != 0 && how != "KILL" {
					t.Errorf("left: %v", left)
				}
				s.tool(tool, `[ "$1" != -d ] || exec /usr/bin/base64 -d`)
				if code, _, errs := s.run("apply", f.directives(), staging); code != 0 || s.read("opt", "etc", "conf") != "s3cret\n" {
					t.Errorf("the next run: exit %d, %s", code, errs)
				}
				if left, _ := filepath.Glob(s.path("opt", "etc", ".hybridctl.*")); len(left) != 0 {
					t.Errorf("left: %v", left)
				}
			})
		}
	}
}

// A pull that was killed leaves logins of registries; the next one deletes them, and those of one that is at work stay.
func TestPullScript_ClearsWhatAKilledOneLeft(t *testing.T) {
	s := newSandbox(t)
	s.before = "mkdir -p /run/hybridctl/pull.$$.abcdef /run/hybridctl/pull.4194999.abcdef; echo login >/run/hybridctl/pull.4194999.abcdef/hosts.toml"
	s.after = "ls /run/hybridctl | sed s/$$/self/"
	s.run("pull", nil, "registry.example/a:1", "sha256:d", "linux/amd64")
	if left := strings.TrimSpace(s.read("after")); left != "pull.self.abcdef" {
		t.Errorf("left: %q", left)
	}
}

func TestApplyScript_CutOffInputDoesNothing(t *testing.T) {
	s := newSandbox(t)
	d := runtimeFiles(s.stage("runtime", "binary")).directives()
	status, _, errs := s.run("apply", d[:len(d)-4], staging)
	if status != 70 || !strings.Contains(errs, "nothing was done") {
		t.Errorf("exit %d: %s", status, errs)
	}
	if _, err := os.Stat(s.path("opt", "calls")); !os.IsNotExist(err) {
		t.Errorf("something was called: %s", s.read("opt", "calls"))
	}
}

func TestProbeFilesScript(t *testing.T) {
	s := newSandbox(t)
	if err := os.WriteFile(s.path("opt", "have"), []byte("binary"), 0o755); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("binary"))
	sha := hex.EncodeToString(sum[:])
	status, out, errs := s.run("probe-files", []byte(sha+" 6 /opt/have\n"+strings.Repeat("0", 64)+" 6 /opt/have\n"+sha+" 6 /opt/none\n"), staging)
	if want := "same " + sha + "\nneed " + strings.Repeat("0", 64) + "\nneed " + sha + "\n"; status != 0 || out != want {
		t.Errorf("exit %d: %q, want %q (%s)", status, out, want, errs)
	}
}

func TestRemoveScript_TakesOnlyWhatIsOurs(t *testing.T) {
	s := newSandbox(t)
	for _, p := range []string{"opt/cni/bin/bridge", "opt/mine", "var-lib/hybridctl/steps/runtime", "units/containerd.service", "units/other.service"} {
		if err := os.MkdirAll(filepath.Dir(s.path(p)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.path(p), []byte("state done\nfile aa 1 755 1 /opt/mine\nfile aa 1 755 1 /etc/systemd/system/containerd.service\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	status, _, errs := s.run("remove", nil, "runtime", "containerd.service", "/opt/none", "/opt/cni")
	if status != 0 {
		t.Fatalf("exit %d: %s", status, errs)
	}
	for p, there := range map[string]bool{"opt/cni": false, "units/containerd.service": false, "var-lib/hybridctl/steps/runtime": false,
		"opt/mine": true, "units/other.service": true} {
		if _, err := os.Stat(s.path(p)); (err == nil) != there {
			t.Errorf("%s is there: %v, want %v", p, err == nil, there)
		}
	}
}

// What the pod network left goes. The directory that containerd watches for it stays: without that containerd ends, and
// kubeadm, which may come next, finds no one.
func TestResetScript_KeepsWhatContainerdWatches(t *testing.T) {
	s := newSandbox(t)
	gone := []string{"etc/cni/net.d/10-flannel.conflist", "etc/kubernetes/kubelet.conf", "var-lib/hybridctl/steps/join", "var-log/pods/a",
		"var-lib/cni/flannel/1", "var-lib/cni/networks/cbr0/10.244.0.2", "var-lib/cni/results/cbr0-1-eth0"}
	others := []string{"etc/cni/of-others", "etc/cni/net.d/87-podman-bridge.conflist", "etc/cni/net.d/.lock", "etc/cni/net.d/multus.d/x", "var-lib/hybridctl/steps/runtime",
		"var-lib/cni/networks/podman/10.88.0.2", "var-lib/cni/results/podman-1-eth0"}
	for _, path := range append(append(gone, others...), "etc/systemd/system/x") {
		if err := os.MkdirAll(filepath.Dir(s.path(path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.path(path), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(s.path("local-bin"), 0o755); err != nil { // before all others on the script's own PATH
		t.Fatal(err)
	}
	for _, tool := range []string{"awk", "systemctl", "kubeadm", "ctr", "nft", "iptables-nft-save", "iptables-legacy-save", "ip6tables-nft-save", "ip6tables-legacy-save", "iptables-save", "ip6tables-save"} {
		s.tool("../local-bin/"+tool, ":")
	}
	s.tool("../local-bin/ip", "exit 1")
	if code, _, errs := s.run("reset", nil, UnknownPin); code != 0 || errs != "" {
		t.Errorf("exit %d: %s", code, errs)
	}
	for _, path := range gone {
		if _, err := os.Stat(s.path(path)); err == nil {
			t.Errorf("%s stays", path)
		}
	}
	for _, path := range others {
		if _, err := os.Stat(s.path(path)); err != nil {
			t.Error(err)
		}
	}
}

// What a file holds may be a secret: a step that fails over it leaves it nowhere.
func TestApplyScript_LeavesNoTextBehindWhenItFails(t *testing.T) {
	for _, tool := range []string{"base64", "chown", "chmod"} {
		s := newSandbox(t)
		s.tool(tool, "case \"$*\" in *steps*) ;; *) cat >/dev/null; exit 1 ;; esac")
		f := Files{Step: "files", Digest: "sha256:d1", Texts: []Text{{Path: "/opt/etc/secret", Mode: "0600", Body: []byte("key\n")}}}
		if code, _, errs := s.run("apply", f.directives(), staging); code == 0 {
			t.Fatalf("%s: it did not fail: %s", tool, errs)
		}
		for _, dir := range []string{"run/hybridctl", "opt/etc"} {
			left, err := os.ReadDir(s.path(dir))
			if err != nil || len(left) > 0 {
				t.Errorf("%s: left: %v, %v", tool, left, err)
			}
		}
	}
}
