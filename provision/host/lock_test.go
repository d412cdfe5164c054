package host

import (
	"os"
	"os/exec"
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
		{"take t1 eve@a/4 up", Locked{Taken: true}},
		{"take t2 adam@b/1", Locked{By: "eve@a/4", Kind: "up"}},
		{"give t2 leased", Locked{By: "eve@a/4", Kind: "up"}}, // in the middle of its init
		{"init done", Locked{}},
		{"give t2 leased", Locked{Taken: true}},
		{"give t2 leased", Locked{Gone: true}},
		{"take t1 eve@a/5 destroy", Locked{Taken: true}},
		{"give t2 leased", Locked{By: "eve@a/5", Kind: "destroy"}},
		{"take t2 adam@b/2 up break", Locked{Taken: true}},
		{"give t1", Locked{By: "adam@b/2", Kind: "up"}},
		{"take t2 adam@b/3", Locked{Taken: true, Again: true}},
		{"give t1 leased", Locked{By: "adam@b/3"}}, // of before there were kinds
		{"give t2", Locked{Taken: true}},
	} {
		if c.args == "init done" {
			if err := os.WriteFile(s.path("var-lib/hybridctl/steps/init"), []byte("state done\ndigest sha256:bb\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		code, out, errs := s.run("lock", nil, strings.Fields(c.args)...)
		got, err := parseLocked(remote.Output{Stdout: []byte(out)})
		if code != 0 || err != nil || errs != "" {
			t.Fatalf("%d: exit %d, %v %s", i, code, err, errs)
		}
		if got.Taken != c.want.Taken || got.Again != c.want.Again || got.Gone != c.want.Gone || got.By != c.want.By || got.Kind != c.want.Kind || (got.By != "") != strings.HasSuffix(got.Since, "Z") {
			t.Errorf("%d: %s: %+v, want %+v", i, c.args, got, c.want)
		}
		if strings.HasPrefix(c.args, "take") && got.Taken && (len(got.Steps) != 2 || got.Steps["os"] != "done sha256:aa" || got.Steps["init"] == "") {
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

// Whoever looks whose the lock is, and then takes or deletes it, is alone: another that comes in between is told what is so afterwards.
func TestLockScript_AnotherComesInBetween(t *testing.T) {
	for name, c := range map[string]struct {
		tool, first     string // between its look and this tool, and what it is
		second          []string
		said, then, has string
	}{
		"broken while it is given back":                                  {"rm", "give t1", []string{"take t2 adam@b/1 break"}, "given", "taken", "t2"},
		"given back and taken by another while its owner takes it again": {"mv", "take t1 eve@a/2", []string{"give t1", "take t2 adam@b/1"}, "again", "taken", "t2"},
		"broken by two": {"mv", "take t3 x@c/1 break", []string{"give t1", "take t2 adam@b/1"}, "taken", "held", "t3"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t)
			if code, out, errs := s.run("lock", nil, "take", "t1", "eve@a/1"); code != 0 {
				t.Fatal(out, errs)
			}
			flock, err := exec.LookPath("flock")
			if err != nil {
				t.Fatal(err)
			}
			tool, err := exec.LookPath(c.tool)
			if err != nil {
				t.Fatal(err)
			}
			// The second is begun when the first is about to change something, and is let go as far as it comes: to its end, or to the wait for its turn.
			s.tool("flock", `[ ! -e /opt/begun ] || echo waits 1<>/opt/came; exec `+flock+` "$@"`)
			second := ""
			for _, args := range c.second {
				second += "sh /opt/lock.sh " + args + ">/opt/said 2>&1;"
			}
			s.tool(c.tool, `case "$*" in "-f /var/lib/hybridctl.lock" | *" /var/lib/hybridctl.lock")
				if [ ! -e /opt/begun ]; then
					>/opt/begun
					exec 8<>/opt/came
					( exec 9>&-; `+second+` echo over 1<>/opt/came; echo over >/opt/over ) >/dev/null 2>&1 &
					read -r _ <&8
				fi ;;
			esac
			exec `+tool+` "$@"`)
			s.before = `cp "$0/script.sh" /opt/lock.sh; mkfifo /opt/came /opt/over`
			s.after = `[ ! -e /opt/begun ] || read -r _ </opt/over; sed -n 1p /var/lib/hybridctl.lock`
			_, out, errs := s.run("lock", nil, strings.Fields(c.first)...)
			said, _, _ := strings.Cut(out, "\n")
			then, _, _ := strings.Cut(s.read("opt", "said"), "\n")
			if has := strings.TrimSpace(s.read("after")); said != c.said || then != c.then || has != c.has {
				t.Errorf("the first: %q %s, the second: %q, and the lock is with %q; want %q, %q, %q", said, errs, then, has, c.said, c.then, c.has)
			}
		})
	}
}

// Of many that come at once, one has it.
func TestLockScript_OneOfMany(t *testing.T) {
	s := newSandbox(t)
	flock, err := exec.LookPath("flock")
	if err != nil {
		t.Fatal(err)
	}
	const many = 12
	// No one goes on before all have come: who comes waits for the gate, which another holds until it has counted all.
	s.tool("flock", `echo came 1<>/opt/came; `+flock+` -s 8 8</opt/gate; exec `+flock+` 9`)
	s.before = `cp "$0/script.sh" /opt/lock.sh; mkfifo /opt/came; >/opt/gate; exec 7<>/opt/came 8</opt/gate; ` + flock + ` 8
		( i=0; while [ $i -lt ` + strconv.Itoa(many) + ` ]; do read -r _ <&7; i=$((i+1)); done ) & exec 8<&-
		i=1; while [ $i -lt ` + strconv.Itoa(many) + ` ]; do sh /opt/lock.sh take t$i h$i >/opt/said.$i 2>&1 & i=$((i+1)); done`
	s.after = "wait; sed -n 1p /var/lib/hybridctl.lock"
	_, out, errs := s.run("lock", nil, "take", "t0", "h0")
	taken, held, owner := 0, 0, ""
	for i := range many {
		said := out
		if i > 0 {
			said = s.read("opt", "said."+strconv.Itoa(i))
		}
		switch word, _, _ := strings.Cut(said, "\n"); word {
		case "taken":
			taken++
			owner = "t" + strconv.Itoa(i)
		case "held":
			held++
		default:
			t.Errorf("%d said %q %s", i, said, errs)
		}
	}
	if taken != 1 || held != many-1 || strings.TrimSpace(s.read("after")) != owner {
		t.Errorf("%d have it, %d do not; the lock is with %q", taken, held, s.read("after"))
	}
}

func TestParseLocked_WhatIsNotUnderstoodIsNoLock(t *testing.T) {
	for _, text := range []string{"", "\n", "yes\n", "take\n"} {
		if l, err := parseLocked(remote.Output{Stdout: []byte(text)}); err == nil || l.Taken {
			t.Errorf("%q: %+v", text, l)
		}
	}
	_, err := parseLocked(remote.Output{Stdout: []byte("Welcome\n")})
	if want := `/var/lib/hybridctl.lock: the host does not answer whose the lock is: "Welcome"`; err == nil || err.Error() != want {
		t.Error(err)
	}
	if l, err := parseLocked(remote.Output{Stdout: []byte("held")}); err != nil || l.Taken {
		t.Errorf("%+v, %v", l, err)
	}
}

// A destroy, which asks no preflight, meets hosts whose login prints.
func TestParseLocked_AfterAGreeting(t *testing.T) {
	const greeting = "Welcome\n\nheld up in traffic\n"
	l, err := parseLocked(remote.Output{Stdout: []byte(greeting + "taken\nstep os done sha256:aa\n")})
	if err != nil || !l.Taken || l.Steps["os"] != "done sha256:aa" {
		t.Errorf("%+v, %v", l, err)
	}
	l, err = parseLocked(remote.Output{Stdout: []byte(greeting + "held\n2026-01-02T03:04:05Z\neve@a/1\nup\n")})
	if err != nil || l.Taken || l.By != "eve@a/1" || l.Kind != "up" || l.Since != "2026-01-02T03:04:05Z" {
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
