package fetch

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/hybridctl/hybridctl/provision/catalogue"
)

// childEnv has a child's work; the test binary is the child, too.
const childEnv = "FETCH_TEST_CHILD"

// work is what a child fetches.
type work struct {
	Set     catalogue.Set
	Cache   string
	CAFile  string
	Sources Sources
}

func TestMain(m *testing.M) {
	raw := os.Getenv(childEnv)
	if raw == "" {
		os.Exit(m.Run())
	}
	var w work
	err := json.Unmarshal([]byte(raw), &w)
	if err == nil {
		err = w.do()
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

// do fetches, and writes a line for each event.
func (w work) do() error {
	_, err := Bundle(context.Background(), w.Set, Options{Cache: w.Cache, CAFile: w.CAFile, Sources: w.Sources, Progress: func(e Event) {
		if e.Item != "" {
			fmt.Println(e.Bytes, e.Message)
		}
	}})
	return err
}

// child starts a process that fetches.
func (w *world) child(cache string, env ...string) (*exec.Cmd, io.Reader) {
	w.t.Helper()
	o := w.options(cache)
	raw, err := json.Marshal(work{Set: w.set, Cache: cache, CAFile: o.CAFile, Sources: o.Sources})
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(append(os.Environ(), env...), childEnv+"="+string(raw), "DOCKER_CONFIG="+w.t.TempDir())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	return cmd, out
}

// A run that is killed loses nothing: the next asks only for the rest.
func TestProcess_KilledAndRunAgain(t *testing.T) {
	const half = 1_500_000
	w, body := alone(t, 3_000_000)
	w.on(kubelet, func(rw http.ResponseWriter, r *http.Request, body []byte, n int) bool {
		if n > 1 {
			return false
		}
		rw.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = rw.Write(body[:half])
		rw.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	})
	cache := t.TempDir()
	cmd, out := w.child(cache)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if n, _ := strconv.Atoi(strings.Fields(lines.Text())[0]); n == half {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("it was to be killed: %v", err)
	}
	w.requests()
	mustBundle(t, w.set, w.options(cache))
	w.mu.Lock()
	sent := w.sent
	w.mu.Unlock()
	if files, _ := w.requests(); len(files) != 1 || files[0].ranges != fmt.Sprintf("bytes=%d-", half) || sent != int64(len(body)-half) {
		t.Errorf("asked %v, %d bytes came of %d", files, sent, len(body)-half)
	}
}

// Two runs at once fetch each file once: the first answer comes only when the other run waits for it, or has asked, too.
func TestProcess_TwoAtOnce(t *testing.T) {
	w := newWorld(t, 2_000_000)
	cache := t.TempDir()
	met := make(chan struct{})
	meet := sync.OnceFunc(func() { close(met) })
	w.on(kubelet, func(_ http.ResponseWriter, _ *http.Request, _ []byte, n int) bool {
		if n > 1 {
			meet()
		}
		<-met
		return false
	})
	var cmds []*exec.Cmd
	var read sync.WaitGroup
	for range 2 {
		cmd, out := w.child(cache)
		cmds = append(cmds, cmd)
		read.Go(func() {
			for lines := bufio.NewScanner(out); lines.Scan(); {
				if strings.Contains(lines.Text(), "kubelet v1.36.4 for arm64 is being fetched by another run") {
					meet()
				}
			}
		})
	}
	read.Wait()
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	asked := map[string]int{}
	for _, a := range w.registry.Asked() {
		if strings.Contains(a, "/blobs/") {
			asked[a]++
		}
	}
	files, _ := w.requests()
	for _, a := range files {
		asked[a.path]++
	}
	for a, n := range asked {
		if n > 1 {
			t.Errorf("%s %d times", a, n)
		}
	}
	if len(files) != len(w.set.Files) {
		t.Errorf("%d requests for %d files", len(files), len(w.set.Files))
	}
	mustBundle(t, w.set, w.options(cache))
}

// Proxies are the environment's.
func TestProcess_AProxy(t *testing.T) {
	w, _ := alone(t, 1000)
	var mu sync.Mutex
	var through []string
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		through = append(through, r.Method+" "+r.Host)
		mu.Unlock()
		target, err := net.Dial("tcp", strings.TrimPrefix(w.web.URL, "https://"))
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadGateway)
			return
		}
		conn, buffered, err := rw.(http.Hijacker).Hijack() // before the answer: what the client sends upon it is for the target alone
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(target, buffered); _ = target.Close() }()
		_, _ = io.Copy(conn, target)
		_ = conn.Close()
	}))
	defer proxy.Close()
	w.set.Files[0].URL = "https://example.com/dl.test" + kubelet // the server's certificate is for that name
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	cmd, out := w.child(cache, "HTTPS_PROXY="+u.String(), "NO_PROXY=")
	said, err := io.ReadAll(out)
	if err := errors.Join(err, cmd.Wait()); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if len(through) != 1 || through[0] != "CONNECT example.com:443" {
		t.Errorf("%q", through)
	}
	if got := entries(t, filepath.Join(cache, "bundles")); len(got) != 1 {
		t.Errorf("%q", got)
	}
}
