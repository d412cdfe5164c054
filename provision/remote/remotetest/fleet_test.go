package remotetest_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// recordingTB catches what a fleet would report, and runs its clean-up when told.
type recordingTB struct {
	*testing.T
	cleanup []func()
	errors  []string
}

func (r *recordingTB) Cleanup(f func()) { r.cleanup = append(r.cleanup, f) }
func (r *recordingTB) Errorf(f string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(f, args...))
}

func (r *recordingTB) finish() {
	for i := len(r.cleanup) - 1; i >= 0; i-- {
		r.cleanup[i]()
	}
}

func TestFleet_UnknownCommandFails(t *testing.T) {
	for _, allow := range []bool{false, true} {
		tb := &recordingTB{T: t}
		f := remotetest.NewFleet(tb, 1, remotetest.Options{AllowUnknown: allow})
		c, err := f.Dialer().Dial(t.Context(), f.Hosts[0].Config())
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Run(t.Context(), remote.Command{Argv: []string{"rm", "-rf", "/"}})
		if err == nil || err.Error() != "rm -rf /: exit status 127: remotetest: no answer to: rm -rf /" {
			t.Errorf("error %v", err)
		}
		tb.finish()
		if got := strings.Join(tb.errors, "\n"); (got == "remotetest: host-1 has no answer to: rm -rf /") == allow {
			t.Errorf("allowed %v: reported %q", allow, got)
		}
	}
}

func TestFleet_AnswersInOrder(t *testing.T) {
	f := remotetest.NewFleet(t, 2, remotetest.Options{})
	f.On(remotetest.Any, func(s *remotetest.Session) int {
		fmt.Fprint(s.Stdout, s.Host.Name)
		return 0
	})
	f.Reply("uname -m", "fleet")
	f.Hosts[1].Reply("uname -m", "host")
	f.Hosts[1].On(remotetest.Prefix("kubeadm "), func(s *remotetest.Session) int { return 5 })
	d := f.Dialer()
	tests := []struct {
		host int
		argv string
		want string
	}{
		{0, "uname -m", "fleet"}, {1, "uname -m", "host"}, {0, "kubeadm init", "host-1"}, {1, "kubeadm init", "exit status 5"}, {1, "id", "host-2"},
	}
	for _, tt := range tests {
		c, err := d.Dial(t.Context(), f.Hosts[tt.host].Config())
		if err != nil {
			t.Fatal(err)
		}
		out, err := c.Run(t.Context(), remote.Command{Argv: strings.Fields(tt.argv)})
		got := string(out.Stdout)
		if err != nil {
			got = strings.TrimPrefix(err.Error(), tt.argv+": ")
		}
		if got != tt.want {
			t.Errorf("host %d, %s: %q, want %q", tt.host, tt.argv, got, tt.want)
		}
	}
}

func TestFleet_RecordsCommands(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{User: "ops"})
	h := f.Hosts[0]
	h.Reply("tee /etc/x", "")
	c, err := f.Dialer().Dial(t.Context(), h.Config())
	if err != nil {
		t.Fatal(err)
	}
	c.Run(t.Context(), remote.Command{Argv: []string{"tee", "/etc/x"}, Stdin: strings.NewReader("body"), Sudo: true})
	c.Close()
	h.Wait()
	r := h.Commands()
	if len(r) != 1 || r[0].Command() != "tee /etc/x" || !r[0].Sudo || string(r[0].Stdin) != "body" || r[0].Status != 0 {
		t.Errorf("recorded %+v", r)
	}
}

// The delay is the wire's: it costs round trips, not throughput.
func TestFleet_RoundTripTime(t *testing.T) {
	const rtt = 40 * time.Millisecond
	f := remotetest.NewFleet(t, 1, remotetest.Options{RTT: rtt})
	h := f.Hosts[0]
	h.Reply("true", "")
	h.On(remotetest.Is("cat"), func(s *remotetest.Session) int {
		io.Copy(io.Discard, s.Stdin)
		return 0
	})
	began := time.Now()
	if err := h.BareExec(t.Context(), "true"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 8*rtt {
		t.Errorf("connect, log in and run took %v: less than the protocol's round trips", took)
	}
	c, err := f.Dialer().Dial(t.Context(), h.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began = time.Now()
	if _, err := c.Run(t.Context(), remote.Command{Argv: []string{"true"}}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 2*rtt {
		t.Errorf("a command took %v: less than two round trips", took)
	}
	// 16 MiB through a window of 2 MiB take some 8 round trips, and would take 512 if packets waited for each other.
	began = time.Now()
	if _, err := c.Run(t.Context(), remote.Command{Argv: []string{"cat"}, Stdin: bytes.NewReader(make([]byte, 16<<20))}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 100*rtt {
		t.Errorf("16 MiB took %v: the delay limits throughput", took)
	}
}

func TestFleet_ComesBackOnTheSamePort(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{})
	h := f.Hosts[0]
	h.Reply("true", "")
	h.Refuse()
	if err := h.BareExec(t.Context(), "true"); err == nil {
		t.Error("not refused")
	}
	port := h.Port
	h.Start()
	if err := h.BareExec(t.Context(), "true"); err != nil || h.Port != port {
		t.Errorf("port %d, was %d: %v", h.Port, port, err)
	}
}

func TestFleet_Big(t *testing.T) {
	f := remotetest.NewFleet(t, 300, remotetest.Options{})
	f.Reply("true", "")
	addresses := map[string]bool{}
	var wg sync.WaitGroup
	for _, h := range f.Hosts {
		addresses[h.Address] = true
		wg.Go(func() {
			if err := h.BareExec(t.Context(), "true"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s := f.Stats(); s.Connections != 300 || s.Logins != 300 || s.Execs != 300 || s.BytesIn == 0 || s.BytesOut == 0 {
		t.Errorf("stats %+v", s)
	}
	if len(addresses) != 300 {
		t.Errorf("%d addresses", len(addresses))
	}
}

func TestRunLocally(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{User: "ops"})
	h := f.Hosts[0]
	h.On(remotetest.Any, remotetest.RunLocally("COLOUR=blue"))
	c, err := f.Dialer().Dial(t.Context(), h.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, sudo := range []bool{false, true} {
		out, err := c.Run(t.Context(), remote.Command{Script: `read x; echo "$COLOUR $x $1"; exit 4`, Args: []string{"it's"}, Sudo: sudo, Stdin: strings.NewReader("in\n")})
		if err == nil || !strings.Contains(err.Error(), "exit status 4") || string(out.Stdout) != "blue in it's\n" {
			t.Errorf("sudo %v: %q %v", sudo, out.Stdout, err)
		}
	}
}

func TestFleet_SFTPStaysInItsDirectory(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{})
	h := f.Hosts[0]
	c, err := f.Dialer().Dial(t.Context(), h.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := remote.Put{
		Open: func() (io.ReadSeekCloser, error) { return os.Open("fleet_test.go") },
		Size: 10,
		Path: "/../../etc/x",
	}
	if err := c.Put(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(h.Dir(), "etc/x")); err != nil || string(b) != "package re" {
		t.Errorf("%q %v", b, err)
	}
}
