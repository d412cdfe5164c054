package host

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
)

// kubeadmReset is a kubeadm that empties etcd's directory, as the real one's phase remove-etcd-member does wherever it runs, whoever's the data is.
const kubeadmReset = `echo "kubeadm $*" >>/opt/calls
case $* in reset*--skip-phases*remove-etcd-member*) exit 0 ;; reset*) rm -rf /var/lib/etcd/* ; exit 0 ;; esac
case $* in "init phase certs ca --config /run/hybridctl/ca.yaml") mkdir /run/hybridctl/ca; echo certificate >/run/hybridctl/ca/ca.crt; echo key >/run/hybridctl/ca/ca.key; exit ;; esac
echo "init or join" >>/opt/ran`

// attempt is a sandbox in which kubeadm.sh runs to its end, or is told why not.
func attempt(t *testing.T, verb, marker string) sandbox {
	t.Helper()
	s := newSandbox(t)
	s.put("var-lib/etcd/", "etc/kubernetes/", "etc/systemd/system/", "local-bin/", "run/systemd/system/", "var-lib/kubelet/", "var-lib/hybridctl/steps/")
	if marker != "" {
		if err := os.WriteFile(s.path("var-lib/hybridctl/steps", verb), []byte(marker), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.tool("stat", "echo tmpfs")
	s.tool("systemctl", `case $* in "start hybridctl-kubeadm.service") sh /run/hybridctl/kubeadm.sh >/var/lib/hybridctl/kubeadm-`+verb+`.log 2>&1 ;; esac`)
	s.tool("../local-bin/kubeadm", kubeadmReset)
	return s
}

// refused runs kubeadm.sh, which must do nothing but say why.
func (s sandbox) refused(verb, config, says string) {
	s.t.Helper()
	before := s.read("var-lib/hybridctl/steps", verb)
	code, _, errs := s.run("kubeadm", []byte(config), verb, verb, "sha256:2", pin, "lab")
	if code != 74 || !strings.Contains(errs, says) || strings.Count(errs, "\n") != 1 {
		s.t.Errorf("exit %d, %q", code, errs)
	}
	if calls := s.read("opt/calls"); strings.Contains(calls, "kubeadm") {
		s.t.Errorf("kubeadm was called: %s", calls)
	}
	if got := s.read("var-lib/hybridctl/steps", verb); got != before {
		s.t.Errorf("the marker is %q", got)
	}
	for _, path := range []string{"var-lib/hybridctl/cluster", "run/hybridctl/kubeadm.yaml"} {
		if _, err := os.Stat(s.path(path)); !os.IsNotExist(err) {
			s.t.Errorf("%s: %v", path, err)
		}
	}
}

// systemd that does not answer has not said that kubeadm is not at work: what would be cleared up is what it works with.
func TestKubeadm_AtWorkOrNotIsNotKnown(t *testing.T) {
	s := attempt(t, "init", "state started\n")
	s.put("etc/kubernetes/manifests/etcd.yaml", "var-lib/etcd/member/wal")
	s.tool("systemctl", `case $1 in show) echo "Failed to get properties: Connection timed out" >&2; exit 1 ;; esac`)
	code, _, errs := s.run("kubeadm", []byte("x: y\n"), "init", "init", "sha256:2")
	if code != 74 || !strings.Contains(errs, "systemd does not say whether kubeadm is at work: nothing was done") {
		t.Errorf("exit %d, %q", code, errs)
	}
	if calls := s.read("opt/calls"); strings.Contains(calls, "kubeadm") || s.read("var-lib/etcd/member/wal") != "var-lib/etcd/member/wal" {
		t.Errorf("it was cleared up: %s", calls)
	}
}

// A node that hybridctl did not set up is not begun with: the marker of a join that fails there would have the next run reset it.
func TestKubeadm_BeginsNoNodeOfSomebody(t *testing.T) {
	for _, c := range []struct{ verb, there string }{{"join", "kubelet.conf"}, {"init", "kubelet.conf"}, {"join", "manifests/kube-apiserver.yaml"}, {"init", "pki/ca.crt"}, {"join", "pki/ca.crt"},
		{"init", "pki/ca.key"}, {"join", "pki/ca.key"}, {"init", "manifests/etcd.yaml"}, {"join", "manifests/etcd.yaml"}} {
		s := attempt(t, c.verb, "")
		s.put("etc/kubernetes/"+c.there, "var-lib/etcd/member/wal")
		s.refused(c.verb, "discovery: x\n", "/etc/kubernetes/"+c.there+" is there, and hybridctl did not make this host a node: nothing was done")
	}
}

// noted has these files of /etc/kubernetes in the note of what an init of ours made. They are as put writes them; "end" stands for itself.
func (s sandbox) noted(files ...string) {
	s.t.Helper()
	var note strings.Builder
	for _, f := range files {
		if f == "end" {
			note.WriteString("end\n")
			continue
		}
		fmt.Fprintf(&note, "%x  /%s\n", sha256.Sum256([]byte(f)), f)
	}
	s.put("var-lib/hybridctl/")
	if err := os.WriteFile(s.path("var-lib/hybridctl/kubeadm-init.made"), []byte(note.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// An init that failed is cleared up, but not a cluster that was made there by hand since. What was ours was noted; times tell nothing.
func TestKubeadm_ClusterMadeByHandSinceAnInitFailed(t *testing.T) {
	const (
		ca, key, admin = "etc/kubernetes/pki/ca.crt", "etc/kubernetes/pki/ca.key", "etc/kubernetes/admin.conf"
		etcd, api, wal = "etc/kubernetes/manifests/etcd.yaml", "etc/kubernetes/manifests/kube-apiserver.yaml", "var-lib/etcd/member/wal"
		older, younger = "touch -d '1 minute ago' /var/lib/hybridctl/kubeadm-init.log", "touch -d '1 minute' /var/lib/hybridctl/kubeadm-init.log"
	)
	whole := []string{ca, key, admin, etcd, api, wal}
	for name, c := range map[string]struct {
		there, noted []string
		before, says string
	}{
		"its own, and kubeadm was killed":      {there: whole, noted: []string{ca, key}, before: younger},
		"its own, and it ended":                {there: whole, noted: []string{ca, key, admin, etcd, api, "end"}, before: older},
		"its own, and it ended before etcd":    {there: []string{ca, key}, noted: []string{ca, key, "end"}},
		"its own, cleared up in part":          {there: []string{admin, wal}, noted: []string{ca, key, admin, etcd, api, "end"}, before: older},
		"its own, before there is a CA":        {noted: []string{ca, key}},
		"its own, before there is all of a CA": {there: []string{key}, noted: []string{ca, key}},
		"made by hand, with another CA":        {there: whole, noted: []string{"the CA of ours"}, before: younger, says: "/" + ca + " is not known to be of the init that hybridctl tried here: another may have made a cluster since, and nothing was done"},
		"made by hand, and nothing noted":      {there: whole, before: younger, says: "/" + ca + " is not known to be"},
		"made by hand, without a CA":           {there: []string{api, wal}, noted: []string{ca, key}, before: younger, says: "/" + api + " is not known to be"},
		"made by hand, with the CA of ours":    {there: whole, noted: []string{ca, key, "end"}, before: younger, says: "/" + etcd + " is not known to be"},
		"the same, and ours was killed":        {there: whole, noted: []string{ca, key}, before: older, says: "/" + admin + " is not known to be"},
		"what another made its manifest of":    {there: whole, noted: []string{ca, key, admin, etcd, "end"}, before: younger, says: "/" + api + " is not known to be"},
		"keys of somebody":                     {there: []string{ca, key, "etc/kubernetes/pki/etcd/ca.crt"}, noted: []string{ca, key, "end"}, before: younger, says: "/etc/kubernetes/pki/etcd/ca.crt is not known to be"},
		"another's etcd, and none of ours":     {there: []string{ca, wal}, noted: []string{ca, key, "end"}, says: "/var/lib/etcd/member is there, and the init that hybridctl tried here made no etcd: nothing was done"},
		"the same, and ours was killed early":  {there: []string{ca, wal}, noted: []string{ca, key}, says: "/var/lib/etcd/member is there, and the init"},
	} {
		t.Run(name, func(t *testing.T) {
			s := attempt(t, "init", "state started\n")
			s.put("var-lib/hybridctl/kubeadm-init.log")
			s.put(c.there...)
			if c.noted != nil {
				s.noted(c.noted...)
			}
			s.before = c.before
			if c.says != "" {
				s.refused("init", "x: y\n", c.says)
				for _, f := range c.there {
					if s.read(f) != f {
						t.Errorf("%s is gone", f)
					}
				}
				return
			}
			if code, _, errs := s.run("kubeadm", []byte("x: y\n"), "init", "init", "sha256:2"); code != 0 || s.read("opt/ran") != "init or join\n" {
				t.Errorf("exit %d, %q", code, errs)
			}
			for _, f := range []string{wal, admin, api, "var-lib/hybridctl/kubeadm-init.made"} {
				if _, err := os.Stat(s.path(f)); !os.IsNotExist(err) {
					t.Errorf("%s stays: %v", f, err)
				}
			}
		})
	}
}

// However an init ends, the next one knows what was its own: its authority is noted before it is in its place, and what kubeadm made when it has ended.
func TestKubeadm_NotesWhatItMakes(t *testing.T) {
	const makes = `case $1 in reset) rm -rf /etc/kubernetes/* /var/lib/etcd/*; exit ;; esac
case $* in "init phase certs ca --config /run/hybridctl/ca.yaml") /bin/cp /run/hybridctl/ca.yaml /opt/; mkdir /run/hybridctl/ca; echo certificate >/run/hybridctl/ca/ca.crt; echo key >/run/hybridctl/ca/ca.key; exit ;; esac
cat /etc/kubernetes/pki/ca.crt >>/opt/took
`
	const making = `echo conf >/etc/kubernetes/admin.conf; echo pod >/etc/kubernetes/manifests/etcd.yaml; mkdir -p /var/lib/etcd/member; echo wal >/var/lib/etcd/member/wal
`
	for name, c := range map[string]struct {
		kubeadm, tool, does string // of the first try
		since               string // what was done on the host before the next
		says                string
	}{
		"it fails at its end":                               {kubeadm: making + "exit 1"},
		"it fails before it made anything":                  {kubeadm: "exit 1"},
		"it is killed, and all else with it":                {kubeadm: making + "kill -9 $PPID; exit 1"},
		"it is killed before it made a thing":               {kubeadm: "kill -9 $PPID; exit 1"},
		"the CA does not come into its place":               {tool: "cp", does: "exit 1"},
		"it is killed before the CA is whole":               {tool: "cp", does: `/bin/cp "$@"; case $* in *ca.crt*) kill -9 $PPID ;; esac`},
		"it is killed when the CA is there":                 {tool: "mv", does: `/bin/mv "$@"; case $* in */pki/ca.crt) kill -9 $PPID ;; esac`},
		"it fails, and another makes a cluster with its CA": {kubeadm: "exit 1", since: making, says: "/etc/kubernetes/manifests/etcd.yaml is not known to be of the init"},
		"it fails, and another makes a manifest anew":       {kubeadm: making + "exit 1", since: "echo other >/etc/kubernetes/manifests/etcd.yaml", says: "/etc/kubernetes/manifests/etcd.yaml is not known to be of the init"},
	} {
		t.Run(name, func(t *testing.T) {
			s := attempt(t, "init", "")
			s.tool("../local-bin/kubeadm", makes+c.kubeadm)
			if c.tool != "" {
				s.tool("../local-bin/"+c.tool, c.does)
			}
			const config = "kind: InitConfiguration\n---\nkind: ClusterConfiguration\nclusterName: lab\n"
			if code, _, errs := s.run("kubeadm", []byte(config), "init", "init", "sha256:2"); code != 75 {
				t.Fatalf("it did not fail: exit %d, %q", code, errs)
			}
			if got, want := s.read("opt/ca.yaml"), "kind: InitConfiguration\n---\ncertificatesDir: /run/hybridctl/ca\nkind: ClusterConfiguration\nclusterName: lab\n"; got != want {
				t.Errorf("the authority was made of %q", got)
			}
			s.tool("../local-bin/kubeadm", makes)
			if c.tool != "" {
				if err := os.Remove(s.path("local-bin", c.tool)); err != nil {
					t.Fatal(err)
				}
			}
			s.before = c.since
			code, _, errs := s.run("kubeadm", []byte(config), "init", "init", "sha256:2")
			if c.says != "" {
				if code != 74 || !strings.HasPrefix(errs, "kubeadm: "+c.says) || s.read("etc/kubernetes/pki/ca.crt") != "certificate\n" {
					t.Errorf("exit %d, %q", code, errs)
				}
				return
			}
			if code != 0 || !strings.HasSuffix(s.read("opt/took"), "certificate\n") {
				t.Errorf("exit %d, %q, kubeadm took %q", code, errs, s.read("opt/took"))
			}
			for _, f := range []string{"var-lib/hybridctl/kubeadm-init.made", "run/hybridctl/ca", "run/hybridctl/ca.yaml", "run/hybridctl/kubeadm.yaml"} {
				if _, err := os.Stat(s.path(f)); !os.IsNotExist(err) {
					t.Errorf("%s stays: %v", f, err)
				}
			}
			if at, err := os.Stat(s.path("etc/kubernetes/pki/ca.key")); err != nil || at.Mode().Perm() != 0o600 {
				t.Errorf("the key: %v, %v", at, err)
			}
		})
	}
}

// A worker's join that is tried again made no etcd: /var/lib/etcd is a package's.
func TestKubeadm_JoinAgainBesideAnEtcdOfSomebody(t *testing.T) {
	s := attempt(t, "join", "state started\n")
	s.put("var-lib/etcd/default/member/wal")
	if code, _, errs := s.run("kubeadm", []byte("discovery: x\n"), "join", "join", "sha256:2", pin, "lab"); code != 0 {
		t.Errorf("exit %d, %q", code, errs)
	}
	if calls := s.read("opt/calls"); s.read("var-lib/etcd/default/member/wal") != "var-lib/etcd/default/member/wal" || !strings.Contains(calls, "kubeadm reset") {
		t.Errorf("its data is gone: %s", calls)
	}
}

// An image of Ceph that is mapped for a pod is found behind a link too: one that stayed would keep every other host off it.
func TestResetScript_ImagesOfCephBehindALink(t *testing.T) {
	for name, link := range map[string]bool{"a folder": false, "a link": true} {
		s := newSandbox(t)
		s.quiet()
		s.put("opt/large/kubelet/pods/1/volume/")
		at := "/opt/large/kubelet"
		if link {
			if err := os.Symlink(at, s.path("var-lib/kubelet")); err != nil {
				t.Fatal(err)
			}
		} else {
			s.put("var-lib/kubelet/pods/1/volume/")
			at = "/var/lib/kubelet"
		}
		s.before = "mount -t tmpfs /dev/rbd250 " + at + "/pods/1/volume"
		const says = "reset: /dev/rbd250 is still mapped to an image of Ceph: find out who has it open, or restart the host\n"
		if code, _, errs := s.run("reset", nil); code != 1 || !strings.HasSuffix(errs, says) {
			t.Errorf("%s: exit %d, %q", name, code, errs)
		}
	}
}

// Shims are ended where containerd's are, and not within a container of somebody's whose file has the same path.
func TestRemoveScript_ShimsOfSomebody(t *testing.T) {
	s := newSandbox(t)
	sleep, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	s.put("local-bin/", "var-lib/hybridctl/steps/", "var-lib/containerd/")
	if err := os.WriteFile(s.path("local-bin/containerd-shim-runc-v2"), sleep, 0o755); err != nil {
		t.Fatal(err)
	}
	s.write("var-lib/hybridctl/steps/runtime", "state done\n"+unitOfRuntime)
	const shim = "/usr/local/bin/containerd-shim-runc-v2 60 </dev/null >/dev/null 2>&1 & echo $! >/opt/"
	s.before = shim + "ours; unshare -m " + shim + "others; sleep 0.3"
	s.after = `for p in ours others; do if readlink "/proc/$(cat /opt/$p)/exe" >/dev/null; then echo "$p ran"; kill -9 "$(cat /opt/$p)"; fi; done`
	if code, _, errs := s.run("remove", nil, "runtime", "containerd.service", "", "/var/lib/containerd /run/containerd"); code != 0 {
		t.Errorf("exit %d, %q", code, errs)
	}
	if got := s.read("after"); got != "others ran\n" {
		t.Errorf("afterwards %q", got)
	}
}

// A host that was given to another kind of Kubernetes since has its pods where ours had theirs, and no authority that would tell.
func TestResetScript_AnotherKindOfKubernetes(t *testing.T) {
	for name, c := range map[string]struct{ systemctl, enabled, says string }{
		"it runs":         {`case $1 in list-units) echo "k3s-agent.service loaded active running Lightweight Kubernetes" ;; esac`, "", "reset: k3s-agent.service runs here, another Kubernetes: nothing was done"},
		"no one knows":    {`case $1 in list-units) exit 1 ;; esac`, "", "reset: systemd does not say whether another Kubernetes runs here: nothing was done"},
		"it failed":       {`case "$*" in "list-units "*failed*kubesolo.service*) echo kubesolo.service loaded failed failed KubeSolo ;; esac`, "", "reset: kubesolo.service failed here, another Kubernetes: nothing was done; where it is not needed, systemctl disable --now kubesolo.service; systemctl reset-failed kubesolo.service, and run"},
		"k0s is stopped":  {"", "k0sworker.service", "reset: k0sworker.service is enabled here, another Kubernetes: nothing was done; where it is not needed, systemctl disable --now k0sworker.service,"},
		"rke2 is stopped": {"", "rke2-server.service", "reset: rke2-server.service is enabled here"},
		"MicroK8s is":     {"", "snap.microk8s.daemon-kubelite.service", "reset: snap.microk8s.daemon-kubelite.service is enabled here"},
	} {
		s := newSandbox(t)
		s.quiet()
		s.tool("../local-bin/systemctl", `echo "systemctl $*" >>/opt/calls; `+c.systemctl)
		if c.enabled != "" {
			s.put("units/multi-user.target.wants/")
			if err := os.Symlink("../"+c.enabled, s.path("units/multi-user.target.wants", c.enabled)); err != nil {
				t.Fatal(err)
			}
		}
		s.put("var-lib/kubelet/pods/1/data", "var-lib/hybridctl/steps/join")
		code, _, errs := s.run("reset", nil)
		if code != 1 || !strings.HasPrefix(errs, c.says) || s.read("var-lib/kubelet/pods/1/data") != "var-lib/kubelet/pods/1/data" || strings.Contains(s.read("opt/calls"), "stop") {
			t.Errorf("%s: exit %d, %q, %s", name, code, errs, s.read("opt/calls"))
		}
	}
}

// Docker that was installed later has its containers in our containerd: that is not taken away with them.
func TestRemoveScript_ContainersOfSomebody(t *testing.T) {
	for name, c := range map[string]struct {
		in   string // the namespace that has some
		exit int
	}{"of docker": {"moby", 1}, "of the cluster alone": {"k8s.io", 0}} {
		s := newSandbox(t)
		s.put("local-bin/", "opt/active", "var-lib/containerd/image", "var-lib/hybridctl/steps/")
		s.write("var-lib/hybridctl/steps/runtime", "state done\n"+unitOfRuntime)
		s.tool("systemctl", `echo "systemctl $*" >>/opt/calls; case "$1 $2 $3" in "is-active -q containerd.service") [ ! -e /opt/stopped ] ;; "disable -q --now") touch /opt/stopped ;; esac`)
		s.tool("../local-bin/ctr", `case $* in "namespaces ls -q") printf 'k8s.io\nmoby\n' ;; "-n `+c.in+` containers ls -q") echo one ;; esac`)
		code, _, errs := s.run("remove", nil, "runtime", "containerd.service", "", "/var/lib/containerd")
		_, err := os.Stat(s.path("var-lib/containerd/image"))
		if code != c.exit || (err == nil) != (c.exit == 1) || (c.exit == 1) != strings.Contains(errs, "containers of somebody in its namespace moby") {
			t.Errorf("%s: exit %d, %q, %v", name, code, errs, err)
		}
		if calls := s.read("opt/calls"); c.exit == 1 && strings.Contains(calls, "disable") {
			t.Errorf("%s: %s", name, calls)
		}
	}
}

// A reset that was given up on, as something on the host did not answer, goes on when it does: nothing is begun beside it.
func TestScripts_BesideAResetThatIsAtWorkStill(t *testing.T) {
	const held, says = "(flock 8; sleep 2) 8>/run/hybridctl-reset.lock & sleep 0.3", "an earlier reset of this host is at work still, and nothing was done"
	s := newSandbox(t)
	s.quiet()
	s.put("var-lib/kubelet/config.yaml", "var-lib/hybridctl/steps/join")
	s.before = held
	if code, _, errs := s.run("reset", nil); code != 1 || !strings.Contains(errs, says) || s.read("var-lib/kubelet/config.yaml") != "var-lib/kubelet/config.yaml" {
		t.Errorf("reset: exit %d, %q", code, errs)
	}
	a := attempt(t, "join", "")
	a.before = held
	a.refused("join", "discovery: x\n", says)
}

// What runs in a containerd that does not answer would go on without its files.
func TestResetScript_ContainerdDoesNotAnswer(t *testing.T) {
	for name, ctr := range map[string]string{"at all": "exit 1", "about tasks": "case $3 in tasks) exit 1 ;; esac"} {
		s := newSandbox(t)
		s.quiet()
		s.tool("../local-bin/ctr", ctr)
		s.put("var-lib/kubelet/pods/1/data", "var-lib/hybridctl/steps/join")
		if code, _, errs := s.run("reset", nil); code != 1 || !strings.HasPrefix(errs, "reset: containerd does not answer") || s.read("var-lib/kubelet/pods/1/data") != "var-lib/kubelet/pods/1/data" {
			t.Errorf("%s: exit %d, %q", name, code, errs)
		}
	}
}

// A program that cannot tell the rules has not said that there are none: that is told, unless the kernel has none of its kind.
func TestResetScript_RulesThatCannotBeRead(t *testing.T) {
	const (
		nft    = "mkdir /sys/module/nf_tables"
		none   = "echo 'ffff T do_one_thing' >/proc/kallsyms"
		six    = "; echo >/proc/net/if_inet6"
		legacy = "; echo filter >/proc/net/ip_tables_names; echo filter >/proc/net/ip6_tables_names"
		fails  = "echo cannot fetch rules >&2; exit 1"
		table  = "table ip kube-proxy"
	)
	may := func(program, command string) string {
		return "reset: rules of ours may stay in " + program + ", as " + command + " failed (cannot fetch rules): see to it, and run the same command again\n"
	}
	for name, c := range map[string]struct {
		kernel string
		tools  map[string]string
		says   string
	}{
		"all answer":                        {nft + six + legacy, map[string]string{"iptables-nft-save": "", "iptables-legacy-save": "", "ip6tables-save": "", "nft": ""}, ""},
		"no program is there":               {nft + six + legacy, nil, ""},
		"nftables":                          {nft, map[string]string{"iptables-nft-save": fails}, may("iptables-nft", "iptables-nft-save")},
		"nftables, built in":                {"echo 'ffff t nft_do_chain' >/proc/kallsyms", map[string]string{"iptables-nft-save": fails}, may("iptables-nft", "iptables-nft-save")},
		"nftables, and no one knows":        {":", map[string]string{"iptables-nft-save": fails}, may("iptables-nft", "iptables-nft-save")},
		"a kernel without nftables":         {none + legacy, map[string]string{"iptables-nft-save": fails, "nft": fails}, ""},
		"legacy":                            {none + legacy, map[string]string{"iptables-legacy-save": fails}, may("iptables-legacy", "iptables-legacy-save")},
		"legacy, of which there is nothing": {nft, map[string]string{"iptables-legacy-save": fails}, ""},
		"legacy, without any table":         {nft + "; : >/proc/net/ip_tables_names", map[string]string{"iptables-legacy-save": fails}, ""},
		"either, with nftables":             {nft, map[string]string{"iptables-save": fails}, may("iptables", "iptables-save")},
		"either, with legacy":               {none + legacy, map[string]string{"iptables-save": fails}, may("iptables", "iptables-save")},
		"either, and none of both":          {none, map[string]string{"iptables-save": fails}, ""},
		"of IPv6":                           {nft + six, map[string]string{"ip6tables-nft-save": fails}, may("ip6tables-nft", "ip6tables-nft-save")},
		"of IPv6, legacy":                   {none + six + legacy, map[string]string{"ip6tables-legacy-save": fails}, may("ip6tables-legacy", "ip6tables-legacy-save")},
		"a kernel without IPv6":             {nft + legacy, map[string]string{"ip6tables-nft-save": fails}, ""},
		"nft":                               {nft, map[string]string{"nft": fails}, may("nft", "nft list tables")},
		"nft, and a table of ours stays":    {nft, map[string]string{"nft": "case $1 in list) echo " + table + "; echo table ip kube-proxy-of-mine ;; esac; [ $1 != delete ]"}, "reset: the table ip kube-proxy stays: nft list tables shows it\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t)
			s.quiet()
			for _, tool := range []string{"nft", "iptables-nft-save", "iptables-legacy-save", "ip6tables-nft-save", "ip6tables-legacy-save", "iptables-save", "ip6tables-save"} {
				if body, there := c.tools[tool]; there {
					s.tool("../local-bin/"+tool, body)
					s.tool("../local-bin/"+strings.TrimSuffix(tool, "-save"), cmp.Or(body, ":")) // nft is both
				} else if err := os.Remove(s.path("local-bin", tool)); err != nil {
					t.Fatal(err)
				}
			}
			s.put("var-lib/hybridctl/steps/join")
			s.tool("../local-bin/uname", "echo no-such-kernel")
			s.before = "mount -t tmpfs module /sys/module; mount -t tmpfs proc /proc; mkdir /proc/self /proc/net; : >/proc/self/mountinfo; " + c.kernel
			want := 0
			if c.says != "" {
				want = 1
			}
			code, _, errs := s.run("reset", nil)
			if code != want || errs != c.says {
				t.Errorf("exit %d, %q; want %d, %q", code, errs, want, c.says)
			}
			if _, err := os.Stat(s.path("var-lib/hybridctl/steps/join")); (err == nil) != (want == 1) {
				t.Errorf("the marker: %v", err)
			}
		})
	}
}

// unitOfRuntime says in a marker that containerd's unit is of the step, and so all that containerd keeps.
const unitOfRuntime = "file aa 1 644 1 /etc/systemd/system/containerd.service\n"

// A file, a unit or a directory that was there before a step came to it is somebody's: a marker that only began does not make it ours.
func TestRemoveScript_WhatWasThereBefore(t *testing.T) {
	const kubectl, unit = "/usr/local/bin/kubectl", "/etc/systemd/system/kubelet.service"
	noted := func(text, path string) string {
		sum := sha256.Sum256([]byte(text))
		return "file " + hex.EncodeToString(sum[:]) + " 0 0755 0 " + path + "\n"
	}
	for name, c := range map[string]struct {
		marker string // "" = there is none
		theirs bool
	}{
		"no marker":               {"", true},
		"it only began":           {"begin\nstate started\nend\n", true},
		"an earlier one began":    {"state started\n", true},
		"it was about to":         {"begin\nstate started\n" + noted("new", kubectl) + noted("new", unit) + "end\n", true},
		"it had brought them":     {"begin\nstate started\n" + noted("local-bin/kubectl", kubectl) + noted("units/kubelet.service", unit) + "end\n", false},
		"it brought them earlier": {"begin\nstate started\nfile aa 1 755 1 " + kubectl + "\nfile aa 1 644 1 " + unit + "\n" + noted("new", kubectl) + "end\n", false},
		"it is done":              {"begin\nstate done\nfile aa 1 755 1 " + kubectl + "\nfile aa 1 644 1 " + unit + "\nend\n", false},
		"it cannot be read":       {"\x00\x00", false},
		"it is empty":             {"\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t)
			s.put("local-bin/kubectl", "local-bin/.hybridctl.kubectl", "local-bin/kubelet-mine", "units/kubelet.service", "var-lib/kubelet/theirs", "var-lib/hybridctl/steps/", "var-lib/hybridctl/patches/x")
			if c.marker != "" {
				s.write("var-lib/hybridctl/steps/kubernetes", c.marker)
			}
			code, out, errs := s.run("remove", nil, "kubernetes", "kubelet.service", unit+" "+kubectl, "/var/lib/kubelet /var/lib/hybridctl/patches")
			if code != 0 || errs != "" {
				t.Fatalf("exit %d: %s", code, errs)
			}
			for path, there := range map[string]bool{"local-bin/kubectl": c.theirs, "units/kubelet.service": c.theirs, "var-lib/kubelet/theirs": c.theirs, "local-bin/kubelet-mine": true,
				"local-bin/.hybridctl.kubectl": false, "var-lib/hybridctl/patches": false, "var-lib/hybridctl/steps/kubernetes": false} {
				if _, err := os.Stat(s.path(path)); (err == nil) != there {
					t.Errorf("%s is there: %t", path, err == nil)
				}
			}
			if told := strings.Contains(out, "left "+kubectl+"\n") && strings.Contains(out, "left "+unit+"\n"); told != c.theirs {
				t.Errorf("said %q", out)
			}
			if calls := s.read("opt/calls"); strings.Contains(calls, "disable") == c.theirs {
				t.Errorf("called %q", calls)
			}
		})
	}
}
