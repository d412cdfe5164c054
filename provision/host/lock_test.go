package host

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/remote"
)

func TestLockScript(t *testing.T) {
	s := newSandbox(t)
	if err := os.MkdirAll(s.path("var-lib/hybridctl/steps"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"os": "state done\ndigest sha256:aa\nunit x\n", "init": "state started\n", "images.new": "state done\n"} {
		if err := os.WriteFile(s.path("var-lib/hybridctl/steps", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range []struct {
		args string
		want Locked
	}{
		{"give t1", Locked{Gone: true}},
		{"take t1 eve@a/1", Locked{Taken: true}},
		{"take t1 eve@a/2", Locked{Taken: true, Again: true}},
		{"take t2 adam@b/1", Locked{By: "eve@a/2"}},
		{"give t2", Locked{By: "eve@a/2"}},
		{"take t2 adam@b/1 break", Locked{Taken: true}},
		{"give t1", Locked{By: "adam@b/1"}},
		{"give t2", Locked{Taken: true}},
		{"give t2", Locked{Gone: true}},
		{"take t1 eve@a/3", Locked{Taken: true}},
		{"give t2 break", Locked{Taken: true}},
		{"give t1", Locked{Gone: true}},
	} {
		code, out, errs := s.run("lock", nil, strings.Fields(c.args)...)
		got, err := parseLocked(remote.Output{Stdout: []byte(out)})
		if code != 0 || err != nil || errs != "" {
			t.Fatalf("%d: exit %d, %v %s", i, code, err, errs)
		}
		if got.Taken != c.want.Taken || got.Again != c.want.Again || got.Gone != c.want.Gone || got.By != c.want.By || (got.By != "") != strings.HasSuffix(got.Since, "Z") {
			t.Errorf("%d: %s: %+v, want %+v", i, c.args, got, c.want)
		}
		if strings.HasPrefix(c.args, "take") && got.Taken && (len(got.Steps) != 2 || got.Steps["os"] != "done sha256:aa" || got.Steps["init"] != "started") {
			t.Errorf("%d: steps %q", i, got.Steps)
		}
	}
	left, err := os.ReadDir(s.path("var-lib"))
	if err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A run that was killed right after it took the lock may leave another name of it, and a later one may have its number.
func TestLockScript_WhatAKilledRunLeavesIsNotTheLock(t *testing.T) {
	s := newSandbox(t)
	if code, out, errs := s.run("lock", nil, "take", "t1", "eve@a/1"); code != 0 {
		t.Fatal(out, errs)
	}
	s.before = `ln /var/lib/hybridctl.lock /var/lib/hybridctl.lock.$$; exec sh "$@"`
	_, out, errs := s.run("lock", nil, "take", "t2", "adam@b/1")
	if !strings.HasPrefix(out, "held\n") || !strings.HasPrefix(s.read("var-lib", "hybridctl.lock"), "t1\n") {
		t.Errorf("%q, %q, the lock is %q", out, errs, s.read("var-lib", "hybridctl.lock"))
	}
}

// Another takes the lock after this run has looked and right before it takes it: the other keeps it.
func TestLockScript_TakenAtTheLastMoment(t *testing.T) {
	s := newSandbox(t)
	const other = "t9\n2026-01-02T03:04:05Z\nadam@b/1\n"
	s.tool("sync", `printf 't9\n2026-01-02T03:04:05Z\nadam@b/1\n' >/var/lib/hybridctl.lock`)
	_, out, errs := s.run("lock", nil, "take", "t1", "eve@a/1")
	got, err := parseLocked(remote.Output{Stdout: []byte(out)})
	if err != nil || got.Taken || got.By != "adam@b/1" {
		t.Errorf("%q, %q, %v", out, errs, err)
	}
	if now := s.read("var-lib", "hybridctl.lock"); now != other {
		t.Errorf("the lock is %q", now)
	}
}

// Of many that come at once, one has it.
func TestLockScript_OneOfMany(t *testing.T) {
	s := newSandbox(t)
	s.after = "" // the script below runs it itself
	s.before = `cp "$0/script.sh" /opt/lock.sh; i=0; while [ $i -lt 30 ]; do i=$((i+1)); sh /opt/lock.sh take t$i h$i >/opt/said.$i 2>&1 & done; wait; rm -f /var/lib/hybridctl.lock`
	s.run("lock", nil, "take", "t", "h")
	taken, held := 0, 0
	for i := 1; i <= 30; i++ {
		switch word, _, _ := strings.Cut(s.read("opt", "said."+strconv.Itoa(i)), "\n"); word {
		case "taken":
			taken++
		case "held":
			held++
		default:
			t.Errorf("%d said %q", i, word)
		}
	}
	if taken != 1 || held != 29 {
		t.Errorf("%d have it, %d do not", taken, held)
	}
}

func TestParseLocked_WhatIsNotUnderstoodIsNoLock(t *testing.T) {
	for _, text := range []string{"", "\n", "yes\n", "take\n"} {
		if l, err := parseLocked(remote.Output{Stdout: []byte(text)}); err == nil || l.Taken {
			t.Errorf("%q: %+v", text, l)
		}
	}
	if l, err := parseLocked(remote.Output{Stdout: []byte("held")}); err != nil || l.Taken {
		t.Errorf("%+v, %v", l, err)
	}
}

func FuzzParseLocked(f *testing.F) {
	f.Add("taken\nstep os done sha256:aa\nstep init started \n")
	f.Add("held\n2026-01-02T03:04:05Z\neve@a/1\n")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseLocked(remote.Output{Stdout: []byte(text)})
		if l.Taken && (err != nil || l.By != "" || l.Gone) {
			t.Errorf("%+v, %v", l, err)
		}
	})
}
