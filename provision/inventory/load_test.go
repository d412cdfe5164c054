package inventory

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hybridctl/hybridctl/provision/golden"
)

// valid is the smallest inventory; tests put one mistake into it.
const valid = `apiVersion: hybridctl.dev/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetes:
    version: v1.36.3
  bundle: b
  hosts:
  - {name: a, address: 10.0.0.1, role: control-plane}
`

// edit returns valid with replacements, each of which must apply.
func edit(t *testing.T, replacements ...[2]string) string {
	t.Helper()
	text := valid
	for _, r := range replacements {
		text = replaceOnce(t, text, r[0], r[1])
	}
	return text
}

func replaceOnce(t *testing.T, text, old, replacement string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("%q is not in the text", old)
	}
	return strings.Replace(text, old, replacement, 1)
}

func mustParse(t *testing.T, text string) *Cluster {
	t.Helper()
	c, err := Parse("/etc/lab/inventory.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLoad_ReadsEveryExample(t *testing.T) {
	for _, file := range exampleFiles(t) {
		c, err := Load(file)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if abs, _ := filepath.Abs(file); c.Path != abs {
			t.Errorf("%s: Path is %s", file, c.Path)
		}
	}
}

func TestLoad_WhatIsNoReadableFile(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		path, want string
		is         error
	}{
		{filepath.Join(dir, "none.yaml"), "no such file (name the inventory with -f FILE)", fs.ErrNotExist},
		{dir, "is a directory (name the file in it)", nil},
		{"/dev/zero", "has more than 16 MiB, which is no inventory (name the file that has the hosts)", nil},
		{filepath.Join(dir, "\x00"), "cannot be read: invalid argument", nil},
	} {
		_, err := Load(test.path)
		var problems *Problems
		if !errors.As(err, &problems) || err.Error() != test.path+": "+test.want {
			t.Errorf("%q: %v", test.path, err)
		}
		if test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%q: %v is not %v", test.path, err, test.is)
		}
	}
}

// Texts that are not one well-formed mapping, each with the one sentence about it.
func TestParse_WhatIsNoDocument(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", `1:1: the file is empty (an inventory begins with apiVersion: hybridctl.dev/v1alpha1 and kind: Cluster)`},
		{"only comments", "# nothing\n\n", `1:1: the file is empty (an inventory begins with apiVersion: hybridctl.dev/v1alpha1 and kind: Cluster)`},
		{"only a byte order mark", "\uFEFF", `1:1: the file is empty (an inventory begins with apiVersion: hybridctl.dev/v1alpha1 and kind: Cluster)`},
		{"a list", "- a\n", `1:1: the file is a list, not a mapping (an inventory begins with apiVersion: hybridctl.dev/v1alpha1 and kind: Cluster)`},
		{"text", "\n  hello\n", `2:3: the file is text, not a mapping (an inventory begins with apiVersion: hybridctl.dev/v1alpha1 and kind: Cluster)`},
		{"two documents", valid + "---\n" + valid, `11:1: a second document begins here (one file holds one cluster: keep each in its own file)`},
		{"UTF-16", "\xFF\xFEa\x00", `1:1: the file is UTF-16 (save it as UTF-8)`},
		{"Latin-1", "kind: Cl\xFCster\n", `1:1: not YAML: invalid leading UTF-8 octet (save the file as UTF-8 text)`},
		{"a tab", "kind: Cluster\nmetadata:\n\tname: lab\n", `3:1: a tab indents this line (YAML wants spaces)`},
		{"a tab after spaces", "spec:\n  hosts:\n  - name: a\n  \taddress: b\n", `4:3: a tab indents this line (YAML wants spaces)`},
		{"bad indentation", edit(t, [2]string{"  bundle", "   bundle"}), `7:4: not YAML: did not find expected key (look at the indentation of this line and the one before)`},
		{"two colons", edit(t, [2]string{"bundle: b", "bundle: a: b"}), `7:3: not YAML: mapping values are not allowed in this context (a value with a colon in it needs quotes; or the indentation is wrong)`},
		{"a special character", edit(t, [2]string{"bundle: b", "bundle: @b"}), `7:3: not YAML: found character that cannot start any token (quote a value that begins with a special character)`},
		{"an open bracket", edit(t, [2]string{"bundle: b", "bundle: [b"}), `7:3: not YAML: did not find expected ',' or ']'`},
		{"an open bracket with more behind it", valid + "  cni: {\n    path: x\n  ssh:\n    user: root\n", `10:3: not YAML: did not find expected ',' or '}'`},
		{"an open quote", valid + "  cni: {path: \"x}\n  ssh:\n    user: root\n", `10:3: not YAML: found unexpected end of stream`},
		{"an unknown alias", edit(t, [2]string{"bundle: b", "bundle: *b"}), `7:3: the alias *b has no anchor &b before it`},
		{"another kind", "apiVersion: v1\nkind: Pod\nspec: {containers: []}\n",
			"1:13: apiVersion: v1 is not known to this hybridctl (write hybridctl.dev/v1alpha1)\nF:2:7: kind: Pod is not known to this hybridctl (write Cluster)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("F", []byte(test.text))
			if err == nil || err.Error() != "F:"+test.want {
				t.Errorf("got  %v\nwant F:%s", err, test.want)
			}
		})
	}
}

