package image_test

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/registry/registrytest"
)

// lying is a layer of these bytes under a media type that says something else.
type lying struct {
	v1.Layer
	plain []byte // what it unpacks to
}

func (l lying) DiffID() (v1.Hash, error) {
	h, _, err := v1.SHA256(bytes.NewReader(l.plain))
	return h, err
}

func plainTar(t *testing.T, files ...imagetest.File) []byte {
	t.Helper()
	raw, err := imagetest.Layer(files...).Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	return must(io.ReadAll(raw))
}

func zstdOf(raw []byte) []byte {
	var b bytes.Buffer
	z := must(zstd.NewWriter(&b))
	_, _ = z.Write(raw) // to memory
	_ = z.Close()
	return b.Bytes()
}

// TestInspect_OddImages are images as registries have them.
func TestInspect_OddImages(t *testing.T) {
	run := v1.ConfigFile{Config: v1.Config{Entrypoint: []string{"/app"}}}
	app := imagetest.File{Name: "app", Body: good}
	tarball := plainTar(t, app)
	layer := func(raw, plain []byte, media types.MediaType) v1.Layer {
		return lying{static.NewLayer(raw, media), plain}
	}
	var pax bytes.Buffer
	w := tar.NewWriter(&pax)
	_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "x"}})
	_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "./app", Mode: 0o755, Size: int64(len(good))})
	_, _ = w.Write(good)
	_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeFifo, Name: "run/pipe", Mode: 0o644})
	_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeChar, Name: "dev/null", Mode: 0o666})
	_ = w.Close()
	for name, c := range map[string]struct {
		img  v1.Image
		want string
	}{
		"plain, called gzip":            {imagetest.Image(arm64, run, layer(tarball, tarball, types.OCILayer)), ""},
		"zstd, called gzip":             {imagetest.Image(arm64, run, layer(zstdOf(tarball), tarball, types.OCILayer)), ""},
		"zstd, called Docker's":         {imagetest.Image(arm64, run, layer(zstdOf(tarball), tarball, types.DockerLayer)), ""},
		"gzip, called plain":            {imagetest.Image(arm64, run, layer(gzipped(t, func(w io.Writer) { _, _ = w.Write(tarball) }), tarball, types.OCIUncompressedLayer)), ""},
		"a layer of no bytes":           {imagetest.Image(arm64, run, layer(nil, nil, types.OCIUncompressedLayer), imagetest.Layer(app)), ""},
		"a layer of no files":           {imagetest.Image(arm64, run, imagetest.Layer(), imagetest.Layer(app), imagetest.Layer()), ""},
		"no layer at all":               {imagetest.Image(arm64, run), "its program /app is not in the image"},
		"the same layer twice":          {imagetest.Image(arm64, run, imagetest.Layer(app), imagetest.Layer(app)), ""},
		"devices, pipes, a PAX comment": {imagetest.Image(arm64, run, layer(pax.Bytes(), pax.Bytes(), types.OCIUncompressedLayer)), ""},
		"it unpacks to something else":  {imagetest.Image(arm64, run, layer(tarball, plainTar(t), types.OCILayer)), "is not the one its config lists"},
		"an applet of busybox":          {imagetest.Image(arm64, v1.ConfigFile{Config: v1.Config{Cmd: []string{"sh"}}}, imagetest.Layer(imagetest.File{Name: "bin/busybox", Body: good}, imagetest.File{Name: "bin/sh", Hard: "bin/busybox"})), ""},
		"an applet of the wrong one":    {imagetest.Image(arm64, v1.ConfigFile{Config: v1.Config{Cmd: []string{"sh"}}}, imagetest.Layer(imagetest.File{Name: "bin/busybox", Body: bad}, imagetest.File{Name: "bin/sh", Hard: "bin/busybox"})), "its program sh (/bin/sh) is an executable for amd64"},
		"a 32-bit program":              {imagetest.Image(arm64, run, imagetest.Layer(imagetest.File{Name: "app", Body: narrow(elf.EM_ARM)})), "is an executable for another machine (32-bit arm), not arm64"},
		"x32":                           {imagetest.Image(amd64, run, imagetest.Layer(imagetest.File{Name: "app", Body: narrow(elf.EM_X86_64)})), "amd64 with 32-bit pointers"},
		"spelled aarch64":               {imagetest.Image(arm64, v1.ConfigFile{Architecture: "aarch64", Config: run.Config}, imagetest.Layer(app)), ""},
		"arm64/v8":                      {imagetest.Image(arm64, v1.ConfigFile{Variant: "v8", Config: run.Config}, imagetest.Layer(app)), ""},
		"a name with blanks":            {imagetest.Image(arm64, v1.ConfigFile{Config: v1.Config{Cmd: []string{"/app --flag"}}}, imagetest.Layer(app)), "taken for one name, blanks and all"},
		"an empty word":                 {imagetest.Image(arm64, v1.ConfigFile{Config: v1.Config{Entrypoint: []string{""}}}, imagetest.Layer(app)), "is not in the image"},
		"a folder over a link":          {imagetest.Image(arm64, v1.ConfigFile{Config: v1.Config{Cmd: []string{"/bin/app"}}}, imagetest.Layer(imagetest.File{Name: "usr/bin/app", Body: bad}, imagetest.File{Name: "bin", Link: "usr/bin"}), imagetest.Layer(imagetest.File{Name: "bin", Dir: true}, imagetest.File{Name: "bin/app", Body: good}, imagetest.File{Name: "usr/.wh.bin"})), ""},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, p := range inspected(t, layoutWith(t, v1.Descriptor{}, c.img)) {
				got = append(got, said(p))
			}
			if all := strings.Join(got, "\n"); (c.want == "") != (all == "") || !strings.Contains(all, c.want) || len(got) != 1 {
				t.Errorf("got %q, want %q", all, c.want)
			}
		})
	}
}

