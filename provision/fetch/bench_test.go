package fetch

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// BenchmarkCut fetches a file whose answers are cut fifty times at random: "overhead" is what came in all, over its size.
func BenchmarkCut(b *testing.B) {
	w, body := alone(b, 20_000_000)
	random := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		var sent atomic.Int64
		w.on(kubelet, func(rw http.ResponseWriter, r *http.Request, body []byte, n int) bool {
			begins, _ := strconv.Atoi(strings.Trim(r.Header.Get("Range"), "bytes=-"))
			end := len(body)
			if n <= 50 {
				end = min(end, begins+1+random.IntN(2*(len(body)-begins)/(52-n)+1))
			}
			if begins > 0 {
				rw.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", begins, len(body)-1, len(body)))
			}
			rw.Header().Set("Content-Length", strconv.Itoa(len(body)-begins))
			rw.WriteHeader(map[bool]int{true: http.StatusPartialContent, false: http.StatusOK}[begins > 0])
			m, _ := rw.Write(body[begins:end])
			sent.Add(int64(m))
			if end < len(body) {
				rw.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			return true
		})
		mustBundle(b, w.set, w.options(b.TempDir()))
		b.ReportMetric(float64(sent.Load())/float64(len(body)), "overhead")
	}
}

// BenchmarkComplete asks for a bundle that is whole in the cache: "requests" are to be none.
func BenchmarkComplete(b *testing.B) {
	w := newWorld(b, 5_000_000)
	cache := b.TempDir()
	mustBundle(b, w.set, w.options(cache))
	w.requests()
	for b.Loop() {
		if _, err := Bundle(b.Context(), w.set, w.options(cache)); err != nil {
			b.Fatal(err)
		}
	}
	files, images := w.requests()
	b.ReportMetric(float64(len(files)+images), "requests")
}

// BenchmarkGiB fetches 1 GiB in eight files, and the same by curl, as many at once: "of-curl" is the speed over curl's (0.8 is the goal), "MiB"
// by how much the process grew for it, the server's part among it (80 is the most). The disk decides as much as the network: compare on a
// machine that does nothing else.
func BenchmarkGiB(b *testing.B) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		b.Skip("there is no curl to compare with: this runs where the lab runs")
	}
	const files, size = 8, 128 << 20
	w := newWorld(b, 10)
	w.set.Files, w.set.Images = nil, nil
	for n := range files {
		name := fmt.Sprintf("file%d", n)
		w.file(name, bundle.Kubernetes, "v1.36.4", platform.ARM64, "/"+name, program(platform.ARM64, name, size), catalogue.Program{Name: name})
	}
	o := w.options(b.TempDir())
	debug.FreeOSMemory()
	var byUs, byCurl time.Duration
	var grown uint64
	for b.Loop() {
		o.Cache = b.TempDir()
		f, err := newFetcher(o)
		if err != nil {
			b.Fatal(err)
		}
		if err := f.cache.make(); err != nil {
			b.Fatal(err)
		}
		most := memory(b)
		begin := time.Now()
		if err := f.fetchAll(b.Context(), w.set, nil); err != nil {
			b.Fatal(err)
		}
		byUs += time.Since(begin)
		grown = max(grown, most())
		byCurl += w.byCurl(b, curl, f.o)
		if err := os.RemoveAll(o.Cache); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(byCurl.Seconds()/byUs.Seconds(), "of-curl")
	b.ReportMetric(float64(grown)/(1<<20), "MiB")
	b.ReportMetric(float64(b.N)*files*size/byUs.Seconds()/1e6, "MB/s")
}

// byCurl fetches every file of the set by one curl, as many at once as o has, and tells how long that took.
func (w *world) byCurl(b *testing.B, curl string, o Options) time.Duration {
	b.Helper()
	dir := b.TempDir()
	args := []string{"--silent", "--show-error", "--fail", "--parallel", "--parallel-immediate", "--parallel-max", strconv.Itoa(o.Parallel), "--cacert", w.ca, "--noproxy", "*"}
	for _, f := range w.set.Files {
		args = append(args, "--output", filepath.Join(dir, f.Name), o.Sources.of(f.URL))
	}
	begin := time.Now()
	out, err := exec.CommandContext(b.Context(), curl, args...).CombinedOutput()
	took := time.Since(begin)
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	for _, f := range w.set.Files {
		if info, err := os.Stat(filepath.Join(dir, f.Name)); err != nil || info.Size() != int64(len(w.files["/dl.test/"+f.Name])) {
			b.Fatalf("curl has not fetched %s: %v", f.Name, err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		b.Fatal(err)
	}
	return took
}

// memory watches by how much the process grows, until it is called.
func memory(b *testing.B) (most func() uint64) {
	b.Helper()
	read := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64() - s[1].Value.Uint64()
	}
	begin, largest := read(), uint64(0)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for t := time.NewTicker(20 * time.Millisecond); ; {
			largest = max(largest, read())
			select {
			case <-t.C:
			case <-end:
				t.Stop()
				return
			}
		}
	}()
	return func() uint64 {
		close(end)
		<-ended
		return largest - min(begin, largest)
	}
}

// BenchmarkBytes fetches images for one architecture and for both: "over" is what came in all over their own blobs and documents.
func BenchmarkBytes(b *testing.B) {
	for _, archs := range [][]platform.Arch{{platform.ARM64}, platform.All()} {
		b.Run(fmt.Sprint(len(archs)), func(b *testing.B) {
			w := newWorld(b, 10)
			w.set.Files, w.set.Archs = nil, archs
			for b.Loop() {
				cache := b.TempDir()
				f, err := newFetcher(w.options(cache))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := f.bundle(b.Context(), w.set); err != nil {
					b.Fatal(err)
				}
				var own int64
				for _, e := range entries(b, cache, "sha256") {
					own += int64(len(read(b, cache, "sha256", e)))
				}
				b.ReportMetric(float64(f.images.Stats().Down)/float64(own)-1, "over")
			}
		})
	}
}
