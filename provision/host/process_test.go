package host

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// The test's own program is the process that reads files: it listens where it is told, until it is ended.
func init() {
	address := os.Getenv("HYBRIDCTL_TEST_LISTEN")
	if address == "" {
		return
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening")
	_, _ = l.Accept() // no one calls
	os.Exit(0)
}

// keep runs the program under a name, and again whenever it ends, as a kubelet does; starts tells how often it was started.
func keep(t *testing.T, path, address string) (starts func() int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var running *exec.Cmd
	n, over := 0, false
	start := func() *exec.Cmd {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return nil
		}
		running = exec.Command(path)
		running.Env = append(os.Environ(), "HYBRIDCTL_TEST_LISTEN="+address)
		out, err := running.StdoutPipe()
		if err == nil {
			err = running.Start()
		}
		if err != nil {
			t.Error(err)
			return nil
		}
		n++
		_, _ = out.Read(make([]byte, 16)) // it listens, or has ended
		return running
	}
	first := start()
	var done sync.WaitGroup
	done.Go(func() {
		for c := first; c != nil; c = start() {
			_ = c.Wait()
		}
	})
	t.Cleanup(func() {
		mu.Lock()
		over = true
		_ = running.Process.Kill()
		mu.Unlock()
		done.Wait()
	})
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

// A process that reads files of a step is ended when one of them has changed, or when an earlier run may have landed one and ended nothing.
func TestApplyScript_ProcessesReadTheirFilesAgain(t *testing.T) {
	s := newSandbox(t)
	for _, tool := range []struct{ name, body string }{{"grep", `case "$*" in *kubepods*) exit 0 ;; esac; exec PATH "$@"`}, {"sleep", "exec PATH 0.02"}} {
		path, err := exec.LookPath(tool.name)
		if err != nil {
			t.Fatal(err)
		}
		s.tool(tool.name, strings.ReplaceAll(tool.body, "PATH", path))
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().(*net.TCPAddr)
	free.Close()
	name := fmt.Sprintf("kept-%d", os.Getpid())
	starts := keep(t, s.path(name), address.String())
	f := Files{Step: "files", Digest: "sha256:1", Texts: []Text{{Path: "/opt/etc/policy.yaml", Mode: "0600", Body: []byte("a\n")}},
		Processes: []Process{{Name: name, Port: address.Port}, {Name: "not-there-" + name, Port: 1}}}
	marker := s.path("var-lib", "hybridctl", "steps", "files")
	for _, c := range []struct {
		what, body string
		before     func()
		out        string
		starts     int
	}{
		{"the first time", "a\n", func() {}, "changed /opt/etc/policy.yaml\nrestarted " + name + "\n", 2},
		{"again", "a\n", func() {}, "", 2},
		{"after an interrupted run", "a\n", func() {
			if err := os.WriteFile(marker, []byte("state started\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, "restarted " + name + "\n", 3},
		{"with another content", "b\n", func() {}, "changed /opt/etc/policy.yaml\nrestarted " + name + "\n", 4},
	} {
		c.before()
		f.Texts[0].Body = []byte(c.body)
		status, out, errs := s.run("apply", f.directives(), staging)
		if status != 0 || out != c.out || starts() != c.starts {
			t.Errorf("%s: exit %d, printed %q, started %d times; want %q, %d: %s", c.what, status, out, starts(), c.out, c.starts, errs)
		}
	}
	if info, err := os.Stat(s.path("opt", "etc", "policy.yaml")); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
