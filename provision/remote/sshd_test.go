package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// realHost is OpenSSH's sshd, run as an ordinary process on loopback with a configuration of its own.
type realHost struct {
	port    int
	keyFile string
	known   string
	log     string
	hostKey ssh.PublicKey
}

// startSSHD starts sshd with extra lines of configuration. The login user is the one who runs the test.
func startSSHD(t *testing.T, extra ...string) *realHost {
	t.Helper()
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		if sshd, err = exec.LookPath("/usr/sbin/sshd"); err != nil {
			t.Skip("sshd is not installed: apt-get install openssh-server")
		}
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // sshd insists on it
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	client, keyFile := remotetest.NewKey(t, dir, "id", "")
	host, hostFile := remotetest.NewKey(t, dir, "host", "")
	h := &realHost{port: freePort(t), keyFile: keyFile, known: filepath.Join(dir, "known_hosts"), log: filepath.Join(dir, "log"), hostKey: host.PublicKey()}
	writeFile(t, filepath.Join(dir, "authorized_keys"), authorizedLine(client.PublicKey())+"\n")
	config := append(extra, // of two lines with one key, sshd obeys the first
		"ListenAddress 127.0.0.1:"+strconv.Itoa(h.port), "HostKey "+quoted(hostFile), "PidFile none", "AuthorizedKeysFile "+quoted(filepath.Join(dir, "authorized_keys")),
		"StrictModes no", "UsePAM no", "PermitRootLogin yes", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"MaxStartups 200", "LogLevel VERBOSE")
	if !strings.Contains(strings.Join(extra, ","), "Subsystem") {
		config = append(config, "Subsystem sftp internal-sftp")
	}
	writeFile(t, filepath.Join(dir, "sshd_config"), strings.Join(config, "\n")+"\n")

	log, err := os.Create(h.log)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(sshd, "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		log.Close()
		if t.Failed() {
			t.Logf("sshd's log:\n%s", readFile(t, h.log))
		}
	})
	h.waitUp(t)
	return h
}

// quoted is a path in sshd_config, which may have a blank.
func quoted(path string) string { return `"` + path + `"` }

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (h *realHost) addr() string { return fmt.Sprintf("127.0.0.1:%d", h.port) }

func (h *realHost) waitUp(t *testing.T) {
	t.Helper()
	for range 500 {
		if c, err := net.Dial("tcp", h.addr()); err == nil {
			c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond) // another process: there is nothing to wait on
	}
	t.Fatalf("sshd did not come up:\n%s", readFile(t, h.log))
}

func (h *realHost) config(t *testing.T) remote.HostConfig {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return remote.HostConfig{Name: "real", Address: "127.0.0.1", Port: h.port, User: u.Username, IdentityFiles: []string{h.keyFile}}
}

