package remote_test

import (
	"bytes"
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
