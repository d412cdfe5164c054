package image_test

import (
	"context"
	"debug/elf"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/registry/registrytest"
)

// toolbox is an image for arm64 whose own program is right, and that has others.
func toolbox(config v1.Config) v1.Image {
	return imagetest.Image(arm64, v1.ConfigFile{Config: config}, imagetest.Layer(
		imagetest.File{Name: "app", Body: good}, imagetest.File{Name: "usr/local/bin/kubectl", Body: bad}, imagetest.File{Name: "usr/bin/busybox", Body: good},
		imagetest.File{Name: "usr/bin/sh", Link: "busybox"}, imagetest.File{Name: "bin", Link: "usr/bin"}, imagetest.File{Name: "opt/tool", Body: good},
		imagetest.File{Name: "opt/run.py", Body: []byte("#!/usr/bin/python3\n")}, imagetest.File{Name: "opt/notes", Body: []byte("a"), Mode: 0o644},
		imagetest.File{Name: "opt/linked", Body: elfFile(elf.EM_AARCH64, "/lib/ld-musl-aarch64.so.1")}))
}

// TestStarter_WhatAPodStarts has a pod's word for what it starts before the image's.
func TestStarter_WhatAPodStarts(t *testing.T) {
	own := v1.Config{Entrypoint: []string{"/app"}, Cmd: []string{"serve"}, WorkingDir: "/opt"}
	command := func(words ...string) image.Start { return image.Start{Command: words} }
	for name, c := range map[string]struct {
		config v1.Config
		start  image.Start
		want   string // "" = it starts; "missing: …", "wrong: …" or "unknown: …"
	}{
		"the image's own":               {own, image.Start{}, ""},
		"a command":                     {own, command("sh", "-c", "kubectl get pods"), ""},
		"a link to a link":              {own, command("/bin/sh"), ""},
		"of another architecture":       {own, command("kubectl", "get"), "wrong: its program kubectl (/usr/local/bin/kubectl) is an executable for amd64, not arm64"},
		"not there":                     {own, command("/usr/bin/bash"), "missing: its program /usr/bin/bash is not in the image"},
		"not in PATH":                   {own, command("tool"), "missing: its program tool is not in the image"},
		"in the pod's PATH":             {own, image.Start{Command: []string{"tool"}, Path: "/opt"}, ""},
		"in the working directory":      {own, command("./tool"), ""},
		"in the pod's directory":        {own, image.Start{Command: []string{"./tool"}, Dir: "/usr"}, "missing: its program ./tool is not in the image"},
		"one word":                      {own, command("sh -c true"), "blanks and all"},
		"not executable":                {own, command("/opt/notes"), "wrong: its program /opt/notes is not executable"},
		"no interpreter":                {own, command("/opt/run.py"), "wrong: its program /opt/run.py does not start: its interpreter /usr/bin/python3 is not in the image"},
		"no loader":                     {own, command("/opt/linked"), "wrong: its program /opt/linked does not start: its loader /lib/ld-musl-aarch64.so.1 is not in the image"},
		"arguments are the program's":   {own, image.Start{Args: []string{"/usr/bin/bash"}}, ""},
		"arguments without entrypoint":  {v1.Config{Cmd: []string{"/app"}}, image.Start{Args: []string{"kubectl"}}, "wrong: its program kubectl"},
		"a command instead of both":     {v1.Config{Entrypoint: []string{"/none"}, Cmd: []string{"x"}}, command("/app"), ""},
		"nothing at all":                {v1.Config{}, image.Start{}, "missing: neither the pod nor the image says what is to be started"},
		"from a volume":                 {own, image.Start{Command: []string{"/tools/x"}, Mounts: []string{"/tools/"}}, "unknown: what it starts (/tools/x) may lie in the volume at /tools/"},
		"from a volume through a link":  {own, image.Start{Command: []string{"/usr/bin/x"}, Mounts: []string{"/bin"}}, "unknown: what it starts (/usr/bin/x) may lie in the volume at /bin"},
		"a volume over what is there":   {own, image.Start{Command: []string{"/app"}, Mounts: []string{"/app"}}, "unknown: what it starts (/app) may lie in the volume at /app"},
		"a volume in PATH":              {own, image.Start{Command: []string{"tool"}, Mounts: []string{"/usr/local/bin/tool"}}, "unknown: what it starts (tool) may lie in the volume"},
		"an interpreter from a volume":  {own, image.Start{Command: []string{"/opt/run.py"}, Mounts: []string{"/usr/bin/python3"}}, "unknown: what it starts (/opt/run.py) may lie"},
		"a volume elsewhere":            {own, image.Start{Command: []string{"kubectl"}, Mounts: []string{"/data", "/usr/local/binaries"}}, "wrong: its program kubectl"},
		"what the pod does not tell":    {own, image.Start{Command: []string{"$(TOOL)"}, Unknown: "a variable"}, "unknown: a variable"},
		"an empty name":                 {own, command(""), "missing: its program  is not in the image"},
		"a folder":                      {own, command("/opt"), "missing: its program /opt is not in the image"},
		"out of the image and in again": {own, command("../../../app"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.New(t)
			s.Image(t, "team/tools", "1", toolbox(c.config))
			got := (&image.Starter{Registry: plain(t)}).Look(t.Context(), s.Host()+"/team/tools:1", nil, arm64, []image.Start{c.start})[0]
			if said := startedText(got); (c.want == "") != (said == "") || !strings.Contains(said, c.want) {
				t.Errorf("got %q, want %q", said, c.want)
			}
		})
	}
}

