package remote_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// asOps connects as a user who is not root; words are handed out as sudo passwords and counted.
func asOps(t *testing.T, sudo remotetest.Sudo, word string) (*remotetest.Host, *remote.Conn, *atomic.Int64) {
	t.Helper()
	h := remotetest.NewFleet(t, 1, remotetest.Options{User: "ops"}).Hosts[0]
	h.SetSudo(sudo)
	h.On(remotetest.Is("cat"), func(s *remotetest.Session) int {
		io.WriteString(s.Stdout, s.User+":")
		io.Copy(s.Stdout, s.Stdin)
		return 0
	})
	asked := new(atomic.Int64)
	conf := h.Config()
	conf.SudoPassword = func() (string, error) {
		asked.Add(1)
		return word, nil
	}
	return h, connect(t, h, conf), asked
}

func TestSudo_StdinArrivesWholeWhetherAskedOrNot(t *testing.T) {
	data := make([]byte, 300<<10)
	rand.Read(data)
	data = append([]byte("\nfirst line\n"), data...)
	tests := []struct {
		name  string
		sudo  remotetest.Sudo
		asked int64
	}{
		{"no password", remotetest.Sudo{}, 0},
		{"password", remotetest.Sudo{Password: "pa ss'wörd"}, 1},
		{"sudo-rs", remotetest.Sudo{Password: "pa ss'wörd", RS: true}, 1},
		{"doas", remotetest.Sudo{Missing: true, Doas: "nopass"}, 0},
		{"lecture and password", remotetest.Sudo{Password: "pa ss'wörd", Lecture: "We trust you: think before you type.\nPassword: be careful\n"}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, c, asked := asOps(t, tt.sudo, "pa ss'wörd")
			for range 3 {
				out, err := c.Run(t.Context(), remote.Command{Argv: []string{"cat"}, Stdin: bytes.NewReader(data), Sudo: true})
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(out.Stdout, append([]byte("root:"), data...)) {
					t.Fatalf("%d bytes came back of %d: %.40q", len(out.Stdout), len(data), out.Stdout)
				}
				if len(out.Stderr) != 0 {
					t.Errorf("stderr %q", out.Stderr)
				}
			}
			if n := asked.Load(); n != tt.asked {
				t.Errorf("asked for the password %d times, want %d", n, tt.asked)
			}
			want := 3
			if tt.sudo.Missing {
				want++ // sudo was tried first
			}
			if s := h.Stats(); s.Execs != want || s.PTYs != 0 {
				t.Errorf("host's stats %+v", s)
			}
			for _, r := range h.Commands() {
				if strings.Contains(r.Raw, "wörd") {
					t.Errorf("password in argv: %s", r.Raw)
				}
				if bytes.Contains(r.Stdin, []byte("wörd")) {
					t.Error("the command got the password")
				}
			}
		})
	}
}

func TestSudo_RootNeedsNone(t *testing.T) {
	h, c := dial(t, remotetest.Options{})
	h.SetSudo(remotetest.Sudo{Missing: true})
	h.Reply("id", "root")
	if _, err := c.Run(t.Context(), remote.Command{Argv: []string{"id"}, Sudo: true}); err != nil {
		t.Fatal(err)
	}
	if r := h.Commands()[0]; r.Sudo || r.Raw != "env 'LC_ALL=C' id" {
		t.Errorf("host saw %+v", r)
	}
}

func TestSudo_CommandsOwnStatus(t *testing.T) {
	h, c, _ := asOps(t, remotetest.Sudo{Password: "right"}, "right")
	h.Fail("false", "command not found: sudo: not found\n", 127)
	_, err := c.Run(t.Context(), remote.Command{Argv: []string{"false"}, Sudo: true})
	var exit *remote.ExitError
	if !errors.As(err, &exit) || exit.Status != 127 || errors.Is(err, remote.ErrSudoMissing) {
		t.Errorf("error %v", err)
	}
}

func TestSudo_Refusals(t *testing.T) {
	tests := []struct {
		name string
		sudo remotetest.Sudo
		want error
		text string
	}{
		{"missing", remotetest.Sudo{Missing: true}, remote.ErrSudoMissing, "the host has neither sudo nor doas, and the login user is not root"},
		{"not in sudoers", remotetest.Sudo{Denied: true}, remote.ErrSudoDenied, "sudo does not let the login user run commands as root\nhint: mend the host's sudoers"},
		{"requiretty", remotetest.Sudo{RequireTTY: true}, remote.ErrSudoTTY, "sudo wants a terminal\nhint: take requiretty out of the host's sudoers"},
		{"doas wants a password", remotetest.Sudo{Missing: true, Doas: "password"}, remote.ErrSudoDenied, "doas does not let the login user run commands as root: " +
			"doas: Authorization required\nhint: write `permit nopass ops as root` in the host's doas.conf: without a terminal doas takes no password"},
		{"sudo-rs refuses", remotetest.Sudo{Password: "wrong", Denied: true, RS: true}, remote.ErrSudoDenied, "sudo does not let the login user run commands as root\nhint: mend the host's sudoers"},
		{"wrong password for sudo-rs", remotetest.Sudo{Password: "right", RS: true}, remote.ErrSudoPassword, "sudo does not take the password: it is wrong"},
		{"wrong password", remotetest.Sudo{Password: "right"}, remote.ErrSudoPassword, "sudo does not take the password: it is wrong"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, c, _ := asOps(t, tt.sudo, "wrong")
			stdin := strings.NewReader("must not be taken for passwords\nsecond\nthird\n")
			_, err := c.Run(t.Context(), remote.Command{Argv: []string{"cat"}, Stdin: stdin, Sudo: true})
			text := err.Error()
			if mends := hint.Text(err); mends != "" {
				text += "\nhint: " + mends
			}
			if !errors.Is(err, tt.want) || text != tt.text {
				t.Errorf("got  %v\nwant %s", text, tt.text)
			}
			if remote.Transient(err) {
				t.Error("called transient")
			}
			c.Close()
			h.Wait()
			for _, r := range h.Commands() {
				if len(r.SudoRead) > 1 {
					t.Errorf("sudo read %q", r.SudoRead)
				}
			}
		})
	}
}

func TestSudo_WrongPasswordIsTriedOnce(t *testing.T) {
	h, c, asked := asOps(t, remotetest.Sudo{Password: "right"}, "wrong")
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if _, err := c.Run(t.Context(), remote.Command{Argv: []string{"cat"}, Sudo: true}); !errors.Is(err, remote.ErrSudoPassword) {
				t.Errorf("error %v", err)
			}
		})
	}
	wg.Wait()
	c.Close()
	h.Wait()
	tries := 0
	for _, r := range h.Commands() {
		tries += len(r.SudoRead)
	}
	if tries != 1 || asked.Load() != 1 {
		t.Errorf("%d tries, asked %d times; want one each: accounts get locked", tries, asked.Load())
	}
}

func TestSudo_NoPasswordGiven(t *testing.T) {
	h := remotetest.NewFleet(t, 1, remotetest.Options{User: "ops"}).Hosts[0]
	h.SetSudo(remotetest.Sudo{Password: "right"})
	c := connect(t, h, h.Config())
	_, err := c.Run(t.Context(), remote.Command{Argv: []string{"cat"}, Sudo: true})
	if !errors.Is(err, remote.ErrSudoPassword) || !strings.Contains(err.Error(), "none is given") {
		t.Errorf("error %v", err)
	}
}
