package remote

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// RequiredRSASize holds for the host's key and for ours, as it does with ssh: what is shorter is not believed, and not shown.
func TestRequiredRSASize(t *testing.T) {
	r, home := newResolver(t, "Host a\n\tRequiredRSASize 2048\n\tIdentityFile ~/short\nHost b\n\tRequiredRSASize 1024\n\tIdentityFile ~/short\nHost c\n\tRequiredRSASize some\n")
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "short"), pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	known := hostsOf(t, filepath.Join(t.TempDir(), "known_hosts"))
	ring := newKeyring(nil, slog.New(slog.DiscardHandler))
	for name, taken := range map[string]bool{"a": false, "b": true} {
		ep, err := r.resolve(HostConfig{Address: name})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := known.check(ep, nil, public); taken != (err == nil) || !taken && (!errors.Is(err, ErrHostKeyUnknown) || !strings.Contains(err.Error(), "RSA with 1024 bits, and RequiredRSASize in your ssh config wants 2048")) {
			t.Errorf("%s: the host's key: %v", name, err)
		}
		l := ring.login(ep, func() func() { return func() {} })
		if shown := len(l.signers) == 1; shown != taken || !taken && !strings.Contains(strings.Join(l.tried, ", "), "short (not shown: 1024 bits, and RequiredRSASize in your ssh config wants 2048)") {
			t.Errorf("%s: our key: %q", name, l.tried)
		}
		if _, err := known.check(ep, nil, newPublic(t)); err != nil {
			t.Errorf("%s: a key of another kind: %v", name, err)
		}
	}
	if _, err := r.resolve(HostConfig{Address: "c"}); err == nil || !strings.Contains(err.Error(), "RequiredRSASize some is no number of bits") {
		t.Errorf("%v", err)
	}
}

// BindAddress is where a connection comes from: sshd and firewalls may go by it.
func TestBindAddress(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	d, err := NewDialer(Config{SSHConfig: writeConfig(t, "Host a b\n\tHostName 127.0.0.1\n\tPort "+port+"\nHost a\n\tBindAddress 127.0.0.3\nHost b\n\tBindAddress 203.0.113.9\n")})
	if err != nil {
		t.Fatal(err)
	}
	dial := func(name string) error {
		ep, err := d.resolver.resolve(HostConfig{Address: name})
		if err != nil {
			t.Fatal(err)
		}
		l := newLink(d, ep, ep.key())
		conn, err := l.netDial(t.Context())
		if err != nil {
			return dialFailure(t.Context(), l, err)
		}
		return conn.Close()
	}
	if err := dial("a"); err != nil {
		t.Fatal(err)
	}
	from, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if got, _, _ := net.SplitHostPort(from.RemoteAddr().String()); got != "127.0.0.3" {
		t.Errorf("dialled from %s", got)
	}
	if err := dial("b"); !errors.Is(err, ErrUnreachable) || err.Error() != "127.0.0.1:"+port+": BindAddress 203.0.113.9 in your ssh config is no address of this machine" {
		t.Errorf("%v", err)
	}
}

func TestAddressFamily_OfNoAddress(t *testing.T) {
	d, err := NewDialer(Config{SSHConfig: writeConfig(t, "Host *\n\tAddressFamily inet6\n")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Dial(t.Context(), HostConfig{Address: "127.0.0.1", Port: 1})
	if !errors.Is(err, ErrUnreachable) || err.Error() != "127.0.0.1:1: is no address of the family that AddressFamily in your ssh config wants" {
		t.Errorf("%v", err)
	}
}
