// Package imagetest makes tiny images for tests: real layouts and archives with real digests, around ELF files that are only
// a header.
package imagetest

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// ELF is the header of an executable of that architecture.
func ELF(a platform.Arch) []byte { return ELFMachine(elf.Machine(platform.ProfileFor(a).ELFMachine)) }

// ELFMachine is the header of a 64-bit little-endian executable of that machine.
func ELFMachine(m elf.Machine) []byte {
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(m), Version: uint32(elf.EV_CURRENT), Ehsize: 64}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	var b bytes.Buffer
	must(binary.Write(&b, binary.LittleEndian, h))
	return b.Bytes()
}

// File is one entry of a layer: a file, unless one of the others is set. Mode 0 is 0755.
type File struct {
	Name string
	Body []byte
	Mode int64
	Link string // symbolic link to
	Hard string // hard link to
	Dir  bool
}

// Layer is a tar of the files, gzipped as registries have it.
func Layer(files ...File) v1.Layer {
	raw := layerTar(files)
	return must2(tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil },
		tarball.WithMediaType(types.OCILayer)))
}

func layerTar(files []File) []byte {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Size: int64(len(f.Body)), Mode: f.Mode}
		if f.Mode == 0 {
			h.Mode = 0o755
		}
		switch {
		case f.Link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.Link
		case f.Hard != "":
			h.Typeflag, h.Linkname = tar.TypeLink, f.Hard
		case f.Dir:
			h.Typeflag = tar.TypeDir
		}
		must(t.WriteHeader(h))
		must2(t.Write(f.Body))
	}
	must(t.Close())
	return b.Bytes()
}

// Image is an OCI image of that architecture with that config. OS and architecture are linux and a, unless config sets them.
func Image(a platform.Arch, config v1.ConfigFile, layers ...v1.Layer) v1.Image {
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if config.OS == "" {
		config.OS = "linux"
	}
	if config.Architecture == "" {
		config.Architecture = string(a)
	}
	return must2(mutate.AppendLayers(must2(mutate.ConfigFile(img, &config)), layers...))
}

// Program is an image that runs one ELF file; salt makes its digest its own.
func Program(a platform.Arch, salt string, layers ...v1.Layer) v1.Image {
	files := Layer(File{Name: "app", Body: append(ELF(a), salt...)})
	return Image(a, v1.ConfigFile{Config: v1.Config{Entrypoint: []string{"/app"}}}, append(layers, files)...)
}

// Index is an image index with a manifest for each image.
func Index(images map[platform.Arch]v1.Image) v1.ImageIndex {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, a := range platform.All() {
		if img := images[a]; img != nil {
			index = Append(index, img, v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: string(a)}})
		}
	}
	return index
}

// Append adds an image, or another index, with that descriptor to an index.
func Append(index v1.ImageIndex, add mutate.Appendable, d v1.Descriptor) v1.ImageIndex {
	return mutate.AppendManifests(index, mutate.IndexAddendum{Add: add, Descriptor: d})
}

// Names are the annotations that give an entry of index.json its name.
func Names(ref string) map[string]string { return map[string]string{"io.containerd.image.name": ref} }

// Layout writes a layout directory with these indexes by name.
func Layout(t testing.TB, dir string, indexes map[string]v1.ImageIndex) {
	t.Helper()
	top := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for ref, index := range indexes {
		top = Append(top, index, v1.Descriptor{Annotations: Names(ref)})
	}
	WriteLayout(t, dir, top)
}

// WriteLayout writes a layout directory with that index.json.
func WriteLayout(t testing.TB, dir string, top v1.ImageIndex) {
	t.Helper()
	must(os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755)) // the library makes it for images alone
	if _, err := layout.Write(dir, top); err != nil {
		t.Fatal(err)
	}
}

// Archive packs a directory into a tar file, as `skopeo copy … oci-archive:` does.
func Archive(t testing.TB, dir, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// DockerArchive writes what `docker save` writes for one image.
func DockerArchive(t testing.TB, file, tag string, img v1.Image) {
	t.Helper()
	ref, err := name.NewTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(file, ref, img); err != nil {
		t.Fatal(err)
	}
}

// WriteFile writes an executable file and the folders above it.
func WriteFile(t testing.TB, file string, body []byte, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, body, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

func must(err error) {
	if err != nil {
		panic("imagetest: " + err.Error()) // only bytes in memory are handled here
	}
}

func must2[T any](v T, err error) T {
	must(err)
	return v
}

// WithConfig is img with a config that no longer fits it.
func WithConfig(img v1.Image, edit func(*v1.ConfigFile)) v1.Image {
	config := must2(img.ConfigFile()).DeepCopy()
	edit(config)
	return must2(mutate.ConfigFile(img, config))
}

// WithLinks writes a docker archive again in the older form: each layer is a symbolic link to a file in a folder.
func WithLinks(t testing.TB, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		must(err)
		body := must2(io.ReadAll(r))
		if filepath.Ext(h.Name) == ".gz" {
			must(w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: h.Name, Linkname: "files/" + h.Name}))
			h.Name = "files/" + h.Name
		}
		must(w.WriteHeader(h))
		must2(w.Write(body))
	}
	must(w.Close())
	WriteFile(t, to, out.Bytes(), 0o644)
}
