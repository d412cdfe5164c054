package remote_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func authorizedLine(k ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
}

// tryDial dials once with a dialer of its own, which reads known_hosts again.
func tryDial(t *testing.T, h *remotetest.Host, c remote.HostConfig) error {
	t.Helper()
	d := h.Fleet().Dialer()
	defer d.Close()
	conn, err := d.Dial(t.Context(), c)
	if err == nil {
		conn.Close()
	}
	return err
}

func ecdsaSigner(t *testing.T) ssh.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestHostKey_AcceptNewIsKeptOnceAndKnownThen(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{})
	h, file := f.Hosts[0], f.Config().ClusterKnownHosts
	for range 2 {
		if err := tryDial(t, h, h.Config()); err != nil {
			t.Fatal(err)
		}
	}
	want := fmt.Sprintf("[%s]:%d %s\n", h.Address, h.Port, authorizedLine(h.HostKey()))
	if got := readFile(t, file); got != want {
		t.Errorf("known_hosts:\n%swant:\n%s", got, want)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("known_hosts: %v %v", info.Mode(), err)
	}
	conf := h.Config()
	conf.HostKeyPolicy = remote.Strict
	if err := tryDial(t, h, conf); err != nil {
		t.Errorf("known now, yet strict says: %v", err)
	}
	if keygen, err := exec.LookPath("ssh-keygen"); err == nil {
		out, err := exec.Command(keygen, "-F", fmt.Sprintf("[%s]:%d", h.Address, h.Port), "-f", file).Output()
		if err != nil || len(out) == 0 {
			t.Errorf("ssh-keygen does not find the host: %v", err)
		}
	}
}

func TestHostKey_ChangedIsRefused(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{})
	h, file := f.Hosts[0], f.Config().ClusterKnownHosts
	writeFile(t, file, "# the cluster's hosts") // without an end: the next line must not hang on it
	if err := tryDial(t, h, h.Config()); err != nil {
		t.Fatal(err)
	}
	before, old := readFile(t, file), ssh.FingerprintSHA256(h.HostKey())
	h.ChangeHostKey()
	err := tryDial(t, h, h.Config())
	if !errors.Is(err, remote.ErrHostKeyChanged) || remote.Transient(err) {
		t.Fatalf("error %v", err)
	}
	for _, part := range []string{h.Addr(), old, ssh.FingerprintSHA256(h.HostKey()), file + " line 2"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
	command := fmt.Sprintf("ssh-keygen -R '[%s]:%d' -f %s", h.Address, h.Port, remote.Quote(file))
	if strings.Contains(err.Error(), "ssh-keygen") || !strings.Contains(hint.Text(err), command) || !strings.Contains(remote.Mend(err), command) {
		t.Errorf("%q is the hint's: %v\nhint: %s\nmend: %s", command, err, hint.Text(err), remote.Mend(err))
	}
	if after := readFile(t, file); after != before {
		t.Errorf("known_hosts became:\n%s", after)
	}
	if s := h.Stats(); s.Logins > 1 { // the first may not be counted yet
		t.Errorf("logged in to a host with a changed key: %+v", s)
	}
	if keygen, err := exec.LookPath("ssh-keygen"); err == nil {
		exec.Command(keygen, "-R", fmt.Sprintf("[%s]:%d", h.Address, h.Port), "-f", file).Run()
		if err := tryDial(t, h, h.Config()); err != nil {
			t.Errorf("after the command in the message: %v", err)
		}
	}
}

func TestHostKey_StrictRefusesUnknown(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{})
	h, file := f.Hosts[0], f.Config().ClusterKnownHosts
	conf := h.Config()
	conf.HostKeyPolicy = remote.Strict
	err := tryDial(t, h, conf)
	if !errors.Is(err, remote.ErrHostKeyUnknown) || !strings.Contains(err.Error(), ssh.FingerprintSHA256(h.HostKey())) {
		t.Fatalf("error %v", err)
	}
	if got := readFile(t, file); got != "" {
		t.Errorf("known_hosts became:\n%s", got)
	}
	_, line, _ := strings.Cut(hint.Text(err), file+": ")
	writeFile(t, file, line+"\n")
	if err := tryDial(t, h, conf); err != nil {
		t.Errorf("with the line from the message: %v", err)
	}
}

func TestHostKey_WrongLoginWritesNothing(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{})
	h := f.Hosts[0]
	h.Authorize()
	if err := tryDial(t, h, h.Config()); !errors.Is(err, remote.ErrAuth) {
		t.Fatalf("error %v", err)
	}
	if got := readFile(t, f.Config().ClusterKnownHosts); got != "" {
		t.Errorf("known_hosts became:\n%s", got)
	}
}

