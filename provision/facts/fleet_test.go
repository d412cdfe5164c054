package facts

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// newFleet starts n hosts that answer the facts script as a real machine did, and everything else with nothing.
func newFleet(tb testing.TB, n int, rtt time.Duration) *remotetest.Fleet {
	tb.Helper()
	text := string(read(tb, "testdata/debian-13-arm64-worker.json"))
	_, text, _ = strings.Cut(text, ",") // behind the clock
	f := remotetest.NewFleet(tb, n, remotetest.Options{RTT: rtt})
	f.On(remotetest.Is("true"), func(*remotetest.Session) int { return 0 })
	for _, h := range f.Hosts {
		own := []byte("," + strings.Replace(text, "arm-1", h.Name, 1))
		h.On(remotetest.Is(Ask{}.command(false).Script), func(s *remotetest.Session) int {
			now := time.Now()
			fmt.Fprintf(s.Stdout, "%s\"%d.%09d\"", documentStart, now.Unix(), now.Nanosecond())
			s.Stdout.Write(own)
			return 0
		})
	}
	return f
}

// client dials hosts and forgets no one.
type client struct {
	dialer *remote.Dialer
	hosts  []remote.HostConfig
}

func newClient(tb testing.TB, c remote.Config, hosts []remote.HostConfig) *client {
	tb.Helper()
	d, err := remote.NewDialer(c)
	if err != nil {
		tb.Fatal(err)
	}
	return &client{d, hosts}
}

func (c *client) targets() []Target {
	var out []Target
	for _, h := range c.hosts {
		out = append(out, Target{Name: h.Name, Dial: func(ctx context.Context) (remote.Runner, error) { return c.dialer.Dial(ctx, h) }})
	}
	return out
}

func configs(f *remotetest.Fleet) []remote.HostConfig {
	var out []remote.HostConfig
	for _, h := range f.Hosts {
		out = append(out, h.Config())
	}
	return out
}

// gather asks every host and checks the answers.
func (c *client) gather(tb testing.TB) []Host {
	tb.Helper()
	hosts := Gather(context.Background(), c.targets(), boardAsk, 0, nil)
	for i, h := range hosts {
		if h.Err != nil || h.Hostname != c.hosts[i].Name || h.ClockOffset.Abs() > h.RoundTrip/2 {
			tb.Fatalf("%s: hostname %q, offset %v, round trip %v, %v", c.hosts[i].Name, h.Hostname, h.ClockOffset, h.RoundTrip, h.Err)
		}
	}
	return hosts
}

// bare dials every host and runs a command that does nothing: less is not possible.
func (c *client) bare(tb testing.TB) {
	tb.Helper()
	var all sync.WaitGroup
	for _, t := range c.targets() {
		all.Go(func() {
			r, err := t.Dial(context.Background())
			if err == nil {
				_, err = r.Run(context.Background(), remote.Command{Argv: []string{"true"}})
			}
			if err != nil {
				tb.Errorf("%s: %v", t.Name, err)
			}
		})
	}
	all.Wait()
}

func (c *client) close() { c.dialer.Close() }

// TestGather_OneConnectionOneExec is what a whole run builds on.
func TestGather_OneConnectionOneExec(t *testing.T) {
	const n = 20
	f := newFleet(t, n, 10*time.Millisecond)
	c := newClient(t, f.Config(), configs(f))
	c.gather(t)
	c.close()
	for _, h := range f.Hosts {
		h.Wait()
		if s := h.Stats(); s.Connections != 1 || s.Logins != 1 || s.Execs != 1 || s.SFTP != 0 || s.PTYs != 0 || s.Tunnels != 0 {
			t.Errorf("%s: %+v", h.Name, s)
		}
	}
}

// TestGather_SudoAndItsFailures: the script runs as root; what stands in the way is the host's error as it is.
func TestGather_SudoAndItsFailures(t *testing.T) {
	f := newFleet(t, 3, 0)
	f.Hosts[1].Refuse()
	f.Hosts[2].On(remotetest.Any, func(s *remotetest.Session) int {
		io.WriteString(s.Stderr, "sh: awk: not found\n")
		return 127
	})
	c := newClient(t, f.Config(), configs(f))
	defer c.close()
	hosts := Gather(context.Background(), c.targets(), Ask{}, 0, nil)
	if hosts[0].Err != nil || hosts[0].Hostname != "host-1" {
		t.Errorf("got %+v", hosts[0])
	}
	if err := hosts[1].Err; err == nil || !hosts[1].Unreachable() || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
	if err := hosts[2].Err; err == nil || hosts[2].Unreachable() || !strings.Contains(err.Error(), "awk: not found") {
		t.Errorf("got %v", err)
	}
}

