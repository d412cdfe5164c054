package remote_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

func TestDial_OneClearSentence(t *testing.T) {
	fails := func(err error) func(context.Context, string, string) (net.Conn, error) {
		return func(context.Context, string, string) (net.Conn, error) { return nil, err }
	}
	hangs := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	syscallError := func(e syscall.Errno) error { return &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", e)} }
	tests := []struct {
		name      string
		break_    func(h *remotetest.Host)
		netDial   func(context.Context, string, string) (net.Conn, error)
		timeout   time.Duration
		want      error
		transient bool
		text      string
	}{
		{"port closed", (*remotetest.Host).Refuse, nil, 0, remote.ErrUnreachable, true, "ADDR: connection refused: is sshd running there?"},
		{"host down", nil, hangs, 20 * time.Millisecond, remote.ErrUnreachable, true, "ADDR: no answer within 20ms: is the host up, and the address right?"},
		{"no route", nil, fails(syscallError(syscall.EHOSTUNREACH)), 0, remote.ErrUnreachable, true, "ADDR: no route to host: is the host up, and on this network?"},
		{"no network", nil, fails(syscallError(syscall.ENETUNREACH)), 0, remote.ErrUnreachable, true, "ADDR: network is unreachable: is there a route to it?"},
		{"no such name", nil, fails(&net.DNSError{Err: "no such host", Name: "ghost", IsNotFound: true}), 0, remote.ErrUnreachable, false, "ADDR: the name ghost does not resolve"},
		{"not an SSH server", func(h *remotetest.Host) { h.SayInstead("HTTP/1.1 400 Bad Request\r\n\r\n") }, nil, time.Second,
			remote.ErrProtocol, false, `ADDR: this is not an SSH server: it says "HTTP/1.1 400 Bad Request"`},
		{"silent server", (*remotetest.Host).Hang, nil, 500 * time.Millisecond, remote.ErrUnreachable, true,
			"ADDR: accepts connections but says nothing within 500ms: is it an SSH server, is the host overloaded?"},
		{"cut in the handshake", func(h *remotetest.Host) { h.Full("", 10) }, nil, 0, remote.ErrUnreachable, true,
			"ADDR: the server closed the connection during the SSH handshake: too many logins at once (MaxStartups), or is this machine blocked?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := remotetest.NewFleet(t, 1, remotetest.Options{})
			h := f.Hosts[0]
			if tt.break_ != nil {
				tt.break_(h)
			}
			config := f.Config()
			config.NetDial = tt.netDial
			d, err := remote.NewDialer(config)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			conf := h.Config()
			conf.ConnectTimeout = tt.timeout
			_, err = d.Dial(t.Context(), conf)
			want := strings.ReplaceAll(tt.text, "ADDR", h.Addr())
			if !errors.Is(err, tt.want) || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if remote.Transient(err) != tt.transient {
				t.Errorf("transient: %v", !tt.transient)
			}
			if got := readFile(t, config.ClusterKnownHosts); got != "" {
				t.Errorf("known_hosts became:\n%s", got)
			}
		})
	}
}

