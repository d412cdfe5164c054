package fetch

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// hybridctl's own programs come from no address: what lacks them is told before anything is fetched, and the rest beside it.
func TestPlan_ProgramThatIsNotBesideHybridctl(t *testing.T) {
	w := newWorld(t, 1000)
	here := t.TempDir()
	w.set.Programs = []catalogue.ProgramImage{{Component: bundle.Probe, Ref: "hybridctl.test/probe:1", Files: map[platform.Arch]string{}}}
	for _, a := range platform.All() {
		w.set.Programs[0].Files[a] = "probe-" + string(a)
	}
	o := w.options(t.TempDir())
	o.Program = func(name string) (string, error) { return filepath.Join(here, name), nil }
	missing, err := Plan(w.set, o)
	if !errors.Is(err, ErrProgram) || !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "hybridctl's own program "+here) || !strings.Contains(hint.Text(err), "beside the hybridctl executable") {
		t.Errorf("%v (%s)", err, hint.Text(err))
	}
	if len(missing.Files) != 6 || len(missing.Images) != 2 {
		t.Errorf("beside the programs: %s", missing)
	}
	for _, a := range platform.All() {
		imagetest.WriteFile(t, filepath.Join(here, "probe-"+string(a)), program(a, "probe", 10), 0o755)
	}
	if _, err := Plan(w.set, o); err != nil {
		t.Error(err)
	}
}

func TestBundle_IsWholeAndCostsNoRequestTheSecondTime(t *testing.T) {
	w := newWorld(t, 100_000)
	cache := t.TempDir()
	missing, err := Plan(w.set, w.options(cache))
	if err != nil || len(missing.Files) != 6 || len(missing.Images) != 2 || len(missing.Hosts()) != 2 {
		t.Errorf("%v: %s", err, missing)
	}
	if files, images := w.requests(); len(files)+images != 0 {
		t.Errorf("Plan asked %v and the registry %d times", files, images)
	}
	dir := mustBundle(t, w.set, w.options(cache))
	files, _ := w.requests()
	if len(files) != 6 {
		t.Errorf("%d files were asked for: %v", len(files), files)
	}
	b, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, bin := range b.Binaries(platform.ARM64) {
		names = append(names, bin.Component+"/"+bin.Name)
	}
	if got, want := strings.Join(names, " "), "cni-plugins/bridge containerd/containerd containerd/ctr kubernetes/kubelet"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for range 2 {
		if again := mustBundle(t, w.set, w.options(cache)); again != dir {
			t.Errorf("%s, and before it was %s", again, dir)
		}
	}
	w.web.Close()
	if _, err := Bundle(t.Context(), w.set, w.options(cache)); err != nil {
		t.Error(err)
	}
	missing, err = Plan(w.set, w.options(cache))
	if files, images := w.requests(); len(files)+images != 0 || err != nil || !missing.None() {
		t.Errorf("%v: asked %v, and the registry %d times; missing %s", err, files, images, missing)
	}
}

// The index is kept as it was, with entries of platforms that no one wants; their blobs do not come, and shared ones
// come once.
func TestBundle_TakesOfAnImageWhatIsWanted(t *testing.T) {
	w := newWorld(t, 10)
	w.set.Archs = []platform.Arch{platform.ARM64}
	w.set.Files = slices.DeleteFunc(w.set.Files, func(f catalogue.File) bool { return f.Arch != platform.ARM64 })
	cache := t.TempDir()
	dir := mustBundle(t, w.set, w.options(cache))
	var blobs []string
	for _, a := range w.registry.Asked() {
		if strings.Contains(a, "/blobs/") {
			blobs = append(blobs, a[strings.LastIndex(a, "/")+1:])
		}
	}
	if slices.Sort(blobs); len(blobs) != 5 || len(slices.Compact(slices.Clone(blobs))) != 5 {
		t.Errorf("asked for %d blobs: two configs, two layers and a shared one are wanted: %q", len(blobs), blobs)
	}
	b, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	etcd, _ := b.Image(bundle.Etcd)
	_, raw := w.registry.Manifest("k8s/etcd", "3.6.8-0")
	if got := read(t, dir, "oci/blobs/sha256", strings.TrimPrefix(etcd.Digest, "sha256:")); string(got) != string(raw) {
		t.Error("the index is not what the registry has")
	}
	w.requests()
	w.set.Archs = platform.All() // later the other architecture: only its own blobs come
	w.set.Files = nil
	mustBundle(t, w.set, w.options(cache))
	n := 0
	for _, a := range w.registry.Asked() {
		if strings.Contains(a, "/blobs/") {
			n++
		}
	}
	if n != 5 {
		t.Errorf("%d blobs came for the second architecture", n)
	}
}

