package remote

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/hybridctl/hybridctl/provision/hint"
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

// BindInterface says it by the interface: the address is one of its own.
func TestBindInterface(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	dial := func(name string) error {
		d, err := NewDialer(Config{SSHConfig: writeConfig(t, "Host *\n\tHostName 127.0.0.1\n\tPort "+port+"\n\tBindInterface "+name+"\n")})
		if err != nil {
			t.Fatal(err)
		}
		ep, err := d.resolver.resolve(HostConfig{Address: "a"})
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
	all, err := net.Interfaces()
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	for _, i := range all {
		if _, err := addressOf(i.Name, false); err != nil {
			continue
		}
		if err := dial(i.Name); err != nil {
			t.Errorf("%s: %v", i.Name, err)
			continue
		}
		from, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		from.Close()
		its, err := i.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		got, _, _ := net.SplitHostPort(from.RemoteAddr().String())
		if !slices.ContainsFunc(its, func(a net.Addr) bool { return strings.HasPrefix(a.String(), got+"/") }) {
			t.Errorf("%s: dialled from %s, its addresses are %v", i.Name, got, its)
		}
	}
	if err := dial("none7"); !errors.Is(err, ErrUnreachable) || Transient(err) || err.Error() != "127.0.0.1:"+port+": BindInterface none7 in your ssh config is none of this machine" {
		t.Errorf("%v", err)
	}
}

// An interface is dialled from by the address that other machines can answer to, where it has one.
func TestBindInterface_WhichAddress(t *testing.T) {
	for name, c := range map[string]struct {
		down bool
		has  string
		six  bool
		want string // an address, with its zone; or what is wrong
	}{
		"the first":                      {false, "192.0.2.7/24 192.0.2.8/24 2001:db8::7/64", false, "192.0.2.7"},
		"of the family":                  {false, "192.0.2.7/24 2001:db8::7/64", true, "2001:db8::7"},
		"not one of the link alone":      {false, "169.254.1.1/16 192.0.2.7/24", false, "192.0.2.7"},
		"nor in the other family":        {false, "fe80::1/64 2001:db8::7/64", true, "2001:db8::7"},
		"of the link, where it has none": {false, "192.0.2.7/24 fe80::1/64", true, "fe80::1%7"},
		"the loopback's own":             {false, "127.0.0.1/8 ::1/128", false, "127.0.0.1"},
		"none":                           {false, "2001:db8::7/64", false, "the interface has no IPv4 address"},
		"none of IPv6":                   {false, "192.0.2.7/24", true, "the interface has no IPv6 address"},
		"down":                           {true, "192.0.2.7/24", false, "the interface is down"},
	} {
		i := &net.Interface{Index: 7, Flags: net.FlagUp}
		if c.down {
			i.Flags = 0
		}
		var all []net.Addr
		for _, text := range strings.Fields(c.has) {
			ip, network, err := net.ParseCIDR(text)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, &net.IPNet{IP: ip, Mask: network.Mask})
		}
		got, err := addressAmong(i, all, c.six)
		said := fmt.Sprint(err)
		switch a := got.(type) {
		case *syscall.SockaddrInet4:
			said = netip.AddrFrom4(a.Addr).String()
		case *syscall.SockaddrInet6:
			said = netip.AddrFrom16(a.Addr).String()
			if a.ZoneId != 0 {
				said += fmt.Sprint("%", a.ZoneId)
			}
		}
		if said != c.want {
			t.Errorf("%s: %s, want %s", name, said, c.want)
		}
	}
}

