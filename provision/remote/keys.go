package remote

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// keyring holds the agent's keys and the key files, each read once for all hosts.
type keyring struct {
	prompt   func(question string) (string, error)
	log      *slog.Logger
	patience time.Duration // with agents

	mu        sync.Mutex
	agents    map[string]*agentKeys // by socket
	files     map[string]*keyFile
	prompting sync.Mutex // one question at a time
}

func newKeyring(prompt func(string) (string, error), log *slog.Logger) *keyring {
	return &keyring{prompt: prompt, log: log, patience: agentPatience, agents: map[string]*agentKeys{}, files: map[string]*keyFile{}}
}

// agentPatience is how long an agent may take to list its keys, and to sign. It may ask its user first.
const agentPatience = 30 * time.Second

// agentKeys are the keys of the agent behind a socket, which is asked once.
type agentKeys struct {
	once sync.Once
	conn net.Conn // kept open: it signs for us later
	keys []ssh.Signer
	err  error

	talking sync.Mutex
	silent  error // it did not answer; with talking
}

// agent returns the keys of the agent behind a socket; "" has none. hold stops the clock of the login that waits for the agent.
func (k *keyring) agent(socket string, hold func() func()) ([]ssh.Signer, error) {
	if socket == "" {
		return nil, nil
	}
	k.mu.Lock()
	a := k.agents[socket]
	if a == nil {
		a = &agentKeys{}
		k.agents[socket] = a
	}
	k.mu.Unlock()
	release := hold()
	a.once.Do(func() {
		if a.conn, a.err = net.DialTimeout("unix", socket, k.patience); a.err != nil {
			a.err = cause(a.err)
			return
		}
		a.err = a.patiently(k.patience, func() (err error) {
			a.keys, err = agent.NewClient(a.conn).Signers()
			return err
		})
	})
	release()
	out := make([]ssh.Signer, len(a.keys))
	for i, s := range a.keys {
		out[i] = s
		if s, ok := s.(ssh.AlgorithmSigner); ok {
			out[i] = &agentSigner{s, a, k.patience, hold}
		}
	}
	return out, a.err
}

// patiently talks with the agent for as long as that may take. One that did not answer is not asked again: its answer may come later.
func (a *agentKeys) patiently(patience time.Duration, talk func() error) error {
	a.talking.Lock()
	defer a.talking.Unlock()
	if a.silent != nil {
		return a.silent
	}
	end := time.Now().Add(patience)
	a.conn.SetDeadline(end)
	err := talk()
	a.conn.SetDeadline(time.Time{})
	if err != nil && !time.Now().Before(end) { // the library does not wrap what ended it
		a.conn.Close()
		a.silent = &noAnswer{patience}
		return a.silent
	}
	return err
}

// noAnswer is an agent that did not answer in time.
type noAnswer struct{ within time.Duration }

func (e *noAnswer) Error() string { return fmt.Sprintf("no answer within %v", e.within) }

// agentSigner is a key of an agent. The login's clock stands still while the agent signs.
type agentSigner struct {
	ssh.AlgorithmSigner
	agent    *agentKeys
	patience time.Duration
	hold     func() func()
}

func (s *agentSigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(rand, data, "")
}

func (s *agentSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (sig *ssh.Signature, err error) {
	defer s.hold()()
	err = s.agent.patiently(s.patience, func() (err error) {
		sig, err = s.AlgorithmSigner.SignWithAlgorithm(rand, data, algorithm)
		return err
	})
	if err != nil {
		return nil, &notSigned{err}
	}
	return sig, nil
}

// notSigned is an agent that lists a key and does not sign with it.
type notSigned struct{ error }

func (e *notSigned) Unwrap() error { return e.error }

func (k *keyring) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range k.agents {
		if a.conn != nil {
			a.conn.Close()
		}
	}
}

// keyFile is a private key on disk. Its public half is known without the passphrase, but for old PEM files.
type keyFile struct {
	path   string
	once   sync.Once
	public ssh.PublicKey
	signer ssh.Signer       // nil: encrypted, or a public key whose private half the agent has
	text   []byte           // when encrypted
	cert   *ssh.Certificate // beside it: KEY-cert.pub
	err    error
	unread error // why the private half, which is there, could not be read, or is not used

	openOnce sync.Once
	openErr  error
}

