package image_test

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
)

const amd64, arm64 = platform.AMD64, platform.ARM64

type layers = [][]imagetest.File

var (
	good = imagetest.ELF(arm64)
	bad  = imagetest.ELF(amd64)
)

func TestPrograms(t *testing.T) {
	entry := func(argv ...string) v1.Config { return v1.Config{Entrypoint: argv} }
	for _, c := range []struct {
		name   string
		config v1.Config
		all    bool
		layers layers
		want   string // "" = good
	}{
		{"entrypoint", entry("/app"), false, layers{{{Name: "app", Body: good}}}, ""},
		{"entrypoint of the other architecture", entry("/app"), false, layers{{{Name: "app", Body: bad}}},
			"its program /app is an executable for amd64, not arm64"},
		{"command", v1.Config{Cmd: []string{"/app"}}, false, layers{{{Name: "app", Body: bad}}}, "its program /app is an executable for amd64"},
		{"entrypoint goes before command", v1.Config{Entrypoint: []string{"/app"}, Cmd: []string{"/other"}}, false,
			layers{{{Name: "app", Body: good}, {Name: "other", Body: bad}}}, ""},
		{"third machine", entry("/app"), false, layers{{{Name: "app", Body: imagetest.ELFMachine(elf.EM_S390)}}}, "another machine (EM_S390), not arm64"},
		{"missing", entry("/app"), false, layers{{{Name: "other", Body: good}}}, "its program /app is not in the image"},
		{"a directory", entry("/app"), false, layers{{{Name: "app/", Dir: true}}}, "its program /app is not in the image"},
		{"not executable", entry("/app"), false, layers{{{Name: "app", Body: good, Mode: 0o644}}}, "its program /app is not executable"},
		{"text", entry("/app"), false, layers{{{Name: "app", Body: []byte("hello")}}}, "its program /app is a script without #!, which no kernel starts on any architecture: exec format error"},
		{"neither text nor a program", entry("/app"), false, layers{{{Name: "app", Body: []byte("MZ\x90\x00\x03")}}}, "its program /app is neither an ELF executable nor a script"},
		{"empty", entry("/app"), false, layers{{{Name: "app"}}}, "its program /app is an empty file"},
		{"default PATH", entry("app"), false, layers{{{Name: "usr/bin/app", Body: bad}}}, "its program app is an executable for amd64"},
		{"PATH of the image", v1.Config{Entrypoint: []string{"app"}, Env: []string{"A=b", "PATH=/opt/x:/opt/y"}}, false,
			layers{{{Name: "opt/y/app", Body: bad}, {Name: "usr/bin/app", Body: good}}}, "its program app is an executable for amd64"},
		{"first of PATH", v1.Config{Entrypoint: []string{"app"}, Env: []string{"PATH=/opt/x:/opt/y"}}, false,
			layers{{{Name: "opt/x/app", Body: good}, {Name: "opt/y/app", Body: bad}}}, ""},
		{"working directory", v1.Config{Entrypoint: []string{"./app"}, WorkingDir: "/srv"}, false, layers{{{Name: "srv/app", Body: bad}}},
			"its program ./app is an executable for amd64"},
		{"symbolic links", entry("/bin/app"), false, layers{{{Name: "bin", Link: "usr/bin"}, {Name: "usr/bin/app", Link: "../lib/real"}, {Name: "usr/lib/real", Body: bad}}},
			"its program /bin/app is an executable for amd64"},
		{"absolute link", entry("/bin/app"), false, layers{{{Name: "bin/app", Link: "/busybox"}, {Name: "busybox", Body: good}}}, ""},
		{"loop", entry("/app"), false, layers{{{Name: "app", Link: "ppa"}, {Name: "ppa", Link: "app"}}}, "is reached only through a loop of symbolic links"},
		{"link out of the image", entry("/app"), false, layers{{{Name: "app", Link: "../../../x"}, {Name: "x", Body: good}}}, ""},
		{"hard link", entry("/app"), false, layers{{{Name: "real", Body: bad}, {Name: "app", Hard: "real"}}}, "its program /app is an executable for amd64"},
		{"hard link to nothing", entry("/app"), false, layers{{{Name: "app", Hard: "real"}}}, "app is a hard link to real, which is missing"},
		{"script", entry("/run.sh"), false, layers{{{Name: "run.sh", Body: []byte("#! /bin/sh -e\nexec app\n")}, {Name: "bin/sh", Body: bad}}},
			"its program /run.sh does not start: its interpreter /bin/sh is an executable for amd64, not arm64"},
		{"script without its interpreter", entry("/run.sh"), false, layers{{{Name: "run.sh", Body: []byte("#!/bin/sh\n")}}}, "is not in the image"},
		{"script of itself", entry("/run.sh"), false, layers{{{Name: "run.sh", Body: []byte("#!/run.sh\n")}}}, "is a script run by scripts without end"},
		{"upper layer replaces", entry("/app"), false, layers{{{Name: "app", Body: bad}}, {{Name: "app", Body: good}}}, ""},
		{"upper layer removes", entry("/app"), false, layers{{{Name: "app", Body: good}}, {{Name: ".wh.app"}}}, "its program /app is not in the image"},
		{"upper layer removes a folder", entry("/d/app"), false, layers{{{Name: "d/app", Body: good}}, {{Name: ".wh.d"}}}, "is not in the image"},
		{"removed and made anew", entry("/d/app"), false, layers{{{Name: "d/app", Body: bad}}, {{Name: "d/app", Body: good}, {Name: ".wh.d"}}}, ""},
		{"opaque folder", entry("/d/app"), false, layers{{{Name: "d/app", Body: good}}, {{Name: "d/.wh..wh..opq"}}}, "is not in the image"},
		{"opaque folder keeps its own layer", entry("/d/app"), false, layers{{{Name: "d/app", Body: bad}}, {{Name: "d/app", Body: good}, {Name: "d/.wh..wh..opq"}}}, ""},
		{"file through a lower layer's link", entry("/usr/bin/app"), false, layers{{{Name: "bin", Link: "usr/bin"}}, {{Name: "bin/app", Body: bad}}},
			"its program /usr/bin/app is an executable for amd64"},
		{"folder becomes a link", entry("/bin/app"), false, layers{{{Name: "bin/app", Body: bad}, {Name: "usr/bin/app", Body: good}}, {{Name: "bin", Link: "usr/bin"}}}, ""},
		{"folder becomes a link and is gone", entry("/bin/app"), true, layers{{{Name: "bin", Dir: true}, {Name: "bin/app", Body: bad}, {Name: "usr/bin/app", Body: good}},
			{{Name: "bin", Link: "usr/bin"}}}, ""},

		{"others do not count", entry("/app"), false, layers{{{Name: "app", Body: good}, {Name: "other", Body: bad}}}, ""},
		{"others count with all", entry("/app"), true, layers{{{Name: "app", Body: good}, {Name: "opt/other", Body: bad}}},
			"its file /opt/other is an executable for amd64, not arm64"},
		{"no program, all good", v1.Config{}, true, layers{{{Name: "bin/app", Body: good}}}, ""},
		{"no program, one bad", v1.Config{}, false, layers{{{Name: "bin/app", Body: bad}}}, "its file /bin/app is an executable for amd64"},
		{"no program, nothing", v1.Config{}, true, layers{{{Name: "data", Body: good, Mode: 0o644}}}, "it holds no executable"},
		{"only data", v1.Config{}, false, layers{{{Name: "data", Body: []byte("x"), Mode: 0o644}}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ls []v1.Layer
			for _, files := range c.layers {
				ls = append(ls, imagetest.Layer(files...))
			}
			img := open(t, imagetest.Image(arm64, v1.ConfigFile{Config: c.config}, ls...))
			problems, err := new(image.Inspector).Programs(t.Context(), img, c.all)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(problems, "\n")
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) || len(problems) > 1 {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestPrograms_LayersMustBeTheConfigs(t *testing.T) {
	layer := imagetest.Layer(imagetest.File{Name: "app", Body: good})
	config := v1.ConfigFile{Config: v1.Config{Entrypoint: []string{"/app"}}}
	img := imagetest.Image(arm64, config, layer, imagetest.Layer(imagetest.File{Name: "x", Body: good}))
	for name, c := range map[string]struct {
		edit func(*v1.ConfigFile)
		want string
	}{
		"order":  {func(f *v1.ConfigFile) { d := f.RootFS.DiffIDs; d[0], d[1] = d[1], d[0] }, "is not the one its config lists"},
		"number": {func(f *v1.ConfigFile) { f.RootFS.DiffIDs = f.RootFS.DiffIDs[:1] }, "it has 2 layers, but its config lists 1"},
	} {
		wrong := open(t, imagetest.WithConfig(img, c.edit))
		problems, err := new(image.Inspector).Programs(t.Context(), wrong, false)
		if err != nil || len(problems) != 1 || !strings.Contains(problems[0], c.want) {
			t.Errorf("%s: got %q, %v", name, problems, err)
		}
	}
}

func TestPrograms_Interrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if p, err := new(image.Inspector).Programs(ctx, open(t, imagetest.Program(arm64, "")), false); !errors.Is(err, context.Canceled) || p != nil {
		t.Errorf("got %q, %v", p, err)
	}
}

func TestMachine(t *testing.T) {
	change := func(at int, b byte) []byte { e := bytes.Clone(good); e[at] = b; return e }
	for _, c := range []struct {
		name string
		head []byte
		want elf.Machine
		err  error
	}{
		{"arm", good, elf.EM_AARCH64, nil},
		{"x86", bad, elf.EM_X86_64, nil},
		{"position independent", change(16, byte(elf.ET_DYN)), elf.EM_AARCH64, nil},
		{"32 bit", change(elf.EI_CLASS, byte(elf.ELFCLASS32)), elf.EM_NONE, nil},
		{"object file", change(16, byte(elf.ET_REL)), 0, image.ErrNotExecutable},
		{"core", change(16, byte(elf.ET_CORE)), 0, image.ErrNotExecutable},
		{"script", []byte("#!/bin/sh\necho hello world\n"), 0, image.ErrNotExecutable},
		{"cut off", good[:19], 0, image.ErrNotExecutable},
		{"empty", nil, 0, image.ErrNotExecutable},
	} {
		m, err := image.Machine(bytes.NewReader(c.head))
		if elf.Machine(m) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v", c.name, elf.Machine(m), err)
		}
	}
	bigEndian := change(elf.EI_DATA, byte(elf.ELFDATA2MSB))
	bigEndian[16], bigEndian[17] = 0, byte(elf.ET_EXEC)
	if m, err := image.Machine(bytes.NewReader(bigEndian)); err != nil || image.CheckMachine(m, arm64) == nil {
		t.Errorf("a big-endian executable passes: %v, %v", m, err)
	}
}

func TestParseRef(t *testing.T) {
	for ref, want := range map[string]image.Ref{
		"registry.k8s.io/kube-proxy:v1.36.3": {Repository: "registry.k8s.io/kube-proxy", Tag: "v1.36.3"},
		"localhost:5000/a/b:1":               {Repository: "localhost:5000/a/b", Tag: "1"},
		"docker.io/library/busybox:1":        {Repository: "docker.io/library/busybox", Tag: "1"},
	} {
		if got, err := image.ParseRef(ref); err != nil || got != want {
			t.Errorf("%s: %+v, %v", ref, got, err)
		}
	}
	for _, ref := range []string{"", "pause:3.10", "registry.k8s.io/pause", "localhost:5000/a", "registry.k8s.io/Pause:1", "registry.k8s.io/pause:1 2",
		"registry.k8s.io/pause:1@sha256:" + strings.Repeat("0", 64)} {
		if got, err := image.ParseRef(ref); err == nil {
			t.Errorf("%q is accepted: %+v", ref, got)
		}
	}
}
