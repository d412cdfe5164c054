package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hybridctl/hybridctl/provision/golden"
)

func checks() []Check {
	return []Check{
		{Host: "arm-1", Name: "arch", Status: Pass, Message: "the host is what the inventory says"},
		{Host: "arm-1", Name: "swap", Status: Ignored, Message: "512 MB of swap are active", Hint: "run swapoff -a"},
		{Host: "x86-1", Name: "binfmt", Status: Warn, Message: "a handler for foreign executables is enabled"},
		{Name: "machine-id", Status: Fail, Message: "arm-1 and x86-1\nshare one", Hint: "remove /etc/machine-id and run systemd-machine-id-setup"},
	}
}

func TestWriteChecks(t *testing.T) {
	for name, color := range map[string]bool{"checks.txt": false, "checks-color.txt": true} {
		var b bytes.Buffer
		if err := WriteChecks(&b, checks(), color); err != nil {
			t.Fatal(err)
		}
		golden.Check(t, name, b.String())
	}
}

func TestTotal(t *testing.T) {
	got := Total(checks())
	if want := (Totals{Pass: 1, Warn: 1, Fail: 1, Ignored: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := got.String(), "1 passed, 1 warning, 1 failed, 1 failed and ignored"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Total(nil).String(); got != "none" {
		t.Errorf("no checks: %q", got)
	}
	if got := len(Problems(checks())); got != 3 {
		t.Errorf("%d problems, want 3", got)
	}
}

func TestTally(t *testing.T) {
	got := Tally([]Action{Unchanged, Created, Failed, Created})
	if want := "1 failed, 2 created, 1 unchanged"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTable_NoTrailingSpacesNoRowsNothing(t *testing.T) {
	var b bytes.Buffer
	table := NewTable("A", "B", "C")
	table.Note("belongs to no row")
	if err := table.Write(&b, true); err != nil || b.Len() != 0 {
		t.Errorf("an empty table: %q, %v", b.String(), err)
	}
	table.Row(C("größer"), C("x"), C(""))
	table.Row(C("a"), C(""), C("last"))
	if err := table.Write(&b, false); err != nil {
		t.Fatal(err)
	}
	want := "A       B  C\ngrößer  x\na          last\n"
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

func TestEncode(t *testing.T) {
	v := struct {
		Name   string  `json:"name"`
		Checks []Check `json:"checks"`
	}{"a <b>", checks()[1:2]}
	for _, f := range []Format{JSON, YAML} {
		var b bytes.Buffer
		if err := Encode(&b, f, v); err != nil {
			t.Fatal(err)
		}
		golden.Check(t, "encode."+string(f), b.String())
	}
	if err := Encode(&bytes.Buffer{}, Text, v); err == nil {
		t.Error("text has no structure, but no error")
	}
}

func TestParseFormat(t *testing.T) {
	for _, f := range Formats() {
		if got, err := ParseFormat(strings.ToUpper(string(f))); err != nil || got != f {
			t.Errorf("%s: %q, %v", f, got, err)
		}
	}
	if _, err := ParseFormat("xml"); err == nil {
		t.Error("xml is no format")
	}
}

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                         "plain",
		"two\n\n  lines\r\n":            "two; lines",
		"\x1b[1;31mred\x1b[0m \x1b[2Jx": "red x",
		"\x1b]0;title\x07text":          "text",
		"\x1b]0;title\x1b\\text":        "text",
		"bell\aand\ttab":                "bell and tab",
		"cut off \x1b":                  "cut off  ",
		"bad \xff byte":                 "bad   byte",
		"größer 寸":                      "größer 寸",
	} {
		if got := OneLine(in); got != want {
			t.Errorf("OneLine(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 9_940: "9.9 kB", 42_400_000: "42 MB", 999_400: "999 kB", 999_600: "1.0 MB",
		265e6: "265 MB", 1_500_000_000: "1.5 GB", 1 << 62: "4.6 EB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestElapsed(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s", 90 * time.Minute: "90m00s",
	} {
		if got := Elapsed(d); got != want {
			t.Errorf("Elapsed(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	if got := Count(1, "host") + ", " + Count(2, "host"); got != "1 host, 2 hosts" {
		t.Error(got)
	}
}
