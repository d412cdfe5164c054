package workload

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/platform"
)

func known(t *testing.T, file string) Known {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ReadKnown(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func set(t *testing.T, name string, text []byte) *Set {
	t.Helper()
	s, err := Read([]Source{{name, text}}, ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// problemsOf are "L1 12:5" for each finding.
func problemsOf(t *testing.T, text string, o Options) string {
	t.Helper()
	if o.Archs == nil {
		o.Archs = platform.All()
	}
	problems, _ := Lint(set(t, "m.yaml", []byte(text)), o)
	var out []string
	for _, p := range problems {
		if p.Fix == "" || p.Message == "" || p.Path == "" {
			t.Errorf("incomplete: %+v", p)
		}
		out = append(out, p.Rule)
	}
	return strings.Join(out, " ")
}

func patched(t *testing.T, name string, text []byte, k Known) []byte {
	t.Helper()
	out, left, err := Patch(set(t, name, text), PatchOptions{Archs: platform.All(), Known: k})
	if err != nil || len(left) > 0 {
		t.Fatal(err, left)
	}
	return out[0].After
}

// TestCases are the handed ones: the findings, the patched text byte for byte, and nothing more to do then.
func TestCases(t *testing.T) {
	for _, c := range []struct{ dir, file, want, rules string }{
		{"06-or-terms", "ds.yaml", "want.yaml", "L3"},
		{"07-bytes-that-stay", "deploy.yaml", "want.yaml", "L4"},
		{"07-bytes-that-stay", "deploy-crlf.yaml", "want.yaml", "L4"},
		{"08-nothing-wrong", "good.yaml", "good.yaml", ""},
	} {
		t.Run(c.dir+"/"+c.file, func(t *testing.T) {
			dir := filepath.Join("testdata/cases", c.dir)
			text, err := os.ReadFile(filepath.Join(dir, c.file))
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(filepath.Join(dir, c.want))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(c.file, "crlf") {
				want = bytes.ReplaceAll(want, []byte("\n"), []byte("\r\n"))
			}
			k := known(t, filepath.Join(dir, "images.json"))
			if got := problemsOf(t, string(text), Options{Known: k}); got != c.rules {
				t.Errorf("found %q, want %q", got, c.rules)
			}
			after := patched(t, c.file, text, k)
			if !bytes.Equal(after, want) {
				t.Errorf("patched:\n%s", after)
			}
			if again := patched(t, c.file, after, k); !bytes.Equal(again, after) {
				t.Errorf("patched again:\n%s", again)
			}
			if got := problemsOf(t, string(after), Options{Known: k}); got != "" {
				t.Errorf("after it: %q", got)
			}
		})
	}
}
