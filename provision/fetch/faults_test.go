package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/platform"
)

const kubelet = "/kubelet/arm64/kubelet"

// alone is a world with one file, and that file's content.
func alone(t testing.TB, size int) (*world, []byte) {
	w := newWorld(t, size)
	w.set.Images = nil
	w.set.Archs = []platform.Arch{platform.ARM64}
	w.set.Files = slices.DeleteFunc(w.set.Files, func(f catalogue.File) bool { return f.URL != "https://dl.test"+kubelet })
	return w, w.files["/dl.test"+kubelet]
}

// Faults that a run gets over by itself.
func TestDownload_GoesOn(t *testing.T) {
	const half = 150_000
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request, body []byte, n int) bool
		ranges string // that were asked for, in order
	}{
		"cut": {func(w http.ResponseWriter, _ *http.Request, body []byte, n int) bool {
			if n == 1 {
				cut(w, body, half)
			}
			return false
		}, " bytes=150000-"},
		"cut again and again": {func(w http.ResponseWriter, r *http.Request, body []byte, n int) bool {
			if n <= 20 {
				begins, _ := strconv.Atoi(strings.Trim(r.Header.Get("Range"), "bytes=-"))
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", begins, len(body)-1, len(body)))
				w.Header().Set("Content-Length", strconv.Itoa(len(body)-begins))
				w.WriteHeader(map[bool]int{true: 200, false: 206}[n == 1])
				_, _ = w.Write(body[begins : begins+10])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			return false
		}, ""},
		"Range is ignored": {func(w http.ResponseWriter, _ *http.Request, body []byte, n int) bool {
			if n == 1 {
				cut(w, body, half)
			}
			_, _ = w.Write(body)
			return true
		}, " bytes=150000-"},
		"Content-Range lies": {func(w http.ResponseWriter, r *http.Request, body []byte, n int) bool {
			if n == 1 {
				cut(w, body, half)
			}
			if r.Header.Get("Range") == "" {
				return false
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", half-1, len(body)-1, len(body)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(body[half-1:])
			return true
		}, " bytes=150000- "},
		"Content-Range is right and the bytes are others": {func(w http.ResponseWriter, r *http.Request, body []byte, n int) bool {
			if n == 1 {
				cut(w, body, half)
			}
			if r.Header.Get("Range") == "" {
				return false
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/*", half, len(body)-1))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(make([]byte, len(body)-half))
			return true
		}, "(wrong)"},
		"416": {func(w http.ResponseWriter, r *http.Request, body []byte, n int) bool {
			if n == 1 {
				cut(w, body, half)
			}
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return true
			}
			return false
		}, " bytes=150000- "},
		"a busy server": {func(w http.ResponseWriter, _ *http.Request, _ []byte, n int) bool {
			if n < 4 {
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(map[int]int{1: 503, 2: 429, 3: 500}[n])
			}
			return n < 4
		}, "   "},
		"no length is told": {func(w http.ResponseWriter, _ *http.Request, body []byte, _ int) bool {
			for chunk := range slices.Chunk(body, 50_000) {
				_, _ = w.Write(chunk)
				w.(http.Flusher).Flush()
			}
			return true
		}, ""},
		"redirects": {func(w http.ResponseWriter, r *http.Request, _ []byte, n int) bool {
			if n < 4 {
				http.Redirect(w, r, r.URL.Path, http.StatusFound)
			}
			return n < 4
		}, "   "},
	} {
		t.Run(name, func(t *testing.T) {
			w, body := alone(t, 300_000)
			w.on(kubelet, c.answer)
			dir, err := Bundle(t.Context(), w.set, w.options(t.TempDir()))
			if c.ranges == "(wrong)" { // no one can tell where it came from
				if !errors.Is(err, ErrContent) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, dir, "bin/arm64/kubernetes/kubelet"); !bytes.Equal(got, body) {
				t.Error("the file is another")
			}
			var ranges []string
			files, _ := w.requests()
			for _, a := range files {
				ranges = append(ranges, a.ranges)
			}
			if got := strings.Join(ranges, " "); c.ranges != "" && got != c.ranges {
				t.Errorf("asked for %q, want %q", got, c.ranges)
			}
		})
	}
}

// Faults that end a run: a sentence says what and where, and the next run goes on.
func TestDownload_Ends(t *testing.T) {
	const half = 150_000
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request, body []byte, n int) bool
		change func(w *world, o *Options)
		kind   error
		want   []string // in the sentence
		hint   string
		keeps  int // bytes for the next run
	}{
		"cut at the same place": {answer: func(w http.ResponseWriter, r *http.Request, body []byte, _ int) bool {
			if r.Header.Get("Range") == "" {
				cut(w, body, half)
			}
			panic(http.ErrAbortHandler)
		}, kind: ErrUnreachable, want: []string{"kubelet v1.36.4 for arm64: HOST does not answer", "150 kB came, and the next run goes on from there"}, keeps: half},
		"stalls": {answer: func(w http.ResponseWriter, r *http.Request, body []byte, _ int) bool {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			_, _ = w.Write(body[:half])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		}, change: func(_ *world, o *Options) { o.Patience = 100 * time.Millisecond }, kind: ErrStopped,
			want: []string{"HOST sent nothing for 100ms, after 150 kB of 300 kB; the next run goes on from there"}, keeps: half},
		"never answers": {answer: func(_ http.ResponseWriter, r *http.Request, _ []byte, _ int) bool {
			<-r.Context().Done()
			return true
		}, change: func(_ *world, o *Options) { o.Patience = 50 * time.Millisecond }, kind: ErrUnreachable, want: []string{"HOST does not answer"}, hint: "spec.sources"},
		"a page": {answer: func(w http.ResponseWriter, _ *http.Request, _ []byte, _ int) bool {
			_, _ = w.Write([]byte("<!DOCTYPE html><title>Log in</title>"))
			return true
		}, kind: ErrContent, want: []string{"HOST answers with a web page"}, hint: "HTTPS_PROXY names the proxy"},
		"another file": {answer: func(w http.ResponseWriter, _ *http.Request, body []byte, _ int) bool {
			_, _ = w.Write(append(slices.Clone(body[1:]), 'x'))
			return true
		}, kind: ErrContent, want: []string{"HOST has another file: its sha256 is ", "the catalogue says ", ".wrong, and not used"}, hint: "a mirror may be behind"},
		"not there": {answer: func(w http.ResponseWriter, r *http.Request, _ []byte, _ int) bool {
			http.NotFound(w, r)
			return true
		}, kind: ErrLacks, want: []string{"HOST answers 404 Not Found: it does not have /dl.test" + kubelet}, hint: "a mirror may be behind"},
		"busy for long": {answer: func(w http.ResponseWriter, _ *http.Request, _ []byte, _ int) bool {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}, kind: ErrUnreachable, want: []string{"503", "asks to come back in 1h0m0s"}},
		"a redirect without an end": {answer: func(w http.ResponseWriter, r *http.Request, _ []byte, _ int) bool {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
			return true
		}, kind: ErrContent, want: []string{"HOST sends on and on"}},
		"a redirect to HTTP": {answer: func(w http.ResponseWriter, r *http.Request, _ []byte, _ int) bool {
			http.Redirect(w, r, "http://plain.test/?token=secret", http.StatusFound)
			return true
		}, kind: ErrContent, want: []string{"HOST sends to plain.test by HTTP, which is refused"}, hint: "ask whoever runs HOST"},
		"a redirect to nobody": {answer: func(w http.ResponseWriter, r *http.Request, _ []byte, _ int) bool {
			http.Redirect(w, r, "https://nobody.invalid/?token=secret", http.StatusFound)
			return true
		}, kind: ErrUnreachable, want: []string{"nobody.invalid (where HOST sends to) does not answer: "}, hint: "spec.sources"},
		"a redirect to nowhere": {answer: func(w http.ResponseWriter, _ *http.Request, _ []byte, _ int) bool {
			w.WriteHeader(http.StatusFound)
			return true
		}, kind: ErrUnreachable, want: []string{"HOST answers 302 Found, and does not say where"}, hint: "name another source"},
		"a login is wanted": {answer: func(w http.ResponseWriter, _ *http.Request, _ []byte, _ int) bool {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}, kind: ErrUnreachable, want: []string{"HOST answers 401 Unauthorized"}, hint: "name a mirror that wants none"},
		"broken": {answer: func(w http.ResponseWriter, _ *http.Request, _ []byte, _ int) bool {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}, kind: ErrUnreachable, want: []string{"HOST answers 500 Internal Server Error"}, hint: "try again later"},
		"HTTP where HTTPS was written": {change: func(_ *world, o *Options) {
			o.Sources["https://dl.test"] = "https://" + plainServer(t)
		}, kind: ErrUnreachable, want: []string{" speaks HTTP, and was asked by HTTPS"}, hint: "write http:// before it in spec.sources"},
		"HTTPS where HTTP was written": {change: func(w *world, o *Options) {
			o.Sources["https://dl.test"] = "http://" + strings.TrimPrefix(w.web.URL, "https://") + "/dl.test"
		}, kind: ErrUnreachable, want: []string{"HOST answers 400 Bad Request"}, hint: "it was asked by HTTP, and may want HTTPS"},
		"an authority that nobody knows": {change: func(_ *world, o *Options) { o.CAFile = "" }, kind: ErrUnreachable,
			want: []string{"HOST shows a certificate of an authority that this machine does not know"}, hint: "--ca-file"},
		"a wrong clock": {change: func(_ *world, o *Options) {
			o.Now = func() time.Time { return time.Date(2100, 1, 2, 3, 4, 5, 0, time.UTC) }
		}, kind: ErrUnreachable,
			want: []string{"shows a certificate that is good from ", "and this machine's clock says 2100-01-02 03:04"}, hint: "set this machine's clock"},
		"no such host": {change: func(_ *world, o *Options) { o.Sources["https://dl.test"] = "https://nobody.invalid" }, kind: ErrUnreachable,
			want: []string{"nobody.invalid does not answer: "}, hint: "hybridctl bundle export"},
		"credentials in an address": {change: func(w *world, _ *Options) { w.set.Files[0].URL = "https://me:secret@elsewhere.test/x" }, kind: ErrInput,
			want: []string{"https://elsewhere.test/x holds a name or a password"}},
		"an address without TLS": {change: func(w *world, _ *Options) { w.set.Files[0].URL = "http://elsewhere.test/x" }, kind: ErrInput, want: []string{"is none of HTTPS"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, body := alone(t, 300_000)
			cache := t.TempDir()
			o := w.options(cache)
			if c.answer != nil {
				w.on(kubelet, c.answer)
			}
			if c.change != nil {
				c.change(w, &o)
			}
			_, err := Bundle(t.Context(), w.set, o)
			if !errors.Is(err, c.kind) {
				t.Fatalf("%v", err)
			}
			for _, want := range c.want {
				if want = strings.ReplaceAll(want, "HOST", strings.TrimPrefix(w.web.URL, "https://")); !strings.Contains(err.Error(), want) {
					t.Errorf("%q\nlacks %q", err, want)
				}
			}
			if hint.Text(err) == "" && c.kind != ErrInput && !strings.Contains(err.Error(), "the next run goes on from there") {
				t.Errorf("%q says nothing of what may help", err)
			}
			wanted := strings.ReplaceAll(c.hint, "HOST", strings.TrimPrefix(w.web.URL, "https://"))
			if all := err.Error() + hint.Text(err); strings.Contains(all, "secret") || strings.Contains(err.Error(), "\n") || !strings.Contains(hint.Text(err), wanted) {
				t.Errorf("%s\nhint: %s", err, hint.Text(err))
			}
			part, err := os.ReadFile(filepath.Join(cache, "sha256", sumOf(body)+".part"))
			if len(part) != c.keeps || err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%d bytes are kept (%v), want %d", len(part), err, c.keeps)
			}
			if c.keeps == 0 {
				return
			}
			w.before = nil
			w.requests()
			mustBundle(t, w.set, w.options(cache))
			if files, _ := w.requests(); len(files) != 1 || files[0].ranges != fmt.Sprintf("bytes=%d-", c.keeps) {
				t.Errorf("the next run asked %v", files)
			}
		})
	}
}

// plainServer speaks HTTP alone.
func plainServer(t *testing.T) string {
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// Each fault of a registry is a sentence that names the host at fault, and what may help.
func TestImages_FaultsOfARegistry(t *testing.T) {
	status := func(n int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(n) }
	}
	for name, c := range map[string]struct {
		answer     func(http.ResponseWriter, *http.Request)
		kind       error
		want, hint string
	}{
		"lacks it":  {status(404), ErrLacks, "HOST answers 404 Not Found: it does not have HOST/k8s/etcd:3.6.8-0", "or have it take HOST/k8s/etcd:3.6.8-0"},
		"a login":   {status(401), ErrUnreachable, "HOST wants a login for k8s/etcd", "docker login HOST, or name credentials in spec.registries"},
		"forbidden": {status(403), ErrUnreachable, "HOST answers 403 Forbidden", "ask whoever runs HOST"},
		"broken":    {status(500), ErrUnreachable, "HOST answers 500 Internal Server Error", "try again later"},
		"odd":       {status(418), ErrUnreachable, "HOST answers 418", "ask whoever runs HOST, or name another source"},
		"a page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html>"))
		}, ErrUnreachable, "HOST answers with a web page in its place", "HTTPS_PROXY names the proxy"},
		"no manifest": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }, ErrContent, "HOST gives no manifest that can be read", "ask whoever runs HOST"},
		"sends to nobody": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://nobody.invalid/?token=secret", http.StatusTemporaryRedirect)
		}, ErrUnreachable, "nobody.invalid (where HOST sends to) does not answer: ", "spec.sources"},
		"sends by HTTP": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://plain.test/?token=secret", http.StatusTemporaryRedirect)
		}, ErrUnreachable, "HOST sends to plain.test by HTTP for a manifest, which is refused", "ask whoever runs HOST"},
	} {
		w := newWorld(t, 10)
		w.set.Files = nil
		w.set.Images = slices.DeleteFunc(w.set.Images, func(i catalogue.Image) bool { return !strings.Contains(i.Ref, "etcd") })
		w.registry.Before = func(rw http.ResponseWriter, r *http.Request) bool {
			c.answer(rw, r)
			return true
		}
		_, err := Bundle(t.Context(), w.set, w.options(t.TempDir()))
		here := strings.NewReplacer("HOST", w.registry.Host())
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), "the image registry.test/etcd:3.6.8-0 (etcd): "+here.Replace(c.want)) ||
			!strings.Contains(hint.Text(err), here.Replace(c.hint)) || strings.Contains(err.Error()+hint.Text(err), "secret") {
			t.Errorf("%s: %v\nhint: %s", name, err, hint.Text(err))
		}
	}
}

// The host that is told is the one that answered, behind a redirect.
func TestDownload_NamesTheHostBehindARedirect(t *testing.T) {
	w, _ := alone(t, 1000)
	store := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }))
	defer store.Close()
	w.on(kubelet, func(rw http.ResponseWriter, r *http.Request, _ []byte, _ int) bool {
		http.Redirect(rw, r, store.URL+"/x?signature=secret", http.StatusFound)
		return true
	})
	_, err := Bundle(t.Context(), w.set, w.options(t.TempDir()))
	if want := strings.TrimPrefix(store.URL, "https://") + " answers 403 Forbidden"; err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

func TestDownload_ADiskThatIsFull(t *testing.T) {
	w, body := alone(t, 1_000_000)
	cache := t.TempDir()
	f, err := newFetcher(w.options(cache))
	if err != nil {
		t.Fatal(err)
	}
	left := 500_000
	f.write = func(to *os.File, p []byte) (int, error) {
		if len(p) <= left {
			left -= len(p)
			return to.Write(p)
		}
		n, _ := to.Write(p[:left/2])
		return n, &fs.PathError{Op: "write", Path: to.Name(), Err: syscall.ENOSPC}
	}
	_, err = f.bundle(t.Context(), w.set)
	if !errors.Is(err, ErrDisk) || !strings.Contains(err.Error(), "there is no room left in "+cache) || !strings.Contains(hint.Text(err), "bundle gc") {
		t.Errorf("%v", err)
	}
	part := read(t, cache, "sha256", sumOf(body)+".part")
	if !bytes.HasPrefix(body, part) || len(part) == 0 {
		t.Errorf("%d bytes are kept, which are not the file's", len(part))
	}
	mustBundle(t, w.set, w.options(cache))
}

// The lock file lies beside the bundle, and need not be where the cache is: its own place is told.
func TestBundle_ALockFileThatCannotBeWritten(t *testing.T) {
	w := newWorld(t, 10)
	o := w.options(t.TempDir())
	o.Lock = "/proc/bundle-of-a-test.lock"
	_, err := Bundle(t.Context(), w.set, o)
	if !errors.Is(err, ErrDisk) || !strings.Contains(err.Error(), "the lock file /proc/bundle-of-a-test.lock cannot be written: ") || strings.Contains(err.Error(), o.Cache) ||
		!strings.HasPrefix(hint.Text(err), "name another directory for the bundle") {
		t.Errorf("%v (%s)", err, hint.Text(err))
	}
}

// What an earlier run left may be anything: the sum decides, and it is fetched once more from the start.
func TestDownload_ABeginningThatIsNotTheFiles(t *testing.T) {
	for name, left := range map[string][]byte{"other bytes": bytes.Repeat([]byte{7}, 1000), "too many": bytes.Repeat([]byte{7}, 500_000)} {
		t.Run(name, func(t *testing.T) {
			w, body := alone(t, 300_000)
			cache := t.TempDir()
			if err := os.MkdirAll(filepath.Join(cache, "sha256"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(cache, "sha256", sumOf(body)+".part"), left, 0o644); err != nil {
				t.Fatal(err)
			}
			mustBundle(t, w.set, w.options(cache))
		})
	}
}

// A registry's blob is resumed as a file is.
func TestDownload_GoesOnWithinABlob(t *testing.T) {
	w := newWorld(t, 10)
	w.set.Files = nil
	cuts := map[string]int{}
	var ranges []string
	w.registry.Before = func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		cuts[r.URL.Path]++
		if cuts[r.URL.Path] > 1 {
			ranges = append(ranges, r.Header.Get("Range"))
			return false
		}
		rw.Header().Set("Content-Length", "5000000")
		_, _ = rw.Write([]byte("\x1f\x8b"))
		rw.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	cache := t.TempDir()
	_, err := Bundle(t.Context(), w.set, w.options(cache))
	if !errors.Is(err, ErrContent) || !strings.Contains(err.Error(), "has another file: ") {
		t.Errorf("%v", err)
	}
	w.registry.Before = func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") || r.Header.Get("Range") != "" {
			if got := r.Header.Get("Range"); got != "" {
				w.mu.Lock()
				ranges = append(ranges, got)
				w.mu.Unlock()
			}
			return false
		}
		digest := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		body := w.registry.Content(digest)
		rw.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = rw.Write(body[:40])
		rw.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	ranges = nil
	mustBundle(t, w.set, w.options(t.TempDir()))
	if len(ranges) == 0 || slices.ContainsFunc(ranges, func(r string) bool { return r != "bytes=40-" }) {
		t.Errorf("%q", ranges)
	}
}

func TestDownload_Cancelled(t *testing.T) {
	w, _ := alone(t, 300_000)
	ctx, cancel := context.WithCancel(t.Context())
	w.on(kubelet, func(rw http.ResponseWriter, r *http.Request, body []byte, _ int) bool {
		_, _ = rw.Write(body[:1000])
		rw.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
		return true
	})
	if _, err := Bundle(ctx, w.set, w.options(t.TempDir())); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