// Hosts share a connection only where they are reached and believed alike; and one is not let in for another's reason only where the same keys are
// shown.
func TestEndpoint_WhatTellsTwoApart(t *testing.T) {
	const here, shown = "here", "shown"
	differ := map[string]string{
		"BindAddress 192.0.2.9": here, "BindInterface eth7": here, "AddressFamily inet": here, "User ops": here, "Port 2222": here, "HostKeyAlias b": here,
		"CASignatureAlgorithms ssh-ed25519": here, "HostKeyAlgorithms ssh-ed25519": here, "RevokedHostKeys /etc/revoked": here, "RequiredRSASize 3072": here,
		"StrictHostKeyChecking yes": here, "UserKnownHostsFile /etc/known": here, "ProxyJump gate": here,
		"PubkeyAuthentication no": shown, "IdentitiesOnly yes": shown, "IdentityFile /etc/key": shown, "CertificateFile /etc/cert": shown, "IdentityAgent /run/agent": shown,
	}
	text := ""
	for i, line := range slices.Sorted(maps.Keys(differ)) {
		text += fmt.Sprintf("Host h%d\n\t%s\n", i, line)
	}
	r, _ := newResolver(t, text+"Host h*\n\tHostName 192.0.2.1\n")
	resolve := func(name string) *endpoint {
		ep, err := r.resolve(HostConfig{Address: name})
		if err != nil {
			t.Fatal(err)
		}
		return ep
	}
	plain, again := resolve("h-plain"), resolve("h-again")
	if plain.key() != again.key() || !plain.sameLogin(again) {
		t.Errorf("%q and %q", plain.key(), again.key())
	}
	for i, line := range slices.Sorted(maps.Keys(differ)) {
		ep := resolve(fmt.Sprint("h", i))
		if (ep.key() != plain.key()) != (differ[line] == here) || differ[line] == shown && ep.sameLogin(plain) {
			t.Errorf("%s: %q, the same login: %t", line, ep.key(), ep.sameLogin(plain))
		}
	}
	both, _ := newResolver(t, "Host a\n\tBindAddress 192.0.2.9\n\tBindInterface eth7\n")
	if ep, err := both.resolve(HostConfig{Address: "a"}); err != nil || ep.from != "192.0.2.9" || ep.device != "" {
		t.Errorf("an address goes before an interface: %+v, %v", ep, err)
	}
}

// PubkeyAuthentication no shows no key, whoever names it.
func TestPubkeyAuthentication(t *testing.T) {
	r, home := newResolver(t, "Host a\n\tPubkeyAuthentication No\nHost b\n\tPubkeyAuthentication unbound\nHost c\n\tPubkeyAuthentication perhaps\n")
	key := privateKey(t, filepath.Join(home, "key"), 0o600)
	ring := newKeyring(nil, slog.New(slog.DiscardHandler))
	for name, shown := range map[string]bool{"a": false, "b": true, "other": true} {
		ep, err := r.resolve(HostConfig{Address: name, IdentityFiles: []string{key}})
		if err != nil {
			t.Fatal(err)
		}
		l := ring.login(ep, func() func() { return func() {} })
		if (len(l.signers) == 1) != shown || (len(l.method()) == 1) != shown {
			t.Errorf("%s: %d keys, %q", name, len(l.signers), l.tried)
		}
		err = l.refused(ep, nil)
		if said := strings.Contains(err.Error(), "tried no key, as PubkeyAuthentication is no in your ssh config"); said == shown || (hint.Text(err) == "") != shown {
			t.Errorf("%s: %v (%s)", name, err, hint.Text(err))
		}
	}
	if _, err := r.resolve(HostConfig{Address: "c"}); err == nil || !strings.Contains(err.Error(), "PubkeyAuthentication perhaps: want yes, no, unbound or host-bound") {
		t.Errorf("%v", err)
	}
}

// privateKey writes a key of its own.
func privateKey(t *testing.T, path string, mode os.FileMode) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path, pem.EncodeToMemory(block), mode), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

