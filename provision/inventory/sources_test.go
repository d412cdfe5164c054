package inventory

import (
	"strings"
	"testing"
)

func TestParse_Sources(t *testing.T) {
	ca := certificateFile(t)
	c := mustParse(t, edit(t, [2]string{"bundle: b", `sources: {"https://dl.k8s.io": "https://mirror.example/dl.k8s.io", registry.k8s.io: harbor.example/k8s, ghcr.io: "http://10.0.0.5:5000", caFile: ` + ca + `}`}))
	if got := c.SourcePrefixes(); len(got) != 3 || got["registry.k8s.io"] != "harbor.example/k8s" || c.SourcesCA() != ca || c.Spec.Bundle != "" {
		t.Errorf("got %v, %q, bundle %q", got, c.SourcesCA(), c.Spec.Bundle)
	}
	relative := edit(t, [2]string{"bundle: b", "sources: {caFile: none.crt}"})
	for text, want := range map[string]string{
		relative: "F:7:21: spec.sources.caFile: ",
		edit(t, [2]string{"bundle: b", "sources: {'http://a.example': 'https://b.example'}"}):             `"http://a.example" is neither an address that begins with https:// nor the beginning of an image's name`,
		edit(t, [2]string{"bundle: b", "sources: {'https://a.example': 'ftp://b.example'}"}):              `"ftp://b.example" is not the address of a mirror (https://mirror.example/dl.k8s.io)`,
		edit(t, [2]string{"bundle: b", "sources: {'https://a.example': 'https://u:hidden@b.example'}"}):   "spec.sources[https://a.example]: holds a login, which does not belong into an address",
		edit(t, [2]string{"bundle: b", "sources: {'https://u:hidden@a.example': 'https://b.example'}"}):   "spec.sources: holds a login, which does not belong into an address",
		edit(t, [2]string{"bundle: b", "sources: {'https://a.example': 'https://b.example:99999'}"}):      `"https://b.example:99999" is not the address of a mirror`,
		edit(t, [2]string{"bundle: b", "sources: {a.example: 'b.example:0/k8s'}"}):                        `"b.example:0/k8s" is not the address of a registry`,
		edit(t, [2]string{"bundle: b", "sources: {a.example: 'Harbor.example'}"}):                         `"Harbor.example" is not the address of a registry`,
		edit(t, [2]string{"bundle: b", "sources: {a.example: 3}"}):                                        "is a number, not text",
		edit(t, [2]string{"bundle: b", "sources: {'https://a.example': 'https://b.example/?token=abc'}"}): "is not the address of a mirror",
	} {
		_, err := Parse("F", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}
