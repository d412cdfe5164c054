package host

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/hybridctl/hybridctl/provision/remote"
)

// What may hang on a host is waited for with a bound.
func TestResetScript_WaitsForNothingWithoutABound(t *testing.T) {
	s := newSandbox(t)
	s.quiet()
	s.put("etc/kubernetes/manifests/etcd.yaml", "run/flannel/")
	s.tool("../local-bin/timeout", `echo "$*" >>/opt/bounded; [ "$1" != -k ] || shift 2; shift; exec "$@"`)
	s.tool("../local-bin/ctr", `case "$*" in *"containers ls -q") echo one ;; *"containers info one") echo '"/run/netns/cni-1a2b"' ;; esac`)
	s.tool("../local-bin/iptables-nft", "exit 1")
	s.tool("../local-bin/iptables-nft-save", `printf '*filter\n:KUBE-FORWARD - [0:0]\nCOMMIT\n'`)
	s.before = "mkdir -p /run/netns; : >/run/netns/cni-1a2b; mount -t tmpfs netns /run/netns; : >/run/netns/cni-1a2b; mount --bind /run/netns/cni-1a2b /run/netns/cni-1a2b"
	s.after = "ls /run/netns; grep -c netns/cni /proc/self/mountinfo"
	if code, _, errs := s.run("reset", nil); code != 1 || errs != "reset: rules of ours stay in iptables-nft: iptables-save shows them\n" {
		t.Errorf("exit %d: %s", code, errs)
	}
	bounded := s.read("opt/bounded")
	for _, command := range []string{"300 /usr/local/bin/kubeadm reset", "60 ctr -n k8s.io containers ls -q", "60 ctr -n k8s.io tasks ls -q", "20 umount /run/netns/cni-1a2b",
		"60 iptables-nft-save", "60 iptables-nft -w -t filter -F KUBE-FORWARD", "60 nft list tables"} {
		if !strings.Contains(bounded, command) {
			t.Errorf("without a bound: %s; with one\n%s", command, bounded)
		}
	}
	if got := s.read("after"); got != "0\n" {
		t.Errorf("the network namespace stays: %s", got)
	}
}

// A reset that could not delete etcd's data knows afterwards that they are kubeadm's, although what told so is gone.
func TestResetScript_KnowsWhatItBeganToDelete(t *testing.T) {
	s := newSandbox(t)
	s.quiet()
	s.put("etc/kubernetes/manifests/etcd.yaml", "var-lib/etcd/member/wal", "var-lib/hybridctl/steps/join")
	s.before = "mount -t tmpfs etcd /var/lib/etcd; mkdir /var/lib/etcd/member; mount -o remount,ro /var/lib/etcd"
	if code, _, errs := s.run("reset", nil); code != 1 || errs != "reset: /var/lib/etcd/member could not be deleted\n" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for path, there := range map[string]bool{"etc/kubernetes/manifests/etcd.yaml": false, "var-lib/hybridctl/steps/join": true} {
		if _, err := os.Stat(s.path(path)); (err == nil) != there {
			t.Errorf("%s is there: %v, want %v", path, err == nil, there)
		}
	}
	s.before = ""
	if code, _, errs := s.run("reset", nil); code != 0 || errs != "" {
		t.Errorf("exit %d: %s", code, errs)
	}
	if _, err := os.Stat(s.path("var-lib/etcd")); !os.IsNotExist(err) {
		t.Errorf("etcd's data stay: %v", err)
	}
}

