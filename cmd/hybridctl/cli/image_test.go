package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry/registrytest"
)

// twoImages is a registry with an image of each architecture, each under a name of its own.
func twoImages(t *testing.T) *registrytest.Server {
	s := registrytest.New(t)
	for _, arch := range platform.All() {
		s.Image(t, "build/app-linux-"+arch.String(), "1.5", imagetest.Program(arch, ""))
	}
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	return s
}

func TestImageAssemble(t *testing.T) {
	s := twoImages(t)
	r := newRun(t)
	command := strings.ReplaceAll("image assemble --plain-http HOST/team/app:1.5 --amd64 HOST/build/app-linux-amd64:1.5 --arm64 HOST/build/app-linux-arm64:1.5", "HOST", s.Host())
	r.want(command+" --dry-run", 0)
	contains(t, "stdout", r.stdout.String(), `"architecture": "arm64"`, `"mediaType": "application/vnd.oci.image.index.v1+json"`)
	if s.Count("PUT")+s.Count("POST") > 0 {
		t.Errorf("a dry run sent: %q", s.Asked())
	}
	r.want(command, 0)
	r.waitedFor("the images of " + s.Host() + "/team/app:1.5 to be read and sent")
	contains(t, "stdout", r.stdout.String(), "linux/amd64", "4 blobs mounted, 0 blobs sent", "note: signatures: the images keep their digests")
	r.want(command+" -q", 0)
	digest := strings.TrimSpace(r.stdout.String())
	if _, raw := s.Manifest("team/app", digest); raw == nil || len(digest) != len("sha256:")+64 {
		t.Errorf("printed %q", r.stdout.String())
	}
	r.want(command+" -o json", 0)
	var out struct {
		Digest string
		Pushed struct{ Unchanged bool }
	}
	if err := json.Unmarshal(r.stdout.Bytes(), &out); err != nil || out.Digest != digest || !out.Pushed.Unchanged {
		t.Errorf("%v: %s", err, r.stdout.String())
	}
	for line, want := range map[string]string{
		"image assemble":                           "needs one target",
		"image assemble x:1":                       "hint: give --amd64 REF and --arm64 REF\n",
		"image assemble x --amd64 y":               "has no tag",
		"image assemble x:1 --amd64 y --format oc": "--format must be auto, oci or docker",
		"image assemble x:1 --platform linux=y":    "is no platform",
		"image assemble x:1 --platform linux/arm":  "write OS/ARCH",
	} {
		r.want(line, 2)
		contains(t, line, r.stderr.String(), want)
	}
}

func TestImageInspect(t *testing.T) {
	r := newRun(t)
	dir := filepath.Join(t.TempDir(), "layout")
	wrong := imagetest.Image(platform.ARM64, v1.ConfigFile{Config: v1.Config{Entrypoint: []string{"/app"}}}, imagetest.Layer(imagetest.File{Name: "app", Body: imagetest.ELF(platform.AMD64)}))
	imagetest.Layout(t, dir, map[string]v1.ImageIndex{"registry.test/app:1": imagetest.Index(map[platform.Arch]v1.Image{platform.ARM64: wrong})})
	r.want("image inspect "+arg(dir), 6)
	r.waitedFor("the contents of " + dir)
	contains(t, "stdout", r.stdout.String(), "wrong", "error: its program /app is an executable for amd64, not arm64")
	r.want("image inspect --fail-on never "+arg(dir), 0)
	r.want("image inspect -o json "+arg(dir), 6)
	if !json.Valid(r.stdout.Bytes()) {
		t.Errorf("%s", r.stdout.String())
	}
	r.want("image inspect", 2)
	r.want("image inspect ./none", 2)
}

// What the user named and is no image is a mistake in the command, wherever it is noticed. What a registry does not give is not.
func TestImageInspect_WhatIsNoImage(t *testing.T) {
	r := newRun(t)
	dir := filepath.Join(t.TempDir(), "layout")
	imagetest.Layout(t, dir, map[string]v1.ImageIndex{"registry.test/app:1": imagetest.Index(map[platform.Arch]v1.Image{platform.ARM64: imagetest.Image(platform.ARM64, v1.ConfigFile{})})})
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		imagetest.WriteFile(t, path, []byte(text), 0o644)
		return path
	}
	pipe := filepath.Join(folder, "pipe")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{
		dir + ":2":                             "holds no image 2",
		dir + "@sha256:0000":                   "holds no image @sha256:0000",
		folder:                                 "is not an OCI image layout",
		file("notes.txt", "hello"):             "not a whole tar archive",
		file("packed.tar", "\x1f\x8b\x08\x00"): "the archive is compressed",
		file("empty.tar", ""):                  "neither an OCI archive nor a docker archive",
		pipe:                                   "is neither a folder nor a regular file",
		"Wrong/Name":                           "is no name of an image",
	} {
		r.want("image inspect "+arg(ref), 2)
		contains(t, ref, r.stderr.String(), want)
	}
	r.want("image inspect --plain-http "+twoImages(t).Host()+"/none:1", 1)
}

