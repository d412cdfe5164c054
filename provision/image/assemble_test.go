package image_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/registry/registrytest"
)

// assembly is one run of assemble against a registry.
type assembly struct {
	t *testing.T
	s *registrytest.Server
	o image.AssembleOptions
	k []registry.Credential
}

func assembling(t *testing.T, amd64Ref, arm64Ref string) *assembly {
	s := registrytest.New(t)
	a := &assembly{t: t, s: s, o: image.AssembleOptions{Target: s.Host() + "/team/app:1.5"}}
	for arch, ref := range map[platform.Arch]string{amd64: amd64Ref, arm64: arm64Ref} {
		if ref != "" {
			a.o.Parts = append(a.o.Parts, image.PartFor(arch, strings.ReplaceAll(ref, "HOST", s.Host())))
		}
	}
	return a
}

// run assembles and pushes, each time with a client of its own.
func (a *assembly) run() (*image.Assembly, image.Pushed, error) {
	a.t.Helper()
	places := &image.Places{Registry: plain(a.t)}
	places.Keys = func(_ context.Context, r name.Repository) ([]registry.Credential, error) { return a.k, nil }
	a.t.Cleanup(func() { _ = places.Close() })
	made, err := image.Assemble(a.t.Context(), places, &image.Inspector{}, a.o)
	if err != nil {
		return nil, image.Pushed{}, err
	}
	pushed, err := made.Push(a.t.Context(), places)
	return made, pushed, err
}

func (a *assembly) good() (*image.Assembly, image.Pushed) {
	a.t.Helper()
	made, pushed, err := a.run()
	if err != nil {
		a.t.Fatal(err)
	}
	return made, pushed
}

// nothingSent holds that the tag is not there.
func (a *assembly) nothingSent() {
	a.t.Helper()
	if _, raw := a.s.Manifest("team/app", "1.5"); raw != nil {
		a.t.Error("the tag was written")
	}
	if n := a.s.Count("PUT") + a.s.Count("POST"); n > 0 {
		a.t.Errorf("something was sent: %q", a.s.Asked())
	}
}

// pushed is the index that the registry has now.
func (a *assembly) pushed() v1.IndexManifest {
	a.t.Helper()
	_, raw := a.s.Manifest("team/app", "1.5")
	var index v1.IndexManifest
	if err := json.Unmarshal(raw, &index); err != nil {
		a.t.Fatalf("%v: %s", err, raw)
	}
	return index
}

const cases = "testdata/cases/"

func TestAssemble_Case01_RefusesAndSendsNothing(t *testing.T) {
	a := assembling(t, cases+"01-amd64-entry-holds-arm64:minideb:1", cases+"01-amd64-entry-holds-arm64:minideb:1")
	_, _, err := a.run()
	if !errors.Is(err, image.ErrRefused) || !strings.Contains(err.Error(), "its program sh (/usr/bin/dash) is an executable for arm64, not amd64") {
		t.Errorf("error %v", err)
	}
	a.nothingSent()
}

func TestAssemble_Case02_ARegistryThatTakesDockerOnly(t *testing.T) {
	a := assembling(t, cases+"02-registry-takes-docker-only:srv:1-amd64", cases+"02-registry-takes-docker-only:srv:1-arm64")
	a.s.DockerOnly = true
	_, _, err := a.run()
	if err == nil || !strings.Contains(err.Error(), "answers 400 Bad Request (MANIFEST_INVALID: Invalid image, fail to parse 'manifest.json')") ||
		hint.Text(err) != "--format docker writes it in those" {
		t.Errorf("error %v", err)
	}
	if _, raw := a.s.Manifest("team/app", "1.5"); raw != nil {
		t.Error("the tag was written")
	}
	a.o.Format = image.FormatDocker
	made, _ := a.good()
	index := a.pushed()
	if index.MediaType != types.DockerManifestList || len(index.Manifests) != 2 {
		t.Fatalf("%+v", index)
	}
	layers := map[string]bool{}
	for i, d := range index.Manifests {
		media, raw := a.s.Manifest("team/app", d.Digest.String())
		var m v1.Manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		if d.MediaType != types.DockerManifestSchema2 || media != string(d.MediaType) || m.MediaType != d.MediaType || m.Config.MediaType != types.DockerConfigJSON ||
			m.Layers[0].MediaType != types.DockerLayer || !made.Children[i].Converted || made.Children[i].Was == "" {
			t.Errorf("%+v %s", d, raw)
		}
		layers[m.Layers[0].Digest.String()] = true
	}
	for _, digest := range []string{"sha256:6ddea48400c0f73a3d138cb3eb089c114e828fb8cb9cef45902c729d77a7f665", "sha256:76903a63324a63f2649f3d5abc5d549c162a927b2e01ff3f41b4ce83b4092a0d"} {
		if !layers[digest] {
			t.Errorf("the layer %s is not the same any more", digest)
		}
	}
}