func TestHostKey_Pinned(t *testing.T) {
	h := remotetest.NewFleet(t, 1, remotetest.Options{}).Hosts[0]
	first, second := ecdsaSigner(t), h.HostKey()
	tests := []struct {
		name, pin string
		ok        bool
	}{
		{"the key", authorizedLine(first.PublicKey()), true},
		{"the key with a comment", authorizedLine(first.PublicKey()) + " root@host", true},
		{"its fingerprint", ssh.FingerprintSHA256(first.PublicKey()), true},
		{"another key", authorizedLine(second), false},
		{"another fingerprint", ssh.FingerprintSHA256(second), false},
	}
	h.SetHostKeys(first, ed25519Signer(t)) // the client would rather have the second
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conf := h.Config()
			conf.HostKey = tt.pin
			err := tryDial(t, h, conf)
			if tt.ok != (err == nil) || (!tt.ok && (!errors.Is(err, remote.ErrHostKeyChanged) || !strings.Contains(hint.Text(err), "change hostKey in the inventory"))) {
				t.Errorf("error %v", err)
			}
		})
	}
	conf := h.Config()
	conf.HostKey = "SHA256:nonsense"
	if err := tryDial(t, h, conf); err == nil || !strings.Contains(err.Error(), "not a SHA256 fingerprint") {
		t.Errorf("error %v", err)
	}
}

func ed25519Signer(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestHostKey_AsksForTheTypeItKnows(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{})
	h := f.Hosts[0]
	ecdsa := ecdsaSigner(t)
	h.SetHostKeys(ecdsa)
	if err := tryDial(t, h, h.Config()); err != nil {
		t.Fatal(err)
	}
	h.SetHostKeys(ed25519Signer(t), ecdsa) // it has got a better one as well
	if err := tryDial(t, h, h.Config()); err != nil {
		t.Errorf("a second key makes it look changed: %v", err)
	}
	h.SetHostKeys(ed25519Signer(t)) // the known one is gone
	if err := tryDial(t, h, h.Config()); !errors.Is(err, remote.ErrHostKeyChanged) {
		t.Errorf("error %v", err)
	}
}

