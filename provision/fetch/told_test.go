package fetch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/filelock"
)

// A lock of the cache that another run has is waited for, and that is said once.
func TestBundle_SaysThatAnotherRunIsAtWork(t *testing.T) {
	w := newWorld(t, 10_000)
	for name, want := range map[string]string{
		"use":      "the cache is being cleared by another run, which is waited for",
		"deciding": "which images are taken is being decided by another run, which is waited for",
		"making":   "the bundle is being made by another run, which is waited for",
	} {
		cache := cache{t.TempDir()}
		if err := cache.make(); err != nil {
			t.Fatal(err)
		}
		other, err := os.OpenFile(cache.path(name), os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil || syscall.Flock(int(other.Fd()), syscall.LOCK_EX) != nil {
			t.Fatal("no lock", err)
		}
		o := w.options(cache.dir)
		pauses, said := 0, 0
		o.Wait = func(ctx context.Context, _ time.Duration) error {
			if pauses++; pauses == 3 {
				return other.Close()
			}
			return ctx.Err()
		}
		o.Progress = func(e Event) {
			if e.Message == want {
				said++
			}
		}
		mustBundle(t, w.set, o)
		if pauses < 3 || said != 1 {
			t.Errorf("%s: %d pauses, said %d times", name, pauses, said)
		}
	}
}

// A file system that gives no lock has not said that another run has it.
func TestAwait_WhatCannotBeLocked(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil { // a closed file has none
		t.Fatal(err)
	}
	pauses := 0
	pause := func(context.Context, time.Duration) error {
		pauses++
		return errors.New("it is waited for")
	}
	err = await(t.Context(), f, filelock.Shared, pause, func() { t.Error("another run is at work") })
	if !errors.Is(err, syscall.EBADF) || !strings.HasPrefix(err.Error(), "lock "+f.Name()+": ") || pauses > 0 {
		t.Errorf("error %v, %d pauses", err, pauses)
	}
}

// Making a bundle reads all of it, which takes long on a slow disk.
func TestBundle_SaysHowFarItIsVerified(t *testing.T) {
	w := newWorld(t, 10_000)
	o := w.options(t.TempDir())
	said := 0
	o.Progress = func(e Event) {
		if e.Item == "bundle" && strings.HasSuffix(e.Message, " verified") {
			said++
		}
	}
	mustBundle(t, w.set, o)
	if said < len(w.set.Files) {
		t.Errorf("said %d times", said)
	}
}