// What could not be taken away is told, and its marker stays: it is ours. A path in a marker leads nowhere else than it says.
func TestRemoveScript_WhatStays(t *testing.T) {
	for name, c := range map[string]struct {
		active bool
		marker string
		files  string
		says   string
	}{
		"a unit that does not stop":  {active: true, marker: "file aa 1 644 1 /etc/systemd/system/x.service\n", says: "remove: the unit x.service still runs\n"},
		"a file that does not go":    {marker: "file aa 1 755 1 /opt/cni/bin/folder\n", says: "remove: /opt/cni/bin/folder could not be removed\n"},
		"a path out of ours":         {marker: "file aa 1 755 1 /opt/cni/bin/../../mine\n"},
		"a path that ends above":     {marker: "file aa 1 755 1 /opt/cni/bin/..\n"},
		"a path that is not for us":  {marker: "file aa 1 755 1 /opt/mine\n"},
		"nothing":                    {},
		"a file that is not there":   {files: "/opt/none"},
		"a file of ours, and a path": {marker: "file aa 1 755 1 /opt/cni/bin/bridge\n", files: "/opt/none"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t)
			s.put("opt/cni/bin/folder/x", "opt/mine", "opt/cni/bin/bridge", "var-lib/hybridctl/steps/")
			if c.active {
				s.put("opt/active")
			}
			if err := os.WriteFile(s.path("var-lib/hybridctl/steps/runtime"), []byte("state done\n"+c.marker), 0o600); err != nil {
				t.Fatal(err)
			}
			want := 0
			if c.says != "" {
				want = 1
			}
			code, _, errs := s.run("remove", nil, "runtime", "x.service", c.files, "")
			if code != want || !strings.HasSuffix(errs, c.says) || c.says == "" && errs != "" {
				t.Errorf("exit %d, %q; want %d, %q", code, errs, want, c.says)
			}
			if _, err := os.Stat(s.path("var-lib/hybridctl/steps/runtime")); (err == nil) != (want == 1) {
				t.Errorf("the marker: %v", err)
			}
			if s.read("opt/mine") != "opt/mine" || s.read("opt/cni/bin/folder/x") != "opt/cni/bin/folder/x" {
				t.Error("what is not ours is gone")
			}
		})
	}
}

// A remove that was ended in its middle, or found something in its way, is gone on with: what the units of a step that only began kept is still
// known to be ours.
func TestRemoveScript_IsGoneOnWith(t *testing.T) {
	const unit = "/etc/systemd/system/containerd.service"
	for name, rm := range map[string]string{
		"it was ended":                   "kill -9 $PPID; sleep 1",
		"something could not be deleted": "exit 1",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t)
			s.put("units/containerd.service", "var-lib/containerd/image", "opt/cni/bin/flannel", "var-lib/hybridctl/steps/")
			s.write("var-lib/hybridctl/steps/runtime", fmt.Sprintf("begin\nstate started\nfile %x 0 0644 0 %s\nend\n", sha256.Sum256([]byte("units/containerd.service")), unit))
			remove := func() int {
				code, _, _ := s.run("remove", nil, "runtime", "containerd.service", unit, "/var/lib/containerd")
				return code
			}
			s.tool("rm", "case $* in *one-file-system*) "+rm+` ;; *) exec /bin/rm "$@" ;; esac`)
			if remove() == 0 {
				t.Fatal("it ended well")
			}
			if err := os.Remove(s.path("bin/rm")); err != nil {
				t.Fatal(err)
			}
			if code := remove(); code != 0 {
				t.Errorf("exit %d", code)
			}
			for _, path := range []string{"var-lib/containerd", "units/containerd.service", "opt/cni/bin/flannel", "var-lib/hybridctl/steps/runtime"} {
				if _, err := os.Stat(s.path(path)); !os.IsNotExist(err) {
					t.Errorf("%s stays: %v", path, err)
				}
			}
		})
	}
}

// Without a tmpfs the token would reach the disk; without a configuration nothing is begun.
func TestKubeadm_WhatItDoesNotBegin(t *testing.T) {
	for name, c := range map[string]struct {
		fs, config string
		exit       int
		says       string
	}{
		"/run is on a disk": {"ext2/ext3", "token: s3cret\n", 73, "kubeadm: /run is not a tmpfs; the token would reach the disk\n"},
		"no configuration":  {"tmpfs", "", 70, "kubeadm: no configuration came\n"},
		"both are there":    {"tmpfs", "token: s3cret\n", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := attempt(t, "join", "")
			s.tool("stat", "echo "+c.fs)
			code, _, errs := s.run("kubeadm", []byte(c.config), "join", "join", "sha256:2", pin, "lab")
			if code != c.exit || errs != c.says {
				t.Errorf("exit %d, %q; want %d, %q", code, errs, c.exit, c.says)
			}
			for _, path := range []string{"var-lib/hybridctl/steps/join", "var-lib/hybridctl/cluster", "opt/ran"} {
				if _, err := os.Stat(s.path(path)); (err == nil) != (c.exit == 0) {
					t.Errorf("%s: %v", path, err)
				}
			}
			if text := s.read("run/hybridctl/kubeadm.yaml"); c.exit == 73 && strings.Contains(text, "s3cret") {
				t.Error("the token is on the disk")
			}
		})
	}
}

