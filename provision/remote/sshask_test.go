package remote

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// notations are the ways to write things that ssh_config(5) knows and its users use.
const notations = `# a comment
Include more.conf

Host	lab-c	lab-d
	HostName 127.0.0.1
	Port=2201
Host "lab-e" 'lab-q'
	HostName = lab-e.example
Host !lab-z lab-* z
	User "starred"   # not the quotes, nor this
Match host lab-a,lab-b,!lab-x
	HostName 10.0.0.%%n
	Port 2202
MATCH originalhost z user starred
	IdentityFile ~/.ssh/k#1
	IdentityFile "~/.ssh/my key"
	IdentityFile /keys/%h_%r
	CertificateFile /keys/z-cert.pub
Match host *.example,10.0.0.0
	HostKeyAlias Named.%h
	IdentitiesOnly yes
Match !host z,y all
Match user root,nobody host !nobody,*
	ProxyJump ops@gate:33,inner
Match final host lab-e.example
	StrictHostKeyChecking no
	UserKnownHostsFile /dev/null "/etc/my hosts"
Host y
	ProxyCommand ssh -W '[%h]:%p' gate # 1
	ProxyJump never
	IdentityAgent none
	AddressFamily inet6
	StrictHostKeyChecking ask
	GlobalKnownHostsFile none
	RequiredRSASize 3072
	BindAddress 10.0.0.9
	PubkeyAuthentication False
	CASignatureAlgorithms -rsa-*
	PubkeyAcceptedAlgorithms -rsa-*,*-cert-*
	PKCS11Provider "/usr/lib/a b.so"
	SecurityKeyProvider /usr/lib/sk.so
Host none
	ProxyJump none
	ProxyCommand nc %h %p
	IdentityFile none
	BindInterface wg0
	PubkeyAuthentication host-bound
	CASignatureAlgorithms ^ssh-rsa
	PubkeyAcceptedKeyTypes +ssh-rsa
	PKCS11Provider none
	RevokedHostKeys /etc/revoked
	HostKeyAlgorithms ssh-ed25519,rsa-sha2-512
Host 2001:db8::*
	User six
Match all
	IdentityFile ~/.ssh/last
Match exec "false"
	User evil
`

var notationHosts = []string{"lab-a", "lab-b", "lab-c", "lab-d", "lab-e", "lab-q", "lab-x", "lab-z", "z", "y", "none", "2001:db8::7", "Lab-A", "inc", "other"}

// writeNotations writes the file, and beside it what it includes: blocks that go on in the including file must not.
func writeNotations(t *testing.T) string {
	path := filepath.Join(t.TempDir(), ".ssh", "config")
	included := filepath.Join(filepath.Dir(path), "more.conf")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		path:     strings.Replace(notations, "more.conf", `"`+included+`"`, 1),
		included: "Host inc\n\tUser included\nMatch final all\n\tAddressFamily inet\nMatch exec \"exit 1\"\n\tUser vpn\nHost nothing\n",
	}
	for f, text := range files {
		if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func realSSH(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("ssh is not installed: apt-get install openssh-client")
	}
	return program
}