// A private key that others may read is not used, and the login says what to do about it.
func TestKeyThatOthersMayRead(t *testing.T) {
	for mode, used := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o700: true, 0o640: false, 0o644: false, 0o604: false} {
		key := privateKey(t, filepath.Join(t.TempDir(), "key"), mode)
		ep := &endpoint{host: "a", port: 22, user: "root", identities: []string{key}}
		l := newKeyring(nil, slog.New(slog.DiscardHandler)).login(ep, func() func() { return func() {} })
		err := l.refused(ep, nil)
		if said := fmt.Sprintf("key %s (not used, and not by ssh either: its mode %04o lets others read it)", key, mode); (len(l.signers) == 1) != used || strings.Contains(err.Error(), said) == used {
			t.Errorf("%04o: %d keys: %v", mode, len(l.signers), err)
		}
		if h := hint.Text(err); strings.Contains(h, "chmod 600 "+key) == used {
			t.Errorf("%04o: hint %q", mode, h)
		}
	}
	// nor is one that a passphrase protects: no one is asked for it
	for mode, used := range map[os.FileMode]bool{0o600: true, 0o644: false} {
		locked := lockedKey(t, "open sesame")
		if err := os.Chmod(locked, mode); err != nil {
			t.Fatal(err)
		}
		ask := func(string) (string, error) { return "", errors.New("no one is asked here") }
		l := newKeyring(ask, slog.New(slog.DiscardHandler)).login(&endpoint{identities: []string{locked}}, func() func() { return func() {} })
		if (len(l.signers) == 1) != used || (len(l.mend) == 1) == used {
			t.Errorf("%04o with a passphrase: %d keys, %q, %q", mode, len(l.signers), l.tried, l.mend)
		}
	}
	if os.Getuid() == 0 { // as ssh does, it is asked of the user's own files
		anothers := privateKey(t, filepath.Join(t.TempDir(), "key"), 0o644)
		if err := os.Chown(anothers, 12345, -1); err != nil {
			t.Fatal(err)
		}
		if l := newKeyring(nil, slog.New(slog.DiscardHandler)).login(&endpoint{identities: []string{anothers}}, func() func() { return func() {} }); len(l.signers) != 1 {
			t.Errorf("another's key: %q", l.tried)
		}
	}
	// what is no private key may be read by all
	public := filepath.Join(t.TempDir(), "key.pub")
	if err := os.WriteFile(public, ssh.MarshalAuthorizedKey(newPublic(t)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := newKeyring(nil, slog.New(slog.DiscardHandler)).signer(public, nil, nil); err == nil || errors.As(err, new(*exposed)) {
		t.Errorf("%v", err)
	}
}

// CASignatureAlgorithms holds for the signature of an authority beneath a host's certificate; SHA-1 is not among them from the start.
func TestCASignatureAlgorithms(t *testing.T) {
	r, _ := newResolver(t, "Host a\n\tCASignatureAlgorithms ssh-ed25519,ecdsa-*\nHost b\n\tCASignatureAlgorithms -rsa-sha2-256\nHost c\n\tCASignatureAlgorithms ssh-dss\n")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	known := hostsOf(t, knownFile(t, "@cert-authority * "+strings.TrimSpace(string(ssh.MarshalAuthorizedKey(authority.PublicKey())))))
	for _, test := range []struct{ name, with, want string }{
		{"a", ssh.KeyAlgoRSASHA512, "signed it with rsa-sha2-512, and CASignatureAlgorithms in your ssh config wants ssh-ed25519, ecdsa-sha2-nistp256, ecdsa-sha2-nistp384, ecdsa-sha2-nistp521"},
		{"b", ssh.KeyAlgoRSASHA256, "signed it with rsa-sha2-256, and CASignatureAlgorithms in your ssh config wants "},
		{"b", ssh.KeyAlgoRSASHA512, ""},
		{"other", ssh.KeyAlgoRSASHA256, ""},
		{"other", ssh.KeyAlgoRSA, "signed it with ssh-rsa, and ssh takes none but ssh-ed25519, "},
	} {
		ep, err := r.resolve(HostConfig{Address: test.name})
		if err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.NewSignerWithAlgorithms(authority.(ssh.AlgorithmSigner), []string{test.with})
		if err != nil {
			t.Fatal(err)
		}
		cert := &ssh.Certificate{Key: newPublic(t), CertType: ssh.HostCert, ValidPrincipals: []string{test.name}, ValidBefore: ssh.CertTimeInfinity}
		if err := cert.SignCert(rand.Reader, signer); err != nil {
			t.Fatal(err)
		}
		_, err = known.check(ep, &net.TCPAddr{}, cert)
		if (err == nil) != (test.want == "") || err != nil && (!errors.Is(err, ErrHostKeyChanged) || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s with %s: %v, want %q", test.name, test.with, err, test.want)
		}
	}
	if _, err := r.resolve(HostConfig{Address: "c"}); err == nil || !strings.Contains(err.Error(), "CASignatureAlgorithms ssh-dss leaves none that can be checked here") {
		t.Errorf("%v", err)
	}
}
