package inventory

import (
	"strings"
	"testing"
)

func TestNodeName(t *testing.T) {
	for name, want := range map[string]string{
		"node-1": "node-1", "PHost_01": "phost-01", "PHost_01.Rack-7.example": "phost-01.rack-7.example", "_a_": "a", "a..b": "a.b", "a-.-b": "a.b",
		"2001:db8::23": "2001-db8--23", "größe": "gr--e", "": "", "___": "", "10.0.0.1": "10.0.0.1", " w1 ": "w1", "a b": "a-b", "WIN\\host": "win-host",
		strings.Repeat("x", 62) + ".y": strings.Repeat("x", 62), strings.Repeat("x", 70): strings.Repeat("x", 63),
	} {
		got := NodeName(name)
		if got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
		if got != "" && !nameRule.ok(got) {
			t.Errorf("%q: %q is no name", name, got)
		}
	}
}