// TestInspect_WhatTheIndexTells: two images are not for one platform because their configs leave out what tells them apart.
func TestInspect_WhatTheIndexTells(t *testing.T) {
	of := func(os, arch, salt string) v1.Image {
		return imagetest.Image(amd64, v1.ConfigFile{OS: os, Architecture: arch, Author: salt})
	}
	entry := func(p v1.Platform) v1.Descriptor { return v1.Descriptor{Platform: &p} }
	for name, c := range map[string]struct {
		first, second v1.Descriptor
		os, arch      string
	}{
		"versions of Windows": {entry(v1.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.17763.1"}), entry(v1.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.20348.1"}), "windows", "amd64"},
		"variants of Arm":     {entry(v1.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}), entry(v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}), "linux", "arm"},
		"variants of x86":     {entry(v1.Platform{OS: "linux", Architecture: "amd64"}), entry(v1.Platform{OS: "linux", Architecture: "amd64", Variant: "v3"}), "linux", "amd64"},
	} {
		both := imagetest.Append(imagetest.Append(index(), of(c.os, c.arch, "1"), c.first), of(c.os, c.arch, "2"), c.second)
		got := inspected(t, layoutWith(t, v1.Descriptor{}, both))
		if len(got) != 2 {
			t.Errorf("%s: %v", name, got)
		}
		for platform, p := range got {
			if said(p) != "" {
				t.Errorf("%s, %s: %s", name, platform, said(p))
			}
		}
	}
}

// TestOpen_WhatIsNoImage passes over a chart where images lie beside it; an index of attestations alone has no image.
func TestOpen_WhatIsNoImage(t *testing.T) {
	chart := mutate.ConfigMediaType(imagetest.Program(amd64, "chart"), "application/vnd.cncf.helm.config.v1+json")
	_, err := new(image.Places).Open(t.Context(), layoutWith(t, v1.Descriptor{}, chart), nil)
	if err == nil || !strings.Contains(err.Error(), "is no image but an artifact (application/vnd.cncf.helm.config.v1+json)") {
		t.Errorf("alone: %v", err)
	}
	dir := t.TempDir()
	imagetest.WriteLayout(t, dir, imagetest.Append(imagetest.Append(index(), chart, v1.Descriptor{}), imagetest.Program(arm64, ""), v1.Descriptor{}))
	if got := inspected(t, dir); len(got) != 1 || said(got["linux/arm64"]) != "" {
		t.Errorf("beside: %+v", got)
	}
	attestation := v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}, Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest"}}
	s := registrytest.New(t)
	s.Index(t, "team/attested", "1", imagetest.Append(index(), imagetest.Program(amd64, ""), attestation))
	sets, err := (&image.Places{Registry: plain(t), Keys: asNobody}).Open(t.Context(), s.Host()+"/team/attested:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := new(image.Inspector).Inspect(t.Context(), sets[0]); err != nil || r.Worst() != image.LevelError || len(r.Others) != 1 {
		t.Errorf("attested: %+v, %v", r, err)
	}
}

// TestAssemble_AVariantThatNobodyTells: a config without one contradicts no one.
func TestAssemble_AVariantThatNobodyTells(t *testing.T) {
	a := recipe(t)
	a.s.Image(t, "build/arm", "1", imagetest.Image(amd64, v1.ConfigFile{Architecture: "arm"}))
	p := must(image.ParsePlatform("linux/arm/v7"))
	a.o.Parts = append(a.o.Parts, image.Part{Platform: p, Ref: a.s.Host() + "/build/arm:1"})
	if made, _ := a.good(); len(made.Children) != 3 || made.Children[1].Platform != "linux/arm/v7" {
		t.Errorf("%+v", made.Children)
	}
}