func (k *keyring) file(path string) *keyFile {
	k.mu.Lock()
	f := k.files[path]
	if f == nil {
		f = &keyFile{path: path}
		k.files[path] = f
	}
	k.mu.Unlock()
	f.once.Do(f.read)
	return f
}

func (f *keyFile) read() {
	text, err := readFile(f.path)
	if err != nil {
		// ssh is content with the public half beside it, where the agent has the private one
		if f.public, _ = readPublic(f.path + ".pub"); f.public == nil {
			f.err = err
		} else if !missing(err) {
			f.unread = err
		}
		f.readCertificate()
		return
	}
	signer, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	switch {
	case err == nil:
		f.signer, f.public = signer, signer.PublicKey()
	case errors.As(err, &locked):
		f.text, f.public = text, locked.PublicKey
		if f.public == nil {
			f.public, _ = readPublic(f.path + ".pub")
		}
	default:
		if f.public, _ = parsePublic(text); f.public == nil {
			f.public, _ = readPublic(f.path + ".pub") // of a kind that only the agent can use: in a security key, say
		}
		if f.public == nil {
			f.err = errors.New("not a private key")
		}
	}
	if why := exposure(f.path); why != nil && (f.signer != nil || f.text != nil) {
		f.signer, f.text, f.unread = nil, nil, why
	}
	f.readCertificate()
}

// exposed is a private key that others than its owner may read: ssh does not use it.
type exposed struct{ mode fs.FileMode }

func (e *exposed) Error() string {
	return fmt.Sprintf("not used, and not by ssh either: its mode %04o lets others read it", e.mode)
}

// exposure is nil for a file that its owner alone may read. As ssh does, it asks that of the user's own files.
func exposure(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil // it was read just now
	}
	mode := info.Mode().Perm()
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) == os.Getuid() && mode&0o077 != 0 {
		return &exposed{mode}
	}
	return nil
}

// readCertificate reads the certificate beside the key. For KEY.pub that is the one of KEY.
func (f *keyFile) readCertificate() {
	if key, err := readPublic(strings.TrimSuffix(f.path, ".pub") + "-cert.pub"); err == nil {
		f.cert, _ = key.(*ssh.Certificate)
	}
}

func readPublic(path string) (ssh.PublicKey, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return parsePublic(text)
}

func parsePublic(text []byte) (ssh.PublicKey, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey(text)
	return key, err
}

// open decrypts the key. The user is asked once, with three tries, whatever the number of hosts; hold stops the clock of the
// login that waits.
func (k *keyring) open(f *keyFile, hold func() (release func())) (ssh.Signer, error) {
	if f.text == nil {
		return f.signer, nil
	}
	release := hold()
	defer release()
	f.openOnce.Do(func() {
		k.prompting.Lock()
		defer k.prompting.Unlock()
		f.openErr = k.ask(f)
	})
	return f.signer, f.openErr
}

func (k *keyring) ask(f *keyFile) error {
	question := fmt.Sprintf("passphrase for key %s: ", f.path)
	for range 3 {
		phrase, err := k.prompt(question)
		if err != nil {
			return fmt.Errorf("key %s: %w", f.path, err)
		}
		signer, err := ssh.ParsePrivateKeyWithPassphrase(f.text, []byte(phrase))
		if err == nil {
			f.signer = signer
			return nil
		}
		if !errors.Is(err, x509.IncorrectPasswordError) {
			return fmt.Errorf("key %s: %w", f.path, err)
		}
		question = fmt.Sprintf("wrong; passphrase for key %s: ", f.path)
	}
	return fmt.Errorf("key %s: wrong passphrase", f.path)
}

// lockedSigner shows its public key freely and asks for the passphrase only when the server wants a signature.
type lockedSigner struct {
	file *keyFile
	ring *keyring
	hold func() func()
}

func (s *lockedSigner) PublicKey() ssh.PublicKey { return s.file.public }

func (s *lockedSigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(rand, data, "")
}

func (s *lockedSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	signer, err := s.ring.open(s.file, s.hold)
	if err != nil {
		return nil, err
	}
	if a, ok := signer.(ssh.AlgorithmSigner); ok && algorithm != "" {
		return a.SignWithAlgorithm(rand, data, algorithm)
	}
	return signer.Sign(rand, data)
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