func TestBundle_TheLockFileHoldsWhatAnImageIs(t *testing.T) {
	w := newWorld(t, 10)
	o := w.options(t.TempDir())
	o.Lock = filepath.Join(t.TempDir(), "bundle.lock")
	mustBundle(t, w.set, o)
	var lock lockFile
	if err := json.Unmarshal(read(t, o.Lock), &lock); err != nil || len(lock.Images) != 2 {
		t.Fatalf("%v: %+v", err, lock)
	}
	was := lock.Images["registry.test/etcd:3.6.8-0"]
	w.set.Images = w.set.Images[:1]
	now := w.image(bundle.Etcd, "etcd", "3.6.8-0", platform.ARM64, platform.AMD64) // the same again
	if now != was {
		t.Fatalf("%s, was %s", now, was)
	}
	w.set.Images = w.set.Images[:1]
	other := w.registry.Index(t, "k8s/etcd", "3.6.8-0", imagetest.Index(nil))
	o.Cache = t.TempDir()
	if _, err := Bundle(t.Context(), w.set, o); err != nil {
		t.Errorf("the locked digest is there, and is not taken: %v", err)
	}
	w.registry.Delete("k8s/etcd", was)
	o.Cache = t.TempDir()
	_, err := Bundle(t.Context(), w.set, o)
	if !errors.Is(err, ErrContent) || !strings.Contains(err.Error(), was) || !strings.Contains(err.Error(), other) || !strings.Contains(err.Error(), o.Lock) {
		t.Errorf("%v", err)
	}
	w.registry.Delete("k8s/etcd", "3.6.8-0")
	if _, err = Bundle(t.Context(), w.set, o); !errors.Is(err, ErrLacks) || !strings.Contains(err.Error(), was) {
		t.Errorf("%v", err)
	}
	w.set.Images[0].Digest = other
	if _, err = Bundle(t.Context(), w.set, o); !errors.Is(err, ErrContent) || !strings.Contains(err.Error(), "the catalogue says") {
		t.Errorf("%v", err)
	}
}

func TestBundle_AnImageThatLacksAnArchitectureIsRefusedFirst(t *testing.T) {
	w := newWorld(t, 10)
	w.image(bundle.Flannel, "flannel", "v1", platform.AMD64)
	_, err := Bundle(t.Context(), w.set, w.options(t.TempDir()))
	if !errors.Is(err, ErrLacks) || !strings.Contains(err.Error(), "the image registry.test/flannel:v1 (flannel) is not there for arm64") ||
		!strings.Contains(err.Error(), "has amd64") {
		t.Errorf("%v", err)
	}
	if files, _ := w.requests(); len(files) != 0 {
		t.Errorf("files were asked for all the same: %v", files)
	}
}

