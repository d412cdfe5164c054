package image

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hybridctl/hybridctl/provision/platform"
)

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"nginx", "registry:5000/app:v1", "registry:5000/app:v1@sha256:" + strings.Repeat("a", 64), "[::1]:5000/x", "a//b", "docker://x", "@", ":"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		named, err := ParseName(s)
		if err != nil {
			return
		}
		again, err := ParseName(named.Name())
		if err != nil || again.Name() != named.Name() || again.Identifier() != named.Identifier() {
			t.Errorf("%q is %q, and that is %v, %v", s, named.Name(), again, err)
		}
		if RegistryOf(s) == "" || strings.ContainsAny(RegistryOf(s), " /@") {
			t.Errorf("%q: the registry %q", s, RegistryOf(s))
		}
	})
}

func FuzzELF(f *testing.F) {
	f.Add([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\xb7\x00"))
	if self, err := os.ReadFile("/proc/self/exe"); err == nil {
		f.Add(self[:4096])
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := readBinary(newForward(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		if len(b.Loader) > maxLoader || b.Align < 0 || b.Bits != 32 && b.Bits != 64 {
			t.Errorf("%+v", b)
		}
		_ = b.Name()
		// What is read forwards in pieces is the same.
		again, err := readBinary(newForward(&slow{raw}))
		if err != nil || again != b {
			t.Errorf("%+v, %+v, %v", b, again, err)
		}
	})
}

// slow is a reader of one byte at a time.
type slow struct{ rest []byte }

func (s *slow) Read(p []byte) (int, error) {
	if len(s.rest) == 0 || len(p) == 0 {
		return 0, io.EOF
	}
	p[0], s.rest = s.rest[0], s.rest[1:]
	return 1, nil
}

func FuzzLayer(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{{Name: "a/", Typeflag: tar.TypeDir}, {Name: "a/l", Typeflag: tar.TypeSymlink, Linkname: "../.."}, {Name: "a/.wh.x", Typeflag: tar.TypeReg},
		{Name: "h", Typeflag: tar.TypeLink, Linkname: "a/f"}, {Name: "a/f", Typeflag: tar.TypeReg, Size: 5, Mode: 0o755}} {
		_ = w.WriteHeader(&h)
	}
	_, _ = w.Write([]byte("#!/x\n"))
	_ = w.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		tree := newTree()
		for layer := range int32(2) {
			tree.layer = layer
			if err := readTar(tar.NewReader(bytes.NewReader(raw)), tree.apply); err != nil {
				break
			}
		}
		files := 0
		var count func(n *node)
		count = func(n *node) {
			for name, child := range n.children {
				if name == "" || name == "." || name == ".." || strings.Contains(name, "/") || len(name) > maxName {
					t.Fatalf("a file is called %q", name)
				}
				files++
				count(child)
			}
		}
		count(tree.root)
		if files != tree.files || files > maxFiles {
			t.Errorf("%d files, counted %d", files, tree.files)
		}
		config := &v1.ConfigFile{Config: v1.Config{Entrypoint: []string{"h"}, Env: []string{"PATH=:a:/"}}}
		for _, name := range []string{"h", "/a/f", "a/l/h", "../x"} {
			_ = tree.start(environmentOf(config), name).check(platform.All()[0])
		}
	})
}

func FuzzManifest(f *testing.F) {
	for _, s := range []string{`{"schemaVersion":2,"manifests":[{"digest":"sha256:` + strings.Repeat("a", 64) + `","platform":null}]}`, `{"schemaVersion":2,"config":{},"layers":[]}`,
		`{"schemaVersion":1}`, `{"manifests":[],"layers":[]}`, `{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[null]}`} {
		f.Add([]byte(s), "application/vnd.oci.image.index.v1+json")
	}
	f.Fuzz(func(t *testing.T, raw []byte, media string) {
		d, err := parseDocument(raw, types.MediaType(media))
		if err == nil && (d.index == nil) == (d.image == nil) {
			t.Errorf("%+v", d)
		}
		if err == nil && d.image != nil {
			_, _ = isArtifact(d.image), sha256Only(d.image)
		}
		if err == nil && d.index != nil {
			for _, m := range d.index.Manifests {
				_ = isAttestation(m)
			}
		}
	})
}

// FuzzEnv: the #! line of a script is the image's. What env runs of it is one word, and it is found in so many steps.
func FuzzEnv(f *testing.F) {
	for _, s := range []string{"-S PATH=/opt/bin tool -u", "-vS -i -u HOME 'a b' c", "-iS-iS x", "--split-string=\"x", "-C /x -", "-S"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, argument string) {
		program, inside, err := envProgram(environment{dir: "/", path: defaultPath}, argument)
		if err != nil && program != "" {
			t.Errorf("%q runs %q, and %v", argument, program, err)
		}
		if n := len(inside.candidates(program)); n > maxPathDirs {
			t.Errorf("%d places are looked at", n)
		}
	})
}
