package remote

import (
	"reflect"
	"strings"
	"testing"
)

func TestProxyCommand(t *testing.T) {
	tests := []struct{ command, want string }{
		{"ssh -W %h:%p gate", "gate"},
		{"ssh -q -W [%h]:%p ops@gate.example -p 2200", "refused"},
		{"ssh -q -p 2200 -W '[%h]:%p' ops@gate.example", "ops@gate.example:2200"},
		{`/usr/bin/ssh -xqTW "%h:%p" -l ops gate 2>/dev/null`, "ops@gate"},
		{"exec ssh -oBatchMode=yes -o 'Port 77' gate -W %h:%p", "gate:77"},
		{"ssh -J first,ops@second -W %h:%p third", "first ops@second third"},
		{"ssh ssh://ops@gate:99 nc -w 10 %h %p", "ops@gate:99"},
		{"ssh gate exec netcat %h %p", "gate"},
		{"ssh -i ~/.ssh/gate#1 -W %h:%p gate", "gate /home/x/.ssh/gate#1"},
		{"ssh -W lab.example:2222 gate", "gate"},
		{"nc %h %p", ""},
		{"/usr/bin/sss_ssh_knownhostsproxy -p %p %h", ""},
		{"none of these", "refused"},
		{"ssh -W elsewhere:22 gate", "refused"},
		{"ssh -F other -W %h:%p gate", "refused"},
		{"ssh -o ProxyCommand=x -W %h:%p gate", "refused"},
		{"ssh -W %h:%p", "refused"},
		{"ssh gate sudo nc %h %p", "refused"},
		{"ssh gate", "refused"},
		{"ssh gate nc -X 5 -x proxy:1080 %h %p", "refused"},
		{"nc -x proxy:1080 %h %p", "refused"},
		{"ssh -W %h:%p gate; rm -rf x", "refused"},
		{"sh -c 'ssh -W %h:%p gate'", "refused"},
		{"ssh -W %h:%z gate", "refused"},
		{"", "refused"},
		{"2>/dev/null", "refused"},
		{"ssh -W", "refused"},
		{"exec", "refused"},
	}
	for _, tt := range tests {
		hops, err := parseProxyCommand(tt.command, tokens{alias: "lab", host: "lab.example", port: 2222, user: "root", home: "/home/x"})
		var words []string
		for _, h := range hops {
			w := h.Address
			if h.User != "" {
				w = h.User + "@" + w
			}
			if h.Port != 0 {
				w += ":" + strings.TrimLeft(place(&endpoint{port: h.Port}), "@:")
			}
			words = append(append(words, w), h.IdentityFiles...)
		}
		got := strings.Join(words, " ")
		if err != nil {
			got = "refused"
		}
		if got != tt.want {
			t.Errorf("%q: %q, want %q (%v)", tt.command, got, tt.want, err)
		}
		if err != nil && !strings.Contains(err.Error(), "jump: none there goes directly") {
			t.Errorf("%q: no remedy in %v", tt.command, err)
		}
	}
}

// A jump host of a ProxyCommand is believed as its options say, which mean what they mean in a config file.
func TestProxyCommand_StrictHostKeyChecking(t *testing.T) {
	for value, want := range map[string]string{"yes": Strict, "ask": Strict, "Ask": Strict, "true": Strict, "no": "", "off": "", "accept-new": "", "perhaps": "refused"} {
		hops, err := parseProxyCommand("ssh -o StrictHostKeyChecking="+value+" -W %h:%p gate", tokens{host: "lab.example", port: 22})
		got := "refused"
		if err == nil {
			got = hops[0].HostKeyPolicy
		}
		if got != want || err != nil && !strings.Contains(err.Error(), "-o StrictHostKeyChecking=perhaps: want yes, ask, accept-new or no") {
			t.Errorf("%s: %q, want %q (%v)", value, got, want, err)
		}
	}
}

