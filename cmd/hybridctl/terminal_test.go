package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hybridctl/hybridctl/cmd/hybridctl/cli"
)

// pty is a process that runs on a terminal of its own.
type pty struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File
	seen   bytes.Buffer // what the terminal showed
}

// onTerminal starts a command of TestMain in a directory, on a pseudo terminal.
func onTerminal(t *testing.T, dir, name string, args ...string) *pty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("this machine has no pseudo terminals: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	// The kernel sends the signal of a ^C first and empties the terminal then, with what the program has answered by that time.
	settings, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err == nil {
		settings.Lflag |= unix.NOFLSH
		err = unix.IoctlSetTermios(int(slave.Fd()), unix.TCSETS, settings)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := &pty{t: t, master: master, cmd: exec.Command(os.Args[0], args...)}
	p.cmd.Args[0] = name
	p.cmd.Dir = dir
	p.cmd.Env = slices.DeleteFunc(append(os.Environ(), "TERM=xterm", "NO_COLOR=1"), func(e string) bool {
		return strings.HasPrefix(e, "CI=")
	})
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// until reads until the terminal shows text; at its end all that was shown.
func (p *pty) until(text string) {
	p.t.Helper()
	buf := make([]byte, 4096)
	for text == "" || !strings.Contains(p.seen.String(), text) {
		n, err := p.master.Read(buf)
		p.seen.Write(buf[:n])
		if err != nil { // EIO: the last process has closed the terminal
			if text != "" {
				p.t.Fatalf("the terminal never showed %q:\n%s", text, &p.seen)
			}
			return
		}
	}
}

func (p *pty) typed(text string) {
	p.t.Helper()
	if _, err := p.master.WriteString(text); err != nil {
		p.t.Fatal(err)
	}
}

// ends reads the rest and holds the exit code.
func (p *pty) ends(want int) {
	p.t.Helper()
	p.until("")
	got := 0
	if err := p.cmd.Wait(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			p.t.Fatal(err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		p.t.Errorf("exit code %d, want %d:\n%s", got, want, &p.seen)
	}
}

// TestTerminal_NothingIsAskedBeforeMain: see package quiet.
func TestTerminal_NothingIsAskedBeforeMain(t *testing.T) {
	p := onTerminal(t, t.TempDir(), "hybridctl", "version")
	p.ends(0)
	if strings.Contains(p.seen.String(), "\x1b") {
		t.Errorf("the terminal was sent codes: %q", &p.seen)
	}
}

func inventoryDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bundle"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := `apiVersion: hybridctl.dev/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetes: {version: v1.36.3}
  bundle: ./bundle
  hosts: [{name: arm-1, address: 192.0.2.21, role: control-plane}]
`
	if err := os.WriteFile(filepath.Join(dir, "inventory.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

const question = "Type the cluster's name to go on: "

func TestTerminal_WrongAnswerDoesNothing(t *testing.T) {
	p := onTerminal(t, inventoryDir(t), "hybridctl", "destroy")
	p.until(question)
	p.typed("lba\n")
	p.ends(1)
	if !strings.Contains(p.seen.String(), "nothing was done") {
		t.Errorf("shown:\n%s", &p.seen)
	}
}

// ^D is no answer, as an empty line is none.
func TestTerminal_EndOfInputAtAQuestion(t *testing.T) {
	p := onTerminal(t, inventoryDir(t), "hybridctl", "destroy")
	p.until(question)
	p.typed("\x04")
	p.ends(1)
	if !strings.Contains(p.seen.String(), "nothing was done") || strings.Contains(p.seen.String(), "EOF") {
		t.Errorf("shown:\n%s", &p.seen)
	}
}

func TestTerminal_InterruptAtAQuestion(t *testing.T) {
	p := onTerminal(t, inventoryDir(t), "hybridctl", "destroy")
	p.until(question)
	p.typed("\x03")
	p.ends(130)
	if !strings.HasSuffix(p.seen.String(), "interrupted\r\n") {
		t.Errorf("shown:\n%q", &p.seen)
	}
}

// asker asks for a secret and says no more than how long it was.
func asker() {
	i := watch()
	ctx, cancel := context.WithCancel(i.ctx)
	go func() {
		<-i.stop
		cancel()
	}()
	secret, err := cli.SystemTerminal(os.Stdin).AskSecret(ctx, "secret: ")
	if err != nil {
		<-i.stop // an interrupt is a signal however it came
	}
	fmt.Println("length", len(secret), err, i.interrupted())
}

func TestTerminal_SecretIsNotShown(t *testing.T) {
	p := onTerminal(t, t.TempDir(), "asker")
	p.until("secret: ")
	p.typed("hunter22\x7f\r")
	p.ends(0)
	if got, want := p.seen.String(), "secret: \r\nlength 7 <nil> false\r\n"; got != want {
		t.Errorf("shown %q, want %q", got, want)
	}
}

func TestTerminal_InterruptAtASecretGivesTheEchoBack(t *testing.T) {
	for name, interrupt := range map[string]func(*pty) error{
		"typed": func(p *pty) error { _, err := p.master.WriteString("\x03"); return err },
		"sent":  func(p *pty) error { return p.cmd.Process.Signal(syscall.SIGINT) },
	} {
		t.Run(name, func(t *testing.T) {
			p := onTerminal(t, t.TempDir(), "asker")
			echo := func() bool {
				settings, err := unix.IoctlGetTermios(int(p.master.Fd()), unix.TCGETS)
				if err != nil {
					t.Fatal(err)
				}
				return settings.Lflag&unix.ECHO != 0
			}
			p.until("secret: ")
			if echo() {
				t.Error("the terminal echoes what is typed")
			}
			if err := interrupt(p); err != nil {
				t.Fatal(err)
			}
			p.ends(0)
			if !echo() {
				t.Error("the terminal was left without echo")
			}
			if got, want := p.seen.String(), "secret: \r\nlength 0 context canceled true\r\n"; got != want {
				t.Errorf("shown %q, want %q", got, want)
			}
		})
	}
}
