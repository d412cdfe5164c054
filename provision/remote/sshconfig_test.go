package remote

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func writeConfig(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), ".ssh", "config")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newResolver(t *testing.T, text string) (resolver, string) {
	t.Helper()
	path := writeConfig(t, text)
	conf, err := loadSSHConfig(Config{SSHConfig: path}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return resolver{conf: conf, keys: []string{"/usual"}}, filepath.Dir(filepath.Dir(path))
}

const userConfig = `
Host arm-1
	HostName 10.99.0.21
	User admin
	Port 2222
	IdentityFile ~/.ssh/arm
	IdentityFile ~/.ssh/%r@%h
	ProxyJump gate,ops@inner:2022

Host gate
	HostName gate.example
	User jumper
	ProxyJump outer

Host outer
	IdentitiesOnly yes

Match host matched
	User bymatch

Match host "*" sessiontype shell
	Port 9
Match exec "true"
	User evil

Host everywhere
	HostName %h.example

Host quoted
	IdentityFile "~/.ssh/my key"

Host proxied
	ProxyCommand connect -S socks.example:1080 %h %p

Host direct
	ProxyJump none
	ProxyCommand none
`

// place is what an endpoint comes down to.
func place(e *endpoint) string {
	s := e.user + "@" + e.addr()
	if e.via != nil {
		s += " via " + place(e.via)
	}
	return s
}

func TestResolve_ConfigAndInventory(t *testing.T) {
	r, home := newResolver(t, userConfig)
	tests := []struct {
		name       string
		host       HostConfig
		place      string
		identities []string
	}{
		{"defaults", HostConfig{Address: "10.0.0.1"}, "root@10.0.0.1:22", nil},
		{"all from the config", HostConfig{Address: "arm-1"},
			"admin@10.99.0.21:2222 via ops@inner:2022 via jumper@gate.example:22 via root@outer:22",
			[]string{home + "/.ssh/arm", home + "/.ssh/admin@10.99.0.21"}},
		{"the inventory wins", HostConfig{Address: "arm-1", User: "root", Port: 22, IdentityFiles: []string{"/key"}, Jump: []HostConfig{}},
			"root@10.99.0.21:22", []string{"/key"}},
		{"the inventory's hops", HostConfig{Address: "arm-1", Jump: []HostConfig{{Address: "gate", User: "me"}}, IdentityFiles: []string{"/key"}},
			"admin@10.99.0.21:2222 via me@gate.example:22 via root@outer:22", []string{"/key"}},
		{"name instead of address", HostConfig{Name: "gate", Jump: []HostConfig{}}, "jumper@gate.example:22", nil},
		{"match host", HostConfig{Address: "matched"}, "bymatch@matched:22", nil},
		{"other matches are left out", HostConfig{Address: "other"}, "root@other:22", nil},
		{"token", HostConfig{Address: "everywhere"}, "root@everywhere.example:22", nil},
		{"quotes", HostConfig{Address: "quoted"}, "root@quoted:22", []string{home + "/.ssh/my key"}},
		{"none", HostConfig{Address: "direct"}, "root@direct:22", nil},
		{"IPv6", HostConfig{Address: "2001:db8::1"}, "root@[2001:db8::1]:22", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ep, err := r.resolve(tt.host)
			if err != nil {
				t.Fatal(err)
			}
			if got := place(ep); got != tt.place {
				t.Errorf("got  %s\nwant %s", got, tt.place)
			}
			if !reflect.DeepEqual(ep.identities, tt.identities) {
				t.Errorf("identities %v, want %v", ep.identities, tt.identities)
			}
			if usual := len(ep.fallbacks) > 0; usual != (tt.identities == nil) {
				t.Errorf("the usual keys are tried: %v", usual)
			}
		})
	}
}

func TestResolve_HopsTakeOver(t *testing.T) {
	r, _ := newResolver(t, "")
	ep, err := r.resolve(HostConfig{Address: "a", IdentityFiles: []string{"/key"}, HostKeyPolicy: Strict, ConnectTimeout: time.Second,
		KeepAlive: time.Minute, User: "ops", HostKey: "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		Jump: []HostConfig{{Address: "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	hop := ep.via
	if !hop.strict || hop.timeout != time.Second || hop.keepAlive != time.Minute || hop.identities[0] != "/key" {
		t.Errorf("hop %+v", hop)
	}
	if hop.user != "root" || hop.pin != nil {
		t.Errorf("a hop has a user and a key of its own: %+v", hop)
	}
}

func TestResolve_OwnJumpHost(t *testing.T) {
	r, _ := newResolver(t, "Host *\n\tProxyJump gate.example\n")
	for addr, want := range map[string]string{"a": "root@a:22 via root@gate.example:22", "gate.example": "root@gate.example:22"} {
		ep, err := r.resolve(HostConfig{Address: addr})
		if err != nil {
			t.Fatal(err)
		}
		if got := place(ep); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestResolve_Problems(t *testing.T) {
	tests := []struct {
		name, config string
		host         HostConfig
		text         string
	}{
		{"no address", "", HostConfig{}, "host without an address"},
		{"policy", "", HostConfig{Name: "a", HostKeyPolicy: "never"}, `a: host key policy "never": want accept-new or strict`},
		{"port", "", HostConfig{Name: "a", Port: 70000}, "a: port 70000 is not a number from 1 to 65535"},
		{"pin", "", HostConfig{Name: "a", HostKey: "abc"}, `a: hostKey: want "ssh-ed25519 AAAA…" or "SHA256:…"`},
		{"config's port", "Host a\n\tPort many\n", HostConfig{Name: "a"}, `a: port "many" is not a number from 1 to 65535`},
		{"config's jump", "Host a\n\tProxyJump b:0\n", HostConfig{Name: "a"}, `jump host "b:0": port "0"`},
		{"circle", "Host a\n\tProxyJump b\nHost b\n\tProxyJump c\nHost c\n\tProxyJump a\n", HostConfig{Name: "a"},
			"the jump hosts go round in a circle: root@a:22 behind root@b:22 behind root@c:22 behind root@a:22"},
		{"proxy command", userConfig, HostConfig{Name: "proxied"}, `proxied: ProxyCommand "connect -S socks.example:1080 %h %p" is not run here (write it as ProxyJump`},
		{"jump of a later hop", "", HostConfig{Name: "a", Jump: []HostConfig{{Name: "b"}, {Name: "c", Jump: []HostConfig{{Name: "d"}}}}},
			"jump host c: only the first hop of a chain may have its own jump"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := newResolver(t, tt.config)
			_, err := r.resolve(tt.host)
			if err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got  %v\nwant %s", err, tt.text)
			}
		})
	}
}

func TestSSHConfig_Include(t *testing.T) {
	more := filepath.Join(t.TempDir(), "more")
	if err := os.WriteFile(more, []byte("Host a\n\tUser included\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, _ := newResolver(t, "Include \""+more+"\"\nHost a\n\tUser later\n")
	ep, err := r.resolve(HostConfig{Address: "a"})
	if err != nil || ep.user != "included" {
		t.Errorf("%+v, %v", ep, err)
	}
}

func TestSSHConfig_Broken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte("Include \""+path+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	if _, err := NewDialer(Config{SSHConfig: path, Log: slog.New(slog.NewTextHandler(&log, nil))}); err != nil {
		t.Errorf("a file that includes itself ends the run: %v", err)
	}
	if !strings.Contains(log.String(), "Include left out") || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("log:\n%s", &log)
	}
	if _, err := NewDialer(Config{SSHConfig: path + ".missing"}); err != nil {
		t.Errorf("no config is no problem: %v", err)
	}
}
