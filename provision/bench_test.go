package provision

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// BenchmarkNoOpUp measures a whole `up` that finds everything in place against reading the same fleet's facts in the same run: the
// ratio is what planning, state and the API cost on top. Connections and commands per host are counted; peak memory is the process's,
// the simulated hosts' SSH servers included.
func BenchmarkNoOpUp(b *testing.B) {
	for _, n := range []int{1, 50, 500} {
		for _, rtt := range []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond} {
			b.Run(fmt.Sprintf("hosts=%d/rtt=%s", n, rtt), func(b *testing.B) { benchmarkNoOpUp(b, n, rtt) })
		}
	}
}

func benchmarkNoOpUp(b *testing.B, n int, rtt time.Duration) {
	s := newSim(b, n, remotetest.Options{RTT: rtt})
	if _, err := s.up(); err != nil {
		b.Fatal(err)
	}
	s.changed()
	var facts, up time.Duration
	before := s.fleet.Stats()
	b.ResetTimer()
	for range b.N {
		start := time.Now()
		gather(b, s)
		facts += time.Since(start)
		start = time.Now()
		if _, err := s.up(); err != nil {
			b.Fatal(err)
		}
		up += time.Since(start)
	}
	b.StopTimer()
	after := s.fleet.Stats()
	runs := float64(2 * b.N * n) // facts alone, and up
	b.ReportMetric(float64(up)/float64(facts), "up/facts")
	b.ReportMetric(float64(after.Connections-before.Connections)/runs, "conns/host")
	b.ReportMetric(float64(after.Execs-before.Execs)/runs, "execs/host")
	b.ReportMetric(peakMB(b), "peak-MB")
	if changed := s.changed(); changed != 0 {
		b.Errorf("%d things were changed", changed)
	}
}

// gather reads the facts of all hosts, as the first part of every run does.
func gather(b *testing.B, s *sim) {
	b.Helper()
	r, err := look(context.Background(), s.options().withDefaults())
	if err != nil {
		b.Fatal(err)
	}
	defer r.end()
	for _, h := range r.desk.Reader.Hosts(context.Background(), s.c.Managed()) {
		if h.Err != nil {
			b.Fatal(h.Err)
		}
	}
}

// peakMB is the process's largest resident size so far.
func peakMB(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("no /proc: ", err)
	}
	for _, line := range strings.Split(string(status), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kb) / 1024
		}
	}
	b.Fatal("no VmHWM in /proc/self/status")
	return 0
}

// BenchmarkScaleOut joins one host to clusters of very different sizes. What must not grow with the cluster: connections to the hosts
// that are nodes already, which are none, and the time.
func BenchmarkScaleOut(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) { benchmarkScaleOut(b, n) })
	}
}

func benchmarkScaleOut(b *testing.B, members int) {
	s := newSim(b, members+1, remotetest.Options{})
	all := s.c.Spec.Hosts
	s.c.Spec.Hosts = all[:members]
	if _, err := s.up(); err != nil {
		b.Fatal(err)
	}
	s.c.Spec.Hosts = all
	name := all[members].Name
	var old int
	b.ResetTimer()
	for range b.N {
		before := s.connections()
		if _, err := s.scaleOut(nil); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		for host, n := range s.connections() {
			if host != name {
				old += n - before[host]
			}
		}
		if _, err := s.remove(name, nil); err != nil { // for the next round
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.StopTimer()
	b.ReportMetric(float64(old), "conns-to-old")
	b.ReportMetric(peakMB(b), "peak-MB")
	if old != 0 {
		b.Errorf("%d connections to hosts that were nodes already", old)
	}
}
