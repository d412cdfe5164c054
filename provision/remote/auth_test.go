package remote_test

import (
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// keyName is the fleet's key as messages name it.
func keyName(f *remotetest.Fleet) string {
	return f.KeyFile() + " (" + ssh.FingerprintSHA256(f.ClientKey().PublicKey()) + ")"
}

func newDialer(t *testing.T, c remote.Config) *remote.Dialer {
	t.Helper()
	d, err := remote.NewDialer(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestAuth_RefusalListsWhatWasTried(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{User: "ops"})
	h := f.Hosts[0]
	h.Authorize()
	h.SetPassword("only for people")
	conf := h.Config()
	conf.IdentityFiles = append(conf.IdentityFiles, "/nowhere/id_rsa")
	_, err := f.Dialer().Dial(t.Context(), conf)
	want := h.Addr() + " does not let user ops in: tried key " + keyName(f) +
		", key /nowhere/id_rsa (no such file or directory); the server takes password, publickey"
	if !errors.Is(err, remote.ErrAuth) || err.Error() != want || remote.Transient(err) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	conf.IdentityFiles = nil
	_, err = f.Dialer().Dial(t.Context(), conf)
	if !errors.Is(err, remote.ErrAuth) || !strings.Contains(err.Error(), "there was no key to try") {
		t.Errorf("error %v", err)
	}
}

// A private key that cannot be read is told as that, also where its public half lies beside it.
func TestAuth_UnreadableKey(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{})
	h := f.Hosts[0]
	h.Authorize()
	file := filepath.Join(t.TempDir(), "id")
	if err := os.Mkdir(file, 0o700); err != nil { // which root cannot read either
		t.Fatal(err)
	}
	writeFile(t, file+".pub", string(ssh.MarshalAuthorizedKey(f.ClientKey().PublicKey())))
	conf := h.Config()
	conf.IdentityFiles = []string{file}
	_, err := f.Dialer().Dial(t.Context(), conf)
	if !errors.Is(err, remote.ErrAuth) || !strings.Contains(err.Error(), "tried key "+file+" (is a directory)") {
		t.Errorf("error %v", err)
	}
}

func TestAuth_PassphraseIsAskedOnce(t *testing.T) {
	f := remotetest.NewFleet(t, 8, remotetest.Options{})
	key, file := remotetest.NewKey(t, t.TempDir(), "id_locked", "open sesame")
	var asked atomic.Int64
	c := f.Config()
	c.Prompt = func(question string) (string, error) {
		if !strings.Contains(question, file) {
			t.Errorf("question %q", question)
		}
		if asked.Add(1) == 1 {
			return "typo", nil
		}
		return "open sesame", nil
	}
	d := newDialer(t, c)
	var wg sync.WaitGroup
	for _, h := range f.Hosts {
		h.Authorize(key.PublicKey())
		conf := h.Config()
		conf.IdentityFiles = []string{file}
		wg.Go(func() {
			conn, err := d.Dial(t.Context(), conf)
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
		})
	}
	wg.Wait()
	if n := asked.Load(); n != 2 {
		t.Errorf("asked %d times, want 2: a typo and once more, for all hosts", n)
	}
}

func TestAuth_PassphraseIsNotAskedInVain(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{})
	_, locked := remotetest.NewKey(t, t.TempDir(), "id_locked", "open sesame")
	h := f.Hosts[0]
	c := f.Config()
	c.Prompt = func(q string) (string, error) {
		t.Errorf("asked %q for a key that the host does not take", q)
		return "", errors.New("no")
	}
	conf := h.Config()
	conf.IdentityFiles = []string{locked, f.KeyFile()}
	conn, err := newDialer(t, c).Dial(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()

	h.Authorize()
	conf.IdentityFiles = []string{locked}
	_, err = newDialer(t, f.Config()).Dial(t.Context(), conf)
	if !errors.Is(err, remote.ErrAuth) || !strings.Contains(err.Error(), "needs a passphrase, and there is no terminal to ask on") {
		t.Errorf("error %v", err)
	}
}

func TestAuth_AgentOpensALockedFile(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{})
	h := f.Hosts[0]
	private := newPrivate(t)
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("open sesame"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "id")
	writeFile(t, file, string(pem.EncodeToMemory(block)))
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	h.Authorize(public)
	c := f.Config()
	c.AgentSocket = serveAgent(t, agent.AddedKey{PrivateKey: private})
	c.Prompt = func(q string) (string, error) {
		t.Errorf("asked %q though the agent has the key", q)
		return "", errors.New("no")
	}
	conf := h.Config()
	conf.IdentityFiles = []string{file}
	conn, err := newDialer(t, c).Dial(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func serveAgent(t *testing.T, keys ...agent.AddedKey) string {
	t.Helper()
	ring := agent.NewKeyring()
	for _, k := range keys {
		if err := ring.Add(k); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(ring, c)
		}
	}()
	return socket
}

func TestAuth_Agent(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{})
	h := f.Hosts[0]
	private := newPrivate(t)
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	h.Authorize(signer.PublicKey())
	c := f.Config()
	c.AgentSocket = serveAgent(t, agent.AddedKey{PrivateKey: private})
	conn, err := newDialer(t, c).Dial(t.Context(), h.Config())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()

	h.Authorize()
	_, err = newDialer(t, c).Dial(t.Context(), h.Config())
	if !errors.Is(err, remote.ErrAuth) || !strings.Contains(err.Error(), "agent key ("+ssh.FingerprintSHA256(signer.PublicKey())) {
		t.Errorf("error %v", err)
	}
	c.AgentSocket = filepath.Join(t.TempDir(), "gone")
	_, err = newDialer(t, c).Dial(t.Context(), h.Config())
	if !errors.Is(err, remote.ErrAuth) || !strings.Contains(err.Error(), "/gone (no such file or directory)") {
		t.Errorf("error %v", err)
	}
}
