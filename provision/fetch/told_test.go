package fetch

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
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
		if err != nil || !free(other) {
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
