package lock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestToken_IsOfTheDirectory(t *testing.T) {
	dir := t.TempDir()
	if Left(dir) {
		t.Error("a lock is left before there was one")
	}
	if none, made, err := Kept(dir); none == "" || made || err != nil || Left(dir) {
		t.Errorf("kept before there was one: %q, %t, %v", none, made, err)
	}
	first, err := Token(dir)
	if err != nil {
		t.Fatal(err)
	}
	if kept, made, err := Kept(dir); kept != first || !made || err != nil {
		t.Errorf("kept: %q, %t, %v", kept, made, err)
	}
	if again, err := Token(dir); err != nil || again != first || !Left(dir) {
		t.Errorf("again: %q and %q, %v", first, again, err)
	}
	if i, err := os.Stat(filepath.Join(dir, TokenFile)); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", i.Mode(), err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if by, err := Token(link); err != nil || by != first {
		t.Errorf("by another way: %q and %q, %v", first, by, err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if other, err := Token(copied); err != nil || other == first {
		t.Errorf("the copy has %q, %v", other, err)
	}
	if _, err := Token(filepath.Join(dir, "none")); err == nil {
		t.Error("a token of a directory that is not there")
	}
}

func TestGiveBackLeft(t *testing.T) {
	lost := errors.New("connection lost")
	for name, c := range map[string]struct {
		left, breaks, own bool // a token is there; of any run; the run's own lock is on the host
		host              *oneHost
		given             int
		stays             bool
		want              error
	}{
		"nothing is left":                    {host: &oneHost{}},
		"one is left":                        {left: true, host: &oneHost{}, given: 1},
		"on a host that is not of this run":  {left: true, stays: true},
		"on a host that does not answer":     {left: true, host: &oneHost{err: lost}, given: 1, stays: true, want: lost},
		"that of any run":                    {breaks: true, host: &oneHost{}, given: 1},
		"the run's own, which is given back": {left: true, own: true, host: &oneHost{}},
	} {
		dir := t.TempDir()
		if c.left {
			if _, err := Token(dir); err != nil {
				t.Fatal(err)
			}
		}
		l, first := None(nil), HostAPI(c.host)
		if c.host == nil {
			first = nil
		}
		if c.own {
			l.onHost = &onHost{api: c.host}
		}
		err := l.GiveBackLeft(context.Background(), first, dir, c.breaks)
		if !errors.Is(err, c.want) || c.host != nil && c.host.given != c.given || Left(dir) != c.stays {
			t.Errorf("%s: %v, %+v, remembered: %t", name, err, c.host, Left(dir))
		}
	}
}
