package inventory

import (
	"encoding/base64"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRoute(t *testing.T) {
	c := mustParse(t, edit(t,
		[2]string{"bundle: b", "bundle: b\n  ssh: {jump: 'ops@gate.example.com:2222, relay'}"},
		[2]string{"  - {name: a, address: 10.0.0.1, role: control-plane}", `
  - {name: a, address: 10.0.0.1, role: control-plane}
  - {name: relay, address: 10.0.0.2}
  - {name: direct, address: 10.0.0.3, jump: none}
  - {name: b, address: 10.0.0.4, jump: direct}
  - {name: c, address: 10.0.0.5, jump: "b,me@10.9.9.9"}
  - {name: d, address: 10.0.0.6, jump: relay}`}))
	gate := Hop{User: "ops", Address: "gate.example.com", Port: 2222}
	for name, want := range map[string][]Hop{
		"a":      {gate, {Host: "relay"}},
		"relay":  {gate},
		"direct": nil,
		"b":      {{Host: "direct"}},
		"c":      {{Host: "direct"}, {Host: "b"}, {User: "me", Address: "10.9.9.9"}},
		"d":      {gate, {Host: "relay"}},
	} {
		h, ok := c.Host(name)
		if !ok {
			t.Fatalf("no host %s", name)
		}
		if diff := cmp.Diff(want, c.Route(h)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestRoute_EndsInACircle(t *testing.T) {
	c := &Cluster{Spec: Spec{Hosts: []Host{{Name: "a", Jump: "b"}, {Name: "b", Jump: "a"}}}}
	if route := c.Route(c.Spec.Hosts[0]); len(route) > 3 {
		t.Errorf("%d hops", len(route))
	}
}

func TestSSHFor_HostGoesBeforeCluster(t *testing.T) {
	c := &Cluster{Spec: Spec{SSH: SSH{User: "root", Port: 22, IdentityFiles: []string{"/a"}, Jump: "gate", SudoPasswordFile: "/s", HostKeys: HostKeysStrict}}}
	want := SSH{User: "root", Port: 22, IdentityFiles: []string{"/a"}, SudoPasswordFile: "/s", HostKeys: HostKeysStrict}
	if diff := cmp.Diff(want, c.SSHFor(Host{})); diff != "" {
		t.Error(diff)
	}
	want = SSH{User: "me", Port: 2222, IdentityFiles: []string{"/b"}, SudoPasswordEnv: "PW", HostKeys: HostKeysStrict}
	if diff := cmp.Diff(want, c.SSHFor(Host{User: "me", Port: 2222, IdentityFiles: []string{"/b"}, SudoPasswordEnv: "PW"})); diff != "" {
		t.Error(diff)
	}
}

func TestCheckHostKey(t *testing.T) {
	blob := func(name, rest string) string {
		return base64.StdEncoding.EncodeToString([]byte("\x00\x00\x00" + string(rune(len(name))) + name + rest))
	}
	for _, test := range []struct{ pin, problem string }{
		{"ssh-ed25519 " + blob("ssh-ed25519", "key"), ""},
		{"ssh-ed25519 " + blob("ssh-ed25519", "key") + " root@x86-1", ""},
		{"SHA256:" + base64.RawStdEncoding.EncodeToString(make([]byte, 32)), ""},
		{"SHA256:" + base64.RawStdEncoding.EncodeToString(make([]byte, 31)), "is not a whole SHA256 fingerprint: 43 characters follow the colon"},
		{"MD5:00:11", "begins with no known key type"},
		{"", "begins with no known key type"},
		{"ssh-ed25519", "has no key after ssh-ed25519"},
		{"ssh-ed25519 &", "is damaged: the key is not base64"},
		{"ssh-ed25519 AAAA", "is damaged: it says ssh-ed25519 and is not such a key"},
		{"ssh-ed25519 " + blob("ssh-ed25519", ""), "is damaged: it says ssh-ed25519 and is not such a key"},
		{"ssh-rsa " + blob("ssh-ed25519", "key"), "is damaged: it says ssh-rsa and is not such a key"},
		{"[10.0.0.1]:22 ssh-rsa AAAA", "begins with a host's name, as known_hosts does: leave that out"},
		{"-----BEGIN OPENSSH PRIVATE KEY-----", "is a private key"},
	} {
		got := ""
		if err := checkHostKey(test.pin); err != nil {
			got = err.Error()
		}
		if got != test.problem {
			t.Errorf("%q: %q, want %q", test.pin, got, test.problem)
		}
	}
}