func TestDial_Canceled(t *testing.T) {
	h := remotetest.NewFleet(t, 1, remotetest.Options{}).Hosts[0]
	h.Hang()
	ctx, cancel := context.WithCancel(t.Context())
	d := h.Fleet().Dialer()
	errs := make(chan error)
	go func() {
		_, err := d.Dial(ctx, h.Config())
		errs <- err
	}()
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestDial_SharedConnection(t *testing.T) {
	h := remotetest.NewFleet(t, 1, remotetest.Options{}).Hosts[0]
	h.Reply("id", "")
	d := h.Fleet().Dialer()
	var conns []*remote.Conn
	for range 3 {
		c, err := d.Dial(t.Context(), h.Config())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	conns[0].Close()
	conns[0].Close() // twice does no harm
	conns[1].Close()
	if _, err := conns[2].Run(t.Context(), remote.Command{Argv: []string{"id"}}); err != nil {
		t.Errorf("closed by another: %v", err)
	}
	if _, err := conns[0].Run(t.Context(), remote.Command{Argv: []string{"id"}}); !errors.Is(err, remote.ErrClosed) {
		t.Errorf("run after close: %v", err)
	}
	if err := conns[0].Put(t.Context(), putOf("/x", nil)); !errors.Is(err, remote.ErrClosed) {
		t.Errorf("put after close: %v", err)
	}
	if _, err := conns[0].DialContext(t.Context(), "tcp", h.Addr()); !errors.Is(err, remote.ErrClosed) {
		t.Errorf("tunnel after close: %v", err)
	}
	if s := h.Stats(); s.Execs != 1 || s.SFTP != 0 {
		t.Errorf("host's stats %+v", s)
	}
	conns[2].Close()
	h.Wait() // the last one ends the connection
	if s := h.Stats(); s.Connections != 1 {
		t.Errorf("host's stats %+v", s)
	}
}

func TestDial_RebootBringsANewConnection(t *testing.T) {
	h := remotetest.NewFleet(t, 1, remotetest.Options{}).Hosts[0]
	started := make(chan bool)
	h.On(remotetest.Is("wait"), func(s *remotetest.Session) int {
		close(started)
		<-s.Context().Done()
		return 0
	})
	h.Reply("id", "root")
	d := h.Fleet().Dialer()
	c, err := d.Dial(t.Context(), h.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() {
		<-started
		h.Cut()
	}()
	_, err = c.Run(t.Context(), remote.Command{Argv: []string{"wait"}})
	if !errors.Is(err, remote.ErrClosed) || !remote.Transient(err) || err.Error() != "wait: connection lost: the host closed the connection" {
		t.Errorf("error %v", err)
	}
	if _, err := c.Run(t.Context(), remote.Command{Argv: []string{"id"}}); !errors.Is(err, remote.ErrClosed) {
		t.Errorf("run on a lost connection: %v", err)
	}
	again, err := d.Dial(t.Context(), h.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := again.Run(t.Context(), remote.Command{Argv: []string{"id"}}); err != nil {
		t.Error(err)
	}
}

func TestKeepAlive_DeadPeerEndsRuns(t *testing.T) {
	h := remotetest.NewFleet(t, 1, remotetest.Options{}).Hosts[0]
	h.On(remotetest.Is("wait"), func(s *remotetest.Session) int {
		s.Host.Hang()
		<-s.Context().Done()
		return 0
	})
	conf := h.Config()
	conf.KeepAlive = 20 * time.Millisecond
	c := connect(t, h, conf)
	_, err := c.Run(t.Context(), remote.Command{Argv: []string{"wait"}})
	if !errors.Is(err, remote.ErrClosed) || err.Error() != "wait: connection lost: the host gave no sign of life for 60ms" {
		t.Errorf("error %v", err)
	}
}

func TestKeepAlive_LivingPeerStays(t *testing.T) {
	h := remotetest.NewFleet(t, 1, remotetest.Options{}).Hosts[0]
	conf := h.Config()
	conf.KeepAlive = 500 * time.Millisecond // a peer that is busy for three of them counts as dead
	c := connect(t, h, conf)
	for h.Stats().KeepAlives < 3 {
		select {
		case <-c.Done():
			t.Fatal("the connection ended")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestSessions_WaitForTheirTurn(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{})
	h := f.Hosts[0]
	h.MaxSessions(3)
	h.Reply("id", "root")
	c := connect(t, h, h.Config())
	if err := c.Put(t.Context(), putOf("/tmp/x", []byte("x"))); err != nil { // takes one for good
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if _, err := c.Run(t.Context(), remote.Command{Argv: []string{"id"}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	// Refused once for each lowering of the limit, and now and then when the host is slow to clear away.
	if s := h.Stats(); s.Execs != 40 || s.Connections != 1 || s.Refused > 40 {
		t.Errorf("host's stats %+v", s)
	}
}

func TestSessions_NoneAllowed(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{})
	h := f.Hosts[0]
	h.MaxSessions(-1)
	c := connect(t, h, h.Config())
	_, err := c.Run(t.Context(), remote.Command{Argv: []string{"id"}})
	if err == nil || err.Error() != "id: the server refuses the session: open failed (MaxSessions in its sshd_config?)" {
		t.Errorf("error %v", err)
	}
}

// Hardened servers allow one session, or two: uploads and commands take turns, whoever comes first.
func TestSessions_OneOrTwo(t *testing.T) {
	for _, limit := range []int{1, 2, 3} {
		f := remotetest.NewFleet(t, 1, remotetest.Options{})
		h := f.Hosts[0]
		h.MaxSessions(limit)
		h.Reply("id", "root")
		d := f.Dialer()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		for range 2 { // two that share the connection
			c, err := d.Dial(ctx, h.Config())
			if err != nil {
				t.Fatal(err)
			}
			for i := range 12 {
				wg.Go(func() {
					if err := c.Put(ctx, putOf(fmt.Sprint("/tmp/x", i), []byte("x"))); err != nil {
						t.Errorf("MaxSessions %d: %v", limit, err)
					}
				})
				wg.Go(func() {
					if _, err := c.Run(ctx, remote.Command{Argv: []string{"id"}}); err != nil {
						t.Errorf("MaxSessions %d: %v", limit, err)
					}
				})
			}
		}
		wg.Wait()
		if s := h.Stats(); s.Execs != 24 || s.Connections != 1 {
			t.Errorf("MaxSessions %d: host's stats %+v", limit, s)
		}
	}
}

// Whoever waits for a place may give up at any time.
func TestSessions_WaitingEndsWithItsContext(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{})
	h := f.Hosts[0]
	h.MaxSessions(1)
	running, release := make(chan struct{}), make(chan struct{})
	h.On(remotetest.Is("sleep"), func(*remotetest.Session) int { close(running); <-release; return 0 })
	h.Reply("id", "root")
	c := connect(t, h, h.Config())
	slept := make(chan error)
	go func() {
		_, err := c.Run(t.Context(), remote.Command{Argv: []string{"sleep"}})
		slept <- err
	}()
	<-running
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error)
	go func() {
		_, err := c.Run(ctx, remote.Command{Argv: []string{"id"}})
		stopped <- err
	}()
	go func() { stopped <- c.Put(ctx, putOf("/tmp/x", []byte("x"))) }()
	cancel()
	for range 2 {
		if err := <-stopped; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
	close(release)
	if err := <-slept; err != nil {
		t.Error(err)
	}
	if _, err := c.Run(t.Context(), remote.Command{Argv: []string{"id"}}); err != nil {
		t.Errorf("the place was lost: %v", err)
	}
}

func TestTunnel(t *testing.T) {
	f := remotetest.NewFleet(t, 2, remotetest.Options{})
	h, target := f.Hosts[0], f.Hosts[1]
	c := connect(t, h, h.Config())
	conn, err := c.DialContext(t.Context(), "tcp", target.Addr())
	if err != nil {
		t.Fatal(err)
	}
	hello := make([]byte, 4)
	if _, err := conn.Read(hello); err != nil || string(hello) != "SSH-" {
		t.Errorf("%q %v", hello, err)
	}
	conn.Close()

	target.Refuse()
	_, err = c.DialContext(t.Context(), "tcp", target.Addr())
	if want := fmt.Sprintf("%s seen from host-1: connection refused: is sshd running there?", target.Addr()); !errors.Is(err, remote.ErrUnreachable) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	h.AllowForwarding(false)
	_, err = c.DialContext(t.Context(), "tcp", target.Addr())
	if !errors.Is(err, remote.ErrForwarding) || !strings.Contains(err.Error(), "host-1") {
		t.Errorf("error %v", err)
	}
}