func TestHostKey_CertificateAuthority(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{})
	h, file := f.Hosts[0], f.Config().ClusterKnownHosts
	authority, key := ed25519Signer(t), ed25519Signer(t)
	certify := func(principal string) ssh.Signer {
		cert := &ssh.Certificate{Key: key.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{principal},
			ValidBefore: uint64(time.Now().Add(time.Hour).Unix())}
		if err := cert.SignCert(rand.Reader, authority); err != nil {
			t.Fatal(err)
		}
		s, err := ssh.NewCertSigner(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	trust := fmt.Sprintf("@cert-authority [127.77.*]:* %s\n", authorizedLine(authority.PublicKey()))
	writeFile(t, file, trust)
	conf := h.Config()
	conf.HostKeyPolicy = remote.Strict
	h.SetHostKeys(certify(h.Address))
	if err := tryDial(t, h, conf); err != nil {
		t.Errorf("certified by a known authority: %v", err)
	}
	h.SetHostKeys(certify("elsewhere"))
	if err := tryDial(t, h, conf); !errors.Is(err, remote.ErrHostKeyChanged) {
		t.Errorf("certificate of another host: %v", err)
	}
	h.SetHostKeys(certify(h.Address))
	writeFile(t, file, trust+"@revoked * "+authorizedLine(key.PublicKey())+"\n")
	if err := tryDial(t, h, conf); !errors.Is(err, remote.ErrHostKeyChanged) {
		t.Errorf("revoked key: %v", err)
	}
}

func TestHostKey_KeptOnceForTwoLogins(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{})
	h, d := f.Hosts[0], f.Dialer()
	var wg sync.WaitGroup
	for i := range 8 {
		conf := h.Config()
		conf.User = fmt.Sprint("user", i) // a connection of its own
		wg.Go(func() {
			c, err := d.Dial(t.Context(), conf)
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	wg.Wait()
	if got := readFile(t, f.Config().ClusterKnownHosts); strings.Count(got, "\n") != 1 {
		t.Errorf("known_hosts:\n%s", got)
	}
}

func TestHostKey_ManyAtOnce(t *testing.T) {
	f := remotetest.NewFleet(t, 40, remotetest.Options{})
	d := f.Dialer()
	var wg sync.WaitGroup
	for _, h := range f.Hosts {
		wg.Go(func() {
			c, err := d.Dial(t.Context(), h.Config())
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	wg.Wait()
	lines := strings.Split(strings.TrimSpace(readFile(t, f.Config().ClusterKnownHosts)), "\n")
	if len(lines) != len(f.Hosts) {
		t.Errorf("%d lines for %d hosts", len(lines), len(f.Hosts))
	}
	for _, h := range f.Hosts {
		conf := h.Config()
		conf.HostKeyPolicy = remote.Strict
		if err := tryDial(t, h, conf); err != nil {
			t.Errorf("%s: %v", h.Name, err)
		}
	}
}

func newPrivate(t *testing.T) *ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &key
}

// A private address may stand for two hosts in two networks.
func TestHostKey_TheSameAddressBehindTwoJumpHosts(t *testing.T) {
	f := remotetest.NewFleet(t, 4, remotetest.Options{})
	gates, hosts := f.Hosts[:2], f.Hosts[2:]
	for range 2 { // the second time both are known
		d := f.Dialer()
		var wg sync.WaitGroup
		for i, gate := range gates {
			gate.Route("10.0.0.5:22", hosts[i])
			conf := remote.HostConfig{Name: hosts[i].Name, Address: "10.0.0.5", IdentityFiles: []string{f.KeyFile()}, Jump: []remote.HostConfig{gate.Config()}}
			wg.Go(func() {
				c, err := d.Dial(t.Context(), conf)
				if err != nil {
					t.Error(err)
					return
				}
				c.Close()
			})
		}
		wg.Wait()
	}
	text := readFile(t, f.Config().ClusterKnownHosts)
	for i, gate := range gates {
		if line := fmt.Sprintf("10.0.0.5+via+[%s]:%d %s\n", gate.Address, gate.Port, authorizedLine(hosts[i].HostKey())); strings.Count(text, line) != 1 {
			t.Errorf("not once in known_hosts: %s\n%s", line, text)
		}
	}
	gates[0].Route("10.0.0.5:22", hosts[1])
	c := remote.HostConfig{Name: "a", Address: "10.0.0.5", IdentityFiles: []string{f.KeyFile()}, Jump: []remote.HostConfig{gates[0].Config()}}
	if err := tryDial(t, gates[0], c); !errors.Is(err, remote.ErrHostKeyChanged) {
		t.Errorf("another host behind the same jump host: %v", err)
	}
}

// What was taken on trust is told, so that it can be compared.
func TestDialer_TellsOfAcceptedKeys(t *testing.T) {
	f := remotetest.NewFleet(t, 2, remotetest.Options{})
	for run, want := range []string{`msg="host keys seen for the first time were accepted" hosts="host-1, host-2"`, ""} {
		var log strings.Builder
		c := f.Config()
		c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		d, err := remote.NewDialer(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range f.Hosts {
			conn, err := d.Dial(t.Context(), h.Config())
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
		}
		d.Close()
		if got := log.String(); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("run %d: told %q, want %q", run, got, want)
		}
	}
}

// A server that has only algorithms with known weaknesses is not talked to, and what it has is told.
func TestDial_WeakAlgorithmsAreRefused(t *testing.T) {
	key, err := ssh.NewSignerFromKey(newPrivate(t))
	if err != nil {
		t.Fatal(err)
	}
	for what, weak := range map[string]ssh.Config{
		"key exchange":            {KeyExchanges: []string{"diffie-hellman-group14-sha1"}},
		"client to server cipher": {Ciphers: []string{"aes128-cbc"}},
		"client to server MAC":    {Ciphers: []string{"aes128-ctr"}, MACs: []string{"hmac-sha1-96"}},
	} {
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
				s := &ssh.ServerConfig{Config: weak, NoClientAuth: true}
				s.AddHostKey(key)
				go func() {
					defer c.Close()
					ssh.NewServerConn(c, s)
				}()
			}
		}()
		port := l.Addr().(*net.TCPAddr).Port
		_, err = newDialer(t, remote.Config{}).Dial(t.Context(), remote.HostConfig{Address: "127.0.0.1", Port: port, User: "x", ConnectTimeout: 5 * time.Second})
		weakest := slices.Concat(weak.MACs, weak.KeyExchanges, weak.Ciphers)[0]
		if !errors.Is(err, remote.ErrProtocol) || !strings.Contains(err.Error(), "no common "+what+": the server has only "+weakest) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
