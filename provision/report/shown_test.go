package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
)

// obeys is what terminals obey.
const obeys = "a\x1b[2J\x1b]0;title\ab\x1bPq\x9b31m\u009b2J\x7f\r\x08\u202ec\x1b[8m\u200f\xff"

func TestShown(t *testing.T) {
	for text, want := range map[string]string{
		"plain\n\ttext – ü 日本":                 "plain\n\ttext – ü 日本",
		Paint("good", Good, true) + "\n":       "\x1b[32mgood\x1b[0m\n",
		Paint("a\x1b[2Jb", Bad, true):          "\x1b[31mab\x1b[0m",
		"\x1b[38;5;1mred\x1b[31;8mhidden\x1b[": "redhidden [",
		obeys:                                  "ab Pq 31m 2J    c  ",
	} {
		if got := string(Shown([]byte(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestEncode_JSONThatNoTerminalObeys(t *testing.T) {
	valid := strings.ToValidUTF8(obeys, "?")
	var b bytes.Buffer
	if err := Encode(&b, JSON, map[string]string{"reason": valid, "plain": "– ü <a&b>"}); err != nil {
		t.Fatal(err)
	}
	if i := strings.IndexFunc(b.String(), func(r rune) bool {
		return r != '\n' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
	}); i >= 0 {
		t.Errorf("%q", b.String()[i:])
	}
	var back map[string]string
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back["reason"] != valid || !strings.Contains(b.String(), `"– ü <a&b>"`) {
		t.Errorf("%q, %v: %s", back["reason"], err, b.String())
	}
}
