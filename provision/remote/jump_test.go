package remote_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// behind returns the configuration of hosts[i] behind the hops.
func behind(h *remotetest.Host, hops ...*remotetest.Host) remote.HostConfig {
	c := h.Config()
	c.Jump = []remote.HostConfig{}
	for _, hop := range hops {
		hc := hop.Config()
		hc.IdentityFiles = nil // taken over from the host
		c.Jump = append(c.Jump, hc)
	}
	return c
}

func TestJump_OneConnectionForAll(t *testing.T) {
	f := remotetest.NewFleet(t, 12, remotetest.Options{})
	f.Reply("id", "root")
	d := f.Dialer()
	first, second := f.Hosts[0], f.Hosts[1]
	var mu sync.Mutex
	var conns []*remote.Conn
	var wg sync.WaitGroup
	for i, h := range f.Hosts {
		conf := behind(h, first, second)
		switch i {
		case 0:
			conf = h.Config() // a jump host may be a host itself
		case 1:
			conf = behind(h, first)
		}
		wg.Go(func() {
			c, err := d.Dial(t.Context(), conf)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := c.Run(t.Context(), remote.Command{Argv: []string{"id"}}); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			conns = append(conns, c)
		})
	}
	wg.Wait()
	for i, h := range f.Hosts {
		want := remotetest.Stats{Connections: 1, Logins: 1, Execs: 1}
		switch i {
		case 0:
			want.Tunnels = 1
		case 1:
			want.Tunnels = 10
		}
		got := h.Stats()
		got.BytesIn, got.BytesOut = 0, 0
		if got != want {
			t.Errorf("%s: %+v, want %+v", h.Name, got, want)
		}
	}
	for _, c := range conns {
		c.Close()
	}
	first.Wait() // the last one out closes the way
	second.Wait()
}

func TestJump_FailuresNameTheHop(t *testing.T) {
	tests := []struct {
		name   string
		break_ func(first, second, target *remotetest.Host)
		want   error
		jump   string
		text   string
	}{
		{"first hop down", func(a, _, _ *remotetest.Host) { a.Refuse() }, remote.ErrUnreachable, "host-1",
			"jump host host-1: ADDR1: connection refused: is sshd running there?"},
		{"second hop down", func(_, b, _ *remotetest.Host) { b.Refuse() }, remote.ErrUnreachable, "host-2",
			"jump host host-2: ADDR2 behind jump host host-1: connection refused: is sshd running there?"},
		{"target down", func(_, _, c *remotetest.Host) { c.Refuse() }, remote.ErrUnreachable, "",
			"ADDR3 behind jump host host-2: connection refused: is sshd running there?"},
		{"first hop forbids", func(a, _, _ *remotetest.Host) { a.AllowForwarding(false) }, remote.ErrForwarding, "host-1",
			"jump host host-1: does not forward connections to ADDR2: AllowTcpForwarding or PermitOpen in its sshd_config forbid it"},
		{"second hop does not let us in", func(_, b, _ *remotetest.Host) { b.Authorize() }, remote.ErrAuth, "host-2",
			"jump host host-2: ADDR2 does not let user root in: tried key KEY; the server takes publickey"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := remotetest.NewFleet(t, 3, remotetest.Options{})
			tt.break_(f.Hosts[0], f.Hosts[1], f.Hosts[2])
			_, err := f.Dialer().Dial(t.Context(), behind(f.Hosts[2], f.Hosts[0], f.Hosts[1]))
			var jump *remote.JumpError
			if !errors.Is(err, tt.want) || errors.As(err, &jump) != (tt.jump != "") || (jump != nil && jump.Host != tt.jump) {
				t.Errorf("error %#v", err)
			}
			text := tt.text
			for i, h := range f.Hosts {
				text = strings.ReplaceAll(text, fmt.Sprintf("ADDR%d", i+1), h.Addr())
			}
			text = strings.ReplaceAll(text, "KEY", keyName(f))
			if err.Error() != text {
				t.Errorf("got  %v\nwant %s", err, text)
			}
			if f.Hosts[2].Stats().Logins != 0 {
				t.Error("logged in")
			}
			f.Hosts[0].Wait() // a failed dial leaves nothing open
		})
	}
}

func TestJump_CutWhileRunning(t *testing.T) {
	f := remotetest.NewFleet(t, 2, remotetest.Options{})
	jump, h := f.Hosts[0], f.Hosts[1]
	h.On(remotetest.Is("wait"), func(s *remotetest.Session) int {
		jump.Cut()
		<-s.Context().Done()
		return 0
	})
	c := connect(t, h, behind(h, jump))
	_, err := c.Run(t.Context(), remote.Command{Argv: []string{"wait"}})
	if !errors.Is(err, remote.ErrClosed) {
		t.Errorf("error %v", err)
	}
}

func TestJump_Circle(t *testing.T) {
	f := remotetest.NewFleet(t, 2, remotetest.Options{})
	a, b := f.Hosts[0].Config(), f.Hosts[1].Config()
	inner := a
	b.Jump = []remote.HostConfig{inner}
	a.Jump = []remote.HostConfig{b}
	_, err := f.Dialer().Dial(t.Context(), a)
	if err == nil || !strings.Contains(err.Error(), "go round in a circle") {
		t.Errorf("error %v", err)
	}
}

func TestParseJump(t *testing.T) {
	tests := []struct {
		in   string
		want []remote.HostConfig
		bad  bool
	}{
		{"", nil, false},
		{"none", nil, false},
		{"gate", []remote.HostConfig{{Address: "gate"}}, false},
		{"ops@gate:2222, root@10.0.0.1", []remote.HostConfig{{User: "ops", Address: "gate", Port: 2222}, {User: "root", Address: "10.0.0.1"}}, false},
		{"[2001:db8::1]:22", []remote.HostConfig{{Address: "2001:db8::1", Port: 22}}, false},
		{"[2001:db8::1]", []remote.HostConfig{{Address: "2001:db8::1"}}, false},
		{"2001:db8::1", []remote.HostConfig{{Address: "2001:db8::1"}}, false},
		{"ssh://ops@gate:22", []remote.HostConfig{{User: "ops", Address: "gate", Port: 22}}, false},
		{"a@b@gate", []remote.HostConfig{{User: "a@b", Address: "gate"}}, false},
		{"gate:0", nil, true},
		{"gate:ssh", nil, true},
		{"gate,,other", nil, true},
		{"@gate", nil, true},
		{"a b", nil, true},
	}
	for _, tt := range tests {
		got, err := remote.ParseJump(tt.in)
		if !reflect.DeepEqual(got, tt.want) || (err != nil) != tt.bad {
			t.Errorf("%q: %+v, %v", tt.in, got, err)
		}
	}
}