func TestAssemble_Case03_IndexesOfOnePlatform(t *testing.T) {
	a := assembling(t, cases+"03-one-platform-index:x:1-amd64", cases+"03-one-platform-index:x:1-arm64")
	a.good()
	x86, arm := "sha256:f14ed9c878a3dcd4ee17940a4e27979a1c9eb52a09616f4f1edf8efd7b11074c", "sha256:58695a4d04b80d0d7b7b3ec4e2e8ae888655d1f6630dcc550d2cac6918a0f250"
	index := a.pushed()
	if len(index.Manifests) != 2 || index.Manifests[0].Digest.String() != x86 || index.Manifests[1].Digest.String() != arm || index.Manifests[1].Platform.Variant != "v8" {
		t.Errorf("%+v", index)
	}
	a.o.KeepAttestations = true
	a.good()
	if index = a.pushed(); len(index.Manifests) != 3 || index.Manifests[2].Digest.String() != "sha256:fe55d9f1c9815578eccb17c8b49578c8c252b7ae7a2f8975db71ce730fadc6ff" ||
		index.Manifests[2].Annotations["vnd.docker.reference.digest"] != x86 {
		t.Errorf("%+v", index)
	}
	a.o.Format = image.FormatDocker
	if _, _, err := a.run(); !errors.Is(err, image.ErrRefused) || !strings.Contains(err.Error(), "has no attestations") {
		t.Errorf("error %v", err)
	}
}

func TestAssemble_Case04_NoPlatform(t *testing.T) {
	a := assembling(t, cases+"04-no-platform", cases+"04-no-platform")
	a.good()
	if index := a.pushed(); len(index.Manifests) != 2 || index.Manifests[0].Platform.Architecture != "amd64" || index.Manifests[1].Platform.Architecture != "arm64" {
		t.Errorf("%+v", index)
	}
}

