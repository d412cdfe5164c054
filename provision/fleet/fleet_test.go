package fleet

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// newFleet starts n hosts, of which the first two are control planes, and a fleet that is connected to none.
func newFleet(t *testing.T, n int) (*Fleet, *remotetest.Fleet) {
	t.Helper()
	hosts := remotetest.NewFleet(t, n, remotetest.Options{})
	c := &inventory.Cluster{}
	c.Spec.SSH.IdentityFiles = []string{hosts.KeyFile()}
	for i, h := range hosts.Hosts {
		role := inventory.Worker
		if i < 2 {
			role = inventory.ControlPlane
		}
		c.Spec.Hosts = append(c.Spec.Hosts, inventory.Host{Name: h.Name, Address: h.Address, Port: h.Port, Role: role})
	}
	inventory.Default(c)
	f, err := New(Options{Cluster: c, StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f, hosts
}

func connect(t *testing.T, f *Fleet, names ...string) {
	t.Helper()
	for _, name := range names {
		h, _ := f.Cluster.Host(name)
		if _, err := f.Connect(context.Background(), h); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHost_SaysWhyThereIsNone(t *testing.T) {
	f, hosts := newFleet(t, 4)
	no := false
	f.Cluster.Spec.Hosts[3].Managed = &no
	hosts.Hosts[2].Refuse()
	connect(t, f, "host-1")
	h, _ := f.Cluster.Host("host-3")
	if _, err := f.Connect(context.Background(), h); err == nil {
		t.Error("a host that refuses was connected to")
	}
	for name, want := range map[string]string{"host-2": "is not connected", "host-3": "refused", "host-4": "does not manage"} {
		if _, err := f.Host(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.Host("host-1"); err != nil {
		t.Error(err)
	}
	f.Only("host-2")
	if _, err := f.Host("host-1"); err == nil || !strings.Contains(err.Error(), "was a node before") {
		t.Errorf("of a run that is not of it: %v", err)
	}
}

// Keys that are accepted as they are seen for the first time are told through the program's log, for the user to compare.
func TestConnect_TellsOfAcceptedKeys(t *testing.T) {
	var log strings.Builder
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
	t.Cleanup(func() { slog.SetDefault(before) })
	f, _ := newFleet(t, 2)
	connect(t, f, "host-1", "host-2")
	f.Close()
	want := `msg="host keys seen for the first time were accepted" hosts="host-1, host-2" kept=` + filepath.Join(f.StateDir, KnownHostsFile)
	if got := log.String(); !strings.Contains(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestConnect_OneConnectionForTheRun(t *testing.T) {
	f, hosts := newFleet(t, 2)
	connect(t, f, "host-1", "host-1")
	if conn, err := f.Dial(context.Background(), "tcp", hosts.Hosts[1].Addr()); err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
	if n := hosts.Hosts[0].Stats().Connections; n != 1 {
		t.Errorf("%d connections", n)
	}
}

// The one way to an API server that does not answer directly is a control plane's, which may start again in the middle
// of a run.
func TestDial_WayIsFoundAgain(t *testing.T) {
	for name, limited := range map[string]bool{"of all hosts": false, "of some": true} {
		t.Run(name, func(t *testing.T) {
			f, hosts := newFleet(t, 3)
			if limited {
				f.Only("host-3")
			} else {
				connect(t, f, "host-1")
			}
			for range 3 {
				conn, err := f.Dial(context.Background(), "tcp", hosts.Hosts[2].Addr())
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
				r, _ := f.connected("host-1")
				hosts.Hosts[0].Cut()
				for { // until the end of the connection has arrived
					conn, err := r.DialContext(context.Background(), "tcp", hosts.Hosts[2].Addr())
					if errors.Is(err, remote.ErrClosed) {
						break
					}
					if err == nil {
						conn.Close()
					}
				}
			}
			if n := hosts.Hosts[1].Stats().Connections; n != 0 {
				t.Errorf("the other control plane was connected to %d times", n)
			}
		})
	}
}

// A connection that is made for the way alone may take long, and is said.
func TestDial_SaysForWhatItWaits(t *testing.T) {
	f, hosts := newFleet(t, 3)
	f.Only("host-3")
	var said []string
	lasts := 0
	f.Waiting = func(what string) func() {
		said = append(said, what)
		lasts++
		return func() { lasts-- }
	}
	conn, err := f.Dial(context.Background(), "tcp", hosts.Hosts[2].Addr())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if !slices.Equal(said, []string{"a connection to host-1"}) || lasts != 0 {
		t.Errorf("%q was said, and %d are not over", said, lasts)
	}
}

func TestDial_RunOfSomeTakesTheFirstWayThatCanBeMade(t *testing.T) {
	f, hosts := newFleet(t, 4)
	f.Only("host-4")
	hosts.Hosts[0].Refuse()
	conn, err := f.Dial(context.Background(), "tcp", hosts.Hosts[3].Addr())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if hosts.Hosts[1].Stats().Connections != 1 || hosts.Hosts[2].Stats().Connections != 0 {
		t.Error("not through the second control plane alone")
	}
	f.GoThrough([]string{"host-1", "host-2"})
	if got := f.Ways(); !slices.Equal(got, []string{"host-2", "host-1"}) {
		t.Errorf("ways %q: the one that is connected comes first", got)
	}
}

func TestDial_RunOfAllMakesNoConnection(t *testing.T) {
	f, hosts := newFleet(t, 2)
	_, err := f.Dial(context.Background(), "tcp", hosts.Hosts[1].Addr())
	if !errors.Is(err, ErrNoWay) || hosts.Stats().Connections != 0 {
		t.Errorf("%v, %d connections", err, hosts.Stats().Connections)
	}
}

func TestGiven_FirstControlPlaneThatGivesOne(t *testing.T) {
	f, hosts := newFleet(t, 3)
	hosts.On(remotetest.Prefix("cat -- /etc/kubernetes/admin.conf"), func(s *remotetest.Session) int {
		if s.Host.Name == "host-1" {
			return 1
		}
		_, _ = s.Stdout.Write([]byte("of " + s.Host.Name))
		return 0
	})
	f.Only()
	if b, by, err := f.Given(context.Background(), nil); err != nil || string(b) != "of host-2" || by.Name != "host-2" {
		t.Errorf("%q by %s, %v", b, by.Name, err)
	}
	if _, connected := f.connected("host-1"); connected {
		t.Error("a control plane that gives none is kept as a way")
	}
	none := func(inventory.Host) bool { return false }
	if _, _, err := f.Given(context.Background(), none); !errors.Is(err, ErrNoKubeconfig) {
		t.Errorf("none is worth asking: %v", err)
	}
}

func TestKept_NoneIsNotAnError(t *testing.T) {
	f, _ := newFleet(t, 1)
	if _, err := f.Kept(); !errors.Is(err, ErrNoKubeconfig) {
		t.Errorf("error %v", err)
	}
	if err := os.Mkdir(filepath.Join(f.StateDir, KubeconfigFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Kept(); err == nil || errors.Is(err, ErrNoKubeconfig) {
		t.Errorf("one that cannot be read: %v", err)
	}
}

// A long run outlives the start of a host: what is asked of it later is asked on a new connection.
func TestMachine_ConnectsAgainToAHostThatStartedAnew(t *testing.T) {
	f, hosts := newFleet(t, 1)
	hosts.On(remotetest.Prefix("uname -m"), func(session *remotetest.Session) int {
		_, _ = session.Stdout.Write([]byte("an architecture\n"))
		return 0
	})
	connect(t, f, "host-1")
	m, err := f.Machine(f.Cluster.Spec.Hosts[0], time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	h := hosts.Hosts[0]
	ask := func() string {
		name, err := m.UnameM(context.Background())
		if err != nil {
			return err.Error()
		}
		return name
	}
	before := h.Stats().Connections
	for range 2 {
		h.Cut()
		if got := ask(); got != "an architecture" {
			t.Errorf("after a cut: %s", got)
		}
	}
	if ask(); h.Stats().Connections != before+2 {
		t.Errorf("%d connections more, want 2", h.Stats().Connections-before)
	}
	h.Cut()
	h.Refuse()
	start := time.AfterFunc(100*time.Millisecond, h.Start)
	if got := ask(); got != "an architecture" {
		t.Errorf("asked while it starts: %s", got)
	}
	start.Stop()
	h.Cut()
	h.Refuse()
	m.patience = 0
	if got := ask(); !strings.Contains(got, "connection lost") || !strings.Contains(got, "no other could be made") {
		t.Errorf("while it is away: %s", got)
	}
	h.Start()
	if got := ask(); got != "an architecture" {
		t.Errorf("back again: %s", got)
	}
}
