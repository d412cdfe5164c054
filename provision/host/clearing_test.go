package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/templates"
)

// Three scripts clear up, and each is one file on its way to a host: what they share has to be the same in all of them.
func TestScripts_ShareTheirWordsForDirectoriesAndMounts(t *testing.T) {
	var first string
	for _, name := range []string{"reset", "remove", "kubeadm"} {
		_, rest, begins := strings.Cut(templates.Script(name), "# Directories and mounts.")
		block, _, ends := strings.Cut(rest, "# end of directories and mounts\n")
		if !begins || !ends {
			t.Fatalf("%s.sh has no such part", name)
		}
		if first == "" {
			first = block
		}
		if block != first {
			t.Errorf("%s.sh differs from reset.sh", name)
		}
	}
}

// Two of them may only touch a host of certain clusters.
func TestScripts_ShareTheirWordsForWhoseHostItIs(t *testing.T) {
	blocks := map[string]bool{}
	for _, name := range []string{"reset", "remove"} {
		_, rest, begins := strings.Cut(templates.Script(name), "# Whose host this is.")
		block, _, ends := strings.Cut(rest, "# end of whose host\n")
		if !begins || !ends {
			t.Fatalf("%s.sh has no such part", name)
		}
		blocks[block] = true
	}
	if len(blocks) != 1 {
		t.Error("remove.sh differs from reset.sh")
	}
}

