package bundle

import (
	"os"
	"path/filepath"
	"testing"
)

func FuzzLoadSource(f *testing.F) {
	for _, seed := range []string{"", "# nothing\n", "---\n", "...\n", "null", "{}", "- {}", "a: &a [*a]", "binaries: &b [*b]", "images: [{paths: {amd64: x, arm64: [y]}}]",
		"<<: {kind: x}", "kind: BundleSource\nkind: x", "architectures: [amd64]\nbinaries: [{component: runc, files: {aarch64: x}}]", "? {a: b}\n: c"} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, raw []byte) {
		file := filepath.Join(dir, "bundle.yaml")
		if err := os.WriteFile(file, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		_, p, err := loadSource(file)
		if err != nil {
			t.Fatal(err)
		}
		if p.err() == nil {
			t.Errorf("accepted, though no file of this size is a whole source: %q", raw)
		}
	})
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"hybridctl.dev/v1alpha1","kind":"Bundle","binaries":[{"path":"x"}],"images":[{"ref":"a"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, err := parseManifest(raw); err == nil {
			for _, b := range m.Binaries {
				if !filepath.IsLocal(b.Path) {
					t.Errorf("accepted the path %q", b.Path)
				}
			}
		}
	})
}
