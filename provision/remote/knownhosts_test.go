package remote

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/hybridctl/hybridctl/provision/hint"
)

func newPublic(t *testing.T) ssh.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Where both can read a file, we must know the same hosts as the library does.
func TestKnownHosts_AgreesWithTheLibrary(t *testing.T) {
	key := newPublic(t)
	names := []string{"a.example", "[a.example]:2222", "10.0.0.5", "[10.0.0.5]:2222", "*.example", "10.0.0.?", "*.example,!b.example",
		"a.example,10.0.0.5", "[2001:db8::1]:2222", "2001:db8::1", "[a.example]:22", knownhosts.HashHostname("a.example"),
		knownhosts.HashHostname("[10.0.0.5]:2222"), knownhosts.HashHostname("2001:db8::1")}
	addrs := []string{"a.example:22", "a.example:2222", "b.example:22", "10.0.0.5:22", "10.0.0.5:2222", "10.0.0.55:22",
		"[2001:db8::1]:22", "[2001:db8::1]:2222", "example:22"}
	for _, name := range names {
		file := filepath.Join(t.TempDir(), "known_hosts")
		line := name + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + "\n"
		if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		library, err := knownhosts.New(file)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := loadKnownHosts([]string{file}, "", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for _, addr := range addrs {
			want := library(addr, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 22}, key) == nil
			if got := len(ours.lookup(nil, knownhosts.Normalize(addr))) == 1; got != want {
				t.Errorf("%s in a file with %s: %v, the library says %v", addr, name, got, want)
			}
		}
	}
}

func TestKnownHosts_LinesItCannotReadAreLeftOut(t *testing.T) {
	key := newPublic(t)
	file := filepath.Join(t.TempDir(), "known_hosts")
	text := fmt.Sprintf("\n# comment\nnonsense\nhost ssh-future AAAA\nhost ssh-ed25519 %%%%\n@marker host %[1]s\nhost %[1]s comment\n|1|bad|hash %[1]s",
		strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	k, err := loadKnownHosts([]string{file + ".missing"}, file, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	keys := k.lookup(nil, "host")
	if len(keys) != 1 || keys[0].line != 7 || keys[0].file != file {
		t.Errorf("keys %+v", keys)
	}
	if n := strings.Count(log.String(), "line left out"); n != 4 {
		t.Errorf("%d warnings, want 4:\n%s", n, log.String())
	}
}

// What is no file, and a file that cannot be read, is left out with a warning, as ssh goes on without it; the cluster's own is not.
func TestKnownHosts_WhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	null := filepath.Join(dir, "null")
	if err := os.Symlink(os.DevNull, null); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	if _, err := loadKnownHosts([]string{pipe, dir, null, os.DevNull, "/dev/zero"}, "", slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Error(err)
	}
	told := strings.NewReplacer(`file="`, "file=", `" error=`, " error=").Replace(log.String()) // a path with a blank is quoted
	for _, want := range []string{"file=" + pipe + ` error="not a file"`, "file=" + dir + ` error="is a directory"`, `file=/dev/zero error="not a file"`} {
		if !strings.Contains(told, want) {
			t.Errorf("not told: %s", want)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 3 {
		t.Errorf("log:\n%s", &log)
	}
	_, err := loadKnownHosts(nil, pipe, slog.New(slog.DiscardHandler))
	if err == nil || err.Error() != "known hosts: read "+pipe+": not a file" || !strings.Contains(hint.Text(err), "it holds the host keys of this cluster") {
		t.Errorf("the cluster's own: %v (%s)", err, hint.Text(err))
	}
	beside := filepath.Join(pipe, "known_hosts") // of a state directory that is none
	_, err = loadKnownHosts(nil, beside, slog.New(slog.DiscardHandler))
	if err == nil || !strings.HasPrefix(hint.Text(err), "--state-dir") || strings.Contains(hint.Text(err), "move it away") {
		t.Errorf("where the state directory cannot be entered: %v (%s)", err, hint.Text(err))
	}
	if _, err := loadSSHConfig(Config{SSHConfig: pipe}, slog.New(slog.DiscardHandler)); err == nil || hint.Text(err) == "" {
		t.Errorf("ssh config: %v", err)
	}
}