// put makes files with their paths as texts, "x/" a folder.
func (s sandbox) put(paths ...string) {
	s.t.Helper()
	for _, path := range paths {
		if err := os.MkdirAll(filepath.Dir(s.path(path)), 0o755); err != nil {
			s.t.Fatal(err)
		}
		if strings.HasSuffix(path, "/") {
			if err := os.MkdirAll(s.path(path), 0o755); err != nil {
				s.t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(s.path(path), []byte(path), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// quiet puts tools that do nothing before all others on the PATH of the scripts, so that only the file system is worked on.
func (s sandbox) quiet() {
	s.put("local-bin/", "etc/systemd/system/", "var-log/", "var-lib/hybridctl/")
	for _, tool := range []string{"systemctl", "kubeadm", "ctr", "nft", "iptables-nft-save", "iptables-legacy-save", "ip6tables-nft-save", "ip6tables-legacy-save", "iptables-save", "ip6tables-save"} {
		s.tool("../local-bin/"+tool, `echo "`+tool+` $*" >>/opt/calls`)
	}
	s.tool("../local-bin/ip", "exit 1")
	awk, err := exec.LookPath("awk")
	if err == nil {
		awk, err = filepath.EvalSymlinks(awk) // through /etc/alternatives, which is the test's own folder there
	}
	if err != nil {
		s.t.Skipf("no awk on this machine; every Debian has one, and this runs there: %v", err)
	}
	s.tool("../local-bin/awk", "exec "+awk+` "$@"`)
}

// seen lists files and mounts as the script left them.
const seen = `
for d in /var/lib /opt; do find "$d" -type f ! -path '*/hybridctl/*' ! -name calls | sort; done
sed 's/ - .*//' /proc/self/mountinfo | cut -d' ' -f5 | grep -E '^/(var/lib|opt|run/containerd)/' | sort
`

// Disks of their own are emptied and stay; what is mounted below is let go with all its data, whatever its path looks like; what only begins
// like one of our directories is not looked at.
func TestResetScript_DisksOfTheirOwnAndMounts(t *testing.T) {
	s := newSandbox(t)
	s.quiet()
	s.put("etc/kubernetes/pki/etcd/", "var-lib/etcd/", "var-lib/kubelet/", "var-lib/kubelet-backup/x/", "var-lib/containerd/image", "opt/volume/data", "opt/other/data")
	s.before = `
mount -t tmpfs etcd /var/lib/etcd; mkdir -p /var/lib/etcd/member/wal /var/lib/etcd/lost+found; echo 1 >/var/lib/etcd/member/wal/0.wal; echo 1 >/var/lib/etcd/.hidden
mount -t tmpfs kubelet /var/lib/kubelet; echo 1 >/var/lib/kubelet/config.yaml
for p in 'my data' 'back\slash' 'a	tab' 'plain/in/ner' 'kubelet'; do mkdir -p "/var/lib/kubelet/pods/1/$p"; mount --bind /opt/volume "/var/lib/kubelet/pods/1/$p"; done
mkdir /opt/volume/in; mount -t tmpfs deep '/var/lib/kubelet/pods/1/my data/in'; echo 1 >'/var/lib/kubelet/pods/1/my data/in/deep'
mount --bind /opt/other /var/lib/kubelet-backup/x`
	s.after = seen
	status, _, errs := s.run("reset", nil)
	if status != 0 || errs != "" {
		t.Errorf("exit %d: %s", status, errs)
	}
	want := `/var/lib/containerd/image
/var/lib/kubelet-backup/x/data
/opt/other/data
/opt/volume/data
/var/lib/etcd
/var/lib/kubelet
/var/lib/kubelet-backup/x
`
	if got := s.read("after"); got != want {
		t.Errorf("there is\n%swant\n%s", got, want)
	}
	if calls := s.read("opt/calls"); strings.Contains(calls, "kubeadm reset") && !strings.Contains(calls, "--skip-phases cleanup-node") {
		t.Errorf("kubeadm deletes by itself:\n%s", calls)
	}
}

// A worker may have an etcd of somebody's since it joined: kubeadm made none there, and its data stays, wherever it is, and although kubeadm's own
// reset would empty the directory.
func TestResetScript_EtcdOfSomebody(t *testing.T) {
	for name, c := range map[string]struct {
		there  []string
		before string
		want   string
	}{
		"a package's":                {there: []string{"var-lib/etcd/default/member/wal"}, want: "/var/lib/etcd/default/member/wal\n"},
		"laid out as every etcd is":  {there: []string{"var-lib/etcd/member/wal"}, want: "/var/lib/etcd/member/wal\n"},
		"on a disk of its own":       {there: []string{"var-lib/etcd/"}, before: "mkdir /var/lib/etcd/site; mount -t tmpfs site /var/lib/etcd/site; echo 1 >/var/lib/etcd/site/db", want: "/var/lib/etcd/site/db\n/var/lib/etcd/site\n"},
		"kubeadm's":                  {there: []string{"etc/kubernetes/pki/etcd/ca.crt", "var-lib/etcd/member/wal", "var-lib/etcd/x"}},
		"kubeadm's, of an init":      {there: []string{"var-lib/etcd/member/wal"}, before: "mkdir -p /var/lib/hybridctl/steps; echo state done >/var/lib/hybridctl/steps/init"},
		"kubeadm's, of one in vain":  {there: []string{"var-lib/etcd/member/wal"}, before: "echo 'aa  /etc/kubernetes/manifests/etcd.yaml' >/var/lib/hybridctl/kubeadm-init.made"},
		"of an init that made none":  {there: []string{"var-lib/etcd/member/wal"}, before: "mkdir -p /var/lib/hybridctl/steps; echo state started >/var/lib/hybridctl/steps/init", want: "/var/lib/etcd/member/wal\n"},
		"kubeadm's, half deleted":    {there: []string{"var-lib/hybridctl/etcd-goes", "var-lib/etcd/member/wal"}},
		"kubeadm's, before it began": {there: []string{"etc/kubernetes/manifests/etcd.yaml", "var-lib/etcd/x"}},
		"none":                       {there: []string{"var-lib/etcd/"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t)
			s.quiet()
			s.tool("../local-bin/kubeadm", kubeadmReset)
			s.put("var-lib/kubelet/config.yaml")
			s.put(c.there...)
			s.before, s.after = c.before, seen
			if c.want == "" {
				s.after += "[ ! -e /var/lib/etcd ] || echo it is there"
			}
			status, _, errs := s.run("reset", nil)
			if got := s.read("after"); status != 0 || errs != "" || got != c.want {
				t.Errorf("exit %d: %s: there is\n%swant\n%s", status, errs, got, c.want)
			}
		})
	}
}

// A directory behind a link, and the link itself, which an administrator made.
func TestResetScript_DirectoriesBehindLinks(t *testing.T) {
	s := newSandbox(t)
	s.quiet()
	s.put("opt/large/kubelet/config.yaml", "opt/volume/data", "opt/large/kubelet/volume/", "opt/large/mine", "var-lib/x", "etc/kubernetes/manifests/etcd.yaml")
	for link, to := range map[string]string{"var-lib/kubelet": "/opt/large/kubelet", "var-lib/etcd": "/"} {
		if err := os.Symlink(to, s.path(link)); err != nil {
			t.Fatal(err)
		}
	}
	s.before = "mount --bind /opt/volume /opt/large/kubelet/volume"
	s.after = seen + "readlink /var/lib/kubelet"
	status, _, errs := s.run("reset", nil)
	if status != 1 || errs != "reset: /var/lib/etcd leads to /: nothing was deleted there\n" {
		t.Errorf("exit %d: %s", status, errs)
	}
	if got, want := s.read("after"), "/var/lib/x\n/opt/large/mine\n/opt/volume/data\n/opt/large/kubelet\n"; got != want {
		t.Errorf("there is\n%swant\n%s", got, want)
	}
}

// What cannot be unmounted, and what is mounted where nothing of ours mounts, is refused with its path before anything is deleted there.
func TestResetScript_RefusesBelowMounts(t *testing.T) {
	for _, c := range []struct{ name, at, umount, says string }{
		{"a volume that is busy", "/var/lib/kubelet/pods/1/my data", "exit 32", "reset: /var/lib/kubelet/pods/1/my data is mounted below /var/lib/kubelet, and nothing was deleted there: unmount it, and run the same command again\n"},
		{"below etcd", "/var/lib/etcd/back up", "exit 32", "reset: /var/lib/etcd/back up is mounted below /var/lib/etcd, and nothing was deleted there: unmount it, and run the same command again\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSandbox(t)
			s.quiet()
			s.tool("../local-bin/umount", c.umount)
			s.put("var-lib/kubelet/config.yaml", "var-lib/etcd/member/wal", "opt/volume/data", "etc/kubernetes/kubelet.conf", "etc/kubernetes/pki/etcd/", "var-lib/hybridctl/steps/join")
			s.before = `mkdir -p "` + c.at + `"; mount --bind /opt/volume "` + c.at + `"`
			status, _, errs := s.run("reset", nil, UnknownPin)
			if status != 1 || errs != c.says {
				t.Errorf("exit %d: %q, want %q", status, errs, c.says)
			}
			for _, path := range []string{"opt/volume/data", "var-lib/hybridctl/steps/join"} {
				if got := s.read(path); got != path {
					t.Errorf("%s: %s", path, got)
				}
			}
		})
	}
}

// A mount that does not answer is waited for no longer than its time, is detached then, and the ones after it are not waited for as long.
func TestResetScript_MountsThatDoNotAnswer(t *testing.T) {
	s := newSandbox(t)
	s.quiet()
	s.put("opt/volume/data", "var-lib/kubelet/a/", "var-lib/kubelet/b/")
	s.tool("../local-bin/timeout", `case $* in *" ctr "* | *-save | *" nft "*) exit ;; esac; echo "$*" >>/opt/timeouts; case $* in *"umount -l"*) shift 3; exec "$@" ;; *umount*) exit 124 ;; esac`)
	s.before = "for p in a b; do mount --bind /opt/volume /var/lib/kubelet/$p; done"
	s.after = seen
	status, _, errs := s.run("reset", nil)
	if status != 0 || errs != "" {
		t.Errorf("exit %d: %s", status, errs)
	}
	want := "-k 2 20 umount -- /var/lib/kubelet/b\n-k 2 2 umount -l -- /var/lib/kubelet/b\n-k 2 2 umount -- /var/lib/kubelet/a\n-k 2 2 umount -l -- /var/lib/kubelet/a\n"
	if got := s.read("opt/timeouts"); got != want {
		t.Errorf("ran\n%swant\n%s", got, want)
	}
	if got := s.read("after"); !strings.Contains(got, "/opt/volume/data") {
		t.Errorf("there is\n%s", got)
	}
}

func TestRemoveScript_DisksOfTheirOwnAndMounts(t *testing.T) {
	s := newSandbox(t)
	s.put("var-lib/containerd/", "var-lib/containerd-data/x/", "run/containerd/io/a b/", "opt/volume/data", "opt/cni/bin/bridge", "opt/cni/bin/flannel", "opt/cni/bin/of-podman",
		"opt/containerd/lib/", "var-lib/hybridctl/steps/")
	if err := os.WriteFile(s.path("var-lib/hybridctl/steps/runtime"), []byte("state started\nfile aa 1 755 1 /opt/cni/bin/bridge\n"+unitOfRuntime), 0o600); err != nil {
		t.Fatal(err)
	}
	s.before = `mount -t tmpfs disk /var/lib/containerd; mkdir /var/lib/containerd/lost+found; echo 1 >/var/lib/containerd/.x
mount --bind /opt/volume '/run/containerd/io/a b'; mount --bind /opt/volume /var/lib/containerd-data/x`
	s.after = seen
	status, _, errs := s.run("remove", nil, "runtime", "containerd.service", "", "/var/lib/containerd /run/containerd")
	if status != 0 || errs != "" {
		t.Errorf("exit %d: %s", status, errs)
	}
	want := "/var/lib/containerd-data/x/data\n/opt/cni/bin/of-podman\n/opt/volume/data\n/var/lib/containerd\n/var/lib/containerd-data/x\n"
	if got := s.read("after"); got != want {
		t.Errorf("there is\n%swant\n%s", got, want)
	}
}

// A step that was interrupted has noted what it brought until then, and what an earlier one had brought.
func TestApplyScript_NotesWhatAnInterruptedStepBrought(t *testing.T) {
	s := newSandbox(t)
	f := runtimeFiles(s.stage("runtime", "binary"))
	s.put("var-lib/hybridctl/steps/")
	if err := os.WriteFile(s.path("var-lib/hybridctl/steps/runtime"), []byte("state done\ndigest sha256:d0\nfile aa 1 755 1 /opt/cni/bin/old\nunit x.service\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.tool("modprobe", "exit 1") // behind the files
	if status, _, _ := s.run("apply", f.directives(), staging); status == 0 {
		t.Fatal("it was not interrupted")
	}
	m, err := ParseMarker("runtime", []byte(s.read("var-lib/hybridctl/steps/runtime")))
	if err != nil || m.State != MarkerStarted {
		t.Fatalf("marker %+v, error %v", m, err)
	}
	if text := s.read("var-lib/hybridctl/steps/runtime"); !strings.HasPrefix(text, "begin\n") || !strings.HasSuffix(text, "\nend\n") {
		t.Errorf("one that was cut could not be told from the marker %q", text)
	}
	var paths []string
	for _, f := range m.Files {
		paths = append(paths, f.Path)
	}
	if got := strings.Join(paths, " "); got != "/opt/cni/bin/old /opt/bin/a /opt/bin/same /opt/etc/conf" {
		t.Errorf("noted: %s", got)
	}
}

// A step whose marker cannot be read may have ended in the middle: a unit that was to start again for a file may not have.
func TestApplyScript_MarkerThatCannotBeReadTellsOfNoEnd(t *testing.T) {
	for text, want := range map[string]string{"": "restarted y.service\n", "\x00\x00\x00\x00": "restarted y.service\n", "state started\n": "restarted y.service\n", "state done\ndigest sha256:1\n": "",
		"begin\nstate done\ndigest sha256:1\n": "restarted y.service\n", "begin\nstate done\ndigest sha256:1\nend\n": ""} {
		s := newSandbox(t)
		s.put("var-lib/hybridctl/steps/", "opt/active")
		if err := os.WriteFile(s.path("var-lib/hybridctl/steps/registries"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f := Files{Step: "registries", Digest: "sha256:1", Restart: []Restart{{Unit: "y.service", Path: "/opt/etc/conf"}}}
		if status, out, errs := s.run("apply", f.directives(), staging); status != 0 || out != want {
			t.Errorf("%q: exit %d, %q, %s", text, status, out, errs)
		}
	}
}

// A failed init is tried again on a disk of its own, which may be new; keys of control planes reach no other role.
func TestKubeadm_ClearsUpAnEarlierAttempt(t *testing.T) {
	const keys = "mkdir -p /run/hybridctl/pki; echo key >/run/hybridctl/pki/new.key"
	for _, c := range []struct {
		name, verb, config, marker, before string
		exit                               int
		says                               string
		files                              string // that are there when kubeadm runs
	}{
		{"init again on a disk of its own", "init", "x: y\n", "state started\n", "mount -t tmpfs etcd /var/lib/etcd; mkdir -p /var/lib/etcd/member /var/lib/etcd/lost+found; echo 1 >/var/lib/etcd/member/db", 0, "", "/etc/kubernetes/pki/ca.key\n"},
		{"init again, which came as far as its kubelet", "init", "x: y\n", "state started\n", "touch /etc/kubernetes/admin.conf /etc/kubernetes/kubelet.conf; sha256sum /etc/kubernetes/admin.conf >>/var/lib/hybridctl/kubeadm-init.made", 0, "", "/etc/kubernetes/pki/ca.key\n"},
		{"a worker of another cluster since", "init", "x: y\n", "state started\n", "touch /etc/kubernetes/kubelet.conf", 74,
			"kubeadm: this host is a worker of another cluster, and nothing was done: it has a kubelet.conf, and no admin.conf, which kubeadm init makes first\n", ""},
		{"init on a new disk", "init", "x: y\n", "", "rm /etc/kubernetes/pki/ca.key; mount -t tmpfs etcd /var/lib/etcd; mkdir /var/lib/etcd/lost+found", 0, "", "/etc/kubernetes/pki/ca.key\n"},
		{"a mount below etcd", "init", "x: y\n", "state started\n", "mkdir '/var/lib/etcd/back up'; mount --bind /opt/volume '/var/lib/etcd/back up'", 74,
			"kubeadm: /var/lib/etcd/back up is mounted below /var/lib/etcd, and nothing was deleted there: unmount it, and run the same command again\n", ""},
		{"data of etcd that cannot be deleted", "init", "x: y\n", "state started\n", "mount -t tmpfs etcd /var/lib/etcd; mkdir /var/lib/etcd/member; mount -o remount,ro /var/lib/etcd", 74,
			"kubeadm: /var/lib/etcd/member could not be deleted\nkubeadm: etcd would go on with the data of the earlier attempt: delete /var/lib/etcd/member, and run the same command again\n", ""},
		{"a mount below its certificates", "init", "x: y\n", "state started\n", "mkdir -p '/etc/kubernetes/pki/my keys'; mount --bind /opt/volume '/etc/kubernetes/pki/my keys'", 74,
			"kubeadm: /etc/kubernetes/pki/my keys is mounted below /etc/kubernetes, and nothing was deleted there: unmount it, and run the same command again\n", ""},
		{"its certificates are a mount", "join", "discovery: x\n", "state started\n", "mount --bind /opt/volume /etc/kubernetes/pki", 74,
			"kubeadm: /etc/kubernetes/pki is mounted below /etc/kubernetes, and nothing was deleted there: unmount it, and run the same command again\n", ""},
		{"a file that is a mount", "init", "x: y\n", "state started\n", "mkdir /etc/kubernetes/manifests; touch /etc/kubernetes/manifests/x.yaml; mount --bind /opt/volume/data /etc/kubernetes/manifests/x.yaml; sha256sum /etc/kubernetes/manifests/x.yaml >>/var/lib/hybridctl/kubeadm-init.made", 74,
			"kubeadm: /etc/kubernetes/manifests/x.yaml is mounted below /etc/kubernetes, and nothing was deleted there: unmount it, and run the same command again\n", ""},
		{"a control plane, and a mount for its certificates", "join", "discovery: x\ncontrolPlane:\n  localAPIEndpoint: {}\n", "", keys + "; mount -t tmpfs pki /etc/kubernetes/pki; mkdir /etc/kubernetes/pki/lost+found", 0, "", "/etc/kubernetes/pki/new.key\n"},
		{"a control plane, and another's mount", "join", "discovery: x\ncontrolPlane:\n  localAPIEndpoint: {}\n", "", keys + "; mount --bind /opt/volume /etc/kubernetes/pki", 74,
			"kubeadm: /etc/kubernetes/pki is a mount point, and what is on it would be replaced: empty it, or unmount it, and run the same command again\n", ""},
		{"a control plane, and a mount below", "join", "discovery: x\ncontrolPlane:\n  localAPIEndpoint: {}\n", "", keys + "; rm /etc/kubernetes/pki/ca.key; mkdir /etc/kubernetes/pki/etcd; mount --bind /opt/volume /etc/kubernetes/pki/etcd", 74,
			"kubeadm: /etc/kubernetes/pki/etcd is mounted below /etc/kubernetes/pki, and nothing was deleted there: unmount it, and run the same command again\n", ""},
		{"a worker where a control plane was to be", "join", "discovery: x\n", "state started\n", "mkdir -p /run/hybridctl/pki; echo key >/run/hybridctl/pki/ca.key", 0, "", ""},
		{"a worker whose marker cannot be read", "join", "discovery: x\n", "\x00\x00\x00", "", 0, "", ""},
		{"a worker, and keys on their way", "join", "discovery: x\n", "", "rm -r /etc/kubernetes/pki; mkdir -p /run/hybridctl/pki; echo key >/run/hybridctl/pki/ca.key", 0, "", ""},
		{"a control plane", "join", "discovery: x\ncontrolPlane:\n  localAPIEndpoint: {}\n", "", keys + "; mv /etc/kubernetes/pki/ca.key /etc/kubernetes/pki/old.crt", 0, "", "/etc/kubernetes/pki/new.key\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSandbox(t)
			s.put("var-lib/etcd/", "etc/kubernetes/pki/ca.key", "etc/systemd/system/", "local-bin/", "run/systemd/system/", "opt/volume/data", "var-lib/kubelet/", "var-lib/hybridctl/steps/")
			if c.marker != "" {
				if err := os.WriteFile(s.path("var-lib/hybridctl/steps", c.verb), []byte(c.marker), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s.tool("stat", "echo tmpfs")
			s.tool("systemctl", `case $* in "start hybridctl-kubeadm.service") sh /run/hybridctl/kubeadm.sh >/var/lib/hybridctl/kubeadm-`+c.verb+`.log 2>&1 ;; esac`)
			s.noted("etc/kubernetes/pki/ca.key", "etc/kubernetes/manifests/etcd.yaml", "end")
			s.tool("../local-bin/kubeadm", `echo "kubeadm $*" >>/opt/calls; case $1 in reset) exit 1 ;; esac
				case $3 in certs) mkdir /run/hybridctl/ca; echo new | tee /run/hybridctl/ca/ca.crt >/run/hybridctl/ca/ca.key; exit ;; esac; { find /var/lib/etcd /run/hybridctl/pki -mindepth 1; find /etc/kubernetes -name '*.key'; } >/opt/there`)
			s.before = c.before
			code, _, errs := s.run("kubeadm", []byte(c.config), c.verb, c.verb, "sha256:2")
			if code != c.exit || errs != c.says {
				t.Errorf("exit %d, %q; want %d, %q", code, errs, c.exit, c.says)
			}
			if got := s.read("opt/there"); c.exit == 0 && got != c.files {
				t.Errorf("when kubeadm ran there was %q, want %q", got, c.files)
			}
			if got := s.read("opt/volume/data"); got != "opt/volume/data" {
				t.Errorf("the volume: %s", got)
			}
			if calls := s.read("opt/calls"); c.exit == 74 && strings.Contains(calls, "kubeadm reset") && !strings.Contains(c.says, "could not") {
				t.Errorf("kubeadm deleted by itself:\n%s", calls)
			}
			if _, err := os.Stat(s.path("run/hybridctl/pki")); !os.IsNotExist(err) {
				t.Errorf("keys stay on their way: %v", err)
			}
			if m := s.read("var-lib/hybridctl/steps", c.verb); c.exit == 74 && c.marker == "" && strings.HasPrefix(m, "state") {
				t.Errorf("it was begun: %q", m)
			}
		})
	}
}

// The packet filter: commands by the tables that a host had. They are what iptables is called with, each argument in brackets.
func TestResetScript_RulesByChains(t *testing.T) {
	const rules = `# Generated by iptables-save
*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:KUBE-FORWARD - [0:0]
:FLANNEL-FWD - [0:0]
:MY-KUBE-LOG - [0:0]
:KUBERNETES - [0:0]
:cali-INPUT - [0:0]
-A INPUT -p tcp -m comment --comment "autoscaling agent, -j KUBE-FORWARD" -m tcp --dport 9100 -j ACCEPT
-A INPUT -m comment --comment KUBE-FORWARD -j ACCEPT
-A INPUT -m comment --comment "a \"quoted\" $(reboot) \\ word" -j KUBE-FORWARD
-A INPUT -s 198.51.100.0/24 -j MY-KUBE-LOG
-A INPUT -j KUBERNETES
-A INPUT -j cali-INPUT
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FORWARD -g KUBE-FORWARD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A FLANNEL-FWD -s 10.244.0.0/16 -j ACCEPT
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
:CNI-3f1dd0b4c5f5e7c1d0a2b3c4 - [0:0]
:CNI-DN-0a1b2c3d - [0:0]
:CNI-DN-9f8e7d6c - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-HOSTPORT-SETMARK - [0:0]
-A POSTROUTING -s 10.88.0.9/32 -m comment --comment "name: \"podman\" id: \"3f1d\"" -j CNI-3f1dd0b4c5f5e7c1d0a2b3c4
-A CNI-3f1dd0b4c5f5e7c1d0a2b3c4 -d 10.88.0.0/16 -j ACCEPT
-A CNI-DN-0a1b2c3d -s 10.244.3.0/24 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
-A CNI-DN-0a1b2c3d -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.244.3.7:80
-A CNI-DN-9f8e7d6c -p tcp -m tcp --dport 9090 -j DNAT --to-destination 10.88.0.9:80
-A CNI-HOSTPORT-DNAT -p tcp -m multiport --dports 8080 -j CNI-DN-0a1b2c3d
-A CNI-HOSTPORT-DNAT -p tcp -m multiport --dports 9090 -j CNI-DN-9f8e7d6c
COMMIT
`
	const six = `*nat
:CNI-DN-0a1b2c3d - [0:0]
:CNI-DN-9f8e7d6c - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
-A CNI-DN-0a1b2c3d -p tcp -j DNAT --to-destination [fd00:10:244:3::7]:80
-A CNI-HOSTPORT-DNAT -p tcp -j CNI-DN-0a1b2c3d
COMMIT
`
	s := newSandbox(t)
	s.quiet()
	s.put("run/flannel/", "var-lib/kubelet/", "etc/cni/net.d/87-podman-bridge.conflist")
	if err := os.WriteFile(s.path("run/flannel/subnet.env"), []byte("FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\nFLANNEL_IPV6_SUBNET=fd00:10:244:3::1/64\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"iptables-legacy": rules, "ip6tables-nft": six} {
		if err := os.WriteFile(s.path("opt", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s.tool("../local-bin/"+name, `printf %s "`+name+`" >>/opt/commands; for a; do printf ' [%s]' "$a" >>/opt/commands; done; echo >>/opt/commands; rm -f /opt/`+name)
		s.tool("../local-bin/"+name+"-save", `cat /opt/`+name+` 2>/dev/null || :`)
	}
	status, _, errs := s.run("reset", nil)
	if status != 0 || errs != "" {
		t.Errorf("exit %d: %s", status, errs)
	}
	want := `iptables-legacy [-w] [-t] [filter] [-D] [INPUT] [-m] [comment] [--comment] [a "quoted" $(reboot) \ word] [-j] [KUBE-FORWARD]
iptables-legacy [-w] [-t] [filter] [-D] [FORWARD] [-m] [comment] [--comment] [flanneld forward] [-j] [FLANNEL-FWD]
iptables-legacy [-w] [-t] [filter] [-D] [FORWARD] [-g] [KUBE-FORWARD]
iptables-legacy [-w] [-t] [filter] [-F] [KUBE-FORWARD]
iptables-legacy [-w] [-t] [filter] [-F] [FLANNEL-FWD]
iptables-legacy [-w] [-t] [filter] [-X] [KUBE-FORWARD]
iptables-legacy [-w] [-t] [filter] [-X] [FLANNEL-FWD]
iptables-legacy [-w] [-t] [nat] [-D] [CNI-HOSTPORT-DNAT] [-p] [tcp] [-m] [multiport] [--dports] [8080] [-j] [CNI-DN-0a1b2c3d]
iptables-legacy [-w] [-t] [nat] [-F] [CNI-DN-0a1b2c3d]
iptables-legacy [-w] [-t] [nat] [-X] [CNI-DN-0a1b2c3d]
ip6tables-nft [-w] [-t] [nat] [-D] [CNI-HOSTPORT-DNAT] [-p] [tcp] [-j] [CNI-DN-0a1b2c3d]
ip6tables-nft [-w] [-t] [nat] [-F] [CNI-DN-0a1b2c3d]
ip6tables-nft [-w] [-t] [nat] [-X] [CNI-DN-0a1b2c3d]
`
	if got := s.read("opt/commands"); got != want {
		t.Errorf("ran\n%swant\n%s", got, want)
	}

	// the same without another network: what all networks' port maps share is ours too; and rules that do not go are told
	if err := os.Remove(s.path("etc/cni/net.d/87-podman-bridge.conflist")); err != nil {
		t.Fatal(err)
	}
	s.put("run/flannel/")
	if err := os.WriteFile(s.path("run/flannel/subnet.env"), []byte("FLANNEL_SUBNET=10.244.3.1/24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	alone := "*nat\n:POSTROUTING ACCEPT [0:0]\n:CNI-HOSTPORT-DNAT - [0:0]\n-A POSTROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT\nCOMMIT\n"
	if err := os.WriteFile(s.path("opt/iptables-legacy"), []byte(alone), 0o600); err != nil {
		t.Fatal(err)
	}
	s.tool("../local-bin/iptables-legacy", `echo "$*" >>/opt/alone`)
	status, _, errs = s.run("reset", nil)
	if status != 1 || errs != "reset: rules of ours stay in iptables-legacy: iptables-save shows them\n" {
		t.Errorf("exit %d: %s", status, errs)
	}
	once := "-w -t nat -D POSTROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT\n-w -t nat -F CNI-HOSTPORT-DNAT\n-w -t nat -X CNI-HOSTPORT-DNAT\n"
	if got := s.read("opt/alone"); got != once+once {
		t.Errorf("ran\n%s", got)
	}
}

// Under SELinux what lands gets the label of its place.
func TestApplyScript_Labels(t *testing.T) {
	s := newSandbox(t)
	s.tool("selinuxenabled", "true")
	s.tool("restorecon", `echo "$*" >>/opt/labelled; false`)
	f := runtimeFiles(s.stage("runtime", "binary"))
	if status, _, errs := s.run("apply", f.directives(), staging); status != 0 {
		t.Fatalf("exit %d: %s", status, errs)
	}
	if got, want := s.read("opt/labelled"), "-F /opt/bin/a\n-F /opt/bin/same\n-F /opt/etc/conf\n"; got != want {
		t.Errorf("labelled %q", got)
	}
}
