package remote

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
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

	"github.com/hybridctl/hybridctl/provision/hint"
)

// writeKeys writes a key of each kind, and beside the RSA one its certificate.
func writeKeys(t *testing.T, dir string) {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]any{"ed": ed, "ec": ec, "rsa": long} {
		block, err := ssh.MarshalPrivateKey(key, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	public, err := ssh.NewPublicKey(long.Public())
	if err != nil {
		t.Fatal(err)
	}
	authority, err := ssh.NewSignerFromKey(ed)
	if err != nil {
		t.Fatal(err)
	}
	cert := &ssh.Certificate{Key: public, CertType: ssh.UserCert, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rsa-cert.pub"), ssh.MarshalAuthorizedKey(cert), 0o644); err != nil {
		t.Fatal(err)
	}
}

// PubkeyAcceptedAlgorithms holds for our keys as it does with ssh: a key that is of none of them is not shown, and an RSA key signs as they say.
func TestPubkeyAcceptedAlgorithms(t *testing.T) {
	const keys = "\tIdentityFile ~/ed\n\tIdentityFile ~/ec\n\tIdentityFile ~/rsa\n"
	r, home := newResolver(t, "Host all\n"+keys+
		"Host more\n\tPubkeyAcceptedAlgorithms +ssh-rsa\n"+keys+
		"Host ed\n\tPubkeyAcceptedAlgorithms ssh-ed25519\n"+keys+
		"Host not-ec\n\tPubkeyAcceptedKeyTypes -ecdsa-*\n"+keys+
		"Host 512\n\tPubkeyAcceptedAlgorithms rsa-sha2-512\n"+keys+
		"Host cert\n\tPubkeyAcceptedAlgorithms rsa-sha2-256-cert-v01@openssh.com\n"+keys+
		"Host none\n\tPubkeyAcceptedAlgorithms ssh-dss\n"+keys)
	writeKeys(t, home)
	ring := newKeyring(nil, slog.New(slog.DiscardHandler))
	const ed, ec, cert, long = "ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa-cert-v01@openssh.com", "ssh-rsa"
	for host, want := range map[string]struct {
		shown  string
		server string // the algorithms that a server takes
		in     bool
	}{
		"all":    {ed + " " + ec + " " + cert + " " + long, "rsa-sha2-256", true},
		"more":   {ed + " " + ec + " " + cert + " " + long, "rsa-sha2-512", true},
		"ed":     {ed, "rsa-sha2-512", false},
		"not-ec": {ed + " " + cert + " " + long, "ecdsa-sha2-nistp256", false},
		"512":    {long, "rsa-sha2-256", false},
		"cert":   {cert, "rsa-sha2-256", true},
	} {
		ep, err := r.resolve(HostConfig{Address: host})
		if err != nil {
			t.Fatal(err)
		}
		l := ring.login(ep, func() func() { return func() {} })
		var shown []string
		for _, s := range l.signers {
			shown = append(shown, s.PublicKey().Type())
		}
		if got := strings.Join(shown, " "); got != want.shown {
			t.Errorf("%s: shown %s, want %s", host, got, want.shown)
		}
		if left := strings.Count(strings.Join(l.tried, ", "), "which PubkeyAcceptedAlgorithms in your ssh config leaves out"); left != 4-len(strings.Fields(want.shown)) {
			t.Errorf("%s: told %q", host, l.tried)
		}
		if in := letIn(t, l, want.server); in != want.in {
			t.Errorf("%s: by a server that takes %s: in %t, want %t", host, want.server, in, want.in)
		}
	}
	only512, err := r.resolve(HostConfig{Address: "512"})
	if err != nil || !letIn(t, ring.login(only512, func() func() { return func() {} }), "rsa-sha2-512") {
		t.Errorf("a server that takes the one that is accepted does not let in: %v", err)
	}
	all, err := r.resolve(HostConfig{Address: "all"})
	if err != nil || all.sameLogin(only512) {
		t.Errorf("other algorithms are the same login: %v", err)
	}
	if _, err := r.resolve(HostConfig{Address: "none"}); err == nil || !strings.Contains(err.Error(), "PubkeyAcceptedAlgorithms ssh-dss leaves none that hybridctl logs in with (those are ssh-ed25519-cert-v01@openssh.com, ") {
		t.Errorf("%v", err)
	}
}

// letIn reports whether a server that takes signatures of one algorithm lets a login in.
func letIn(t *testing.T, l *login, algorithm string) bool {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	host, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{PublicKeyAuthAlgorithms: []string{algorithm}, PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
	config.AddHostKey(host)
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a pipe holds nothing, and both sides speak first
	if err != nil {
		t.Fatal(err)
	}
	ours, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	theirs, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer theirs.Close()
		if c, _, _, err := ssh.NewServerConn(theirs, config); err == nil {
			c.Close()
		}
	}()
	c, _, _, err := ssh.NewClientConn(ours, "", &ssh.ClientConfig{User: "root", Auth: l.method(), HostKeyCallback: ssh.FixedHostKey(host.PublicKey())})
	if err == nil {
		c.Close()
	}
	ours.Close()
	<-served
	return err == nil
}

// What hybridctl does not use is told, once for all hosts, with what to do about it, and again where the login fails.
func TestProviders_AreTold(t *testing.T) {
	var said strings.Builder
	path := writeConfig(t, "Host off\n\tPubkeyAuthentication no\nHost *\n\tPKCS11Provider /usr/lib/token.so\n\tSecurityKeyProvider /usr/lib/fido.so\n")
	conf, err := loadSSHConfig(Config{SSHConfig: path}, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	r := resolver{conf: conf}
	if _, err := r.resolve(HostConfig{Address: "off"}); err != nil || said.String() != "" {
		t.Errorf("where no key is shown: %v, %s", err, &said)
	}
	var ep *endpoint
	for _, host := range []string{"a", "b"} {
		if ep, err = r.resolve(HostConfig{Address: host}); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range []string{
		`msg="ssh config: hybridctl does not use PKCS11Provider" library=/usr/lib/token.so hint="load its keys into the agent: ssh-add -s /usr/lib/token.so"`,
		`msg="ssh config: hybridctl does not use SecurityKeyProvider" library=/usr/lib/fido.so hint="load its keys into the agent: ssh-add -S /usr/lib/fido.so KEY"`,
	} {
		if strings.Count(said.String(), part) != 1 {
			t.Errorf("not told once: %s\nof\n%s", part, &said)
		}
	}
	err = newKeyring(nil, slog.New(slog.DiscardHandler)).login(ep, func() func() { return func() {} }).refused(ep, errors.New("no"))
	if text := err.Error(); !strings.Contains(text, "tried keys by PKCS11Provider /usr/lib/token.so (not used here), keys by SecurityKeyProvider /usr/lib/fido.so (not used here)") {
		t.Errorf("%v", err)
	}
	if h := hint.Text(err); !strings.Contains(h, "ssh-add -s /usr/lib/token.so") || !strings.Contains(h, "ssh-add -S /usr/lib/fido.so") {
		t.Errorf("hint %q", h)
	}
}

// The providers that ssh has without a word in a config file are not ours to tell of.
func TestProviders_OfSSHItselfAreNotTold(t *testing.T) {
	for _, setting := range []string{"PKCS11Provider none", "SecurityKeyProvider internal", "SecurityKeyProvider none", "SecurityKeyProvider $SSH_SK_PROVIDER"} {
		var said strings.Builder
		conf, err := loadSSHConfig(Config{SSHConfig: writeConfig(t, "Host *\n\t"+setting+"\n")}, slog.New(slog.NewTextHandler(&said, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if ep, err := (resolver{conf: conf}).resolve(HostConfig{Address: "a"}); err != nil || said.String() != "" || len(ep.unspelled) > 0 {
			t.Errorf("%s: %v, %s", setting, err, &said)
		}
	}
}
