// Package remotetest is a fleet of hosts in one process: SSH servers on loopback that answer commands as told, serve SFTP from
// a directory of their own, forward connections, and fail on demand. It serves tests and benchmarks of everything above remote.
// It runs nothing that it is asked to run, unless a handler does.
package remotetest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/hybridctl/hybridctl/provision/remote"
)

// TB is what a fleet needs of testing.TB.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	TempDir() string
}

// Options of a fleet. The zero value works.
type Options struct {
	RTT  time.Duration // round-trip time, half of it in each direction; throughput is not limited
	User string        // login user of Host.Config; default root

	// AllowUnknown makes commands without a handler plain failures. Otherwise they fail the test as well.
	AllowUnknown bool
}

// Fleet is a number of hosts. Its hosts run until the test ends.
type Fleet struct {
	Hosts []*Host

	tb      TB
	options Options
	dir     string
	key     ssh.Signer // the client's
	keyFile string

	mu       sync.Mutex
	handlers []handler
	unknown  []string
}

// NewFleet starts n hosts.
func NewFleet(tb TB, n int, o Options) *Fleet {
	tb.Helper()
	if o.User == "" {
		o.User = "root"
	}
	f := &Fleet{tb: tb, options: o, dir: tb.TempDir()}
	f.key, f.keyFile = NewKey(tb, f.dir, "id_ed25519", "")
	tb.Cleanup(f.stop)
	for i := range n {
		f.Hosts = append(f.Hosts, newHost(f, i))
	}
	return f
}

// stop ends the hosts and reports what they could not answer.
func (f *Fleet) stop() {
	for _, h := range f.Hosts {
		h.stop()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.options.AllowUnknown {
		return
	}
	for i, u := range f.unknown {
		if i == 10 {
			f.tb.Errorf("remotetest: and %d more", len(f.unknown)-i)
			break
		}
		f.tb.Errorf("remotetest: %s", u)
	}
}

// Config is a client's configuration for this fleet: a known_hosts of its own, no agent, no ~/.ssh/config.
func (f *Fleet) Config() remote.Config {
	return remote.Config{ClusterKnownHosts: filepath.Join(f.dir, "known_hosts")}
}

// Dialer returns a dialer with Config, closed when the test ends.
func (f *Fleet) Dialer() *remote.Dialer {
	f.tb.Helper()
	d, err := remote.NewDialer(f.Config())
	if err != nil {
		f.tb.Fatalf("%v", err)
	}
	f.tb.Cleanup(func() { d.Close() })
	return d
}

// Fleet is the fleet that the host belongs to.
func (h *Host) Fleet() *Fleet { return h.fleet }

// ClientKey is the key that every host lets in.
func (f *Fleet) ClientKey() ssh.Signer { return f.key }

// KeyFile is the path of ClientKey's private half.
func (f *Fleet) KeyFile() string { return f.keyFile }

// Stats is the sum over all hosts.
func (f *Fleet) Stats() Stats {
	var sum Stats
	for _, h := range f.Hosts {
		sum.add(h.Stats())
	}
	return sum
}

// NewKey makes an ed25519 key pair and writes its private half into dir. With a passphrase it is encrypted.
func NewKey(tb TB, dir, name, passphrase string) (ssh.Signer, string) {
	tb.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(private, name)
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, name, []byte(passphrase))
	}
	if err != nil {
		tb.Fatalf("%v", err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		tb.Fatalf("%v", err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return signer, path
}

func newSigner() (ssh.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(private)
}

func (f *Fleet) noteUnknown(h *Host, s *Session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unknown = append(f.unknown, fmt.Sprintf("%s has no answer to: %.200s", h.Name, s.Command()))
}