func TestAssemble_Case05_EnvInAShebang(t *testing.T) {
	for name, want := range map[string]string{"bad": "python3 (through /usr/bin/env) is an executable for amd64", "good": "", "none": "is a script without #!"} {
		a := assembling(t, "", cases+"05-env-in-a-shebang:"+name)
		if _, _, err := a.run(); (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// recipe is the vendor's: two tags of a registry.
func recipe(t *testing.T) *assembly {
	a := assembling(t, "HOST/build/app-amd64:1.5", "HOST/build/app-arm64:1.5")
	a.s.Image(t, "build/app-amd64", "1.5", imagetest.Program(amd64, ""))
	a.s.Image(t, "build/app-arm64", "1.5", imagetest.Program(arm64, ""))
	return a
}

func TestAssemble_SameRegistry_NothingGoesUp(t *testing.T) {
	for name, tokens := range map[string]bool{"open": false, "with tokens": true} {
		a := recipe(t)
		a.s.Tokens = tokens
		if tokens {
			a.s.Username, a.s.Password = "me", "secret"
			a.k = []registry.Credential{{Username: "me", Password: "secret", From: "the test"}}
		}
		first, pushed := a.good()
		if a.s.Up() != 0 || pushed.Mounted != 4 || pushed.Sent != 0 || a.s.Count("") > 20 {
			t.Errorf("%s: %d bytes up, %d requests: %+v\n%s", name, a.s.Up(), a.s.Count(""), pushed, strings.Join(a.s.Asked(), "\n"))
		}
		t.Logf("%s: %d requests", name, a.s.Count(""))
		a.s.Forget()
		again, pushed := a.good()
		if again.Digest != first.Digest || !pushed.Unchanged || a.s.Count("PUT")+a.s.Count("POST") != 0 {
			t.Errorf("%s, again: %+v, %q", name, pushed, a.s.Asked())
		}
	}
}

func TestAssemble_NoMounts_BlobsAreCopied(t *testing.T) {
	a := recipe(t)
	a.s.NoMounts = true
	if _, pushed := a.good(); pushed.Mounted != 0 || pushed.Sent != 4 || len(a.pushed().Manifests) != 2 {
		t.Errorf("%+v", pushed)
	}
}

func TestAssemble_FromAnotherRegistryAndFromFiles(t *testing.T) {
	a := recipe(t)
	other := registrytest.New(t)
	other.Image(t, "build/app", "1.5", imagetest.Program(arm64, "other"))
	a.o.Parts[slices.IndexFunc(a.o.Parts, isFor(arm64))].Ref = other.Host() + "/build/app:1.5"
	if _, pushed := a.good(); pushed.Mounted != 2 || pushed.Sent != 2 {
		t.Errorf("%+v", pushed)
	}
	saved := filepath.Join(t.TempDir(), "saved.tar")
	imagetest.DockerArchive(t, saved, "registry.test/app:1", imagetest.Program(arm64, "saved"))
	a.o.Parts[slices.IndexFunc(a.o.Parts, isFor(arm64))].Ref = saved
	if _, pushed := a.good(); pushed.Sent != 2 || len(a.pushed().Manifests) != 2 {
		t.Errorf("%+v", pushed)
	}
}

func isFor(arch platform.Arch) func(image.Part) bool {
	return func(p image.Part) bool { return p.Platform.Architecture == string(arch) }
}

func TestAssemble_AChildThatWasSweptIsSentAgain(t *testing.T) {
	a := recipe(t)
	made, _ := a.good()
	a.s.Delete("team/app", made.Children[1].Digest)
	if _, pushed := a.good(); pushed.Unchanged {
		t.Error("the index was there, and so nothing was looked at")
	}
	if _, raw := a.s.Manifest("team/app", made.Children[1].Digest); raw == nil {
		t.Error("the image was not sent again")
	}
}

func TestAssemble_TagChildren(t *testing.T) {
	a := recipe(t)
	a.o.TagChildren = true
	made, _ := a.good()
	for i, tag := range []string{"1.5-amd64", "1.5-arm64"} {
		_, byTag := a.s.Manifest("team/app", tag)
		_, byDigest := a.s.Manifest("team/app", made.Children[i].Digest)
		if byTag == nil || string(byTag) != string(byDigest) {
			t.Errorf("%s: %s", tag, byTag)
		}
	}
}

func TestAssemble_RewriteConfig(t *testing.T) {
	lying := imagetest.Image(amd64, v1.ConfigFile{Author: "me", Config: v1.Config{Entrypoint: []string{"/app"}}}, imagetest.Layer(imagetest.File{Name: "app", Body: good}))
	a := recipe(t)
	a.s.Image(t, "build/app-arm64", "1.5", lying)
	_, _, err := a.run()
	if !errors.Is(err, image.ErrRefused) || !strings.Contains(err.Error(), "is to be for linux/arm64, and its config says linux/amd64") || !strings.Contains(hint.Text(err), "--rewrite-config") {
		t.Errorf("error %v", err)
	}
	a.nothingSent()
	a.o.RewriteConfig = true
	made, _ := a.good()
	c := made.Children[1]
	if !c.Rewritten || c.Was != must(lying.Digest()).String() || c.Digest == c.Was || !strings.Contains(strings.Join(made.Notes, "\n"), "linux/arm64 got a new digest") {
		t.Errorf("%+v %q", c, made.Notes)
	}
	got := ask(t, a.s.Host()+"/team/app@"+c.Digest)
	if v, why := got.For(arm64); v != image.VerdictYes {
		t.Errorf("%s: %s", v, why)
	}
	// A program for the other architecture is not made right by a config.
	a.s.Image(t, "build/app-arm64", "1.5", imagetest.Program(amd64, "x"))
	if _, _, err := a.run(); !errors.Is(err, image.ErrRefused) || !strings.Contains(err.Error(), "is an executable for amd64, not arm64") {
		t.Errorf("error %v", err)
	}
}

func TestAssemble_Refusals(t *testing.T) {
	v8 := imagetest.WithConfig(imagetest.Program(arm64, "v8"), func(c *v1.ConfigFile) { c.Variant = "v8" })
	zstd := imagetest.Image(arm64, v1.ConfigFile{Config: v1.Config{Entrypoint: []string{"/app"}}}, mediaLayer{imagetest.Layer(imagetest.File{Name: "app", Body: good}), types.OCILayerZStd})
	twice := imagetest.Append(imagetest.Append(index(), imagetest.Program(arm64, "a"), on(arm64)), imagetest.Program(arm64, "b"), on(arm64))
	for name, c := range map[string]struct {
		change func(a *assembly)
		want   string
	}{
		"two for one platform": {func(a *assembly) {
			a.s.Image(t, "build/v8", "1", v8)
			a.o.Parts = append(a.o.Parts, image.PartFor(arm64, a.s.Host()+"/build/v8:1"))
		}, "two images for linux/arm64, which nodes could not tell apart"},
		"not there": {func(a *assembly) { a.s.Delete("build/app-arm64", "1.5") }, "answers 404"},
		"not in an index": {func(a *assembly) {
			a.s.Index(t, "build/app-arm64", "1.5", imagetest.Index(map[platform.Arch]v1.Image{amd64: imagetest.Program(amd64, "")}))
		}, "holds no image for linux/arm64 (it holds: linux/amd64)"},
		"two in one index": {func(a *assembly) { a.s.Index(t, "build/app-arm64", "1.5", twice) }, "holds more than one image for linux/arm64"},
		"zstd for Docker":  {func(a *assembly) { a.s.Image(t, "build/app-arm64", "1.5", zstd); a.o.Format = image.FormatDocker }, "is packed with zstd, which Docker's format does not have"},
		"no tag":           {func(a *assembly) { a.o.Target = a.s.Host() + "/team/app" }, "has no tag"},
		"a digest":         {func(a *assembly) { a.o.Target += "@" + digestOf("a") }, "has a digest"},
		"no file":          {func(a *assembly) { a.o.Parts[0].Ref = "./none.tar" }, "no such file or folder"},
		"no archive":       {func(a *assembly) { a.o.Parts[0].Ref = "none.tar" }, "none.tar: no such file or folder"},
		"damaged": {func(a *assembly) {
			bad := imagetest.Program(arm64, "")
			a.s.Image(t, "build/app-arm64", "1.5", imagetest.WithConfig(bad, func(c *v1.ConfigFile) { c.RootFS.DiffIDs[0].Hex = strings.Repeat("0", 64) }))
		}, "is not the one its config lists"},
		"a long tag": {func(a *assembly) {
			a.o.Target = a.s.Host() + "/team/app:" + strings.Repeat("x", 126)
			a.o.TagChildren = true
		}, "is no tag"},
	} {
		t.Run(name, func(t *testing.T) {
			a := recipe(t)
			c.change(a)
			_, _, err := a.run()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			a.nothingSent()
		})
	}
}

// mediaLayer is a layer under another type.
type mediaLayer struct {
	v1.Layer
	media types.MediaType
}

func (m mediaLayer) MediaType() (types.MediaType, error) { return m.media, nil }

func TestAssemble_ATagThatMovesIsNoticed(t *testing.T) {
	for name, moves := range map[string]func(a *assembly){
		"of a source":   func(a *assembly) { a.s.Image(t, "build/app-arm64", "1.5", imagetest.Program(arm64, "newer")) },
		"of the target": func(a *assembly) { a.s.Image(t, "team/app", "1.5", imagetest.Program(arm64, "newer")) },
	} {
		a := recipe(t)
		moved := false
		a.s.Before = func(_ http.ResponseWriter, r *http.Request) bool {
			if !moved && r.Method == http.MethodPut {
				moved = true
				moves(a)
			}
			return false
		}
		_, _, err := a.run()
		if err == nil || !strings.Contains(err.Error(), "meanwhile") {
			t.Errorf("%s: error %v", name, err)
		}
		if media, _ := a.s.Manifest("team/app", "1.5"); media == indexType {
			t.Errorf("%s: the index was written", name)
		}
	}
}

func TestAssemble_ARegistryThatChangesTheIndexIsFoundOut(t *testing.T) {
	a := recipe(t)
	a.s.Before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/team/app/manifests/1.5") {
			_, raw := a.s.Manifest("team/app", "1.5")
			a.s.Raw("team/app", "1.5", indexType, append(raw, '\n'))
		}
		return false
	}
	if _, _, err := a.run(); err == nil || !strings.Contains(err.Error(), "and the registry gives sha256:") {
		t.Errorf("error %v", err)
	}
}

func TestAssemble_DockerChildrenMakeADockerList(t *testing.T) {
	a := recipe(t)
	for _, arch := range []platform.Arch{amd64, arm64} {
		img := mutate.ConfigMediaType(mutate.MediaType(imagetest.Program(arch, ""), types.DockerManifestSchema2), types.DockerConfigJSON)
		a.s.Image(t, "build/app-"+string(arch), "1.5", img)
	}
	if made, _ := a.good(); made.MediaType != string(types.DockerManifestList) || made.Children[0].Was != "" {
		t.Errorf("%+v", made)
	}
}

func TestParsePlatform(t *testing.T) {
	for text, want := range map[string]v1.Platform{
		"linux/arm64":                  {OS: "linux", Architecture: "arm64"},
		"linux/aarch64/v8":             {OS: "linux", Architecture: "arm64", Variant: "v8"},
		"linux/arm/v7":                 {OS: "linux", Architecture: "arm", Variant: "v7"},
		"windows/amd64:10.0.17763.123": {OS: "windows", Architecture: "amd64", OSVersion: "10.0.17763.123"},
	} {
		if got, err := image.ParsePlatform(text); err != nil || got.String() != want.String() {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "linux", "linux/", "/arm64", "linux/arm64/v8/x", "Linux/arm64", "linux/arm64:"} {
		if got, err := image.ParsePlatform(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}
