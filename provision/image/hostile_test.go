package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
)

// Whatever an image is, looking into it costs no more than this.
const (
	hostileMemory = 256 << 20
	hostileTime   = 10 * time.Second
)

// packedLayer is a layer of these bytes, whatever they are.
func packedLayer(raw []byte) v1.Layer {
	l := packed{Layer: static.NewLayer(raw, types.OCILayer)}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err == nil {
		l.diff, _, err = v1.SHA256(io.LimitReader(z, 1<<30))
	}
	if err != nil {
		l.diff, _ = l.Digest() // it is no archive: no one gets so far as to compare
	}
	return l
}

type packed struct {
	v1.Layer
	diff v1.Hash
}

func (p packed) DiffID() (v1.Hash, error) { return p.diff, nil }

func gzipped(t testing.TB, write func(w io.Writer)) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	write(z)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarred(t testing.TB, w io.Writer, each func(put func(h tar.Header))) {
	t.Helper()
	out := tar.NewWriter(w)
	each(func(h tar.Header) {
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := out.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	})
	_ = out.Close() // a file that was announced and not written is part of some cases
}

// zeros is a reader of n zeros.
func zeros(n int64) io.Reader { return io.LimitReader(zero{}, n) }

type zero struct{}

func (zero) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestInspect_HostileImagesAreBounded meets every bound at a thousandth of it; BenchmarkInspect_Hostile measures the real ones.
func TestInspect_HostileImagesAreBounded(t *testing.T) {
	defer image.Limit(500, 12_000, 1<<20)()
	for name, c := range hostile(1000) {
		t.Run(name, func(t *testing.T) {
			if got, _ := bounded(t, hostileLayout(t, c, t.TempDir())); !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func BenchmarkInspect_Hostile(b *testing.B) {
	for name, c := range hostile(1) {
		b.Run(name, func(b *testing.B) {
			dir := hostileLayout(b, c, b.TempDir())
			var most uint64
			for b.Loop() {
				got, peak := bounded(b, dir)
				if most = max(most, peak); !strings.Contains(got, c.want) {
					b.Errorf("got %q, want %q", got, c.want)
				}
			}
			b.ReportMetric(float64(most)/(1<<20), "MiB-peak")
		})
	}
}

func hostileLayout(t testing.TB, c hostileCase, dir string) string {
	t.Helper()
	raw := c.layer(t)
	var all []v1.Layer
	for range c.times {
		all = append(all, packedLayer(raw))
	}
	img := imagetest.Image(arm64, v1.ConfigFile{Config: v1.Config{Entrypoint: []string{"/app"}}}, all...)
	imagetest.WriteLayout(t, dir, imagetest.Append(index(), img, v1.Descriptor{}))
	return dir
}

type hostileCase struct {
	layer func(t testing.TB) []byte
	times int // the layer stands so often
	want  string
}

// hostile are images that mean harm, a part of their full size each.
func hostile(part int) map[string]hostileCase {
	size := int64(1100<<20) / int64(part)
	gz := func(each func(put func(h tar.Header))) func(t testing.TB) []byte {
		return func(t testing.TB) []byte { return gzipped(t, func(w io.Writer) { tarred(t, w, each) }) }
	}
	return map[string]hostileCase{
		"a bomb": {func(t testing.TB) []byte {
			return gzipped(t, func(w io.Writer) {
				out := tar.NewWriter(w)
				_ = out.WriteHeader(&tar.Header{Name: "zeros", Size: size, Mode: 0o644})
				_, _ = io.Copy(out, zeros(size))
			})
		}, 1, "a bomb"},
		"a bomb of zstd": {func(t testing.TB) []byte {
			var b bytes.Buffer
			z, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedFastest))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(z, zeros(size))
			_ = z.Close()
			return b.Bytes()
		}, 1, "a bomb"},
		"a window of zstd": {func(testing.TB) []byte {
			return []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 1, 0, 0} // 2 GiB
		}, 1, "cannot be read"},
		"a million files": {gz(func(put func(h tar.Header)) {
			for i := range 500_010/part + 1 {
				put(tar.Header{Name: fmt.Sprintf("d/%07d", i), Typeflag: tar.TypeReg})
			}
		}), 1, fmt.Sprintf("more than %d files", 500_000/part)},
		"names without end": {gz(func(put func(h tar.Header)) {
			put(tar.Header{Name: strings.Repeat("a/", 300_000), Typeflag: tar.TypeDir})
		}), 1, "a path of 600000 bytes"},
		"links of links": {gz(func(put func(h tar.Header)) {
			for i := range 39 {
				put(tar.Header{Name: fmt.Sprintf("l%d", i), Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("./", 1900) + fmt.Sprintf("l%d", i+1)})
			}
			for i := range 100_000 / part {
				put(tar.Header{Name: fmt.Sprintf("l0/%d/%d", i, i), Typeflag: tar.TypeReg})
			}
		}), 1, "out of all proportion"},
		"depth through links": {gz(func(put func(h tar.Header)) {
			deep := strings.Repeat("d/", 40)
			put(tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: deep})
			for i := range 2000 {
				put(tar.Header{Name: "l/" + deep, Typeflag: tar.TypeDir})
				put(tar.Header{Name: "l/" + strings.Repeat("x", i%200+1), Typeflag: tar.TypeSymlink, Linkname: deep})
				put(tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: strings.Repeat(deep, i%40+1)})
			}
		}), 1, ""},
		"removed over and over": {gz(func(put func(h tar.Header)) {
			for i := range 100_000 / part {
				put(tar.Header{Name: fmt.Sprintf("d/%d", i), Typeflag: tar.TypeReg})
			}
			for range 100_000 / part {
				put(tar.Header{Name: ".wh.d", Typeflag: tar.TypeReg})
			}
		}), 2, "out of all proportion"},
		"a loop": {gz(func(put func(h tar.Header)) {
			put(tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "a"})
			put(tar.Header{Name: "a/b", Typeflag: tar.TypeReg})
		}), 1, "a loop of symbolic links"},
		"out of the image": {gz(func(put func(h tar.Header)) {
			put(tar.Header{Name: "../../../etc/passwd", Typeflag: tar.TypeReg})
			put(tar.Header{Name: "out", Typeflag: tar.TypeSymlink, Linkname: "../../.."})
			put(tar.Header{Name: "out/etc/x", Typeflag: tar.TypeReg})
			put(tar.Header{Name: "app", Typeflag: tar.TypeLink, Linkname: "../../etc/passwd"})
		}), 1, "its program /app is an empty file"},
		"attributes": {gz(func(put func(h tar.Header)) {
			for i := range 200 / min(part, 20) {
				put(tar.Header{Name: fmt.Sprint(i), Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.user.x": strings.Repeat("x", 900_000)}})
			}
		}), 1, ""},
		"no archive": {func(testing.TB) []byte { return []byte("hello") }, 1, "cannot be read"},
		"cut off": {func(t testing.TB) []byte {
			return gzipped(t, func(w io.Writer) { _, _ = w.Write(make([]byte, 700)) })[:20]
		}, 1, "cannot be read"},
		"many layers": {gz(func(put func(h tar.Header)) { put(tar.Header{Name: "x", Typeflag: tar.TypeReg}) }), 100, ""},
	}
}

