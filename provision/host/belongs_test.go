package host

import (
	"os"
	"strings"
	"testing"
)

var pin = "sha256:" + strings.Repeat("0a", 32)

func TestClusterMark_WhatIsNotWholeNamesNoCluster(t *testing.T) {
	whole := ClusterMark{CA: pin, Name: "lab-1"}
	for text, want := range map[string]ClusterMark{
		string(whole.Encode()):                      whole,
		"name lab-1\nsince today\nca " + pin + "\n": whole, // a newer one has more to say
		"":                                  {},
		"\x00\x00\x00":                      {},
		"ca " + pin + "\n":                  {},
		"ca sha256:0a\nname lab\n":          {},
		"ca " + pin + "\nname \x1b]0;x\a\n": {},
		"ca " + pin + "\nname ../../etc\n":  {},
	} {
		got, err := ParseClusterMark([]byte(text))
		if got != want || (err == nil) != (want.CA != "") {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestClusterMarkScript(t *testing.T) {
	s := newSandbox(t)
	if code, out, errs := s.run("cluster-mark", nil, "read"); code != 0 || out != "" {
		t.Errorf("none: exit %d, %q %s", code, out, errs)
	}
	mark := ClusterMark{CA: pin, Name: "lab"}
	if code, _, errs := s.run("cluster-mark", mark.Encode(), "write"); code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	if _, out, _ := s.run("cluster-mark", nil, "read"); out != string(mark.Encode()) {
		t.Errorf("it says %q", out)
	}
	if info, err := os.Stat(s.path("var-lib/hybridctl/cluster")); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
}

// A host that is to join bears the mark before kubeadm begins. It is taken away when all else of the membership is, and not before.
func TestClusterMark_FromTheJoinToTheEndOfTheReset(t *testing.T) {
	s := newSandbox(t)
	s.quiet()
	s.before = "mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/system"
	s.tool("systemctl", `case $* in "start hybridctl-kubeadm.service") sh /run/hybridctl/kubeadm.sh >/var/lib/hybridctl/kubeadm-join.log 2>&1 ;; esac`)
	s.tool("../local-bin/kubeadm", `cat /var/lib/hybridctl/cluster >/opt/seen; exit 1`)
	const cluster = "var-lib/hybridctl/cluster"
	s.run("kubeadm", []byte("token: s3cret\n"), "join", "join", "sha256:2", pin, "lab")
	want := string(ClusterMark{CA: pin, Name: "lab"}.Encode())
	if got := s.read("opt/seen"); got != want {
		t.Errorf("when kubeadm began the mark was %q", got)
	}
	if got := s.read(cluster); got != want {
		t.Errorf("after kubeadm failed it is %q", got)
	}
	s.before = "mkdir -p /etc/kubernetes/pki/etcd /var/lib/etcd/disk && mount -t tmpfs tmpfs /var/lib/etcd/disk" // kubeadm had an etcd here
	if code, _, _ := s.run("reset", nil); code == 0 || s.read(cluster) != want {
		t.Errorf("a reset that could not be done: exit %d, mark %q", code, s.read(cluster))
	}
	s.before = ""
	if code, _, errs := s.run("reset", nil); code != 0 {
		t.Errorf("exit %d: %s", code, errs)
	}
	for _, path := range []string{cluster, "var-lib/hybridctl/steps/join"} {
		if _, err := os.Stat(s.path(path)); !os.IsNotExist(err) {
			t.Errorf("%s stays: %v", path, err)
		}
	}
}

// What comes from a host is a mark that is written as it was read, or none.
func FuzzParseClusterMark(f *testing.F) {
	f.Add([]byte("ca " + pin + "\nname lab\n"))
	f.Add([]byte("name x\nca sha256:\n\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseClusterMark(text)
		if err != nil {
			if m != (ClusterMark{}) {
				t.Errorf("an error and %+v", m)
			}
			return
		}
		if again, err := ParseClusterMark(m.Encode()); err != nil || again != m {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}
