package remote_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// dial connects to the first host of a fleet of one.
func dial(t testing.TB, o remotetest.Options) (*remotetest.Host, *remote.Conn) {
	t.Helper()
	h := remotetest.NewFleet(t, 1, o).Hosts[0]
	return h, connect(t, h, h.Config())
}

func connect(t testing.TB, h *remotetest.Host, c remote.HostConfig) *remote.Conn {
	t.Helper()
	conn, err := h.Fleet().Dialer().Dial(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestRun_ArgvAndScript(t *testing.T) {
	h, c := dial(t, remotetest.Options{})
	h.On(remotetest.Any, func(s *remotetest.Session) int {
		for _, w := range s.Argv {
			io.WriteString(s.Stdout, "<"+w+">")
		}
		io.WriteString(s.Stderr, "noise")
		return 0
	})
	tests := []struct {
		cmd  remote.Command
		want string
	}{
		{remote.Command{Argv: []string{"echo", "it's", "", "a b", `\`, "$HOME", "ü\n*"}}, "<echo><it's><><a b><\\><$HOME><ü\n*>"},
		{remote.Command{Script: "echo \"$1\"\n", Args: []string{"-n", "x y"}}, "<sh><-c><echo \"$1\"\n><sh><-n><x y>"},
	}
	for _, tt := range tests {
		out, err := c.Run(t.Context(), tt.cmd)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(out.Stdout); got != tt.want {
			t.Errorf("host saw %q, want %q", got, tt.want)
		}
		if got := string(out.Stderr); got != "noise" {
			t.Errorf("stderr %q", got)
		}
	}
	if s := c.Stats(); s.Sessions != 2 || s.Connections != 1 || s.SFTP != 0 {
		t.Errorf("stats %+v", s)
	}
	if s := h.Stats(); s.Connections != 1 || s.Execs != 2 || s.PTYs != 0 {
		t.Errorf("host's stats %+v", s)
	}
}

func TestRun_StdinArrivesWhole(t *testing.T) {
	h, c := dial(t, remotetest.Options{})
	h.On(remotetest.Is("cat"), func(s *remotetest.Session) int {
		io.Copy(s.Stdout, s.Stdin)
		return 0
	})
	data := make([]byte, 3<<20+17)
	rand.Read(data)
	var got bytes.Buffer
	out, err := c.Run(t.Context(), remote.Command{Argv: []string{"cat"}, Stdin: bytes.NewReader(data), Stdout: &got})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), data) || out.Stdout != nil {
		t.Errorf("%d bytes came back of %d; collected %d", got.Len(), len(data), len(out.Stdout))
	}
	if n := c.Stats().BytesSent; n != int64(len(data)) {
		t.Errorf("counted %d bytes of %d", n, len(data))
	}
}

func TestRun_ExitError(t *testing.T) {
	h, c := dial(t, remotetest.Options{})
	h.Fail("kubeadm join --token s3cr3t", "warning: old\nfailed with token s3cr3t\n", 3)
	_, err := c.Run(t.Context(), remote.Command{Argv: []string{"kubeadm", "join", "--token", "s3cr3t"}, Redact: []string{"s3cr3t"}})
	var exit *remote.ExitError
	if !errors.As(err, &exit) || exit.Status != 3 || exit.Signal != "" {
		t.Fatalf("error %#v", err)
	}
	want := "kubeadm join --token [redacted]: exit status 3: failed with token [redacted]"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if strings.Contains(exit.Stderr, "s3cr3t") || !strings.Contains(exit.Stderr, "warning: old") {
		t.Errorf("stderr %q", exit.Stderr)
	}
}

func TestRun_StderrIsBounded(t *testing.T) {
	h, c := dial(t, remotetest.Options{})
	h.On(remotetest.Is("noisy"), func(s *remotetest.Session) int {
		for range 100 {
			io.WriteString(s.Stderr, strings.Repeat("x", 10000)+"\n")
		}
		io.WriteString(s.Stderr, "the end")
		return 0
	})
	out, err := c.Run(t.Context(), remote.Command{Argv: []string{"noisy"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Stderr) != 64<<10 || !bytes.HasSuffix(out.Stderr, []byte("the end")) {
		t.Errorf("%d bytes, ending in %q", len(out.Stderr), out.Stderr[len(out.Stderr)-10:])
	}
}

func TestRun_CancelReturnsAtOnce(t *testing.T) {
	h, c := dial(t, remotetest.Options{})
	started, ended := make(chan bool), make(chan bool)
	h.On(remotetest.Is("sleep"), func(s *remotetest.Session) int {
		close(started)
		<-s.Context().Done()
		close(ended)
		return 0
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	_, err := c.Run(ctx, remote.Command{Argv: []string{"sleep"}})
	if !errors.Is(err, context.Canceled) || remote.Transient(err) {
		t.Errorf("error %v", err)
	}
	<-ended // the host was told
}

func TestRun_CommandTimeout(t *testing.T) {
	h := remotetest.NewFleet(t, 1, remotetest.Options{}).Hosts[0]
	h.On(remotetest.Is("sleep"), func(s *remotetest.Session) int {
		<-s.Context().Done()
		return 0
	})
	conf := h.Config()
	conf.CommandTimeout = 20 * time.Millisecond
	c := connect(t, h, conf)
	_, err := c.Run(t.Context(), remote.Command{Argv: []string{"sleep"}})
	if !errors.Is(err, context.DeadlineExceeded) || err.Error() != "sleep: no end after 20ms" {
		t.Errorf("error %v", err)
	}
}

func TestRun_CancelReturnsThoughTheHostHangs(t *testing.T) {
	h, c := dial(t, remotetest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	h.On(remotetest.Is("cat"), func(s *remotetest.Session) int {
		io.ReadFull(s.Stdin, make([]byte, 1<<20))
		h.Hang()
		cancel()
		<-s.Context().Done()
		return 0
	})
	endless := io.MultiReader(bytes.NewReader(randomBytes(64<<20)), neverEnding{})
	_, err := c.Run(ctx, remote.Command{Argv: []string{"cat"}, Stdin: endless})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }

type brokenPipe struct{}

func (brokenPipe) Read([]byte) (int, error)  { return 0, errors.New("source is gone") }
func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("sink is gone") }

func TestRun_BrokenStreamsOfTheCaller(t *testing.T) {
	h, c := dial(t, remotetest.Options{})
	h.On(remotetest.Is("cat"), func(s *remotetest.Session) int {
		io.Copy(s.Stdout, s.Stdin)
		<-s.Context().Done()
		return 0
	})
	_, err := c.Run(t.Context(), remote.Command{Argv: []string{"cat"}, Stdin: brokenPipe{}})
	if err == nil || err.Error() != "cat: read stdin: source is gone" {
		t.Errorf("error %v", err)
	}
	_, err = c.Run(t.Context(), remote.Command{Argv: []string{"cat"}, Stdin: strings.NewReader("x"), Stdout: brokenPipe{}})
	if err == nil || err.Error() != "cat: the command's output could not be kept: sink is gone" {
		t.Errorf("error %v", err)
	}
}

func TestRun_ClosedMeanwhile(t *testing.T) {
	h, c := dial(t, remotetest.Options{})
	h.On(remotetest.Is("wait"), func(s *remotetest.Session) int {
		c.Close()
		<-s.Context().Done()
		return 0
	})
	_, err := c.Run(t.Context(), remote.Command{Argv: []string{"wait"}})
	if !errors.Is(err, remote.ErrClosed) || remote.Transient(err) || err.Error() != "wait: the connection was closed" {
		t.Errorf("error %v", err)
	}
}

// slowReader has a Read under way until the host has ended the command.
type slowReader struct {
	host *remotetest.Host
	back bool
}

func (r *slowReader) Read([]byte) (int, error) {
	for len(r.host.Commands()) == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond) // Run has heard of it by now
	r.back = true
	return 0, io.EOF
}

func TestRun_GivesStdinBack(t *testing.T) {
	h, c := dial(t, remotetest.Options{})
	h.On(remotetest.Is("true"), func(*remotetest.Session) int { return 0 })
	r := &slowReader{host: h}
	if _, err := c.Run(t.Context(), remote.Command{Argv: []string{"true"}, Stdin: r}); err != nil {
		t.Fatal(err)
	}
	if !r.back {
		t.Error("Run returned while it still read from Stdin")
	}
}
