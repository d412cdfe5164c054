package host

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"
)

var pin = "sha256:" + strings.Repeat("0a", 32)

func TestClusterMark_WhatIsNotWholeNamesNoCluster(t *testing.T) {
	whole := ClusterMark{CA: pin, Name: "lab-1"}
	for text, want := range map[string]ClusterMark{
		string(whole.Encode()):                      whole,
		"name lab-1\nsince today\nca " + pin + "\n": whole, // a newer one has more to say
		"ca " + pin + "\nname lab-1\n":              whole, // an earlier one's
		"":                                          {},
		"\x00\x00\x00":                              {},
		"ca " + pin + "\n":                          {},
		"ca sha256:0a\nname lab\n":                  {},
		"ca " + pin + "\nname \x1b]0;x\a\n":         {},
		"ca " + pin + "\nname ../../etc\n":          {},
	} {
		got, err := ParseClusterMark([]byte(text))
		if got != want || (err == nil) != (want.CA != "") {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

// The facts script ends a last line that has no end, so a name that was cut would be another name.
func TestClusterMark_OneThatWasCutNamesNoCluster(t *testing.T) {
	whole := ClusterMark{CA: pin, Name: "lab-1"}.Encode()
	for n := range len(whole) - 1 {
		for _, end := range []string{"", "\n"} {
			if got, err := ParseClusterMark([]byte(string(whole[:n]) + end)); err == nil {
				t.Errorf("%q: %+v", string(whole[:n])+end, got)
			}
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
	if code, _, _ := s.run("reset", nil, pin); code == 0 || code == exitOthers || s.read(cluster) != want {
		t.Errorf("a reset that could not be done: exit %d, mark %q", code, s.read(cluster))
	}
	s.before = ""
	if code, _, errs := s.run("reset", nil, pin); code != 0 {
		t.Errorf("exit %d: %s", code, errs)
	}
	for _, path := range []string{cluster, "var-lib/hybridctl/steps/join"} {
		if _, err := os.Stat(s.path(path)); !os.IsNotExist(err) {
			t.Errorf("%s stays: %v", path, err)
		}
	}
}

// authority makes a certificate and its pin.
func authority(t *testing.T, key crypto.Signer, change func(*x509.Certificate)) (text []byte, pin string) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), "sha256:" + hex.EncodeToString(sum[:])
}

// A host is judged at the moment when it is reset, by the authority that its kubelet trusts and by its mark: who looked at it before saw what
// it was then.
func TestResetScript_LeavesTheHostOfAnotherCluster(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ca, trusted := authority(t, key, nil)
	long, longs := authority(t, large, func(c *x509.Certificate) {
		c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 150)
		c.Subject.Organization = []string{strings.Repeat("o", 60), strings.Repeat("p", 60), strings.Repeat("q", 60)}
		c.DNSNames = []string{"kubernetes"}
	})
	other := "sha256:" + strings.Repeat("0b", 32)
	mark := string(ClusterMark{CA: pin, Name: "lab"}.Encode())
	const cannot = "the host is of a cluster that cannot be told\n"
	of := func(pin string) string { return "the host is of another cluster, whose CA is " + pin + "\n" }
	for name, c := range map[string]struct {
		ca, mark string
		node     bool // it has a kubelet.conf
		pins     []string
		says     string // "" = it is reset
	}{
		"nothing":                             {},
		"nothing, and one is expected":        {pins: []string{pin}},
		"its mark":                            {mark: mark, pins: []string{other, pin}},
		"another's mark":                      {mark: mark, pins: []string{other}, says: of(pin)},
		"a mark, and none is expected":        {mark: mark, says: of(pin)},
		"a mark that begins alike":            {mark: mark, pins: []string{pin[:len(pin)-1], pin + "0"}, says: of(pin)},
		"its authority":                       {ca: string(ca), node: true, pins: []string{trusted}},
		"another's authority":                 {ca: string(ca), node: true, pins: []string{other}, says: of(trusted)},
		"before its kubelet has a file":       {ca: string(ca), pins: []string{other}, says: of(trusted)},
		"a large one, and a text before it":   {ca: "Certificate:\n    Data:\n" + string(long) + string(ca), node: true, pins: []string{longs}},
		"another's large one":                 {ca: string(long) + string(ca), node: true, pins: []string{trusted}, says: of(longs)},
		"its authority, and another's mark":   {ca: string(ca), mark: mark, node: true, pins: []string{trusted}, says: of(pin)},
		"another's authority, and its mark":   {ca: string(ca), mark: mark, node: true, pins: []string{pin}, says: of(trusted)},
		"both":                                {ca: string(ca), mark: mark, node: true, pins: []string{trusted, pin}},
		"a mark that cannot be read":          {mark: "\x00\n", pins: []string{pin}, says: cannot},
		"the same, as it was seen":            {mark: "\x00\n", pins: []string{UnknownPin}},
		"a mark without a whole pin":          {mark: "ca sha256:0a\nname lab\n", pins: []string{pin}, says: cannot},
		"its authority beside such a mark":    {ca: string(ca), mark: "\n", node: true, pins: []string{trusted}},
		"a node whose authority is not read":  {ca: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", node: true, pins: []string{pin}, says: cannot},
		"a node without one":                  {node: true, pins: []string{pin}, says: cannot},
		"the same, and it was seen":           {node: true, pins: []string{UnknownPin}},
		"a node without one, and its mark":    {node: true, mark: mark, pins: []string{pin}},
		"what is left of one, and no kubelet": {ca: "none", pins: []string{pin}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t)
			s.quiet()
			s.put("etc/kubernetes/pki/", "var-lib/hybridctl/steps/join", "var-lib/hybridctl/steps/runtime", "local-bin/file")
			for path, text := range map[string]string{"etc/kubernetes/pki/ca.crt": c.ca, "var-lib/hybridctl/cluster": c.mark, "etc/kubernetes/kubelet.conf": map[bool]string{true: "server"}[c.node]} {
				if text == "" {
					continue
				}
				if err := os.WriteFile(s.path(path), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, script := range []string{"remove", "reset"} {
				args := c.pins
				if script == "remove" {
					args = []string{"runtime", "", "/usr/local/bin/file", "", strings.Join(c.pins, " ")}
				}
				there := map[string]string{"remove": "local-bin/file", "reset": "var-lib/hybridctl/steps/join"}[script]
				code, _, errs := s.run(script, nil, args...)
				_, err := os.Stat(s.path(there))
				if want := map[bool]int{true: exitOthers}[c.says != ""]; code != want || errs != c.says || (err == nil) != (want != 0) {
					t.Errorf("%s: exit %d, said %q; want %d and %q; %s: %v", script, code, errs, want, c.says, there, err)
				}
			}
			if calls := s.read("opt/calls"); c.says != "" && strings.Contains(calls, "systemctl") {
				t.Errorf("called:\n%s", calls)
			}
		})
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
