package strict

import (
	"strings"
	"testing"
)

type document struct {
	Name  string            `yaml:"name"`
	On    *bool             `yaml:"on"`
	Words map[string]string `yaml:"words"`
	Items []struct {
		Name string `yaml:"name"`
		On   *bool  `yaml:"on"`
	} `yaml:"items"`
}

func TestDecode(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"nothing wrong", "name: a\non: false\nwords: {a: b}\nitems: [{name: x, on: true}, {}]\n", ""},
		{"empty", "", "f:1:1: not a YAML document: the file is empty"},
		{"no YAML", "a: [", "f:1:1: not a YAML document: did not find expected node content"},
		{"no YAML further down", "name: a\nitems: a: b\n", "f:2:1: not a YAML document: mapping values are not allowed in this context"},
		{"a list", "- a", "f:1:1: must be a mapping, not a list"},
		{"two documents", "name: a\n---\nname: b\n", "f:2:1: ---: a second document; the file holds one thing"},
		{"unknown and doubled fields", "nome: a\nname: a\nname: b\n", "f:1:1: nome: unknown field (known: name, on, words, items)\nf:3:1: name: stands twice"},
		{"unknown field within", "items: [{nome: a}]", "f:1:10: items[0].nome: unknown field (known: name, on)"},
		{"a number for a word", "name: 1.5", "f:1:7: name: must be a string (put quotes around 1.5)"},
		{"nothing for a word", "name:", "f:1:6: name: must be a string (put quotes around it)"},
		{"a word for a truth", "on: \"yes\"\nitems: [{on: 1}]", "f:1:5: on: must be true or false\nf:2:14: items[0].on: must be true or false"},
		{"a list for a mapping", "words: [a]", "f:1:8: words: must be a mapping, not a list"},
		{"a word for a list", "items: a", "f:1:8: items: must be a list, not a single value"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &Problems{File: "f"}
			var d document
			p.Decode([]byte(test.text), "thing", &d)
			if got := p.Text(); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
			if test.want == "" && (d.Name != "a" || d.On == nil || *d.On || d.Words["a"] != "b" || len(d.Items) != 2 || !*d.Items[0].On || d.Items[1].On != nil) {
				t.Errorf("%+v", d)
			}
		})
	}
}

// A problem of a field that is not there is told where the nearest field around it stands.
func TestAdd_NearestPlace(t *testing.T) {
	p := &Problems{File: "f"}
	p.Decode([]byte("name: a\nitems:\n  - name: x\n"), "thing", &document{})
	p.Add("items[0].on", "is missing")
	p.Add("words", "is missing")
	if got, want := p.Text(), "f:1:1: words: is missing\nf:3:5: items[0].on: is missing"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	unread := &Problems{File: "f"}
	unread.Decode(nil, "thing", &document{})
	unread.Add("words", "is missing")
	if got, want := unread.Text(), "f:1:1: not a YAML document: the file is empty"; got != want {
		t.Errorf("of a file that could not be read more is told than that:\n%s\nwant\n%s", got, want)
	}
	var none Problems
	none.Add("a", "is %s", "wrong")
	if got := none.Text(); !strings.HasSuffix(got, "a: is wrong") {
		t.Error(got)
	}
}
