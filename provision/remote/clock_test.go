package remote

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func TestClock_StandsStillWhileHeld(t *testing.T) {
	ctx, c := startClock(t.Context(), 300*time.Millisecond)
	defer c.stop()
	release := c.hold()
	select {
	case <-ctx.Done():
		t.Error("it went on")
	case <-time.After(900 * time.Millisecond):
	}
	release()
	<-ctx.Done()
	if !errors.Is(context.Cause(ctx), errClock) {
		t.Errorf("cause %v", context.Cause(ctx))
	}
}

// The clock is held for as long as the user is asked, and for no other key.
func TestKeyring_HoldsTheClockWhileItAsks(t *testing.T) {
	held := 0
	prompt := func(string) (string, error) {
		if held != 1 {
			t.Errorf("asked while the clock was held %d times", held)
		}
		return "open sesame", nil
	}
	hold := func() func() {
		held++
		return func() { held-- }
	}
	ring := newKeyring(prompt, slog.New(slog.DiscardHandler))
	path := lockedKey(t, "open sesame")
	l := ring.login(&endpoint{identities: []string{path}}, hold)
	if len(l.signers) != 1 {
		t.Fatalf("tried %v", l.tried)
	}
	for range 2 {
		if _, err := l.signers[0].Sign(rand.Reader, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if held != 0 {
		t.Errorf("held %d times at the end", held)
	}
}

func lockedKey(t *testing.T, passphrase string) string {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "id")
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
