package filelock

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestTake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	open := func() *os.File {
		t.Helper()
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	first, second := open(), open()
	if err := Take(first, 0); err != nil {
		t.Fatal(err)
	}
	if err := Take(first, 0); err != nil {
		t.Errorf("it has it already: %v", err)
	}
	if err := Take(second, 1); !errors.Is(err, ErrKept) {
		t.Errorf("got %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Take(second, 0); err != nil {
		t.Errorf("given back: %v", err)
	}
	if err := Take(first, Patience); err == nil || errors.Is(err, ErrKept) {
		t.Errorf("a closed file: %v", err)
	}
}
