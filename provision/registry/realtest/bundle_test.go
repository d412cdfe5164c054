package realtest

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/fetch"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/publish"
	"github.com/hybridctl/hybridctl/provision/registry"
)

func keys(context.Context, string) ([]registry.Credential, error) {
	return []registry.Credential{{Username: user, Password: password, From: "the test"}}, nil
}

// imagesOf is a set of a bundle's images.
func imagesOf(b *bundle.Bundle) catalogue.Set {
	set := catalogue.Set{Kubernetes: b.Manifest.KubernetesVersion, Archs: platform.All()}
	for _, i := range b.Manifest.Images {
		set.Images = append(set.Images, catalogue.Image{Component: i.Component, Ref: i.Ref})
	}
	return set
}

// A bundle is pushed into a registry, pushed again, and fetched from there: every image is what it was, to the byte.
func TestABundleThereAndBack(t *testing.T) {
	for kind, start := range kinds(t) {
		t.Run(kind, func(t *testing.T) {
			r, o := start(nil)
			b := bundletest.Make(t)
			c, err := registry.New(o)
			if err != nil {
				t.Fatal(err)
			}
			results, err := publish.Push(t.Context(), b, r.host()+"/k8s", publish.Options{Registry: c, Keychain: keys})
			if err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(r.asked, "\n"))
			}
			mounted := 0
			for _, one := range results {
				mounted += one.Mounted
			}
			if mounted != 6 {
				t.Errorf("%d blobs were mounted", mounted)
			}
			r.forget()
			again, err := publish.Push(t.Context(), b, r.host()+"/k8s", publish.Options{Registry: c, Keychain: keys})
			if err != nil || r.up != 0 {
				t.Errorf("%v: %d bytes", err, r.up)
			}
			for _, one := range again {
				if !one.Unchanged {
					t.Errorf("%+v", one)
				}
			}
			at := r.host() + "/k8s"
			if o.CAFile == "" {
				at = "http://" + at
			}
			options := fetch.Options{Cache: t.TempDir(), CAFile: o.CAFile, Keychain: keys, Sources: fetch.Sources{bundletest.Registry: at}}
			resumed := begun(t, b, options.Cache)
			dir, err := fetch.Bundle(t.Context(), imagesOf(b), options)
			if err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(r.asked, "\n"))
			}
			if r.ranges[resumed] != "bytes=40-" {
				t.Errorf("%s was asked for with %q", resumed, r.ranges[resumed])
			}
			got, err := bundle.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range b.Manifest.Images {
				if other, ok := got.ImageByRef(i.Ref); !ok || other.Digest != i.Digest {
					t.Errorf("%s: %s, was %s", i.Ref, other.Digest, i.Digest)
				}
			}
			r.forget()
			if _, err := fetch.Bundle(t.Context(), imagesOf(b), options); err != nil || len(r.asked) != 0 {
				t.Errorf("%v, and %q", err, r.asked)
			}
		})
	}
}

// begun leaves the beginning of a layer in a cache, as a run does that was ended.
func begun(t *testing.T, b *bundle.Bundle, cache string) (digest string) {
	t.Helper()
	digests, err := b.ImageBlobs(platform.ARM64, bundletest.Ref(bundle.Etcd))
	if err != nil {
		t.Fatal(err)
	}
	digest = digests[len(digests)-1]
	from, err := b.OpenBlob(digest)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	part := make([]byte, 40)
	if _, err := io.ReadFull(from, part); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "sha256")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, strings.TrimPrefix(digest, "sha256:")+".part"), part, 0o644)); err != nil {
		t.Fatal(err)
	}
	return digest
}

// What the real registry says to an index of which it does not have all images.
func TestASparseIndex(t *testing.T) {
	r, o := kinds(t)["HTTP"](nil)
	b := bundletest.Make(t)
	c, err := registry.New(o)
	if err != nil {
		t.Fatal(err)
	}
	for n := range b.Manifest.Images { // as if it had been fetched for one architecture
		i := &b.Manifest.Images[n]
		i.Archs = i.Archs[:1]
		delete(i.Manifests, platform.ARM64)
	}
	_, err = publish.Push(t.Context(), b, r.host()+"/k8s", publish.Options{Registry: c, Keychain: keys})
	if !errors.Is(err, publish.ErrSparse) {
		t.Fatalf("%v", err)
	}
	results, err := publish.Push(t.Context(), b, r.host()+"/k8s", publish.Options{Registry: c, Keychain: keys, Reduce: true})
	if err != nil || !results[0].Reduced || len(results[0].LeftOut) != 1 {
		t.Errorf("%v %+v", err, results)
	}
}