func TestResolve_Beliefs(t *testing.T) {
	t.Setenv("HYBRIDCTL_TEST_DIR", "/srv/keys")
	t.Setenv("HYBRIDCTL_TEST_AGENT", "/run/agent")
	r, home := newResolver(t, `
Host strict
	StrictHostKeyChecking yes
Host asked
	StrictHostKeyChecking ask
Host loose
	StrictHostKeyChecking no
	UserKnownHostsFile /dev/null
	GlobalKnownHostsFile none
Host alias
	HostKeyAlias Lab-%n
	UserKnownHostsFile ~/.ssh/known_%k ${HYBRIDCTL_TEST_DIR}/%h
Host words
	HostName 10.0.0.9
	IdentityFile ${HYBRIDCTL_TEST_DIR}/%n
	IdentityFile ~/k#1
	IdentityFile ${HYBRIDCTL_TEST_NOT_SET}/k
	IdentityFile %z
	CertificateFile %d/c-cert.pub
	IdentityAgent $HYBRIDCTL_TEST_AGENT
	AddressFamily inet
Host no-agent
	IdentityAgent none
Host usual-agent
	IdentityAgent SSH_AUTH_SOCK
Host agent-socket
	IdentityAgent "~/My Agent/%r.sock"
Host algos
	HostKeyAlgorithms -ssh-rsa*,rsa-*,ecdsa-*,*-cert-*
Host jumps
	ProxyJump gate-%n:33
`)
	r.agent = "/usual"
	get := func(h HostConfig) *endpoint {
		ep, err := r.resolve(h)
		if err != nil {
			t.Fatalf("%s: %v", h.Address, err)
		}
		return ep
	}
	want := func(name string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	for host, strict := range map[string]bool{"strict": true, "asked": true, "loose": false, "other": false} {
		want(host, get(HostConfig{Address: host}).strict, strict)
		want(host+" with a policy", get(HostConfig{Address: host, HostKeyPolicy: AcceptNew}).strict, false)
		want(host+" with a policy", get(HostConfig{Address: host, HostKeyPolicy: Strict}).strict, true)
	}
	want("known", get(HostConfig{Address: "loose"}).known, []string{"/dev/null"})
	want("known", get(HostConfig{Address: "other"}).known, []string(nil))
	alias := get(HostConfig{Address: "alias", Port: 2222, Jump: []HostConfig{{Address: "gate"}}})
	want("key name", alias.keyName(), "lab-alias")
	want("known", alias.known, []string{home + "/.ssh/known_lab-alias", "/srv/keys/alias", "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"})
	words := get(HostConfig{Address: "words"})
	want("identities", words.identities, []string{"/srv/keys/words", home + "/k#1"})
	want("unspelled", words.unspelled, []string{"key ${HYBRIDCTL_TEST_NOT_SET}/k (the environment variable HYBRIDCTL_TEST_NOT_SET is not set)",
		"key %z (%z is no token that is known here)"})
	want("certificates", words.certificates, []string{home + "/c-cert.pub"})
	want("agent", words.agent, "/run/agent")
	want("network", words.network, "tcp4")
	want("no agent", get(HostConfig{Address: "no-agent"}).agent, "")
	want("usual agent", get(HostConfig{Address: "usual-agent"}).agent, "/usual")
	want("agent", get(HostConfig{Address: "agent-socket"}).agent, home+"/My Agent/root.sock")
	want("algorithms", get(HostConfig{Address: "algos"}).algos, []string{"ssh-ed25519"})
	want("jump", place(get(HostConfig{Address: "jumps"})), "root@jumps:22 via root@gate-jumps:33")
}

func TestResolve_NotHonouredIsRefused(t *testing.T) {
	r, _ := newResolver(t, `
Host command
	KnownHostsCommand /usr/bin/keys-of %H
Host algos
	HostKeyAlgorithms ssh-dss
Host odd
	StrictHostKeyChecking perhaps
`)
	for host, text := range map[string]string{
		"command": "command: KnownHostsCommand is not run here (pin the host's key as hostKey",
		"algos":   "algos: HostKeyAlgorithms ssh-dss leaves none that can be checked here",
		"odd":     "odd: StrictHostKeyChecking perhaps: want yes",
	} {
		if _, err := r.resolve(HostConfig{Address: host}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got  %v\nwant %s", err, text)
		}
	}
	if _, err := r.resolve(HostConfig{Address: "command", HostKeyPolicy: Strict}); err != nil {
		t.Errorf("the inventory says whom to believe: %v", err)
	}
}
