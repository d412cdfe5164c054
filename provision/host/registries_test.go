package host

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// registriesOf is what the step registries puts there.
func registriesOf(texts ...Text) Files {
	return Files{Step: "registries", Digest: "sha256:d", Texts: texts, Prune: true,
		Restart: []Restart{{Unit: "containerd.service", Path: "/etc/containerd/conf.d/hybridctl-registries.toml"}}}
}

// siteSandbox is one where containerd runs.
func siteSandbox(t *testing.T) sandbox {
	s := newSandbox(t)
	for _, d := range []string{"etc/systemd/system", "local-bin"} {
		if err := os.MkdirAll(s.path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.write("opt/active", "")
	return s
}

func (s sandbox) write(path, body string) {
	s.t.Helper()
	file := s.path(path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(body), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func TestApplyScript_Registries(t *testing.T) {
	s := siteSandbox(t)
	apply := func(f Files, want string) {
		t.Helper()
		if status, out, errs := s.run("apply", f.directives(), UploadDir+"/registries"); status != 0 || out != want {
			t.Fatalf("exit %d, printed %q, want %q; %s", status, out, want, errs)
		}
	}
	one := Text{"/etc/containerd/certs.d/a.example/hosts.toml", "0644", []byte("one\n")}
	logins := Text{"/etc/containerd/conf.d/hybridctl-registries.toml", "0600", []byte("password\n")}
	kubelet := Text{"/var/lib/kubelet/config.json", "0600", []byte("{}\n")}
	apply(registriesOf(one, logins, kubelet),
		"changed "+one.Path+"\nchanged "+logins.Path+"\nchanged "+kubelet.Path+"\nrestarted containerd.service\n")
	for file, want := range map[string]os.FileMode{"etc/containerd/conf.d/hybridctl-registries.toml": 0o600, "var-lib/kubelet/config.json": 0o600, "var-lib/hybridctl/steps": 0o700} {
		if info, err := os.Stat(s.path(file)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	apply(registriesOf(one, logins, kubelet), "")

	one.Body = []byte("two\n") // a mirror: no restart
	apply(registriesOf(one, logins, kubelet), "changed "+one.Path+"\n")
	logins.Body = []byte("another\n")
	apply(registriesOf(one, logins, kubelet), "changed "+logins.Path+"\nrestarted containerd.service\n")

	// What others put into the same places stays, and what the marker names elsewhere.
	s.write("etc/containerd/certs.d/b.example/hosts.toml", "theirs")
	marker := s.path("var-lib/hybridctl/steps/registries")
	if err := os.WriteFile(marker, []byte(s.read("var-lib/hybridctl/steps/registries")+"file aa 1 644 1 /etc/passwd\nfile aa 1 644 1 /etc/containerd/certs.d/../../other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.write("etc/passwd", "root")
	s.write("etc/other", "x")
	apply(registriesOf(), "removed "+one.Path+"\nremoved "+logins.Path+"\nremoved "+kubelet.Path+"\nrestarted containerd.service\n")
	if s.read("etc/containerd/certs.d/b.example/hosts.toml") != "theirs" || s.read("etc/passwd") != "root" || s.read("etc/other") != "x" {
		t.Error("something of others is gone")
	}
	if _, err := os.Stat(s.path("etc/containerd/certs.d/a.example")); !os.IsNotExist(err) {
		t.Errorf("the directory stays: %v", err)
	}
}

// A step that was interrupted between the file and the restart restarts: the file is what it has to be by then.
func TestApplyScript_RegistriesAfterAnInterruption(t *testing.T) {
	s := siteSandbox(t)
	logins := Text{"/etc/containerd/conf.d/hybridctl-registries.toml", "0600", []byte("password\n")}
	s.write("etc/containerd/conf.d/hybridctl-registries.toml", "password\n")
	s.write("var-lib/hybridctl/steps/registries", "state started\n")
	status, out, errs := s.run("apply", registriesOf(logins).directives(), UploadDir+"/registries")
	if status != 0 || !strings.HasSuffix(out, "restarted containerd.service\n") {
		t.Errorf("exit %d, printed %q, %s", status, out, errs)
	}
}

func TestRemoveScript_Registries(t *testing.T) {
	s := siteSandbox(t)
	files := registriesOf(Text{"/etc/containerd/certs.d/a.example_5000_/hosts.toml", "0644", []byte("one\n")}, Text{"/etc/containerd/certs.d/a.example_5000_/ca.crt", "0644", []byte("ca\n")},
		Text{"/etc/containerd/conf.d/hybridctl-registries.toml", "0600", []byte("p\n")}, Text{"/var/lib/kubelet/config.json", "0600", []byte("{}\n")})
	if status, _, errs := s.run("apply", files.directives(), UploadDir+"/registries"); status != 0 {
		t.Fatal(errs)
	}
	if status, _, errs := s.run("remove", nil, "registries", "", "/etc/containerd/conf.d/hybridctl-registries.toml", ""); status != 0 {
		t.Fatal(errs)
	}
	for _, gone := range []string{"etc/containerd", "var-lib/kubelet/config.json", "var-lib/hybridctl/steps/registries"} {
		if _, err := os.Stat(s.path(gone)); !os.IsNotExist(err) {
			t.Errorf("%s stays: %v", gone, err)
		}
	}
}

// Others keep logins where the kubelet looks for ours: theirs are neither written over nor taken away.
func TestRegistries_LoginsOfSomebody(t *testing.T) {
	const path, theirs = "var-lib/kubelet/config.json", "{\"auths\": {\"mine.example\": {}}}\n"
	mirror := Text{"/etc/containerd/certs.d/a.example/hosts.toml", "0644", []byte("one\n")}
	logins := Text{"/var/lib/kubelet/config.json", "0600", []byte("{}\n")}
	s := siteSandbox(t)
	s.write(path, theirs)
	if status, _, errs := s.run("apply", registriesOf(mirror, logins).directives(), UploadDir+"/registries"); status != 74 || !strings.Contains(errs, "hybridctl did not write it") || s.read(path) != theirs {
		t.Errorf("exit %d, %q: it is %q", status, errs, s.read(path))
	}
	if status, _, errs := s.run("apply", registriesOf(mirror).directives(), UploadDir+"/registries"); status != 0 {
		t.Error(errs)
	}
	if status, _, errs := s.run("remove", nil, "registries", "", "/etc/containerd/conf.d/hybridctl-registries.toml", ""); status != 0 || s.read(path) != theirs {
		t.Errorf("exit %d, %q: it is %q", status, errs, s.read(path))
	}
	s.write("var-lib/hybridctl/steps/registries", "\x00\x00") // then it may be ours
	if status, _, errs := s.run("apply", registriesOf(logins).directives(), UploadDir+"/registries"); status != 0 || s.read(path) != "{}\n" {
		t.Errorf("exit %d, %q", status, errs)
	}
}

// ctr writes down how it was called and what it saw in the directory of hosts.
const ctrTool = `#!/bin/sh
echo "$*" >>/opt/calls
case "$4" in
pull)
	for d in "$7"/*; do echo "${d##*/}: $(cat "$d/hosts.toml")"; done >>/opt/hosts
	[ ! -e /opt/refuses ] || { echo 'progress'; printf 'INFO[0000] fetching\nctr: failed to resolve reference: 401 Unauthorized\n\n' >&2; exit 1; }
	;;
ls) printf 'REF TYPE DIGEST SIZE PLATFORMS LABELS\nr manifest sha256:aa 1.0 KiB %s -\n' "$(cat /opt/platforms)" ;;
esac
`

func TestPullScript(t *testing.T) {
	s := siteSandbox(t)
	s.write("local-bin/ctr", ctrTool)
	if err := os.Chmod(s.path("local-bin/ctr"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.write("etc/containerd/certs.d/a.example/hosts.toml", "plain")
	s.write("etc/containerd/certs.d/b.example/hosts.toml", "others")
	s.write("opt/platforms", "linux/arm64/v8")
	stdin := []byte("a.example " + base64.StdEncoding.EncodeToString([]byte("with a login")) + "\n")
	pull := func() (int, string) {
		status, _, errs := s.run("pull", stdin, "reg.example:5000/kube/pause:3.10", "sha256:aa", "linux/arm64")
		if left, err := os.ReadDir(s.path("run", "hybridctl")); err != nil || len(left) != 0 {
			t.Errorf("left on the host: %v, %v", left, err)
		}
		return status, errs
	}
	if status, errs := pull(); status != 0 {
		t.Fatal(status, errs)
	}
	const by = "reg.example:5000/kube/pause@sha256:aa"
	calls := strings.Split(strings.TrimSpace(s.read("opt", "calls")), "\n")
	if len(calls) != 4 || !strings.HasPrefix(calls[0], "-n k8s.io images pull --local --hosts-dir /run/hybridctl/pull.") || !strings.HasSuffix(calls[0], " "+by) ||
		calls[1] != "-n k8s.io images tag --force "+by+" reg.example:5000/kube/pause:3.10" || calls[2] != "-n k8s.io images rm "+by {
		t.Errorf("ctr was called %q", calls)
	}
	if got := s.read("opt", "hosts"); got != "a.example: with a login\nb.example: others\n" {
		t.Errorf("it saw the hosts %q", got)
	}
	if strings.Contains(s.read("opt", "calls"), "login") {
		t.Error("a login stands in arguments")
	}

	s.write("opt/platforms", "linux/amd64")
	if status, errs := pull(); status != exitOtherPlatform || errs != "it is not for linux/arm64\n" {
		t.Errorf("another platform: exit %d, %q", status, errs)
	}
	s.write("opt/refuses", "")
	if status, errs := pull(); status != exitNotPulled || errs != "ctr: failed to resolve reference: 401 Unauthorized\n" {
		t.Errorf("a registry that refuses: exit %d, %q", status, errs)
	}
}