// A mistake between brackets that go over several lines, which are not YAML before they close.
func TestParse_MistakesBetweenBrackets(t *testing.T) {
	text := edit(t, [2]string{"version: v1.36.3", "version: v1.36.3\n    kubelet: {\n      a: 1,\n      b: [\n        2\n      ]\n    }"},
		[2]string{"hosts:\n  - {name: a, address: 10.0.0.1, role: control-plane}",
			"hosts: [\n" + strings.Repeat("    {name: a,\n      address: 10.0.0.1,\n    role: control-plane},\n", 3) + "  ]\n  ssh: {\n    user: root\n    }\n  cni: {}\n  timeouts: {}"})
	lines := strings.Split(text, "\n")
	tried := 0
	for i, line := range lines {
		if len(line) > 2 && strings.HasPrefix(line, "  ") && line[2] >= 'a' && line[2] <= 'z' && lines[i-1] != "spec:" {
			tried++
			wrong := strings.Join(slices.Insert(slices.Clone(lines), i, "   x: y"), "\n")
			want := fmt.Sprintf("F:%d:4: not YAML: ", i+1)
			if _, err := Parse("F", []byte(wrong)); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		}
	}
	if tried != 5 {
		t.Errorf("%d places in\n%s", tried, text)
	}
}

func TestParse_ByteOrderMarkAndWindowsLineEnds(t *testing.T) {
	want := mustParse(t, valid)
	got := mustParse(t, "\uFEFF"+strings.ReplaceAll(valid, "\n", "\r\n"))
	if diff := cmp.Diff(want, got, ignoreDocument); diff != "" {
		t.Error(diff)
	}
	for path, want := range map[string]position{"apiVersion": {1, 13}, "spec.bundle": {7, 11}} {
		if line, column := got.Pos(path); line != want.line || column != want.column {
			t.Errorf("%s stands at %d:%d", path, line, column)
		}
	}
}

// A file with many mistakes gives all of them, in order.
func TestParse_MistakesGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(filepath.Base(file), data)
			if err == nil {
				t.Fatal("no problem was found")
			}
			here, err2 := os.Getwd()
			if err2 != nil {
				t.Fatal(err2)
			}
			got := strings.ReplaceAll(err.Error(), here, "DIR") + "\n"
			golden.Check(t, strings.TrimSuffix(filepath.Base(file), ".yaml")+".golden", got)
		})
	}
}

func TestProblems_ListsWhatItSays(t *testing.T) {
	_, err := Parse("F", []byte(edit(t, [2]string{"v1.36.3", "v1"}, [2]string{"name: lab", "name: 1"})))
	var problems *Problems
	if !errors.As(fmt.Errorf("up: %w", err), &problems) {
		t.Fatal(err)
	}
	want := []Problem{
		{"F", 3, 18, "metadata.name", "is a number, not text", `put it in quotes: "1"`},
		{"F", 6, 14, "spec.kubernetes.version", `"v1" is not a Kubernetes version`, "for instance v1.36.3"},
	}
	if diff := cmp.Diff(want, problems.List); diff != "" {
		t.Error(diff)
	}
}

// ignoreDocument compares Clusters without the documents they came from.
var ignoreDocument = cmpopts.IgnoreUnexported(Cluster{})
