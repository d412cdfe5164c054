package remote_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

func putOf(path string, data []byte) remote.Put {
	return remote.Put{
		Open: func() (io.ReadSeekCloser, error) { return nopCloser{bytes.NewReader(data)}, nil },
		Size: int64(len(data)),
		Path: path,
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func TestPut_StartsResumesAndReplaces(t *testing.T) {
	data := randomBytes(3<<20 + 5)
	tests := []struct {
		name  string
		there []byte
		sent  int
	}{
		{"nothing there", nil, len(data)},
		{"a beginning", data[:1<<20], len(data) - 1<<20},
		{"all of it", data, 0},
		{"longer", append(bytes.Clone(data), "tail"...), len(data)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, c := dial(t, remotetest.Options{})
			file := filepath.Join(h.Dir(), "var/tmp/blob")
			if tt.there != nil {
				if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, tt.there, 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			var seen []int64
			p := putOf("/var/tmp/blob", data)
			p.Progress = func(n int64) { seen = append(seen, n) }
			if err := c.Put(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes arrived of %d: %v", len(got), len(data), err)
			}
			if first, last := seen[0], seen[len(seen)-1]; first != int64(len(data)-tt.sent) || last != int64(len(data)) {
				t.Errorf("progress from %d to %d", first, last)
			}
			if s := c.Stats(); s.BytesSent != int64(tt.sent) || s.SFTP != 1 {
				t.Errorf("stats %+v, want %d bytes", s, tt.sent)
			}
		})
	}
}

func TestPut_ManyShareOneSession(t *testing.T) {
	h, c := dial(t, remotetest.Options{})
	for i := range 3 {
		if err := c.Put(t.Context(), putOf("/tmp/"+strings.Repeat("x", i+1), []byte("hello"))); err != nil {
			t.Fatal(err)
		}
	}
	if s := h.Stats(); s.SFTP != 1 || s.Connections != 1 {
		t.Errorf("host's stats %+v", s)
	}
}

func TestPut_NoSpace(t *testing.T) {
	h, c := dial(t, remotetest.Options{})
	data := randomBytes(5 << 20)
	h.FreeSpace(2<<20 + 100)
	err := c.Put(t.Context(), putOf("/var/lib/blob", data))
	if !errors.Is(err, remote.ErrNoSpace) || remote.Transient(err) ||
		!strings.HasPrefix(err.Error(), "upload of /var/lib/blob: no space left on device: 0 MiB are free in /var/lib, ") {
		t.Fatalf("error %v", err)
	}
	// Once there is room, it goes on from good bytes.
	h.FreeSpace(-1)
	sent := c.Stats().BytesSent
	if err := c.Put(t.Context(), putOf("/var/lib/blob", data)); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(h.Dir(), "var/lib/blob")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes arrived of %d: %v", len(got), len(data), err)
	}
	if again := c.Stats().BytesSent - sent; again >= int64(len(data)) {
		t.Errorf("sent everything again: %d bytes", again)
	}
}

func TestPut_CutAndResumed(t *testing.T) {
	f := remotetest.NewFleet(t, 1, remotetest.Options{})
	h := f.Hosts[0]
	data := randomBytes(8 << 20)
	c := connect(t, h, h.Config())
	h.DropAfter(5 << 20)
	err := c.Put(t.Context(), putOf("/blob", data))
	if !errors.Is(err, remote.ErrClosed) || !remote.Transient(err) || !strings.HasPrefix(err.Error(), "upload of /blob: connection lost: ") {
		t.Fatalf("error %v", err)
	}
	h.Wait()
	c = connect(t, h, h.Config())
	if err := c.Put(t.Context(), putOf("/blob", data)); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(h.Dir(), "blob")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes arrived of %d: %v", len(got), len(data), err)
	}
	if n := c.Stats().BytesSent; n > 4<<20 {
		t.Errorf("sent %d bytes again", n)
	}
}

func TestPut_CancelStopsAtOnce(t *testing.T) {
	for name, hang := range map[string]bool{"host answers": false, "host hangs": true} {
		t.Run(name, func(t *testing.T) {
			h, c := dial(t, remotetest.Options{})
			ctx, cancel := context.WithCancel(t.Context())
			p := putOf("/blob", randomBytes(8<<20))
			p.Progress = func(n int64) {
				if n > 1<<20 {
					if hang {
						h.Hang()
					}
					cancel()
				}
			}
			err := c.Put(ctx, p)
			if !errors.Is(err, context.Canceled) || err.Error() != "upload of /blob: context canceled" {
				t.Errorf("error %v", err)
			}
			if n := c.Stats().BytesSent; n > 2<<20 {
				t.Errorf("%d bytes sent", n)
			}
			h.Resume()
			if err := c.Put(t.Context(), putOf("/other", []byte("x"))); err != nil {
				t.Errorf("the next upload: %v", err)
			}
		})
	}
}

func TestPut_BrokenSource(t *testing.T) {
	_, c := dial(t, remotetest.Options{})
	p := putOf("/blob", randomBytes(1000))
	p.Size = 2000
	if err := c.Put(t.Context(), p); err == nil || err.Error() != "upload of /blob: the source ended after 1000 of 2000 bytes" {
		t.Errorf("error %v", err)
	}
	p.Open = func() (io.ReadSeekCloser, error) { return nil, errors.New("no such artefact") }
	if err := c.Put(t.Context(), p); err == nil || err.Error() != "upload of /blob: no such artefact" {
		t.Errorf("error %v", err)
	}
}
