package remotetest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"

	"github.com/hybridctl/hybridctl/provision/remote"
)

// Host is one SSH server. Its methods may be called at any time; what they change holds from the next connection, session or
// command on, unless they say otherwise.
type Host struct {
	Name    string
	Address string // 127.x.y.z, no two alike
	Port    int

	fleet    *Fleet
	counters counters
	faults   faults

	mu         sync.Mutex
	listener   net.Listener
	conns      map[*conn]bool
	hostKeys   []ssh.Signer
	authorized []ssh.PublicKey
	password   string
	handlers   []handler
	commands   []Recorded
	sudo       Sudo
	noForward  bool
	routes     map[string]string
	sessions   int // the most on one connection; 0: no limit
	banner     string
	shell      *NoShell
	full       string // said to as many connections as fullFor, which are closed then
	fullFor    int
	root       *os.Root
	stopped    bool
	running    sync.WaitGroup
	idle       *sync.Cond
}

func newHost(f *Fleet, i int) *Host {
	h := &Host{
		Name:       fmt.Sprintf("host-%d", i+1),
		Address:    fmt.Sprintf("127.77.%d.%d", i/250, i%250+1),
		fleet:      f,
		conns:      map[*conn]bool{},
		authorized: []ssh.PublicKey{f.key.PublicKey()},
	}
	h.idle = sync.NewCond(&h.mu)
	h.faults.init()
	h.ChangeHostKey()
	h.Start()
	return h
}

// Config is how a client reaches the host.
func (h *Host) Config() remote.HostConfig {
	return remote.HostConfig{Name: h.Name, Address: h.Address, Port: h.Port, User: h.fleet.options.User, IdentityFiles: []string{h.fleet.keyFile}}
}

// Addr is the host's address and port.
func (h *Host) Addr() string { return net.JoinHostPort(h.Address, strconv.Itoa(h.Port)) }

// Start listens, on the same port as before.
func (h *Host) Start() {
	l, err := net.Listen("tcp", h.Addr())
	if err != nil {
		h.fleet.tb.Fatalf("remotetest: %v", err)
	}
	h.mu.Lock()
	h.listener = l
	h.Port = l.Addr().(*net.TCPAddr).Port
	h.mu.Unlock()
	h.running.Go(func() { h.accept(l) })
}

// Refuse stops listening: connections are refused until Start. Those that are open stay.
func (h *Host) Refuse() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listener.Close()
}

// Cut ends all open connections at once, as a reboot does.
func (h *Host) Cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.conns {
		c.abort()
	}
}

func (h *Host) stop() {
	h.mu.Lock()
	h.stopped = true
	h.mu.Unlock()
	h.Refuse()
	h.faults.hang.release()
	h.Cut()
	h.running.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.root != nil {
		h.root.Close()
	}
}

// ChangeHostKey gives the host a new ed25519 key in place of all it had.
func (h *Host) ChangeHostKey() {
	s, err := newSigner()
	if err != nil {
		h.fleet.tb.Fatalf("remotetest: %v", err)
	}
	h.SetHostKeys(s)
}

// SetHostKeys gives the host these keys, one for each type.
func (h *Host) SetHostKeys(keys ...ssh.Signer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hostKeys = keys
}

// HostKey is the host's (first) public key.
func (h *Host) HostKey() ssh.PublicKey {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hostKeys[0].PublicKey()
}

// Authorize replaces the keys that are let in; none at all is possible.
func (h *Host) Authorize(keys ...ssh.PublicKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.authorized = keys
}

// SetPassword lets users in with a password too.
func (h *Host) SetPassword(word string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.password = word
}

// AllowForwarding reports whether the host opens tunnels. It does unless told otherwise.
func (h *Host) AllowForwarding(yes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noForward = !yes
}

// Route makes tunnels to an address end at another host: what is behind a jump host has addresses of its own.
func (h *Host) Route(addr string, to *Host) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.routes == nil {
		h.routes = map[string]string{}
	}
	h.routes[addr] = to.Addr()
}

// MaxSessions bounds the sessions on one connection, as sshd's setting does; 0 is no bound, a negative number allows none.
func (h *Host) MaxSessions(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sessions = n
}

// Full makes the host hang up on so many connections, after these words in place of its version; there may be none.
func (h *Host) Full(words string, connections int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.full, h.fullFor = words, connections
}

// NoShell is a login shell, or a forced command, that runs nothing.
type NoShell struct {
	Words  string // on stdout
	Errors string // on stderr
	Status int
}

// SetNoShell makes the host run no commands; nil ends that.
func (h *Host) SetNoShell(s *NoShell) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shell = s
}

// SayInstead makes the host greet with text and nothing else: no SSH server. "" makes it one again.
func (h *Host) SayInstead(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.banner = text
}

// Dir is the directory that the host serves as / over SFTP, made when first asked for.
func (h *Host) Dir() string { return h.files().Name() }

func (h *Host) files() *os.Root {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.root == nil {
		dir := filepath.Join(h.fleet.dir, h.Name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			h.fleet.tb.Fatalf("remotetest: %v", err)
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			h.fleet.tb.Fatalf("remotetest: %v", err)
		}
		h.root = root
	}
	return h.root
}

// Wait waits until no client is connected any more, so that Commands and Stats are complete.
func (h *Host) Wait() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.conns) > 0 {
		h.idle.Wait()
	}
}

// Stats is what a host has seen.
type Stats struct {
	Connections int   // TCP connections, accepted
	Logins      int   // of those, let in
	Execs       int   // exec requests
	Refused     int   // sessions refused for MaxSessions
	SFTP        int   // sftp sessions
	Tunnels     int   // forwarded connections
	PTYs        int   // terminals asked for; none are given
	KeepAlives  int   // global requests
	BytesIn     int64 // from clients, as on the wire
	BytesOut    int64
}

func (s *Stats) add(o Stats) {
	s.Connections += o.Connections
	s.Logins += o.Logins
	s.Execs += o.Execs
	s.Refused += o.Refused
	s.SFTP += o.SFTP
	s.Tunnels += o.Tunnels
	s.PTYs += o.PTYs
	s.KeepAlives += o.KeepAlives
	s.BytesIn += o.BytesIn
	s.BytesOut += o.BytesOut
}

type counters struct {
	connections, logins, execs, refused, sftp, tunnels, ptys, keepAlives, in, out atomic.Int64
}

// Stats returns the counters.
func (h *Host) Stats() Stats {
	c := &h.counters
	return Stats{
		Connections: int(c.connections.Load()), Logins: int(c.logins.Load()), Execs: int(c.execs.Load()), Refused: int(c.refused.Load()), SFTP: int(c.sftp.Load()),
		Tunnels: int(c.tunnels.Load()), PTYs: int(c.ptys.Load()), KeepAlives: int(c.keepAlives.Load()),
		BytesIn: c.in.Load(), BytesOut: c.out.Load(),
	}
}
