package remote

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// keyring holds the agent's keys and the key files, each read once for all hosts.
type keyring struct {
	prompt func(question string) (string, error)
	log    *slog.Logger

	mu        sync.Mutex
	agents    map[string]func() ([]ssh.Signer, error) // by socket; each is asked once
	conns     []net.Conn
	files     map[string]*keyFile
	prompting sync.Mutex // one question at a time
}

func newKeyring(prompt func(string) (string, error), log *slog.Logger) *keyring {
	return &keyring{prompt: prompt, log: log, agents: map[string]func() ([]ssh.Signer, error){}, files: map[string]*keyFile{}}
}

// agent returns the keys of the agent behind a socket; "" has none.
func (k *keyring) agent(socket string) ([]ssh.Signer, error) {
	if socket == "" {
		return nil, nil
	}
	k.mu.Lock()
	ask := k.agents[socket]
	if ask == nil {
		ask = sync.OnceValues(func() ([]ssh.Signer, error) { return k.askAgent(socket) })
		k.agents[socket] = ask
	}
	k.mu.Unlock()
	return ask()
}

// agentPatience is how long an agent may take to list its keys. One that is locked may ask its user first.
const agentPatience = 30 * time.Second

func (k *keyring) askAgent(socket string) ([]ssh.Signer, error) {
	conn, err := net.DialTimeout("unix", socket, agentPatience)
	if err != nil {
		return nil, cause(err)
	}
	k.mu.Lock()
	k.conns = append(k.conns, conn) // kept open: it signs for us later
	k.mu.Unlock()
	conn.SetDeadline(time.Now().Add(agentPatience))
	signers, err := agent.NewClient(conn).Signers()
	conn.SetDeadline(time.Time{})
	return signers, err
}

func (k *keyring) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.conns {
		c.Close()
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
	unread error // why the private half, which is there, could not be read

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
	f.readCertificate()
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