// bounded inspects a layout and measures: what was found, and the most memory that was in use.
func bounded(t testing.TB, dir string) (string, uint64) {
	t.Helper()
	stop := watchMemory(t)
	began := busy(t)
	var found []string
	for _, p := range inspected(t, dir) {
		found = append(found, said(p))
	}
	took, peak := busy(t)-began, stop()
	t.Logf("%v, %d MiB", took.Round(time.Millisecond), peak>>20)
	if took > hostileTime {
		t.Errorf("it took %v", took)
	}
	if peak > hostileMemory {
		t.Errorf("it took %d MiB", peak>>20)
	}
	return strings.Join(found, "\n"), peak
}

// watchMemory looks at the memory in use until it is stopped, and tells the most that it saw.
func watchMemory(t testing.TB) (stop func() uint64) {
	t.Helper()
	debug.FreeOSMemory()
	var peak atomic.Uint64
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse+m.StackInuse))
			time.Sleep(5 * time.Millisecond)
		}
	}()
	return func() uint64 {
		cancel()
		<-done
		return peak.Load()
	}
}

// busy is how long this process has had a processor: what else the machine does is not the image's fault.
func busy(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkInspect_LargeImage looks into an image of a hundred thousand files, of which a thousand are executables.
func BenchmarkInspect_LargeImage(b *testing.B) {
	raw := gzipped(b, func(w io.Writer) {
		out := tar.NewWriter(w)
		for i := range 100_000 {
			body := bytes.Repeat([]byte{byte(i), byte(i >> 8), 1, 0}, 300)
			if i%100 == 0 {
				body = append(bytes.Clone(good), body...)
			}
			_ = out.WriteHeader(&tar.Header{Name: fmt.Sprintf("usr/lib/python3/dist-packages/package%d/module%06d.py", i/50, i), Size: int64(len(body)), Mode: 0o755})
			_, _ = out.Write(body)
		}
		_ = out.Close()
	})
	dir := filepath.Join(b.TempDir(), "layout")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	imagetest.WriteLayout(b, dir, imagetest.Append(index(), imagetest.Image(arm64, v1.ConfigFile{}, packedLayer(raw)), v1.Descriptor{}))
	stop := watchMemory(b)
	for b.Loop() {
		places := &image.Places{}
		sets, err := places.Open(b.Context(), dir, nil)
		if err != nil {
			b.Fatal(err)
		}
		r, err := new(image.Inspector).Inspect(b.Context(), sets[0])
		if err != nil || len(r.Platforms[0].Findings) != 0 {
			b.Fatal(r, err)
		}
	}
	b.ReportMetric(float64(stop())/(1<<20), "MiB-peak")
}
