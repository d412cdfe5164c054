package bundle

import (
	"os"
	"strings"
	"testing"
)

func TestDoc_ExampleIsUnderstood(t *testing.T) {
	raw, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var example strings.Builder
	_, rest, _ := strings.Cut(string(raw), "for instance:\n")
	for _, line := range strings.Split(rest, "\n")[1:] {
		text, indented := strings.CutPrefix(line, "//\t")
		if !indented {
			break
		}
		example.WriteString(text + "\n")
	}
	var s source
	p := newProblems("doc.go")
	decode([]byte(example.String()), &s, p)
	for i, b := range s.Binaries {
		b.check(p, "binary", s.KubernetesVersion, s.archs(p))
		if b.Version == "" {
			t.Errorf("binary %d: %+v", i, b)
		}
	}
	for _, img := range s.Images {
		img.check(p, "image", s.archs(p))
	}
	if err := p.err(); err != nil || len(s.Binaries) != 3 || len(s.Images) != 4 {
		t.Errorf("%v\n%+v", err, s)
	}
}