func TestSSHConfig_ReadsAsSSHDoes(t *testing.T) {
	if home := passwordHome(); home != "" {
		t.Setenv("HOME", home) // where ssh looks, whatever HOME says
	}
	c := Config{SSHConfig: writeNotations(t), SSHProgram: realSSH(t)}
	s, err := loadSSHConfig(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for _, alias := range notationHosts {
		for _, q := range []question{{alias: alias}, {alias: alias, user: "nobody", port: 77}} {
			ours := evaluate(s.texts, q, s.home).values
			theirs, err := s.asking.ask(q)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range wanted {
				if !slices.Equal(ours[k], theirs[k]) {
					t.Errorf("%+v: %s is %q, ssh says %q", q, k, ours[k], theirs[k])
				}
			}
		}
	}
}

// fakeSSH answers as ssh -G would for a host without a block of its own, and writes down that it was asked.
func fakeSSH(t *testing.T, answer string) (program, log string) {
	t.Helper()
	dir := t.TempDir()
	program, log = filepath.Join(dir, "ssh"), filepath.Join(dir, "log")
	script := fmt.Sprintf("#!/bin/sh\necho \"$*\" >>'%s'\n%s\n", log, answer)
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return program, log
}

func asked(t *testing.T, log string) int {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Count(string(text), "\n")
}

// loaded reads a file. When the test ends, the answers have left no file behind.
func loaded(t *testing.T, path, program string, log *slog.Logger) *sshConfig {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	s, err := loadSSHConfig(Config{SSHConfig: path, SSHProgram: program}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.close()
		if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	return s
}

// Neither is one whose hosts have a block each: the blocks differ by plain words. One that is written in another way is asked about.
func TestSSHConfig_AsksOnceForBlocksAlike(t *testing.T) {
	program, log := fakeSSH(t, `for last; do :; done; printf 'user ops\nport 2201\nhostname %s.example\nidentityfile ~/.ssh/id_%s\nproxyjump gate\n' "$last" "$last"`)
	var text strings.Builder
	for i := range 500 {
		fmt.Fprintf(&text, "Host n-%[1]d\n\tHostName n-%[1]d.example\n\tUser ops\n\tPort 2201\n\tIdentityFile ~/.ssh/id_n-%[1]d\n\tProxyJump gate\n", i)
	}
	text.WriteString("Host n-500\n\tHostName %h.example\n\tUser \"ops\"\n\tPort 2201\n\tIdentityFile ~/.ssh/id_%n\n\tProxyJump gate\n")
	s := loaded(t, writeConfig(t, text.String()), program, slog.New(slog.DiscardHandler))
	for i := range 501 {
		alias := fmt.Sprintf("n-%d", i)
		o := s.options(question{alias: alias})
		if o.one("user") != "ops" || o.one("hostname") != alias+".example" || i < 500 && o.one("identityfile") != "~/.ssh/id_"+alias {
			t.Fatalf("%s: %v", alias, o)
		}
		want := 1
		if i == 500 {
			want = 3 // the answer is not ours, so it is asked about by itself
		}
		if n := asked(t, log); n != want {
			t.Fatalf("%s: ssh was asked %d times, want %d", alias, n, want)
		}
	}
}

// A fleet is asked about once for each set of blocks, not once for each host.
func TestSSHConfig_AsksOnceForHostsAlike(t *testing.T) {
	program, log := fakeSSH(t, "printf 'user ops\\nport 22\\nidentityfile ~/.ssh/fleet\\nidentityfile "+noIdentity+"\\n'")
	path := writeConfig(t, "Host 10.*\n\tUser ops\n\tIdentityFile ~/.ssh/fleet\nHost gate\n\tUser me\n")
	s := loaded(t, path, program, slog.New(slog.DiscardHandler))
	for i := range 300 {
		o := s.options(question{alias: fmt.Sprintf("10.0.%d.%d", i/200, i%200)})
		if o.one("user") != "ops" || o.one("identityfile") != "~/.ssh/fleet" || o.one("hostname") != "" {
			t.Fatalf("options %v", o)
		}
	}
	if n := asked(t, log); n != 1 {
		t.Errorf("ssh was asked %d times about 300 hosts alike", n)
	}
	s.options(question{alias: "nowhere"})
	if n := asked(t, log); n != 1 {
		t.Errorf("ssh was asked about a host that no block is for")
	}
}

// What ssh says wins over what we read, host by host, where the two are not the same.
func TestSSHConfig_SSHKnowsBetter(t *testing.T) {
	program, log := fakeSSH(t, `for last; do :; done; printf 'user of-%s\nport 2200\n' "$last"`)
	path := writeConfig(t, "Host 10.*\n\tUser ops\n")
	s := loaded(t, path, program, slog.New(slog.DiscardHandler))
	for _, alias := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.1"} {
		if o := s.options(question{alias: alias}); o.one("user") != "of-"+alias || o.one("port") != "2200" {
			t.Errorf("%s: %v", alias, o)
		}
	}
	if n := asked(t, log); n > 3 {
		t.Errorf("ssh was asked %d times about 2 hosts", n)
	}
}

// A file that ssh does not take is read without it, with one warning, and ssh is not asked for each of many hosts in vain.
func TestSSHConfig_SSHRefusesTheFile(t *testing.T) {
	program, log := fakeSSH(t, "echo 'config line 3: Bad configuration option: future' >&2; exit 255")
	path := writeConfig(t, "Host 10.*\n\tUser ops\n\tFuture yes\nMatch exec true\n\tUser vpn\n")
	var said strings.Builder
	s := loaded(t, path, program, slog.New(slog.NewTextHandler(&said, nil)))
	for i := range 50 {
		if o := s.options(question{alias: fmt.Sprintf("10.0.0.%d", i)}); o.one("user") != "ops" {
			t.Fatalf("options %v", o)
		}
	}
	if n := asked(t, log); n > askTries+1 {
		t.Errorf("ssh was asked %d times", n)
	}
	for _, part := range []string{"Bad configuration option: future", "left out, for only ssh itself can judge it", "match exec true"} {
		if strings.Count(said.String(), part) != 1 {
			t.Errorf("%q is not told once:\n%s", part, &said)
		}
	}
}

func TestPathsOf(t *testing.T) {
	for line, want := range map[string][]string{
		"/a /b":             {"/a", "/b"},
		"~/my known /dev/x": {"~/my known", "/dev/x"},
		"none":              {"none"},
		"%d/x ${HOME}/y":    {"%d/x", "${HOME}/y"},
	} {
		if got := pathsOf(line); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func FuzzSSHConfig(f *testing.F) {
	f.Add([]byte(notations), "lab-a")
	f.Add([]byte(userConfig), "arm-1")
	f.Add([]byte("Match host\nMatch !\nHost\nHost \"\nInclude\nUser=\n= x\nMatch all=\n\\"), "a")
	f.Fuzz(func(t *testing.T, text []byte, alias string) {
		file := &configFile{path: "f", lines: parseConfigLines("f", text)}
		e := evaluate([]*configFile{file}, question{alias: alias}, "/home/x")
		for k, v := range e.values {
			if !slices.Contains(wanted, k) || len(v) == 0 {
				t.Errorf("%s: %q", k, v)
			}
		}
		parseAnswer(text)
		r := resolver{conf: &sshConfig{path: "f", home: "/home/x", texts: []*configFile{file}, log: slog.New(slog.DiscardHandler),
			answers: map[question]*answer{}, agreed: map[string]*verdict{}, told: map[string]bool{}}}
		if ep, err := r.resolve(HostConfig{Address: alias}); err == nil && (ep.port < 1 || ep.user == "" || ep.host == "") {
			t.Errorf("endpoint %+v", ep)
		}
	})
}
