package image_test

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// inspected is what an inspection of a path finds, by the entry's name and the platform.
func inspected(t testing.TB, ref string) map[string]image.PlatformReport {
	t.Helper()
	places := &image.Places{}
	t.Cleanup(func() { _ = places.Close() })
	sets, err := places.Open(t.Context(), ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, in := map[string]image.PlatformReport{}, &image.Inspector{}
	for _, s := range sets {
		r, err := in.Inspect(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range r.Platforms {
			out[strings.TrimPrefix(r.Name+" "+p.Platform, " ")] = p
		}
	}
	return out
}

// said is what was found, a line each, without the notes.
func said(p image.PlatformReport) string {
	var lines []string
	for _, f := range p.Findings {
		if f.Level != image.LevelNote {
			lines = append(lines, fmt.Sprintf("%s %s %s", f.Level, f.Rule, f.Message))
		}
	}
	return strings.Join(lines, "\n")
}

func TestInspect_Case01_AMD64EntryHoldsARM64(t *testing.T) {
	got := inspected(t, "testdata/cases/01-amd64-entry-holds-arm64")
	wrong := got["minideb:1 linux/amd64"]
	if wrong.Digest != "sha256:88b4fe6a34bd19e086e925ac9c764c01bfec6492602a7fb1795d4856c0039e18" ||
		said(wrong) != "error program its program sh (/usr/bin/dash) is an executable for arm64, not amd64" {
		t.Errorf("%+v", wrong)
	}
	if good := got["minideb:1 linux/arm64"]; said(good) != "" || good.Program.Path != "/usr/bin/dash" {
		t.Errorf("%+v", good)
	}
}

func TestInspect_Case03_AttestationsAreNoImages(t *testing.T) {
	got := inspected(t, "testdata/cases/03-one-platform-index")
	if len(got) != 2 || said(got["x:1-amd64 linux/amd64"]) != "" || said(got["x:1-arm64 linux/arm64"]) != "" {
		t.Errorf("%+v", got)
	}
}

func TestInspect_Case04_NoPlatform(t *testing.T) {
	got := inspected(t, "testdata/cases/04-no-platform")
	if len(got) != 2 || said(got["y:1 linux/amd64"]) != "" || said(got["y:1 linux/arm64"]) != "" {
		t.Errorf("%+v", got)
	}
}

func TestInspect_Case05_EnvInAShebang(t *testing.T) {
	for name, want := range map[string]string{
		"bad":  "error program its program /main.py (/usr/local/bin/python3) does not start: its interpreter python3 (through /usr/bin/env) is an executable for amd64, not arm64",
		"good": "",
		"none": "error program its program /run is a script without #!, which no kernel starts on any architecture: exec format error",
	} {
		if got := said(inspected(t, "testdata/cases/05-env-in-a-shebang:"+name)[name+" linux/arm64"]); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// elfFile is an ELF file with program headers: a loader, and segments of these alignments.
func elfFile(m elf.Machine, loader string, aligns ...uint64) []byte {
	var b bytes.Buffer
	heads := len(aligns)
	if loader != "" {
		heads++
	}
	h := elf.Header64{Type: uint16(elf.ET_DYN), Machine: uint16(m), Version: 1, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: uint16(heads)}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	write := func(v any) {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	write(h)
	if loader != "" {
		write(elf.Prog64{Type: uint32(elf.PT_INTERP), Off: uint64(64 + 56*heads), Filesz: uint64(len(loader) + 1)})
	}
	for _, a := range aligns {
		write(elf.Prog64{Type: uint32(elf.PT_LOAD), Align: a})
	}
	b.WriteString(loader + "\x00")
	return b.Bytes()
}

// layoutOf writes a layout of one image with these files.
func layoutOf(t *testing.T, arch platform.Arch, config v1.Config, files ...imagetest.File) string {
	t.Helper()
	return layoutWith(t, v1.Descriptor{}, imagetest.Image(arch, v1.ConfigFile{Config: config}, imagetest.Layer(files...)))
}

func layoutWith(t *testing.T, d v1.Descriptor, img mutate.Appendable) string {
	t.Helper()
	dir := t.TempDir()
	imagetest.WriteLayout(t, dir, imagetest.Append(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), img, d))
	return dir
}

func TestInspect_Rules(t *testing.T) {
	run := v1.Config{Entrypoint: []string{"/app"}}
	app := imagetest.File{Name: "app", Body: imagetest.ELF(arm64)}
	x86, ld := imagetest.ELF(amd64), "/lib/ld-linux-aarch64.so.1"
	lib := func(name string) imagetest.File { return imagetest.File{Name: name, Body: x86, Mode: 0o644} }
	for name, c := range map[string]struct {
		config v1.Config
		files  []imagetest.File
		want   string // "" = nothing but notes
	}{
		"good":          {run, []imagetest.File{app}, ""},
		"a loader":      {run, []imagetest.File{{Name: "app", Body: elfFile(elf.EM_AARCH64, ld, 0x10000)}, {Name: ld, Body: elfFile(elf.EM_AARCH64, "", 0x10000)}}, ""},
		"no loader":     {run, []imagetest.File{{Name: "app", Body: elfFile(elf.EM_AARCH64, ld, 0x10000)}}, "error program its program /app does not start: its loader /lib/ld-linux-aarch64.so.1 is not in the image"},
		"wrong loader":  {run, []imagetest.File{{Name: "app", Body: elfFile(elf.EM_AARCH64, ld)}, {Name: ld, Body: x86}}, "its loader /lib/ld-linux-aarch64.so.1 is an executable for amd64, not arm64"},
		"a script's":    {run, []imagetest.File{{Name: "app", Body: []byte("#!/bin/sh\n")}, {Name: "bin/sh", Body: elfFile(elf.EM_AARCH64, "/lib/ld-musl.so")}}, "its interpreter /bin/sh does not start: its loader /lib/ld-musl.so is not in the image"},
		"small pages":   {run, []imagetest.File{{Name: "app", Body: elfFile(elf.EM_AARCH64, "", 0x10000, 0x1000)}}, "warning pages its program is linked for memory pages of 4 KiB: it does not start on kernels with pages of 16 KiB and 64 KiB"},
		"middling":      {run, []imagetest.File{{Name: "app", Body: elfFile(elf.EM_AARCH64, "", 0x4000)}}, "pages of 64 KiB"},
		"large pages":   {run, []imagetest.File{{Name: "app", Body: elfFile(elf.EM_AARCH64, "", 0x10000)}}, ""},
		"CRLF":          {run, []imagetest.File{{Name: "app", Body: []byte("#!/bin/sh\r\n")}, {Name: "bin/sh", Body: imagetest.ELF(arm64)}}, `as Windows ends lines: no kernel finds "/bin/sh\r"`},
		"a library":     {run, []imagetest.File{app, lib("opt/venv/lib/python3.12/site-packages/x/_x.cpython-312-x86_64-linux-gnu.so")}, "error foreign it is for amd64, not arm64"},
		"another tool":  {run, []imagetest.File{app, {Name: "usr/local/bin/kubectl", Body: x86}}, "error foreign it is for amd64, not arm64"},
		"its folder":    {run, []imagetest.File{app, lib("usr/lib/x86_64-linux-gnu/libx.so.1")}, "error foreign"},
		"32 bits":       {run, []imagetest.File{app, {Name: "opt/old", Body: narrow(elf.EM_ARM)}}, "warning foreign it is for 32-bit arm, not arm64: it runs only where"},
		"an emulator":   {run, []imagetest.File{app, {Name: "usr/bin/qemu-x86_64-static", Body: x86}}, ""},
		"prebuilt":      {run, []imagetest.File{app, lib("app_/prebuilds/linux-x64/n.node"), {Name: "app_/prebuilds/linux-arm64/n.node", Body: imagetest.ELF(arm64)}}, ""},
		"test data":     {run, []imagetest.File{app, lib("usr/lib/go/src/debug/elf/testdata/x")}, ""},
		"BPF":           {run, []imagetest.File{app, {Name: "opt/p.o", Body: imagetest.ELFMachine(elf.EM_BPF)}}, ""},
		"data":          {v1.Config{}, []imagetest.File{{Name: "manifests/csv.yaml", Body: []byte("a: b\n"), Mode: 0o644}}, ""},
		"all another's": {run, []imagetest.File{{Name: "app", Body: x86}, lib("a"), lib("b"), lib("c"), lib("d")}, "error foreign listed as arm64, holds amd64: all of its other 4 programs and libraries"},
	} {
		t.Run(name, func(t *testing.T) {
			got := said(inspected(t, layoutOf(t, arm64, c.config, c.files...))["linux/arm64"])
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// narrow is the header of a 32-bit executable.
func narrow(m elf.Machine) []byte {
	h := elf.Header32{Type: uint16(elf.ET_EXEC), Machine: uint16(m), Version: 1, Ehsize: 52}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS32), byte(elf.ELFDATA2LSB), 1
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, h); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func TestInspect_NotesSayWhatLiesThere(t *testing.T) {
	got := inspected(t, layoutOf(t, arm64, v1.Config{Entrypoint: []string{"/app"}}, imagetest.File{Name: "app", Body: imagetest.ELF(arm64)},
		imagetest.File{Name: "usr/bin/qemu-x86_64-static", Body: imagetest.ELF(amd64)}))["linux/arm64"]
	if len(got.Findings) != 1 || got.Findings[0].Level != image.LevelNote || got.Findings[0].Path != "/usr/bin/qemu-x86_64-static" {
		t.Errorf("%+v", got.Findings)
	}
}

func TestInspect_IndexAndConfig(t *testing.T) {
	img := imagetest.Program(amd64, "")
	claim := func(p v1.Platform) string { return layoutWith(t, v1.Descriptor{Platform: &p}, indexOf(img, p)) }
	lie := inspected(t, claim(v1.Platform{OS: "linux", Architecture: "arm64"}))["linux/amd64"]
	if !strings.Contains(said(lie), "error claim the index says linux/arm64, its config says linux/amd64") {
		t.Errorf("%+v", lie)
	}
	if same := inspected(t, claim(v1.Platform{OS: "linux", Architecture: "amd64", Variant: "v1"}))["linux/amd64"]; said(same) != "" {
		t.Errorf("%+v", same)
	}
	both := imagetest.Append(indexOf(img, v1.Platform{OS: "linux", Architecture: "amd64"}), imagetest.Program(amd64, "other"), v1.Descriptor{})
	places := &image.Places{}
	sets, err := places.Open(t.Context(), layoutWith(t, v1.Descriptor{}, both), nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := new(image.Inspector).Inspect(t.Context(), sets[0])
	if err != nil || len(r.Platforms) != 2 || !strings.Contains(said(r.Platforms[1]), "error twice it is for linux/amd64, and so is sha256:") {
		t.Errorf("%+v, %v", r, err)
	}
}

// Nodes go by the platform of every index on the way, and an image that none of them finds is no image for its platform.
func TestInspect_WhatNoNodeFinds(t *testing.T) {
	x86 := v1.Platform{OS: "linux", Architecture: "amd64"}
	inner := indexOf(imagetest.Program(amd64, ""), x86)
	for name, c := range map[string]struct {
		index v1.ImageIndex
		want  string
	}{
		"another's":  {indexOf(inner, v1.Platform{OS: "linux", Architecture: "s390x"}), "linux/amd64 error claim no node finds it: it is for linux/amd64, and the index sha256:"},
		"its own":    {indexOf(inner, x86), ""},
		"unmarked":   {imagetest.Append(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), inner, v1.Descriptor{}), ""},
		"empty":      {mutate.IndexMediaType(empty.Index, types.OCIImageIndex), "error empty it names no image: there is nothing that a node could run"},
		"all hollow": {indexOf(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), x86), "error empty it names no image"},
	} {
		sets, err := new(image.Places).Open(t.Context(), layoutWith(t, v1.Descriptor{}, c.index), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r, err := new(image.Inspector).Inspect(t.Context(), sets[0])
		got := said(image.PlatformReport{Findings: r.Findings})
		for _, p := range r.Platforms {
			if s := said(p); s != "" {
				got += p.Platform + " " + s
			}
		}
		errs, _ := r.Count()
		if err != nil || !strings.HasPrefix(got, c.want) || (c.want == "") != (got == "") || (errs > 0) != (c.want != "") || (r.Worst() == image.LevelError) != (c.want != "") {
			t.Errorf("%s: got %q, %d errors, %v, want %q", name, got, errs, err, c.want)
		}
	}
}

func indexOf(img mutate.Appendable, p v1.Platform) v1.ImageIndex {
	return imagetest.Append(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), img, v1.Descriptor{Platform: &p})
}

func TestInspect_OtherPlatformsAreShown(t *testing.T) {
	s390 := imagetest.Image(amd64, v1.ConfigFile{Architecture: "s390x", Config: v1.Config{Entrypoint: []string{"/app"}}}, imagetest.Layer(imagetest.File{Name: "app", Body: good}))
	windows := imagetest.Image(amd64, v1.ConfigFile{OS: "windows", OSVersion: "10.0.17763.1"}, imagetest.Layer(imagetest.File{Name: "Files/x"}))
	got := inspected(t, layoutWith(t, v1.Descriptor{}, imagetest.Append(indexOf(s390, v1.Platform{OS: "linux", Architecture: "s390x"}), windows, v1.Descriptor{})))
	for _, p := range []string{"linux/s390x", "windows/amd64:10.0.17763.1"} {
		if said(got[p]) != "" || len(got[p].Findings) != 1 || got[p].Findings[0].Rule != image.RuleUnlooked {
			t.Errorf("%s: %+v", p, got[p])
		}
	}
}

func TestInspect_Archives(t *testing.T) {
	dir := t.TempDir()
	img := imagetest.Program(arm64, "")
	imagetest.DockerArchive(t, filepath.Join(dir, "saved.tar"), "registry.test/app:1", img)
	imagetest.Layout(t, filepath.Join(dir, "layout"), map[string]v1.ImageIndex{"registry.test/app:1": imagetest.Index(map[platform.Arch]v1.Image{arm64: img})})
	imagetest.Archive(t, filepath.Join(dir, "layout"), filepath.Join(dir, "oci.tar"))
	for _, path := range []string{"saved.tar", "oci.tar", "layout", "oci.tar:1", "layout:registry.test/app:1"} {
		if got := inspected(t, filepath.Join(dir, path)); len(got) != 1 || said(got["registry.test/app:1 linux/arm64"]) != "" {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

func TestEnv(t *testing.T) {
	sh := imagetest.File{Name: "usr/bin/env", Body: good}
	for line, want := range map[string]string{
		"#!/usr/bin/env tool":                    "",
		"#!/usr/bin/env wrong":                   "interpreter wrong (through /usr/bin/env) is an executable for amd64",
		"#!/usr/bin/env -S wrong -u":             "interpreter wrong",
		"#!/usr/bin/env -Swrong -u":              "interpreter wrong",
		"#!/usr/bin/env -vS wrong":               "interpreter wrong",
		"#!/usr/bin/env --split-string=wrong x":  "interpreter wrong",
		"#!/usr/bin/env -S A=b C='d e' wrong":    "interpreter wrong",
		"#!/usr/bin/env -S -u HOME wrong":        "interpreter wrong",
		"#!/usr/bin/env -S PATH=/opt/bin tool":   "interpreter tool (through /usr/bin/env) is an executable for amd64",
		"#!/usr/bin/env -S -i tool":              "",
		"#!/usr/bin/env -S -C /opt ./bin/tool":   "interpreter ./bin/tool",
		"#!/usr/bin/env -S -iS wrong-and-longer": "interpreter wrong-and-longer",
		"#!/usr/bin/env tool -u":                 `without -S, env takes "tool -u" for one name`,
		"#!/usr/bin/env none":                    "interpreter none (through /usr/bin/env) is not in the image",
		"#!/usr/bin/env":                         "gives env no program",
		"#!/usr/bin/env --unheard-of wrong":      "",
		"#! /bin/missing":                        "interpreter /bin/missing is not in the image",
		"#!":                                     "whose #! names no program",
	} {
		layout := layoutOf(t, arm64, v1.Config{Entrypoint: []string{"/run"}, Env: []string{"PATH=/bin"}}, sh,
			imagetest.File{Name: "run", Body: []byte(line + "\n")}, imagetest.File{Name: "bin/tool", Body: good}, imagetest.File{Name: "bin/wrong", Body: bad},
			imagetest.File{Name: "opt/bin/tool", Body: bad})
		p := inspected(t, layout)["linux/arm64"]
		p.Findings = slices.DeleteFunc(p.Findings, func(f image.Finding) bool { return f.Rule != image.RuleProgram })
		if got := said(p); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

func TestInspect_Interrupted(t *testing.T) {
	sets, err := new(image.Places).Open(t.Context(), layoutOf(t, arm64, v1.Config{}, imagetest.File{Name: "x", Body: good}), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := new(image.Inspector).Inspect(ctx, sets[0]); err == nil {
		t.Error("no error")
	}
}
