package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Between a run's look at a host and its kubeadm another run may have made a node of it: that one is neither reset nor joined again.
func TestKubeadm_LeavesAFinishedNodeAlone(t *testing.T) {
	s := newSandbox(t)
	done := "begin\nstate done\ndigest sha256:1\nunit kubelet.service\nend\n"
	for path, text := range map[string]string{"var-lib/hybridctl/steps/join": done, "run/hybridctl/pki/ca.key": "key"} {
		if err := os.MkdirAll(filepath.Dir(s.path(path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.path(path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.tool("stat", "echo tmpfs")
	code, _, errs := s.run("kubeadm", []byte("token: s3cret\n"), "join", "join", "sha256:2")
	if code != 0 {
		t.Errorf("exit %d: %s", code, errs)
	}
	if got := s.read("var-lib", "hybridctl", "steps", "join"); got != done {
		t.Errorf("the marker became %q", got)
	}
	if calls := s.read("opt", "calls"); strings.Contains(calls, "start") {
		t.Errorf("something was started:\n%s", calls)
	}
	for _, path := range []string{"kubeadm.yaml", "pki"} {
		if _, err := os.Stat(s.path("run", "hybridctl", path)); !os.IsNotExist(err) {
			t.Errorf("%s stays: %v", path, err)
		}
	}
}

// A disk that is full when kubeadm has ended well takes no marker: that is told, and that it was begun stays known.
func TestKubeadm_MarkerThatCannotBeWritten(t *testing.T) {
	s := newSandbox(t)
	s.put("etc/systemd/system/", "local-bin/", "run/systemd/system/", "var-lib/hybridctl/")
	s.tool("stat", "echo tmpfs")
	s.tool("systemctl", `case $* in "start hybridctl-kubeadm.service") sh /run/hybridctl/kubeadm.sh >/var/lib/hybridctl/kubeadm-init.log 2>&1 ;; esac`)
	s.tool("../local-bin/kubeadm", kubeadmReset+"; ln -s /nowhere/x /var/lib/hybridctl/steps/init.new") // stands for a full disk
	code, _, errs := s.run("kubeadm", []byte("token: s3cret\n"), "init", "init", "sha256:2")
	if code != 75 || !strings.Contains(errs, "error: kubeadm init ended well, and /var/lib/hybridctl/steps/init cannot be written: is the disk full?") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if got := s.read("var-lib/hybridctl/steps/init"); got != "begin\nstate started\nend\n" {
		t.Errorf("the marker is %q", got)
	}
}

// The unit that runs kubeadm is new, and gone afterwards: systemd reads its units again only where it does not find it.
func TestKubeadm_ReloadsWhereItMust(t *testing.T) {
	for shown, reload := range map[string]bool{"LoadState=loaded\nNeedDaemonReload=no": false, "LoadState=not-found\nNeedDaemonReload=no": true,
		"LoadState=loaded\nNeedDaemonReload=yes": true, "": true} {
		s := newSandbox(t)
		s.put("etc/systemd/system/", "local-bin/", "run/systemd/system/", "var-lib/hybridctl/")
		s.tool("stat", "echo tmpfs")
		s.tool("systemctl", `echo "systemctl $*" >>/opt/calls; case $* in show*) printf '%s\n' '`+shown+`' ;; "start hybridctl-kubeadm.service") sh /run/hybridctl/kubeadm.sh ;; esac`)
		s.tool("../local-bin/kubeadm", kubeadmReset)
		code, _, errs := s.run("kubeadm", []byte("x: y\n"), "init", "init", "sha256:2")
		if code != 0 {
			t.Errorf("%q: exit %d: %s", shown, code, errs)
		}
		if calls := s.read("opt", "calls"); strings.Contains(calls, "daemon-reload") != reload {
			t.Errorf("%q: read again: %v, want %v:\n%s", shown, !reload, reload, calls)
		}
		if _, err := os.Stat(s.path("run/systemd/system/hybridctl-kubeadm.service")); err == nil {
			t.Errorf("%q: the unit stays", shown)
		}
	}
}

// A CRI that is still starting is waited for; what else kubeadm says ends it.
func TestKubeadm_WaitsForTheCRI(t *testing.T) {
	const starting = `[ERROR CRI]: could not connect to the container runtime: rpc error: code = Unknown desc = server is not initialized yet`
	for name, c := range map[string]struct {
		says string // kubeadm, at its first and at its second try
		then string // and at its third
		runs int
		exit int
		told string
	}{
		"it comes":                       {starting, "", 3, 0, ""},
		"another error":                  {"[ERROR Swap]: swap is on", "", 1, 75, "[ERROR Swap]: swap is on\n"},
		"another error when it is there": {starting, "error: no token", 3, 75, "error: no token\n"},
		"and an end without a word":      {starting, "Killed", 3, 75, "Killed\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t)
			for _, d := range []string{"etc/systemd/system", "local-bin", "run/systemd/system", "var-lib/hybridctl"} {
				if err := os.MkdirAll(s.path(d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			s.tool("stat", "echo tmpfs")
			s.tool("sleep", ":")
			s.tool("systemctl", `case $* in "start hybridctl-kubeadm.service") sh /run/hybridctl/kubeadm.sh >/var/lib/hybridctl/kubeadm-join.log 2>&1 ;; esac`)
			s.tool("../local-bin/kubeadm", `[ -s /run/hybridctl/kubeadm.yaml ] || exit 9; echo "$*" >>/opt/calls
				[ $(wc -l </opt/calls) -ge 3 ] || { echo "`+c.says+`"; exit 1; }
				[ -z "`+c.then+`" ] || { echo "`+c.then+`"; exit 1; }`)
			code, _, errs := s.run("kubeadm", []byte("token: s3cret\n"), "join", "join", "sha256:2")
			if runs := strings.Count(s.read("opt", "calls"), "join --config"); code != c.exit || runs != c.runs {
				t.Errorf("exit %d after %d runs, %s; want %d after %d", code, runs, errs, c.exit, c.runs)
			}
			if _, told, _ := strings.Cut(errs, "on the host): "); told != c.told {
				t.Errorf("told %q, want %q", told, c.told)
			}
			if _, err := os.Stat(s.path("run/hybridctl/kubeadm.yaml")); !os.IsNotExist(err) {
				t.Errorf("the token stays: %v", err)
			}
		})
	}
}

// The tool was gone, and kubeadm went on: who comes again waits for it, whatever it has made of the host by now. Nothing is begun twice, and the
// second token does not reach the disk.
func TestKubeadm_WaitsForTheOneThatIsAtWork(t *testing.T) {
	const ours = "run/hybridctl/kubeadm.yaml"
	for name, c := range map[string]struct {
		end  string // of the unit, once it was waited for
		exit int
		says string
	}{
		"it ends well": {"printf 'state done\\n' >/var/lib/hybridctl/steps/join", 0, ""},
		"it fails":     {"false", 75, "kubeadm join failed (all of its output is in /var/lib/hybridctl/kubeadm-join.log on the host): error: the moon is in the way\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t)
			for path, text := range map[string]string{"var-lib/hybridctl/steps/join": "state started\n", "var-lib/hybridctl/kubeadm-join.log": "[preflight] fine\nerror: the moon is in the way\n",
				ours: "token: first\n", "run/hybridctl/pki/ca.key": "key", "etc/kubernetes/kubelet.conf": "", "etc/kubernetes/manifests/etcd.yaml": "", "etc/kubernetes/pki/ca.key": "",
				"etc/systemd/system/x": "", "local-bin/x": ""} {
				if err := os.MkdirAll(filepath.Dir(s.path(path)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(s.path(path), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s.tool("stat", "echo tmpfs")
			s.tool("systemctl", `echo "systemctl $*" >>/opt/calls; case $1 in show) echo activating ;; start) `+c.end+` ;; esac`)
			s.tool("../local-bin/kubeadm", `echo "kubeadm $*" >>/opt/calls`)
			code, _, errs := s.run("kubeadm", []byte("token: second\n"), "join", "join", "sha256:2")
			if code != c.exit || errs != c.says {
				t.Errorf("exit %d, %q; want %d, %q", code, errs, c.exit, c.says)
			}
			if calls, want := s.read("opt", "calls"), "systemctl show -p ActiveState --value hybridctl-kubeadm.service\nsystemctl start hybridctl-kubeadm.service\n"; calls != want {
				t.Errorf("called:\n%s", calls)
			}
			if got := s.read(ours); got != "token: first\n" {
				t.Errorf("the configuration is %q", got)
			}
			if _, err := os.Stat(s.path("run/hybridctl/pki")); !os.IsNotExist(err) {
				t.Errorf("the certificates stay: %v", err)
			}
			if got := s.read("etc/kubernetes/kubelet.conf"); got != "" {
				t.Errorf("the host was reset: %s", got)
			}
		})
	}
}

// A join that ended after the host may have become a member of etcd, or a node, is not wiped: the cluster has to forget it first. Before that
// there is nothing to forget.
func TestKubeadm_LeavesWhatTheClusterMayCountOn(t *testing.T) {
	const begun, unreadable = "state started\n", "\x00\x00\x00\x00"
	for _, c := range []struct {
		path   string
		as     string // a file beside it
		exit   int    // 0 = the host is cleared up, and kubeadm runs
		marker string
	}{
		{"etc/kubernetes/manifests/etcd.yaml", "etc/kubernetes/pki/ca.key", exitHalfControlPlane, begun},
		{"var-lib/etcd/member/wal", "etc/kubernetes/pki/ca.key", exitHalfControlPlane, begun},
		{"var-lib/etcd/member/snap", "etc/kubernetes/pki/ca.key", exitHalfControlPlane, unreadable},
		{"etc/kubernetes/kubelet.conf", "etc/kubernetes/pki/ca.key", exitHalfControlPlane, begun}, // etcd counts on it before it has any data
		{"etc/kubernetes/kubelet.conf", "etc/kubernetes/pki/ca.crt", exitHalfJoined, begun},
		{"etc/kubernetes/bootstrap-kubelet.conf", "etc/kubernetes/pki/ca.key", 0, begun},
	} {
		path, touched := c.path, c.exit == 0
		t.Run(filepath.Base(path)+" beside "+filepath.Base(c.as), func(t *testing.T) {
			s := newSandbox(t)
			for path, text := range map[string]string{"var-lib/hybridctl/steps/join": c.marker, "run/hybridctl/pki/ca.key": "key", "run/systemd/system/x": "",
				"etc/systemd/system/x": "", "local-bin/x": "", path: "here", c.as: "here"} {
				if err := os.MkdirAll(filepath.Dir(s.path(path)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(s.path(path), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s.tool("stat", "echo tmpfs")
			s.tool("../local-bin/kubeadm", `echo "kubeadm $*" >>/opt/calls`)
			code, _, errs := s.run("kubeadm", []byte("token: s3cret\n"), "join", "join", "sha256:2")
			if half := code == exitHalfJoined || code == exitHalfControlPlane; half == touched || half && code != c.exit {
				t.Errorf("exit %d: %s", code, errs)
			}
			calls := s.read("opt", "calls")
			if strings.Contains(calls, "kubeadm reset") != touched || strings.Contains(calls, "start hybridctl-kubeadm") != touched {
				t.Errorf("called:\n%s", calls)
			}
			if _, err := os.Stat(s.path(path)); !touched && err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(s.path("run/hybridctl/kubeadm.yaml")); !touched && !os.IsNotExist(err) {
				t.Errorf("the token stays: %v", err)
			}
		})
	}
}