func (h *realHost) dial(t *testing.T) *remote.Conn {
	t.Helper()
	c, err := newDialer(t, remote.Config{ClusterKnownHosts: h.known}).Dial(t.Context(), h.config(t))
	if err != nil {
		t.Fatalf("%v\nsshd's log:\n%s", err, readFile(t, h.log))
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestSSHD_Run(t *testing.T) {
	c := startSSHD(t).dial(t)
	data := randomBytes(2<<20 + 3)
	tests := []struct {
		name string
		cmd  remote.Command
		want string
	}{
		{"words", remote.Command{Argv: append([]string{"printf", `%s\n`}, "it's", "", "a b", `\`, "$HOME", "ü", "*")}, "it's\n\na b\n\\\n$HOME\nü\n*\n"},
		{"script", remote.Command{Script: "for a; do echo \"<$a>\"; done", Args: []string{"1", "2 3"}}, "<1>\n<2 3>\n"},
		{"stdin", remote.Command{Argv: []string{"cat"}, Stdin: bytes.NewReader(data)}, string(data)},
		{"no stdin", remote.Command{Argv: []string{"wc", "-c"}}, "0\n"},
		{"stdin not read", remote.Command{Argv: []string{"echo", "done"}, Stdin: bytes.NewReader(data)}, "done\n"},
		{"locale", remote.Command{Script: "echo $LC_ALL"}, "C\n"},
		{"no terminal", remote.Command{Script: "tty || true"}, "not a tty\n"},
	}
	for _, tt := range tests {
		out, err := c.Run(t.Context(), tt.cmd)
		if err != nil || string(out.Stdout) != tt.want {
			t.Errorf("%s: %v: %d bytes %.60q", tt.name, err, len(out.Stdout), out.Stdout)
		}
	}
}

func TestSSHD_Exit(t *testing.T) {
	c := startSSHD(t).dial(t)
	tests := []struct{ script, want string }{
		{"echo bad >&2; exit 3", "^script: exit status 3: bad$"},
		{"kill -TERM $$", "^script: ended by signal TERM$"},
		{"exec /no/such/program", "^script: exit status 127: .*/no/such/program: (not found|No such file or directory)$"}, // dash, and bash
	}
	for _, tt := range tests {
		_, err := c.Run(t.Context(), remote.Command{Script: tt.script})
		var exit *remote.ExitError
		if !errors.As(err, &exit) || !regexp.MustCompile(tt.want).MatchString(err.Error()) {
			t.Errorf("%s: %v, want %s", tt.script, err, tt.want)
		}
	}
}

func TestSSHD_CancelReturnsAtOnce(t *testing.T) {
	pid := cancelSleep(t, startSSHD(t).dial(t))
	if os.Getuid() == 0 {
		syscall.Kill(pid, syscall.SIGKILL) // sshd signals no commands of root
		return
	}
	waitGone(t, pid)
}

// cancelSleep starts a long sleep, cancels its Run and returns the pid.
func cancelSleep(t *testing.T, c *remote.Conn) (pid int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pids, out := io.Pipe()
	go func() {
		_, err := c.Run(ctx, remote.Command{Script: "echo $$; exec sleep 1000", Stdout: out})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		out.Close()
	}()
	if _, err := fmt.Fscan(pids, &pid); err != nil {
		t.Fatal(err)
	}
	cancel()
	io.Copy(io.Discard, pids) // until Run has returned
	return pid
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	for range 500 {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return
		}
		time.Sleep(10 * time.Millisecond) // another process: there is nothing to wait on
	}
	t.Error("the process still runs")
}

func TestSSHD_Put(t *testing.T) {
	for _, subsystem := range []string{"internal-sftp", "/usr/lib/openssh/sftp-server"} {
		if filepath.IsAbs(subsystem) {
			if _, err := os.Stat(subsystem); err != nil {
				continue
			}
		}
		t.Run(filepath.Base(subsystem), func(t *testing.T) {
			c := startSSHD(t, "Subsystem sftp "+subsystem).dial(t)
			dir := t.TempDir()
			data := randomBytes(10<<20 + 1)
			file := filepath.Join(dir, "it's ü")
			for _, there := range []int{0, 1, 64 << 10, 5 << 20, len(data)} {
				if err := os.WriteFile(file, data[:there], 0o644); err != nil {
					t.Fatal(err)
				}
				before := c.Stats().BytesSent
				if err := c.Put(t.Context(), putOf(file, data)); err != nil {
					t.Fatal(err)
				}
				if got := readFile(t, file); got != string(data) {
					t.Errorf("from %d: %d bytes arrived of %d", there, len(got), len(data))
				}
				if sent := c.Stats().BytesSent - before; sent != int64(len(data)-there) {
					t.Errorf("from %d: sent %d", there, sent)
				}
			}
			err := c.Put(t.Context(), putOf(filepath.Join(dir, "no/such/file"), data))
			if want := "upload of " + dir + "/no/such/file: the directory " + dir + "/no/such does not exist on the host"; err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			// A full disk, as far as write(2) goes; statvfs sees the rest of /dev.
			err = c.Put(t.Context(), putOf("/dev/full", data))
			if err == nil || !strings.Contains(err.Error(), "could not write") && !errors.Is(err, remote.ErrNoSpace) {
				t.Errorf("error %v", err)
			}
			if err := c.Put(t.Context(), putOf(filepath.Join(dir, "after"), data[:10])); err != nil {
				t.Errorf("after the failures: %v", err)
			}
		})
	}
}

func TestSSHD_NoSFTP(t *testing.T) {
	c := startSSHD(t, "Subsystem sftp /no/such/program").dial(t)
	err := c.Put(t.Context(), putOf("/tmp/x", nil))
	if err == nil || !strings.Contains(err.Error(), "the host has no SFTP") {
		t.Errorf("error %v", err)
	}
}

// What a login shell's start-up file prints comes before what the server of files says.
func TestSSHD_SFTPBehindAGreeting(t *testing.T) {
	c := startSSHD(t, "Subsystem sftp echo Welcome to this host").dial(t)
	err := c.Put(t.Context(), putOf("/tmp/x", nil))
	if err == nil || !strings.Contains(err.Error(), "what answers for SFTP does not speak it") || !strings.Contains(remote.Mend(err), ".bashrc") {
		t.Errorf("error %v, hint %q", err, remote.Mend(err))
	}
}

func TestSSHD_Tunnel(t *testing.T) {
	open, shut := startSSHD(t), startSSHD(t, "AllowTcpForwarding no")
	c := open.dial(t)
	conn, err := c.DialContext(t.Context(), "tcp", shut.addr())
	if err != nil {
		t.Fatal(err)
	}
	hello := make([]byte, 4)
	if _, err := io.ReadFull(conn, hello); err != nil || string(hello) != "SSH-" {
		t.Errorf("%q %v", hello, err)
	}
	conn.Close()
	_, err = c.DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	if !errors.Is(err, remote.ErrUnreachable) || !strings.Contains(err.Error(), "seen from real: connection refused") {
		t.Errorf("error %v", err)
	}
	_, err = shut.dial(t).DialContext(t.Context(), "tcp", open.addr())
	if !errors.Is(err, remote.ErrForwarding) {
		t.Errorf("error %v", err)
	}
}

func TestSSHD_JumpChain(t *testing.T) {
	a, b, c := startSSHD(t), startSSHD(t), startSSHD(t)
	conf := c.config(t)
	conf.Jump = []remote.HostConfig{a.config(t), b.config(t)}
	conn, err := newDialer(t, remote.Config{ClusterKnownHosts: c.known}).Dial(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	out, err := conn.Run(t.Context(), remote.Command{Script: `echo "$SSH_CONNECTION"`})
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out.Stdout)), " "+strconv.Itoa(c.port)) {
		t.Errorf("%q %v", out.Stdout, err)
	}
	if lines := strings.Count(readFile(t, c.known), "\n"); lines != 3 {
		t.Errorf("%d host keys kept, want 3", lines)
	}
}

func TestSSHD_MaxSessions(t *testing.T) {
	for _, limit := range []string{"1", "2"} {
		c := startSSHD(t, "MaxSessions "+limit).dial(t)
		dir := t.TempDir()
		errs := make(chan error)
		for i := range 12 {
			go func() {
				_, err := c.Run(t.Context(), remote.Command{Argv: []string{"true"}})
				errs <- err
			}()
			go func() { errs <- c.Put(t.Context(), putOf(filepath.Join(dir, strconv.Itoa(i)), randomBytes(1<<20))) }()
		}
		for range 24 {
			if err := <-errs; err != nil {
				t.Errorf("MaxSessions %s: %v", limit, err)
			}
		}
	}
}

func TestSSHD_Refusals(t *testing.T) {
	h := startSSHD(t)
	conf := h.config(t)
	_, conf.IdentityFiles[0] = remotetest.NewKey(t, t.TempDir(), "other", "")
	d := newDialer(t, remote.Config{ClusterKnownHosts: h.known})
	_, err := d.Dial(t.Context(), conf)
	if !errors.Is(err, remote.ErrAuth) || !strings.HasSuffix(err.Error(), "; the server takes publickey") {
		t.Errorf("error %v", err)
	}
	writeFile(t, h.known, fmt.Sprintf("[127.0.0.1]:%d %s\n", h.port, authorizedLine(ed25519Signer(t).PublicKey())))
	_, err = newDialer(t, remote.Config{ClusterKnownHosts: h.known}).Dial(t.Context(), h.config(t))
	if !errors.Is(err, remote.ErrHostKeyChanged) || !strings.Contains(err.Error(), ssh.FingerprintSHA256(h.hostKey)) {
		t.Errorf("error %v", err)
	}
}

// A client that offers too many keys is thrown out; that is a refusal, not a lost connection.
func TestSSHD_TooManyKeys(t *testing.T) {
	h := startSSHD(t, "MaxAuthTries 2")
	conf := h.config(t)
	conf.IdentityFiles = nil
	for i := range 5 {
		_, file := remotetest.NewKey(t, t.TempDir(), fmt.Sprint("id", i), "")
		conf.IdentityFiles = append(conf.IdentityFiles, file)
	}
	_, err := newDialer(t, remote.Config{ClusterKnownHosts: h.known}).Dial(t.Context(), conf)
	if !errors.Is(err, remote.ErrAuth) {
		t.Errorf("error %v", err)
	}
}