func TestImageAudit(t *testing.T) {
	s := twoImages(t)
	r := newRun(t)
	r.want("image audit --plain-http "+s.Host()+"/build/app-linux-amd64:1.5", 6)
	contains(t, "stdout", r.stdout.String(), "yes", "it is for linux/amd64")
	r.want("image audit --plain-http --arch amd64 "+s.Host()+"/build/app-linux-amd64:1.5", 0)
	r.want("image audit --plain-http --arch amd64 --fail-on warning "+s.Host()+"/none:1", 6)
	contains(t, "stdout", r.stdout.String(), "unknown", "answers 404 Not Found")
	r.want("image audit --arch amd64 --registry registry.test "+s.Host()+"/none:1", 0)
	contains(t, "stdout", r.stdout.String(), "was not asked")
	if strings.Contains(strings.Join(s.Asked(), " "), "HEAD /v2/none") {
		t.Error("it was asked")
	}
	r.file("deploy.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    spec:\n      containers:\n        - name: app\n          image: "+s.Host()+"/build/app-linux-amd64:1.5\n")
	r.want("image audit --plain-http -f deploy.yaml", 6)
	contains(t, "stdout", r.stdout.String(), "it is for linux/amd64", "Deployment web deploy.yaml:9:18")
	r.want("image audit --plain-http -f deploy.yaml -o sarif", 6)
	contains(t, "stdout", r.stdout.String(), `"ruleId": "image-no"`, `"startLine": 9`, `"uri": "deploy.yaml"`)
	r.want("image audit", 2)
	r.want("image audit Wrong/Name", 2)
}

// TestImageAudit_RegistriesOfACluster: whoever may make pods names images, and so hosts.
func TestImageAudit_RegistriesOfACluster(t *testing.T) {
	s := twoImages(t)
	r := newRun(t)
	name := s.Host() + "/build/app-linux-amd64:1.5"
	r.front.ClusterImages = func(context.Context, []byte, []platform.Arch) ([]image.Wanted, []string, error) {
		if r.waits["the API server to say what runs, and in which images"] != 1 {
			t.Errorf("waits for %v", r.waits)
		}
		return []image.Wanted{{Image: name, Archs: []platform.Arch{platform.AMD64}, Place: image.Place{Object: "Pod tenant/web"}}}, nil, nil
	}
	r.front.Kubeconfig = func(context.Context, provision.Options) ([]byte, error) { return []byte("kubeconfig"), nil }
	r.file("kubeconfig", "kubeconfig")
	r.file("deploy.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: a, image: "+name+"}]}\n")
	r.file("named.yaml", lab+"  registries: [{host: \""+s.Host()+"\", mirrors: [mirror.test]}]\n")
	r.file("mirrored.yaml", lab+"  registries: [{host: docker.io, mirrors: [\"http://"+s.Host()+"/hub\"]}]\n")
	const audit = "image audit --plain-http --arch amd64 --cache none "
	for line, asked := range map[string]bool{
		"--kubeconfig kubeconfig":                                  false,
		"-f inventory.yaml":                                        false,
		"--kubeconfig kubeconfig --registry registry.test":         false,
		"--kubeconfig kubeconfig --registry " + s.Host():           true,
		"-f inventory.yaml --registry registry.test," + s.Host():   true,
		"-f named.yaml":                                            true,
		"-f named.yaml --registry registry.test":                   true,
		"-f mirrored.yaml":                                         true,
		"-f deploy.yaml":                                           true,
		"-f deploy.yaml --kubeconfig kubeconfig":                   true,
		"-f deploy.yaml --registry registry.test":                  false,
		"--kubeconfig kubeconfig " + name:                          true,
		"--kubeconfig kubeconfig --registry registry.test " + name: false,
	} {
		s.Forget()
		r.want(audit+line, 0)
		if n := s.Count(""); n > 0 != asked {
			t.Errorf("%s: %d requests: %q", line, n, s.Asked())
		}
		hint := "hint: registries that are neither well known nor the inventory's were not asked; --registry "
		if strings.Contains(line, "registry.test") {
			hint += "registry.test,"
		}
		if said := strings.Contains(r.stderr.String(), hint+s.Host()+" asks them\n"); said == asked {
			t.Errorf("%s: stderr %q", line, r.stderr.String())
		}
		if !asked {
			contains(t, line, r.stdout.String(), "unknown", s.Host()+" was not asked")
		}
	}
	name = "a.test;reboot/app:1" // what a pod names is no command
	r.want(audit+"--kubeconfig kubeconfig", 0)
	contains(t, "stderr", r.stderr.String(), "--registry 'a.test;reboot' asks them\n")
}

// TestImageAudit_Programs looks at what pods start, with the pull secret that stands beside them.
func TestImageAudit_Programs(t *testing.T) {
	s := twoImages(t)
	s.Username, s.Password = "puller", "not for logs"
	r := newRun(t)
	auth := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"auths":{%q:{"username":"puller","password":"not for logs"}}}`, s.Host()))
	r.file("deploy.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: pull}\ntype: kubernetes.io/dockerconfigjson\ndata: {.dockerconfigjson: "+auth+"}\n---\n"+
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    spec:\n      imagePullSecrets: [{name: pull}]\n      containers:\n"+
		"        - name: app\n          image: "+s.Host()+"/build/app-linux-amd64:1.5\n          command: [/app]\n"+
		"        - name: shell\n          image: "+s.Host()+"/build/app-linux-amd64:1.5\n          command: [/bin/sh, -c, /app]\n")
	audit := "image audit --plain-http --arch amd64 -f deploy.yaml"
	r.want(audit, 0)
	r.want(audit+" --programs", 6)
	contains(t, "stdout", r.stdout.String(), "missing", "its program /bin/sh is not in the image", "deploy.yaml:19:18")
	contains(t, "stderr", r.stderr.String(), "0 images are not there for an architecture, 0 images are unknown, what pods start does not start in 1 image")
	r.want(audit+" --programs -o sarif", 6)
	contains(t, "stdout", r.stdout.String(), `"ruleId": "image-missing"`, `"startLine": 19`)
	if all := r.stdout.String() + r.stderr.String(); strings.Contains(all, "not for logs") || strings.Contains(all, auth) {
		t.Error("a secret is shown")
	}
}