func startedText(s image.Started) string {
	switch {
	case s.Missing:
		return "missing: " + s.Wrong
	case s.Wrong != "":
		return "wrong: " + s.Wrong
	case s.Unknown != "":
		return "unknown: " + s.Unknown
	}
	return ""
}

func TestStarter_WhatCannotBeRead(t *testing.T) {
	s := registrytest.New(t)
	s.Image(t, "team/x86", "1", imagetest.Program(amd64, ""))
	look := func(ref string) image.Started {
		return (&image.Starter{Registry: plain(t)}).Look(t.Context(), ref, nil, arm64, []image.Start{{}})[0]
	}
	for ref, want := range map[string]string{
		s.Host() + "/team/none:1": "404", s.Host() + "/team/x86:1": "no image whose config says linux/arm64", "Wrong/Name": "no name of an image",
	} {
		if got := look(ref); !got.Unread || !strings.Contains(got.Unknown, want) || got.Wrong != "" {
			t.Errorf("%s: %+v", ref, got)
		}
	}
}

// TestAudit_Programs has a row of its own for the places where what is started does not start.
func TestAudit_Programs(t *testing.T) {
	s := registrytest.New(t)
	s.Index(t, "team/tools", "1", imagetest.Index(map[platform.Arch]v1.Image{
		amd64: imagetest.Image(amd64, v1.ConfigFile{Config: v1.Config{Entrypoint: []string{"/app"}}}, imagetest.Layer(
			imagetest.File{Name: "app", Body: imagetest.ELF(amd64)}, imagetest.File{Name: "usr/bin/kubectl", Body: imagetest.ELF(amd64)})),
		arm64: toolbox(v1.Config{Entrypoint: []string{"/app"}}),
	}))
	want := func(object string, start *image.Start) image.Wanted {
		return image.Wanted{Image: s.Host() + "/team/tools:1", Archs: platform.All(), Place: image.Place{Object: object}, Start: start}
	}
	all := []image.Wanted{
		want("a good one", &image.Start{}), want("kubectl", &image.Start{Command: []string{"kubectl"}}), want("bash", &image.Start{Command: []string{"bash"}}),
		want("a volume", nil), want("mounted", &image.Start{Command: []string{"/x/y"}, Mounts: []string{"/x"}}),
	}
	c := plain(t)
	rows, err := (&image.Asker{Registry: c, Starter: &image.Starter{Registry: c}}).Audit(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %v %s %s", r.Arch, r.Verdict, r.Where, r.Level(), r.Reason)))
	}
	if !slices.Equal(got, []string{
		"amd64 missing [bash] error its program bash is not in the image",
		"amd64 yes [a good one a volume kubectl]",
		"amd64 yes [mounted]  what it starts (/x/y) may lie in the volume at /x",
		"arm64 missing [bash] error its program bash is not in the image",
		"arm64 wrong [kubectl] error its program kubectl (/usr/local/bin/kubectl) is an executable for amd64, not arm64",
		"arm64 yes [a good one a volume]",
		"arm64 yes [mounted]  what it starts (/x/y) may lie in the volume at /x",
	}) {
		t.Errorf("got %s", strings.Join(got, "\n"))
	}
	s.Forget()
	// the index and its two children, and nothing of these
	if _, err := (&image.Asker{Registry: plain(t)}).Audit(t.Context(), all); err != nil || s.Count("GET") != 3 {
		t.Errorf("without: %d GETs, %v", s.Count("GET"), err)
	}
}

func asNobody(context.Context, name.Repository) ([]registry.Credential, error) { return nil, nil }

// TestInspect_AbsentAndTorn shows the two rules red, and silent.
func TestInspect_AbsentAndTorn(t *testing.T) {
	s := registrytest.New(t)
	other := imagetest.Program(amd64, "")
	both := imagetest.Index(map[platform.Arch]v1.Image{amd64: other, arm64: imagetest.Program(arm64, "")})
	s.Index(t, "team/app", "1", both)
	rules := func() string {
		t.Helper()
		places := &image.Places{Registry: plain(t), Keys: asNobody}
		sets, err := places.Open(t.Context(), s.Host()+"/team/app:1", nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := new(image.Inspector).Inspect(t.Context(), sets[0])
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, p := range r.Platforms {
			for _, f := range p.Findings {
				out = append(out, fmt.Sprintf("%s %s %s", p.Platform, f.Level, f.Rule))
			}
		}
		return strings.Join(out, ", ")
	}
	if got := rules(); got != "" {
		t.Errorf("silent: %s", got)
	}
	digest, err := other.Digest()
	if err != nil {
		t.Fatal(err)
	}
	s.Delete("team/app", digest.String())
	if got := rules(); got != "linux/amd64 error absent" {
		t.Errorf("absent: %s", got)
	}

	whole := elfFile(elf.EM_AARCH64, "", 0x10000)
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"whole":                {whole, ""},
		"cut in its headers":   {whole[:100], "warning torn its program headers point to where it does not reach"},
		"cut in its loader":    {elfFile(elf.EM_AARCH64, "/lib/ld.so", 0x10000)[:64+2*56+4], "warning torn"},
		"cut behind its magic": {whole[:21], "warning torn"},
	} {
		got := said(inspected(t, layoutOf(t, arm64, v1.Config{Entrypoint: []string{"/app"}}, imagetest.File{Name: "app", Body: c.body}))["linux/arm64"])
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