// BenchmarkGather compares the facts of all hosts with a bare dial and exec over the same fleet, turn by turn.
func BenchmarkGather(b *testing.B) {
	for _, n := range []int{1, 50, 500} {
		for _, rtt := range []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond} {
			b.Run(fmt.Sprintf("hosts=%d/rtt=%v", n, rtt), func(b *testing.B) { benchmarkGather(b, n, rtt) })
		}
	}
}

func benchmarkGather(b *testing.B, n int, rtt time.Duration) {
	f := newFleet(b, n, rtt)
	once := func(work func(*client)) cost {
		c := newClient(b, f.Config(), configs(f))
		defer c.close()
		runtime.GC() // neither pays for the other's garbage
		start, cpu := time.Now(), processorTime()
		work(c)
		return cost{time.Since(start), processorTime() - cpu}
	}
	bare := func(c *client) { c.bare(b) }
	gather := func(c *client) { c.gather(b) }
	once(bare) // the host keys become known
	before := f.Stats()
	var gathering, dialing cost
	for b.Loop() {
		dialing.add(once(bare))
		gathering.add(once(gather))
	}
	after := f.Stats()
	runs := float64(2 * n * b.N)
	b.ReportMetric(float64(gathering.time)/float64(dialing.time), "ratio")
	b.ReportMetric(float64(gathering.cpu)/float64(dialing.cpu), "cpu-ratio") // what is left of it on a busy machine
	b.ReportMetric(gathering.time.Seconds()*1000/float64(b.N), "gather-ms")
	b.ReportMetric(dialing.time.Seconds()*1000/float64(b.N), "bare-ms")
	b.ReportMetric(float64(after.Connections-before.Connections)/runs, "conns/host")
	b.ReportMetric(float64(after.Execs-before.Execs)/runs, "execs/host")
	b.ReportMetric(0, "ns/op") // is both together, and says nothing
}

// cost is what something took, of this process with all its hosts.
type cost struct{ time, cpu time.Duration }

func (c *cost) add(d cost) { c.time, c.cpu = c.time+d.time, c.cpu+d.cpu }

func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkGather_Memory measures the peak of a process of its own: the hosts live in this one.
func BenchmarkGather_Memory(b *testing.B) {
	const n = 500
	f := newFleet(b, n, 20*time.Millisecond)
	work := job{KnownHosts: f.Config().ClusterKnownHosts, KeyFile: f.KeyFile()}
	for _, h := range configs(f) {
		work.Hosts = append(work.Hosts, jobHost{h.Name, h.Address, h.Port, h.User})
	}
	text, err := json.Marshal(work)
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "job.json")
	write(b, path, string(text), 0o600)
	peak := 0.0
	for b.Loop() {
		cmd := exec.Command(os.Args[0], "-test.run=^TestMemoryOfAnotherProcess$", "-test.v")
		cmd.Env = append(os.Environ(), jobVariable+"="+path)
		out, err := cmd.CombinedOutput()
		if err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		_, rest, _ := strings.Cut(string(out), "peak-kB ")
		kb, err := strconv.ParseFloat(strings.Fields(rest + " ?")[0], 64)
		if err != nil {
			b.Fatalf("%s", out)
		}
		peak = max(peak, kb)
	}
	b.ReportMetric(peak/1000, "peak-MB")
}

// job is what the other process is to do.
type job struct {
	KnownHosts, KeyFile string
	Hosts               []jobHost
}

type jobHost struct {
	Name, Address string
	Port          int
	User          string
}

const jobVariable = "FACTS_TEST_JOB"

// TestMemoryOfAnotherProcess is the other process of BenchmarkGather_Memory.
func TestMemoryOfAnotherProcess(t *testing.T) {
	path := os.Getenv(jobVariable)
	if path == "" {
		t.Skip("runs for BenchmarkGather_Memory only")
	}
	var j job
	if err := json.Unmarshal(read(t, path), &j); err != nil {
		t.Fatal(err)
	}
	var known []remote.HostConfig
	for _, h := range j.Hosts {
		known = append(known, remote.HostConfig{Name: h.Name, Address: h.Address, Port: h.Port, User: h.User, IdentityFiles: []string{j.KeyFile}})
	}
	c := newClient(t, remote.Config{ClusterKnownHosts: j.KnownHosts}, known)
	defer c.close()
	hosts := c.gather(t)
	for line := range strings.Lines(string(read(t, "/proc/self/status"))) {
		if f := strings.Fields(line); f[0] == "VmHWM:" {
			fmt.Printf("%d hosts, peak-kB %s\n", len(hosts), f[1])
		}
	}
}
