package image_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
)

func TestReadListing(t *testing.T) {
	digest := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	child := func(platform, digest string) string {
		return fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":7,"platform":{%s}}`, digest, platform)
	}
	index := func(entries ...string) string {
		return `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + strings.Join(entries, ",") + `]}`
	}
	const arm, intel = `"os":"linux","architecture":"arm64","variant":"v8"`, `"os":"linux","architecture":"amd64"`
	layer := func(media string) string {
		return fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":3},"layers":[{"mediaType":%q,"digest":%q,"size":9},{"mediaType":%q,"digest":%q,"size":9}]}`,
			digest("1"), media, digest("2"), media, digest("2"))
	}
	l, err := image.ReadListing([]byte(index(child(intel, digest("a")), child(arm, digest("b")), child(`"os":"windows","architecture":"amd64","os.version":"10.0"`, digest("c")),
		child(`"os":"unknown","architecture":"unknown"`, digest("d")))), "")
	if err != nil || !l.Index || l.Children[platform.ARM64].Digest != digest("b") || l.Has() != "amd64, arm64, windows/amd64:10.0" {
		t.Errorf("%+v, %v: has %s", l, err, l.Has())
	}
	l, err = image.ReadListing([]byte(layer("application/vnd.oci.image.layer.v1.tar+gzip")), "application/vnd.oci.image.manifest.v1+json")
	if err != nil || l.Index || fmt.Sprint(l.Content) != fmt.Sprintf("[{%s 3} {%s 9}]", digest("1"), digest("2")) {
		t.Errorf("%+v, %v", l, err)
	}
	for want, raw := range map[string]string{
		"it is no manifest":                   "<html>",
		"it names two images for arm64":       index(child(arm, digest("a")), child(arm, digest("b"))),
		"another index":                       index(strings.Replace(child(arm, digest("a")), "manifest.v1", "index.v1", 1)),
		"which cannot be":                     index(strings.Replace(child(arm, digest("a")), `"size":7`, `"size":0`, 1)),
		"lies outside of registries":          layer("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
		"not a sha256 digest":                 strings.ReplaceAll(layer("application/vnd.oci.image.layer.v1.tar"), digest("2"), "sha512:"+strings.Repeat("2", 128)),
		"it is a manifest and an index at on": `{"schemaVersion":2,"manifests":[],"layers":[]}`,
	} {
		if _, err := image.ReadListing([]byte(raw), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