// A mirror that was filled by kubeadm's rules has CoreDNS under the shorter of its names.
func TestBundle_CoreDNSUnderEitherName(t *testing.T) {
	for _, at := range []string{"coredns/coredns", "coredns"} {
		t.Run(at, func(t *testing.T) {
			w := newWorld(t, 10)
			w.set.Images = nil
			w.image(bundle.CoreDNS, at, "v1.14.2", platform.All()...)
			w.set.Images[0].Ref = "registry.test/coredns/coredns:v1.14.2"
			cache := t.TempDir()
			mustBundle(t, w.set, w.options(cache))
			for _, e := range entries(t, cache, "sha256") {
				if strings.HasPrefix(string(read(t, cache, "sha256", e)), "\x1f\x8b") { // a layer or an archive
					if err := os.Remove(filepath.Join(cache, "sha256", e)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := os.RemoveAll(filepath.Join(cache, "bundles")); err != nil {
				t.Fatal(err)
			}
			mustBundle(t, w.set, w.options(cache)) // documents are there, layers are not
		})
	}
}

func entries(t testing.TB, path ...string) []string {
	t.Helper()
	all, err := os.ReadDir(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

func TestBundle_WhatTheCacheLostIsFetchedAgain(t *testing.T) {
	w := newWorld(t, 100_000)
	cache := t.TempDir()
	dir := mustBundle(t, w.set, w.options(cache))
	kubelet := filepath.Join(dir, "bin/arm64/kubernetes/kubelet")
	for name, damage := range map[string]func() error{
		"written to": func() error { return scribble(kubelet) },
		"cut":        func() error { return os.Truncate(kubelet, 1000) },
		"gone":       func() error { return os.Remove(filepath.Join(cache, "sha256", w.set.Files[3].SHA256)) },
	} {
		t.Run(name, func(t *testing.T) {
			w.requests()
			if w.set.Files[3].URL != "https://dl.test/kubelet/arm64/kubelet" {
				t.Fatal(w.set.Files[3].URL)
			}
			if err := damage(); err != nil {
				t.Fatal(err)
			}
			var notes []string
			o := w.options(cache)
			o.Progress = func(e Event) {
				if e.Message != "" {
					notes = append(notes, e.Message)
				}
			}
			mustBundle(t, w.set, o)
			files, images := w.requests()
			if name == "gone" { // the bundle itself is whole
				if len(files)+images != 0 {
					t.Errorf("asked %v, and the registry %d times", files, images)
				}
				return
			}
			if len(files) != 1 || images != 0 {
				t.Errorf("asked %v, and the registry %d times", files, images)
			}
			if all := strings.Join(notes, "\n"); !strings.Contains(all, "damaged") {
				t.Errorf("nothing was said: %s", all)
			}
		})
	}
	if err := os.Chtimes(kubelet, time.Time{}, time.Now()); err != nil { // touched, and not changed
		t.Fatal(err)
	}
	w.requests()
	mustBundle(t, w.set, w.options(cache))
	if files, images := w.requests(); len(files)+images != 0 {
		t.Errorf("asked %v, and the registry %d times", files, images)
	}
}

// After a power cut a file may have its size and its name, and nothing in it: what an earlier start has left is read once.
func TestBundle_WhatAnEarlierStartLeftIsReadOnce(t *testing.T) {
	w := newWorld(t, 100_000)
	cache := t.TempDir()
	dir := mustBundle(t, w.set, w.options(cache))
	kubelet := filepath.Join(dir, "bin/arm64/kubernetes/kubelet")
	earlier := time.Unix(12345, 0)
	if err := os.Chtimes(kubelet, earlier, earlier); err != nil {
		t.Fatal(err)
	}
	w.requests()
	mustBundle(t, w.set, w.options(cache))
	info, err := os.Stat(kubelet)
	if err != nil || !info.ModTime().Equal(verified) {
		t.Errorf("%v: %v", err, info.ModTime())
	}
	if files, images := w.requests(); len(files)+images != 0 {
		t.Errorf("asked %v, and the registry %d times", files, images)
	}
	if err := errors.Join(scribble(kubelet), os.Chtimes(kubelet, earlier, earlier)); err != nil {
		t.Fatal(err)
	}
	mustBundle(t, w.set, w.options(cache))
	if files, images := w.requests(); len(files) != 1 || images != 0 {
		t.Errorf("asked %v, and the registry %d times", files, images)
	}
}

// scribble changes one byte in place.
func scribble(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte{0xff}, 5000)
	return errors.Join(err, f.Close())
}

func TestBundle_IntoADirectory(t *testing.T) {
	w := newWorld(t, 1000)
	o := w.options(t.TempDir())
	o.Dir = filepath.Join(t.TempDir(), "here", "bundle")
	if dir := mustBundle(t, w.set, o); dir != o.Dir {
		t.Errorf("%s", dir)
	}
	w.requests()
	mustBundle(t, w.set, o)
	o.Dir = filepath.Join(t.TempDir(), "there")
	mustBundle(t, w.set, o)
	if files, images := w.requests(); len(files)+images != 0 {
		t.Errorf("asked %v, and the registry %d times", files, images)
	}
	o.Dir = t.TempDir()
	imagetest.WriteFile(t, filepath.Join(o.Dir, "letters.txt"), []byte("mine"), 0o644)
	if _, err := Bundle(t.Context(), w.set, o); !errors.Is(err, bundle.ErrNotBundle) {
		t.Errorf("%v", err)
	}
}

func TestBundle_Offline(t *testing.T) {
	w := newWorld(t, 10)
	o := w.options(t.TempDir())
	o.Offline = true
	if _, err := Bundle(t.Context(), w.set, o); !errors.Is(err, ErrOffline) {
		t.Errorf("%v", err)
	}
	w.set.Images = nil
	if _, err := Bundle(t.Context(), w.set, o); !errors.Is(err, ErrOffline) || !strings.Contains(err.Error(), "kubelet v1.36.4 for") {
		t.Errorf("%v", err)
	}
	if files, images := w.requests(); len(files)+images != 0 {
		t.Errorf("asked %v, and the registry %d times", files, images)
	}
}

func TestBundle_ChecksumsOfUpstream(t *testing.T) {
	w := newWorld(t, 10)
	w.set.Images = nil
	pinned := w.set.Files[0].SHA256
	w.set.Files[0].SHA256, w.set.Files[0].Checksums = "", "https://dl.test/sums"
	o := w.options(t.TempDir())
	if _, err := Bundle(t.Context(), w.set, o); !errors.Is(err, ErrInput) || !strings.Contains(hint.Text(err), "--allow-upstream-checksums") {
		t.Errorf("%v", err)
	}
	o.AllowUpstreamChecksums = true
	clear := o
	clear.Sources = Sources{"https://dl.test": "http://dl.test"}
	if _, err := Bundle(t.Context(), w.set, clear); !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "only HTTPS is taken") {
		t.Errorf("%v", err)
	}
	w.files["/dl.test/sums"] = []byte("<html>")
	if _, err := Bundle(t.Context(), w.set, o); !errors.Is(err, ErrContent) {
		t.Errorf("%v", err)
	}
	w.files["/dl.test/sums"] = []byte(pinned + "  kubelet\n")
	var said string
	o.Progress = func(e Event) { said += e.Message + "\n" }
	mustBundle(t, w.set, o)
	if !strings.Contains(said, pinned) {
		t.Errorf("it was not said: %s", said)
	}
	o.AllowUpstreamChecksums = false // the lock file holds it
	w.requests()
	mustBundle(t, w.set, o)
	if files, _ := w.requests(); len(files) != 0 {
		t.Errorf("asked %v", files)
	}
	w.set.Files[0].SHA256 = strings.Repeat("0", 64)
	if _, err := Bundle(t.Context(), w.set, o); !errors.Is(err, ErrContent) || !strings.Contains(err.Error(), pinned) {
		t.Errorf("%v", err)
	}
}

func TestBundle_ArchivesAreHeldToTheRules(t *testing.T) {
	containerd := program(platform.AMD64, "containerd", 100)
	ctr := program(platform.AMD64, "ctr", 100)
	for name, c := range map[string]struct {
		members []member
		raw     []byte
		want    string
	}{
		"path out":        {members: []member{{name: "../etc/passwd", body: []byte("x")}, {name: "bin/containerd", body: containerd}}, want: `the path "../etc/passwd", which leads out of it`},
		"absolute path":   {members: []member{{name: "/etc/passwd", body: []byte("x")}}, want: `the path "/etc/passwd"`},
		"a link":          {members: []member{{name: "bin/containerd", link: "/etc/shadow"}}, want: "holds bin/containerd as a link"},
		"twice":           {members: []member{{name: "bin/ctr", body: ctr}, {name: "./bin/ctr", body: ctr}}, want: "holds ctr twice"},
		"lacks a program": {members: []member{{name: "bin/ctr", body: ctr}}, want: "does not hold bin/containerd"},
		"a bomb":          {members: []member{{name: "pad", body: make([]byte, 3<<20)}, {name: "bin/ctr", body: ctr}}, want: "unpacks to more than 2 MiB"},
		"no archive":      {raw: []byte("\x1f\x8bnot at all"), want: "cannot be read"},
		"empty":           {raw: []byte{}, want: "is empty"},
		"not for it":      {members: []member{{name: "bin/ctr", body: program(platform.ARM64, "ctr", 10)}, {name: "bin/containerd", body: containerd}}, want: "bin/amd64/containerd/ctr"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 10)
			w.set.Images, w.set.Files = nil, nil
			if c.raw == nil {
				c.raw = archive(t, c.members...)
			}
			w.file("containerd", bundle.Containerd, "v2.3.4", platform.AMD64, "/c.tgz", c.raw, catalogue.Program{Name: "containerd", Path: "bin/containerd"},
				catalogue.Program{Name: "ctr", Path: "bin/ctr"})
			f, err := newFetcher(w.options(t.TempDir()))
			if err != nil {
				t.Fatal(err)
			}
			f.maxUnpacked = 2 << 20
			_, err = f.bundle(t.Context(), w.set)
			if !errors.Is(err, ErrContent) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			for _, e := range entries(t, f.cache.dir, "sha256") {
				if strings.HasPrefix(e, ".") {
					t.Errorf("%s was left", e)
				}
			}
		})
	}
}

// A place where no bundle may come is refused before anything is asked for.
func TestBundle_RefusesThePlaceFirst(t *testing.T) {
	w := newWorld(t, 10_000)
	o := w.options(t.TempDir())
	o.Dir = t.TempDir()
	imagetest.WriteFile(t, filepath.Join(o.Dir, "notes.txt"), nil, 0o644)
	_, err := Bundle(t.Context(), w.set, o)
	if !errors.Is(err, bundle.ErrNotBundle) || !strings.Contains(err.Error(), "it holds notes.txt, which is no part of a bundle") {
		t.Error(err)
	}
	if files, images := w.requests(); len(files)+images != 0 {
		t.Errorf("asked %v, and the registry %d times", files, images)
	}
}

func TestGC(t *testing.T) {
	w := newWorld(t, 10_000)
	cache := t.TempDir()
	if freed, err := GC(t.Context(), GCOptions{Cache: filepath.Join(cache, "none")}); err != nil || len(freed) != 0 {
		t.Errorf("%v %v", freed, err)
	}
	blocked := filepath.Join(t.TempDir(), "file")
	imagetest.WriteFile(t, blocked, nil, 0o644)
	if _, err := GC(t.Context(), GCOptions{Cache: filepath.Join(blocked, "cache")}); !errors.Is(err, ErrDisk) || !strings.Contains(hint.Text(err), "XDG_CACHE_HOME") {
		t.Errorf("%v (hint %q)", err, hint.Text(err))
	}
	dir := mustBundle(t, w.set, w.options(cache))
	if freed, err := GC(t.Context(), GCOptions{Cache: cache}); err != nil || len(freed) != 0 {
		t.Errorf("%v %v", freed, err)
	}
	for _, name := range []string{strings.Repeat("a", 64), strings.Repeat("b", 64) + ".part", strings.Repeat("c", 64) + ".wrong", ".program.1"} {
		imagetest.WriteFile(t, filepath.Join(cache, "sha256", name), []byte("12345"), 0o644)
	}
	for _, dry := range []bool{true, false} {
		freed, err := GC(t.Context(), GCOptions{Cache: cache, DryRun: dry})
		if err != nil || len(freed) != 4 || Sum(freed) != 20 {
			t.Errorf("%v %v", freed, err)
		}
	}
	w.requests()
	mustBundle(t, w.set, w.options(cache))
	if files, images := w.requests(); len(files)+images != 0 {
		t.Errorf("asked %v, and the registry %d times", files, images)
	}
	month := func() time.Time { return time.Now().Add(31 * 24 * time.Hour) }
	freed, err := GC(t.Context(), GCOptions{Cache: cache, Unused: 30 * 24 * time.Hour, Now: month})
	if err != nil || len(entries(t, cache, "sha256")) != 0 || freed[0].Path != dir {
		t.Errorf("%v %v, left %v", freed, err, entries(t, cache, "sha256"))
	}
	busy := make(chan error, 1)
	w.on("/kubelet/arm64/kubelet", func(_ http.ResponseWriter, _ *http.Request, _ []byte, _ int) bool {
		_, err := GC(t.Context(), GCOptions{Cache: cache})
		busy <- err
		return false
	})
	mustBundle(t, w.set, w.options(cache))
	if err := <-busy; !errors.Is(err, ErrInput) {
		t.Errorf("%v", err)
	}
}
