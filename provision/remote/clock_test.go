package remote

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
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

// hungAgent lists its keys and never signs; where lists is false it does not even do that.
func hungAgent(t *testing.T, lists bool) string {
	t.Helper()
	ring := agent.NewKeyring()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if lists {
			var head [5]byte // of the request to list
			io.ReadFull(c, head[:])
			var reply bytes.Buffer
			agent.ServeAgent(ring, struct {
				io.Reader
				io.Writer
			}{bytes.NewReader(head[:]), &reply})
			c.Write(reply.Bytes())
		}
		io.Copy(io.Discard, c)
	}()
	return socket
}

// An agent that does not answer is told as such, and the host is not blamed: the clock of the login stands still while it is asked.
func TestKeyring_AgentThatHangs(t *testing.T) {
	for _, lists := range []bool{false, true} {
		held, most := 0, 0
		hold := func() func() {
			held++
			most = max(most, held)
			return func() { held-- }
		}
		ring := newKeyring(nil, slog.New(slog.DiscardHandler))
		if !lists {
			ring.patience = 50 * time.Millisecond
		}
		l := ring.login(&endpoint{agent: hungAgent(t, lists)}, hold)
		if !lists && (len(l.signers) != 0 || len(l.tried) != 1 || !strings.HasSuffix(l.tried[0], "(no answer within 50ms)")) {
			t.Errorf("tried %q", l.tried)
		}
		if lists && len(l.signers) != 1 {
			t.Fatalf("tried %q", l.tried)
		}
		for range 2 * len(l.signers) { // also the next host is told so: the agent is not asked again
			most = 0
			l.signers[0].(*agentSigner).patience = 50 * time.Millisecond
			_, err := l.signers[0].Sign(rand.Reader, []byte("x"))
			var unsigned *notSigned
			if !errors.As(err, &unsigned) || err.Error() != "no answer within 50ms" {
				t.Errorf("signed: %v", err)
			}
		}
		if held != 0 || most != 1 {
			t.Errorf("held %d times, and %d at the end", most, held)
		}
		ring.close()
	}
}
