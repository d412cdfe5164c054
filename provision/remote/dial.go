package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Dialer connects to hosts. It is safe for concurrent use, and meant to live for a whole run: connections are shared between
// everything that goes to, or through, the same host.
type Dialer struct {
	resolver resolver
	known    *knownHosts
	keys     *keyring
	log      *slog.Logger
	netDial  func(ctx context.Context, network, addr string) (net.Conn, error)
	plain    bool // netDial is the system's own

	mu       sync.Mutex
	links    map[string]*link // those that live or are being made
	closed   bool
	accepted []string // hosts whose keys were new
}

// NewDialer reads known_hosts and ~/.ssh/config; it connects to nothing yet.
func NewDialer(c Config) (*Dialer, error) {
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	conf, err := loadSSHConfig(c, log)
	if err != nil {
		return nil, err
	}
	known, err := loadKnownHosts(c.KnownHosts, c.ClusterKnownHosts, log)
	if err != nil {
		return nil, err
	}
	d := &Dialer{
		resolver: resolver{conf: conf, keys: c.IdentityFiles, agent: c.AgentSocket},
		known:    known,
		keys:     newKeyring(c.Prompt, log),
		log:      log,
		netDial:  c.NetDial,
		links:    map[string]*link{},
	}
	if d.netDial == nil {
		d.netDial, d.plain = new(net.Dialer).DialContext, true
	}
	return d, nil
}

// Dial connects to a host, through its jump hosts. Errors are of the kinds above, or of the configuration; a jump host's are
// wrapped in a *JumpError. Nothing is written anywhere but the keys of hosts that let us in.
func (d *Dialer) Dial(ctx context.Context, h HostConfig) (*Conn, error) {
	ep, err := d.resolver.resolve(h)
	if err == nil {
		err = d.prepare(ep)
	}
	if err != nil {
		return nil, err
	}
	l, err := d.connect(ctx, ep)
	if err != nil {
		return nil, err
	}
	timeout := h.CommandTimeout
	if timeout == 0 {
		timeout = defaultCommandTimeout
	}
	return &Conn{
		name:    ep.name,
		link:    l,
		dialer:  d,
		log:     d.log.With("host", ep.name),
		timeout: timeout,
		sudo:    sudoPassword{root: ep.user == "root", ask: h.SudoPassword},
		uploads: uploads{opening: make(chan struct{}, 1)},
		closing: make(chan struct{}),
	}, nil
}

// prepare reads the files that say what is known of the host, and of the hops before it.
func (d *Dialer) prepare(ep *endpoint) error {
	for ; ep != nil; ep = ep.via {
		err := d.known.load(ep.known)
		if err == nil {
			err = d.known.readRevoked(ep.revoked)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", ep.name, err)
		}
	}
	return nil
}

// Close ends every connection. A Dial that is under way fails.
func (d *Dialer) Close() error {
	d.mu.Lock()
	accepted := d.accepted
	d.closed, d.accepted = true, nil
	var live []*link
	for _, l := range d.links {
		live = append(live, l)
	}
	d.mu.Unlock()
	for _, l := range live {
		select {
		case <-l.ready:
			if l.err == nil {
				l.fail(errors.New("closed"))
			}
		default: // still being made: open sees closed
		}
	}
	d.keys.close()
	d.resolver.conf.close()
	d.tell(accepted)
	return nil
}

// tell names the hosts whose keys were taken on trust, for the user to compare.
func (d *Dialer) tell(accepted []string) {
	if len(accepted) == 0 {
		return
	}
	slices.Sort(accepted)
	accepted = slices.Compact(accepted)
	names := accepted
	const most = 8
	if len(names) > most {
		names = append(slices.Clone(names[:most]), fmt.Sprintf("and %d more", len(accepted)-most))
	}
	d.log.Warn("host keys seen for the first time were accepted", "hosts", strings.Join(names, ", "), "kept", d.known.own)
}

// connect returns the link to ep with a reference for the caller. Whoever comes first makes it, the others wait for that.
func (d *Dialer) connect(ctx context.Context, ep *endpoint) (*link, error) {
	key := ep.key()
	for {
		d.mu.Lock()
		if d.closed {
			d.mu.Unlock()
			return nil, faultf(ErrClosed, nil, "%s: the dialer is closed", ep.addr())
		}
		l := d.links[key]
		if l == nil {
			l = newLink(d, ep, key)
			d.links[key] = l
			d.mu.Unlock()
			return l, d.open(ctx, l)
		}
		d.mu.Unlock()

		select {
		case <-l.ready:
		case <-ctx.Done():
			return nil, stopped(ctx, ep)
		}
		if l.err == nil {
			if d.hold(l) {
				return l, nil
			}
			continue // it ended meanwhile, and a new one is wanted
		}
		if errors.Is(l.err, errOthersStop) || !l.ep.sameLogin(ep) {
			continue // that says nothing about us
		}
		return nil, l.err
	}
}

// hold takes a reference, when the link still lives.
func (d *Dialer) hold(l *link) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.refs == 0 || d.links[l.key] != l {
		return false
	}
	l.refs++
	return true
}

// release gives a reference back. The last one ends the link, and with it the reference to the hop before.
func (d *Dialer) release(l *link) {
	d.mu.Lock()
	l.refs--
	last := l.refs == 0
	if last && d.links[l.key] == l {
		delete(d.links, l.key)
	}
	d.mu.Unlock()
	if !last {
		return
	}
	l.fail(errors.New("closed"))
	if l.parent != nil {
		d.release(l.parent)
	}
}

// errOthersStop marks a link that failed only because its maker gave up.
var errOthersStop = errors.New("stopped")

// open makes the link, hop by hop.
func (d *Dialer) open(ctx context.Context, l *link) error {
	err := d.dialLink(ctx, l)
	d.mu.Lock()
	if err == nil && d.closed {
		err = faultf(ErrClosed, nil, "%s: the dialer is closed", l.ep.addr())
	}
	if err != nil {
		l.err = err
		if ctx.Err() != nil {
			l.err = errors.Join(errOthersStop, err)
		}
		delete(d.links, l.key)
	} else {
		l.refs = 1
	}
	d.mu.Unlock()
	close(l.ready)
	if err != nil {
		if l.client != nil {
			l.fail(err)
		}
		if l.parent != nil {
			d.release(l.parent)
		}
		return err
	}
	l.start()
	return nil
}

func (d *Dialer) dialLink(ctx context.Context, l *link) error {
	if l.ep.via != nil {
		parent, err := d.connect(ctx, l.ep.via)
		if err != nil {
			return jumpError(l.ep.via, err)
		}
		l.parent = parent
	}
	began := time.Now()
	err := d.patiently(ctx, l)
	d.log.Debug("dial", "host", l.ep.name, "addr", l.ep.addr(), "took", time.Since(began), "error", err)
	return err
}

// stopped is the error of a dial whose caller gave up.
func stopped(ctx context.Context, ep *endpoint) error {
	return ended(ctx, ep.addr()+": stopped while connecting")
}