// A CRI that never comes is not waited for without end.
func TestKubeadm_WaitsForTheCRIWithABound(t *testing.T) {
	s := attempt(t, "join", "")
	s.tool("sleep", `[ "$1" -gt 0 ] && [ "$1" -lt 10 ]`)
	s.tool("../local-bin/kubeadm", `echo try >>/opt/tries; [ $(wc -l </opt/tries) -lt 100 ] || exit 0; echo '[ERROR CRI]: could not connect to the container runtime: it is starting'; exit 1`)
	code, _, errs := s.run("kubeadm", []byte("token: s3cret\n"), "join", "join", "sha256:2")
	if tries := strings.Count(s.read("opt/tries"), "try"); code != 75 || tries != 30 || !strings.Contains(errs, "it is starting") {
		t.Errorf("exit %d after %d tries, %q", code, tries, errs)
	}
}

// One that is ended before kubeadm is at work leaves neither the token nor the keys.
func TestKubeadm_EndedBeforeItBegins(t *testing.T) {
	for how, number := range map[string]os.Signal{"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "TERM": syscall.SIGTERM} {
		if signal.Ignored(number) { // what we start cannot be ended by it either
			continue
		}
		s := attempt(t, "join", "")
		s.put("run/hybridctl/pki/ca.key")
		s.tool("mkdir", `case $* in *steps*) kill -`+how+` $PPID ;; *) exec /bin/mkdir "$@" ;; esac`)
		s.before = "trap - " + how
		code, _, errs := s.run("kubeadm", []byte("controlPlane:\n"), "join", "join", "sha256:2")
		if code == 0 || s.read("opt/ran") == "init or join\n" {
			t.Errorf("%s: it went on: exit %d, %s", how, code, errs)
		}
		for _, path := range []string{"run/hybridctl/kubeadm.yaml", "run/hybridctl/pki"} {
			if _, err := os.Stat(s.path(path)); !os.IsNotExist(err) {
				t.Errorf("%s: %s stays: %v", how, path, err)
			}
		}
	}
}

// What somebody had in /etc/kubernetes before the first attempt is there whenever kubeadm is at work, and stays. What kubeadm made goes.
func TestKubeadm_KeepsWhatWasThereBeforeIt(t *testing.T) {
	const pod, ca = "etc/kubernetes/manifests/balancer.yaml", "etc/kubernetes/pki/login.crt"
	const resets = `case $1 in reset) rm -rf /etc/kubernetes/manifests/* /etc/kubernetes/pki/* ; `
	const works = ` exit ;; esac
case $* in "init phase certs ca --config /run/hybridctl/ca.yaml") mkdir /run/hybridctl/ca; echo certificate >/run/hybridctl/ca/ca.crt; echo key >/run/hybridctl/ca/ca.key; exit ;; esac
ls /etc/kubernetes/manifests >/opt/there
`
	for name, c := range map[string]struct {
		verb, since string
		config      string // of kubeadm; "" = any
		ended       bool   // the second attempt, when it has cleared up by half
		is          string // what the pod's file is afterwards; "" = as it was
	}{
		"an init":                             {verb: "init"},
		"a join":                              {verb: "join"},
		"a join of a control plane":           {verb: "join", config: "controlPlane:\n", since: "mkdir -p /run/hybridctl/pki; echo key >/run/hybridctl/pki/ca.key"},
		"a second attempt is ended":           {verb: "init", ended: true},
		"its owner has deleted it since":      {verb: "init", since: "rm /" + pod, is: "-"},
		"its owner has written another since": {verb: "join", since: "printf other >/" + pod, is: "other"},
	} {
		t.Run(name, func(t *testing.T) {
			s := attempt(t, c.verb, "")
			s.put(pod, ca)
			again := func(kubeadm string) int {
				s.tool("../local-bin/kubeadm", kubeadm)
				code, _, _ := s.run("kubeadm", []byte(cmp.Or(c.config, "x: y\n")), c.verb, c.verb, "sha256:2", pin, "lab")
				return code
			}
			if c.config != "" {
				s.put("run/hybridctl/pki/ca.key")
			}
			if code := again(resets + works + "touch /etc/kubernetes/manifests/kube-scheduler.yaml; exit 1"); code != 75 {
				t.Fatalf("it did not fail: exit %d", code)
			}
			s.before = c.since
			if c.ended {
				if code := again(resets + "kill -9 $PPID; sleep 1;" + works); code == 0 {
					t.Fatal("it was not ended")
				}
				if s.read(pod) == pod {
					t.Fatal("it had not begun to clear up")
				}
			}
			want, is := "balancer.yaml\n", cmp.Or(c.is, pod)
			if is == "-" {
				want = ""
			}
			if code := again(resets + works); code != 0 || s.read("opt/there") != want {
				t.Errorf("exit %d, when kubeadm ran there was %q", code, s.read("opt/there"))
			}
			if got := s.read(pod); got != is && (is != "-" || !strings.Contains(got, "no such file")) || s.read(ca) != ca {
				t.Errorf("afterwards there is %q, %q", s.read(pod), s.read(ca))
			}
			if _, err := os.Stat(s.path("var-lib/hybridctl/kubeadm-theirs")); !os.IsNotExist(err) {
				t.Errorf("the copies stay: %v", err)
			}
		})
	}
}

