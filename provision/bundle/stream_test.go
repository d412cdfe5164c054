package bundle_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
)

var kubeRefs = []string{bundletest.Ref(bundle.KubeAPIServer), bundletest.Ref(bundle.KubeProxy), bundletest.Ref(bundle.KubeProxy)}

func TestWriteImages_ImportsAsContainerdWould(t *testing.T) {
	b := bundletest.Make(t)
	raw := stream(t, b, kubeRefs, nil)
	got, err := importArchive(raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	got.wantWhole(t, nil)
	if len(got.images) != 2 {
		t.Errorf("images: %v", got.images)
	}
	for _, ref := range kubeRefs {
		i, _ := b.ImageByRef(ref)
		if got.images[ref] != i.Manifests[arm64] {
			t.Errorf("%s is %s, not the arm64 manifest %s", ref, got.images[ref], i.Manifests[arm64])
		}
	}
	if want := 2*3 + 1; len(got.blobs) != want { // manifest, config and a layer of each, and the layer they share
		t.Errorf("%d blobs, not %d: %v", len(got.blobs), want, got.blobs)
	}
	if again := stream(t, b, kubeRefs, nil); !bytes.Equal(again, raw) {
		t.Error("a second stream differs")
	}
}

func TestWriteImages_LeavesOutWhatTheHostHas(t *testing.T) {
	b := bundletest.Make(t)
	first, err := importArchive(stream(t, b, kubeRefs[:1], nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := importArchive(stream(t, b, kubeRefs, first.blobs), first.blobs)
	if err != nil {
		t.Fatal(err)
	}
	got.wantWhole(t, first.blobs)
	if len(got.blobs) != 3 {
		t.Errorf("sent %d blobs, not the manifest, config and own layer of the second image", len(got.blobs))
	}
	if len(got.images) != 2 {
		t.Errorf("an image the host has must still get its name: %v", got.images)
	}
}

func TestWriteImages_CutOffIsNeverAnImage(t *testing.T) {
	raw := stream(t, bundletest.Make(t), kubeRefs, nil)
	for cut := 0; cut < len(raw)-1536; cut += 512 { // up to the end of oci-layout, the last file
		if got, err := importArchive(raw[:cut], nil); err == nil {
			t.Fatalf("the first %d of %d bytes gave %v", cut, len(raw), got.images)
		}
	}
}

func TestWriteImages_Refuses(t *testing.T) {
	b := bundletest.Make(t, arm64)
	for name, try := range map[string]func(io.Writer) error{
		"the bundle has no image registry.test/none:1": func(w io.Writer) error {
			return b.WriteImages(t.Context(), w, arm64, []string{kubeRefs[0], "registry.test/none:1"}, nil)
		},
		"for amd64": func(w io.Writer) error { return b.WriteImages(t.Context(), w, amd64, kubeRefs, nil) },
	} {
		var out bytes.Buffer
		if err := try(&out); err == nil || !strings.Contains(err.Error(), name) || out.Len() > 0 {
			t.Errorf("%s: %v after %d bytes", name, err, out.Len())
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.WriteImages(ctx, io.Discard, arm64, kubeRefs, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	broken := errors.New("the pipe is broken")
	if err := b.WriteImages(t.Context(), brokenWriter{broken}, arm64, kubeRefs, nil); !errors.Is(err, broken) {
		t.Errorf("broken pipe: %v", err)
	}
}

func TestWriteImages_DamagedBlobIsNotSentAsGood(t *testing.T) {
	b := bundletest.Make(t, arm64)
	flip(t, largestBlob(t, filepath.Join(b.Dir, "oci")))
	var refs []string
	for _, i := range b.Manifest.Images {
		refs = append(refs, i.Ref)
	}
	if err := b.WriteImages(t.Context(), io.Discard, arm64, refs, nil); !errors.Is(err, bundle.ErrDamaged) {
		t.Errorf("got %v", err)
	}
}

type brokenWriter struct{ err error }

func (b brokenWriter) Write([]byte) (int, error) { return 0, b.err }

// stream writes the images and holds the announced size against the real one.
func stream(t *testing.T, b *bundle.Bundle, refs []string, skip map[string]bool) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := b.WriteImages(t.Context(), &out, arm64, refs, skip); err != nil {
		t.Fatal(err)
	}
	if size, err := b.ImagesSize(arm64, refs, skip); err != nil || size != int64(out.Len()) {
		t.Errorf("announced %d bytes (%v), wrote %d", size, err, out.Len())
	}
	return out.Bytes()
}

type imported struct {
	images map[string]string // name to digest
	blobs  map[string]bool   // digests that were in the archive

	content []string // what the images need; its absence is noticed only when one is unpacked
}

func (i imported) wantWhole(t *testing.T, store map[string]bool) {
	t.Helper()
	for _, d := range i.content {
		if !i.blobs[d] && !store[d] {
			t.Errorf("content %s is neither sent nor there", d)
		}
	}
}

// importArchive takes an archive by the container runtime's rules: every regular file is a blob under the digest of its bytes, an
// OCI archive is one with oci-layout, its index.json names images, and all content they need is in the archive or the store.
func importArchive(raw []byte, store map[string]bool) (imported, error) {
	out := imported{images: map[string]string{}, blobs: map[string]bool{}}
	files := map[string][]byte{}
	for t := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return imported{}, err
		}
		body, err := io.ReadAll(t)
		if err != nil {
			return imported{}, err
		}
		if _, twice := files[h.Name]; twice {
			return imported{}, fmt.Errorf("%s stands twice", h.Name)
		}
		files[h.Name] = body
		if digest := fmt.Sprintf("sha256:%x", sha256.Sum256(body)); strings.HasPrefix(h.Name, "blobs/") {
			if h.Name != "blobs/"+strings.Replace(digest, ":", "/", 1) {
				return imported{}, fmt.Errorf("%s has the digest %s", h.Name, digest)
			}
			out.blobs[digest] = true
		}
	}
	var layout struct{ ImageLayoutVersion string }
	if err := json.Unmarshal(files["oci-layout"], &layout); err != nil || layout.ImageLayoutVersion != "1.0.0" {
		return imported{}, fmt.Errorf("unrecognized image format: oci-layout %q, %v", files["oci-layout"], err)
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(files["index.json"]))
	if err != nil {
		return imported{}, err
	}
	for _, d := range index.Manifests {
		out.images[d.Annotations["io.containerd.image.name"]] = d.Digest.String()
		content := []string{d.Digest.String()}
		if !out.blobs[content[0]] && !store[content[0]] {
			return imported{}, fmt.Errorf("content %s: not found", content[0])
		}
		if body, sent := files["blobs/sha256/"+d.Digest.Hex]; sent {
			m, err := v1.ParseManifest(bytes.NewReader(body))
			if err != nil || d.Size != int64(len(body)) || d.MediaType != m.MediaType {
				return imported{}, fmt.Errorf("descriptor %+v, manifest %+v, %v", d, m, err)
			}
			content = append(content, m.Config.Digest.String())
			for _, l := range m.Layers {
				content = append(content, l.Digest.String())
			}
		}
		out.content = append(out.content, content...)
	}
	return out, nil
}
