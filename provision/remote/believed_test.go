package remote

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/hybridctl/hybridctl/provision/filelock"
	"github.com/hybridctl/hybridctl/provision/hint"
)

func hostsOf(t *testing.T, own string, user ...string) *knownHosts {
	t.Helper()
	k, err := loadKnownHosts(user, own, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func knownFile(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Two dials to one address were under way at once and saw two keys: only one of them is the host's.
func TestKnownHosts_LooksAgainBeforeItKeeps(t *testing.T) {
	ep := &endpoint{name: "a", host: "10.0.0.5", port: 22}
	for name, second := range map[string]func(k *knownHosts) *knownHosts{
		"in one run":       func(k *knownHosts) *knownHosts { return k },
		"in a run beside":  func(k *knownHosts) *knownHosts { return hostsOf(t, k.own) },
		"without any file": func(k *knownHosts) *knownHosts { k.own = ""; return k },
	} {
		own := filepath.Join(t.TempDir(), "dir", "known_hosts")
		one := hostsOf(t, own)
		two := second(one)
		a, b := newPublic(t), newPublic(t)
		for k, key := range map[*knownHosts]ssh.PublicKey{one: a, two: b} {
			if s, err := k.check(ep, nil, key); s != newKey || err != nil {
				t.Fatalf("%s: %v %v", name, s, err)
			}
		}
		if err := one.add(ep, a); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := two.add(ep, b); !errors.Is(err, ErrHostKeyChanged) || !strings.Contains(err.Error(), ssh.FingerprintSHA256(a)) {
			t.Errorf("%s: the second key is kept too: %v", name, err)
		}
		if err := two.add(ep, a); err != nil {
			t.Errorf("%s: the same key again: %v", name, err)
		}
		if _, err := two.check(ep, nil, b); !errors.Is(err, ErrHostKeyChanged) {
			t.Errorf("%s: the second key passes: %v", name, err)
		}
		if text, _ := os.ReadFile(own); one.own != "" && strings.Count(string(text), "\n") != 1 {
			t.Errorf("%s: the file is\n%s", name, text)
		}
	}
}

// Who keeps the file locked, as a program that was stopped does, is not waited for without end.
func TestKnownHosts_GivesUpOnWhoKeepsTheLock(t *testing.T) {
	own := knownFile(t)
	f, err := os.Open(own)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	k := hostsOf(t, own)
	k.patience = 1
	if err := k.add(&endpoint{name: "a", host: "10.0.0.5", port: 22}, newPublic(t)); !errors.Is(err, filelock.ErrKept) {
		t.Errorf("got %v", err)
	}
}

func TestKnownHosts_ManyProcessesKeepEveryKeyOnce(t *testing.T) {
	own := filepath.Join(t.TempDir(), "known_hosts")
	keys := []ssh.PublicKey{newPublic(t), newPublic(t), newPublic(t)}
	var wg sync.WaitGroup
	for range 8 {
		k := hostsOf(t, own)
		wg.Go(func() {
			for i, key := range keys {
				if err := k.add(&endpoint{name: "a", host: fmt.Sprint("host-", i), port: 22}, key); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	text, _ := os.ReadFile(own)
	if n := strings.Count(string(text), "\n"); n != len(keys) {
		t.Errorf("%d lines, want %d:\n%s", n, len(keys), text)
	}
}

func TestKnownHosts_BehindJumpHosts(t *testing.T) {
	via := func(gate string) *endpoint {
		return &endpoint{name: "a", host: "10.0.0.5", port: 22, via: &endpoint{name: gate, host: gate, port: 2222}}
	}
	one, two := via("gate-1"), via("gate-2")
	a, b, c := newPublic(t), newPublic(t), newPublic(t)
	check := func(k *knownHosts, ep *endpoint, key ssh.PublicKey, want standing, wantErr error) {
		t.Helper()
		s, err := k.check(ep, nil, key)
		if !errors.Is(err, wantErr) || (err == nil && (wantErr != nil || s != want)) {
			t.Errorf("%s: %v %v, want %v %v", ep.keyName(), s, err, want, wantErr)
		}
	}
	t.Run("fresh", func(t *testing.T) {
		k := hostsOf(t, filepath.Join(t.TempDir(), "known_hosts"))
		check(k, one, a, newKey, nil)
		if err := k.add(one, a); err != nil {
			t.Fatal(err)
		}
		check(k, two, b, newKey, nil)
		if err := k.add(two, b); err != nil {
			t.Fatal(err)
		}
		k = hostsOf(t, k.own) // as the next run reads it
		check(k, one, a, knownKeys, nil)
		check(k, two, b, knownKeys, nil)
		check(k, one, b, 0, ErrHostKeyChanged)
	})
	t.Run("known by the address, from before", func(t *testing.T) {
		k := hostsOf(t, knownFile(t, knownLine("10.0.0.5", a)))
		check(k, one, c, 0, ErrHostKeyChanged)
		check(k, one, a, movedKey, nil)
		if err := k.add(one, a); err != nil {
			t.Fatal(err)
		}
		check(k, one, a, knownKeys, nil)
		check(k, two, b, newKey, nil) // the line is known to be of the other
	})
	t.Run("the user's file knows it", func(t *testing.T) {
		k := hostsOf(t, filepath.Join(t.TempDir(), "own"), knownFile(t, knownLine("10.0.0.?", a)))
		check(k, one, a, movedKey, nil)
		check(k, one, b, 0, ErrHostKeyChanged)
		_, err := k.check(one, nil, b)
		if err == nil || !strings.Contains(hint.Text(err), "pin this one's as hostKey") || strings.Contains(err.Error()+hint.Text(err), behind) {
			t.Errorf("error %v, hint %s", err, hint.Text(err))
		}
	})
	t.Run("an authority", func(t *testing.T) {
		k := hostsOf(t, knownFile(t, "@cert-authority 10.0.0.* "+strings.TrimSpace(string(ssh.MarshalAuthorizedKey(c)))))
		if found := k.keysOf(one); len(found.authorities) != 1 || len(found.own) != 0 {
			t.Errorf("found %+v", found)
		}
	})
	t.Run("an alias is the name", func(t *testing.T) {
		k := hostsOf(t, knownFile(t, knownLine("lab-a", a)))
		ep := via("gate-1")
		ep.keyAlias = "Lab-A"
		check(k, ep, a, knownKeys, nil)
		check(k, ep, b, 0, ErrHostKeyChanged)
	})
}

func TestKnownHosts_WithoutThePort(t *testing.T) {
	a, b := newPublic(t), newPublic(t)
	k := hostsOf(t, knownFile(t, knownLine("10.0.0.5", a)))
	ep := &endpoint{name: "a", host: "10.0.0.5", port: 2222}
	if s, err := k.check(ep, nil, a); s != knownKeys || err != nil {
		t.Errorf("ssh believes a key without the port: %v %v", s, err)
	}
	if s, err := k.check(ep, nil, b); s != newKey || err != nil {
		t.Errorf("another server at another port is new: %v %v", s, err)
	}
	k = hostsOf(t, knownFile(t, knownLine("10.0.0.5", a), knownLine("[10.0.0.5]:2222", b)))
	if _, err := k.check(ep, nil, a); !errors.Is(err, ErrHostKeyChanged) {
		t.Errorf("the gateway itself answers in the place of a host behind it: %v", err)
	}
}

func TestKnownHosts_FilesOfOneHost(t *testing.T) {
	a, b := newPublic(t), newPublic(t)
	usual, other := knownFile(t, knownLine("h", a)), knownFile(t, knownLine("h", b)+"\r")
	k := hostsOf(t, filepath.Join(t.TempDir(), "own"), usual)
	ep := &endpoint{name: "h", host: "h", port: 22, known: []string{other}}
	if err := k.load(ep.known); err != nil {
		t.Fatal(err)
	}
	if _, err := k.check(ep, nil, b); err != nil {
		t.Errorf("its own file: %v", err)
	}
	if _, err := k.check(ep, nil, a); !errors.Is(err, ErrHostKeyChanged) {
		t.Errorf("the usual file is asked though the host has another: %v", err)
	}
	if _, err := k.check(&endpoint{name: "h", host: "h", port: 22}, nil, a); err != nil {
		t.Errorf("other hosts: %v", err)
	}
}

func TestRevokedHostKeys(t *testing.T) {
	a, b := newPublic(t), newPublic(t)
	line := func(key ssh.PublicKey) string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) }
	k := hostsOf(t, "")
	ep := &endpoint{name: "h", host: "h", port: 22, revoked: []string{knownFile(t, "# lost", line(a))}}
	if err := k.readRevoked(ep.revoked); err != nil {
		t.Fatal(err)
	}
	if _, err := k.check(ep, nil, a); !errors.Is(err, ErrHostKeyChanged) || !strings.Contains(err.Error(), ep.revoked[0]) {
		t.Errorf("error %v", err)
	}
	if _, err := k.check(ep, nil, b); err != nil {
		t.Error(err)
	}
	for name, file := range map[string]string{"is a binary list": knownFile(t, "SSHKRL\n\x00"), "line 2": knownFile(t, line(a), "nonsense"), "no such file": "/nonexistent/list"} {
		if err := k.readRevoked([]string{file}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzKnownHosts(f *testing.F) {
	f.Add([]byte("a,b ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDYoHn9yiK5hzm4CVxb1ZcRfG5RzsEmMt+kzd7S7WxWt\n@revoked * ssh-rsa AAAA\n|1|x|y z"), "a")
	f.Add([]byte("*a*b*c*d*e*f*,!x ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDYoHn9yiK5hzm4CVxb1ZcRfG5RzsEmMt+kzd7S7WxWt"), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		k := &knownHosts{log: slog.New(slog.DiscardHandler), usual: []string{"f"}, files: map[string]*hostsFile{}, revoked: map[string]revokedFile{}}
		k.files["f"] = k.parse("f", text)
		for _, ep := range []*endpoint{{host: name, port: 22}, {host: name, port: 2222, via: &endpoint{host: "gate", port: 22}}} {
			k.keysOf(ep)
			k.algorithms(ep)
		}
	})
}