// Volumes of the pods of an earlier attempt are let go, and nothing of them is deleted.
func TestKubeadm_LetsGoOfVolumes(t *testing.T) {
	s := attempt(t, "join", "state started\n")
	s.put("opt/volume/data", "var-lib/kubelet/pods/1/volume/")
	s.before = "mount --bind /opt/volume /var/lib/kubelet/pods/1/volume"
	if code, _, errs := s.run("kubeadm", []byte("discovery: x\n"), "join", "join", "sha256:2"); code != 0 || errs != "" {
		t.Errorf("exit %d: %s", code, errs)
	}
	if s.read("opt/volume/data") != "opt/volume/data" || s.read("opt/ran") != "init or join\n" {
		t.Error("the volume's data are gone, or kubeadm did not run")
	}
}

// A lock that cannot be looked at, or made, is no lock that another has. Whoever logs in may read it, and a folder among the markers is none.
func TestLockScript_CannotBeHad(t *testing.T) {
	for tool, says := range map[string]string{"flock": "lock: one at a time may have it, and flock (of util-linux) is what sees to that\n", "ln": "lock: /var/lib/hybridctl.lock cannot be made\n"} {
		s := newSandbox(t)
		s.tool(tool, "exit 1")
		if code, out, errs := s.run("lock", nil, "take", "t1", "eve@a/1"); code != 1 || out != "" || errs != says {
			t.Errorf("%s: exit %d, %q, %q", tool, code, out, errs)
		}
		if left, err := os.ReadDir(s.path("var-lib")); err != nil || len(left) > 0 {
			t.Errorf("%s: left: %v, %v", tool, left, err)
		}
	}
	s := newSandbox(t)
	s.put("var-lib/hybridctl/steps/folder/")
	s.before = "umask 077"
	code, out, errs := s.run("lock", nil, "take", "t1", "eve@a/1")
	if got, err := parseLocked(remote.Output{Stdout: []byte(out)}); code != 0 || err != nil || !got.Taken || len(got.Steps) > 0 {
		t.Errorf("exit %d, %+v, %v, %s", code, got, err, errs)
	}
	if at, err := os.Stat(s.path("var-lib/hybridctl.lock")); err != nil || at.Mode().Perm() != 0o644 {
		t.Errorf("the lock: %v, %v", at, err)
	}
}

// What a script says goes into an error with a bound; its status tells whether the host is another's, and no other does.
func TestScriptError(t *testing.T) {
	said := func(status, lines int) error {
		return &scriptError{script: "reset", exit: &remote.ExitError{Status: status, Stderr: strings.Repeat("a line\n", lines)}}
	}
	for lines, want := range map[int]int{1: 1, maxWords: maxWords, maxWords + 20: maxWords} {
		if got := strings.Count(said(1, lines).Error(), "a line"); got != want {
			t.Errorf("%d lines of %d", got, lines)
		}
	}
	for status, others := range map[int]bool{0: false, 1: false, exitHalfJoined: false, exitOthers: true} {
		if err := ofOthers(said(status, 1)); errors.Is(err, ErrOthers) != others {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// A line that a host made up is none.
func TestParseStaticPods_LinesThatAreNone(t *testing.T) {
	const clock = "2026-01-02T03:04:05Z\n"
	for line, want := range map[string]int{"etcd-a etcd 2": 1, "etcd-a etcd -2": 0, "etcd-a\x1b[2J etcd 2": 0, "etcd-a etcd many": 0, "etcd-a etcd": 0} {
		if pods, err := parseStaticPods([]byte(clock + line + "\n")); err != nil || len(pods) != want {
			t.Errorf("%q: %+v, %v", line, pods, err)
		}
	}
}
