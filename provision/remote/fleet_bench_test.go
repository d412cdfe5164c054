package remote_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// BenchmarkFleet dials every host of a fleet at once and runs one command there: with nothing but x/crypto/ssh (bare), and
// with this package (remote). The difference is what host keys, key files and sharing cost.
//
//	go test -run '^$' -bench Fleet -benchtime 3x ./provision/remote
func BenchmarkFleet(b *testing.B) {
	for _, hosts := range []int{1, 50, 500} {
		for _, rtt := range []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond} {
			fleet := func(b *testing.B) *remotetest.Fleet {
				f := remotetest.NewFleet(b, hosts, remotetest.Options{RTT: rtt})
				f.Reply("true", "")
				return f
			}
			name := fmt.Sprintf("hosts=%d/rtt=%v", hosts, rtt)
			b.Run(name+"/bare", func(b *testing.B) {
				f := fleet(b)
				for b.Loop() {
					onAll(b, f, func(h *remotetest.Host) error { return h.BareExec(b.Context(), "true") })
				}
				perHost(b, f)
			})
			b.Run(name+"/remote", func(b *testing.B) {
				f := fleet(b)
				for b.Loop() {
					d := f.Dialer()
					onAll(b, f, func(h *remotetest.Host) error { return dialAndRun(b.Context(), d, h.Config()) })
					d.Close()
				}
				perHost(b, f)
			})
		}
	}
}

func onAll(b *testing.B, f *remotetest.Fleet, do func(*remotetest.Host) error) {
	b.Helper()
	var wg sync.WaitGroup
	for _, h := range f.Hosts {
		wg.Go(func() {
			if err := do(h); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
}

func dialAndRun(ctx context.Context, d *remote.Dialer, conf remote.HostConfig) error {
	c, err := d.Dial(ctx, conf)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Run(ctx, remote.Command{Argv: []string{"true"}})
	return err
}

// perHost reports connections and execs per host and round: 1 and 1.
func perHost(b *testing.B, f *remotetest.Fleet) {
	s := f.Stats()
	rounds := float64(b.N * len(f.Hosts))
	b.ReportMetric(float64(s.Connections)/rounds, "conns/host")
	b.ReportMetric(float64(s.Execs)/rounds, "execs/host")
	b.ReportMetric(float64(s.BytesIn+s.BytesOut)/rounds, "wire-B/host")
}

// BenchmarkPut sends one file of 64 MiB, with the round-trip times of a rack, a country and a continent.
func BenchmarkPut(b *testing.B) {
	data := make([]byte, 64<<20)
	for _, rtt := range []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond} {
		b.Run(fmt.Sprintf("rtt=%v", rtt), func(b *testing.B) {
			f := remotetest.NewFleet(b, 1, remotetest.Options{RTT: rtt})
			c := connect(b, f.Hosts[0], f.Hosts[0].Config())
			b.SetBytes(int64(len(data)))
			n := 0
			for b.Loop() {
				n++
				if err := c.Put(b.Context(), putOf(fmt.Sprint("/blob", n), data)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
