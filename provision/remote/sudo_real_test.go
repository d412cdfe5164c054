package remote_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/remote"
)

// sudoUser is a user of this machine, made for one test.
const sudoUser = "hybridctl-sudo-test"

// realSudo makes the user and gives sudo its rules. It changes the machine, so it wants to be asked for by name.
func realSudo(t *testing.T) (rules func(lines ...string)) {
	t.Helper()
	if os.Getenv("HYBRIDCTL_TEST_SUDO") == "" || os.Getuid() != 0 {
		t.Skip("makes a user and a sudoers file for a moment: set HYBRIDCTL_TEST_SUDO=1, as root, on a machine to throw away")
	}
	for _, tool := range []string{"sudo", "useradd", "userdel", "chpasswd"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	run := func(stdin string, argv ...string) {
		t.Helper()
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stdin = strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", argv[0], err, out)
		}
	}
	run("", "useradd", "--no-create-home", "--home-dir", "/", "--shell", "/bin/sh", sudoUser)
	t.Cleanup(func() { run("", "userdel", "--force", sudoUser) })
	run(sudoUser+":right\n", "chpasswd")
	file := filepath.Join("/etc/sudoers.d", sudoUser)
	t.Cleanup(func() { os.Remove(file) })
	return func(lines ...string) {
		t.Helper()
		os.Remove("/run/sudo/ts/" + sudoUser)
		os.Remove("/var/lib/sudo/lectured/" + sudoUser)
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o440); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRealSudo(t *testing.T) {
	rules := realSudo(t)
	sshd := startSSHD(t)
	dir := filepath.Dir(sshd.keyFile) // sshd reads authorized_keys as the user who logs in
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), os.Chmod(filepath.Join(dir, "authorized_keys"), 0o644)); err != nil {
		t.Fatal(err)
	}
	t.Run("cancel ends a user's process", func(t *testing.T) {
		conf := sshd.config(t)
		conf.User = sudoUser
		c, err := newDialer(t, remote.Config{ClusterKnownHosts: sshd.known}).Dial(t.Context(), conf)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		waitGone(t, cancelSleep(t, c))
	})
	data := randomBytes(300 << 10)
	const all, free = sudoUser + " ALL=(ALL) ALL", sudoUser + " ALL=(ALL) NOPASSWD: ALL"
	defaults := func(s string) string { return "Defaults:" + sudoUser + " " + s }
	tests := []struct {
		name     string
		rules    []string
		password string
		asked    int
		want     error
	}{
		{"no password", []string{free}, "right", 0, nil},
		{"password", []string{all}, "right", 1, nil},
		{"lecture", []string{all, defaults("lecture=always")}, "right", 1, nil},
		{"cached", []string{all, defaults("timestamp_type=global")}, "right", 1, nil},
		{"own prompt and insults", []string{all, defaults(`passprompt="give me: ", insults`)}, "right", 1, nil},
		{"own terminal", []string{all, defaults("use_pty")}, "right", 1, nil},
		{"wrong", []string{all}, "wrong", 1, remote.ErrSudoPassword},
		{"wrong, one try", []string{all, defaults("passwd_tries=1")}, "wrong", 1, remote.ErrSudoPassword},
		{"not a sudoer", []string{"#"}, "right", 1, remote.ErrSudoDenied},
		{"other commands only", []string{sudoUser + " ALL=(ALL) /bin/true"}, "right", 1, remote.ErrSudoDenied},
		{"requiretty", []string{all, defaults("requiretty")}, "right", 0, remote.ErrSudoTTY},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rules(tt.rules...)
			conf := sshd.config(t)
			conf.User = sudoUser
			asked := 0
			conf.SudoPassword = func() (string, error) {
				asked++
				return tt.password, nil
			}
			c, err := newDialer(t, remote.Config{ClusterKnownHosts: sshd.known}).Dial(t.Context(), conf)
			if err != nil {
				t.Fatalf("%v\n%s", err, readFile(t, sshd.log))
			}
			defer c.Close()
			for range 2 {
				out, err := c.Run(t.Context(), remote.Command{Script: "id -un; cat", Stdin: bytes.NewReader(data), Sudo: true})
				if !errors.Is(err, tt.want) {
					t.Fatalf("error %v, want %v", err, tt.want)
				}
				if err == nil && (string(out.Stdout) != "root\n"+string(data) || len(out.Stderr) > 0) {
					t.Errorf("%d bytes %.30q, stderr %q", len(out.Stdout), out.Stdout, out.Stderr)
				}
			}
			if asked != tt.asked {
				t.Errorf("asked %d times, want %d", asked, tt.asked)
			}
			out, err := c.Run(t.Context(), remote.Command{Argv: []string{"id", "-un"}})
			if err != nil || string(out.Stdout) != fmt.Sprintln(sudoUser) {
				t.Errorf("without sudo: %q %v", out.Stdout, err)
			}
		})
	}
}
