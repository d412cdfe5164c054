package fetch

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
)

// What a bundle of a newer hybridctl uses is not known to this one: neither goes.
func TestGC_BundleOfANewerHybridctl(t *testing.T) {
	w := newWorld(t, 10_000)
	cache := t.TempDir()
	manifest := filepath.Join(mustBundle(t, w.set, w.options(cache)), bundle.ManifestFile)
	text, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	newer := bytes.Replace(text, []byte(bundle.APIVersion), []byte("hybridctl.dev/v99"), 1)
	if err := os.Remove(manifest); err != nil { // it has other names
		t.Fatal(err)
	}
	imagetest.WriteFile(t, manifest, newer, 0o644)
	before := len(entries(t, cache, "sha256"))
	imagetest.WriteFile(t, filepath.Join(cache, "sha256", strings.Repeat("a", 64)), []byte("12345"), 0o644)
	freed, err := GC(t.Context(), GCOptions{Cache: cache})
	if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "hybridctl.dev/v99") || len(freed) > 0 || len(entries(t, cache, "sha256")) != before+1 {
		t.Errorf("%v, %v", freed, err)
	}
	if _, err := os.Stat(manifest); err != nil {
		t.Error(err)
	}
	if err := os.Remove(manifest); err != nil { // what has none is no bundle of anybody's
		t.Fatal(err)
	}
	if freed, err := GC(t.Context(), GCOptions{Cache: cache}); err != nil || len(freed) == 0 {
		t.Errorf("%v, %v", freed, err)
	}
}
