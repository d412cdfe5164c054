package main

import (
	"strings"
	"testing"
)

const list = `
# a comment
provision/facts TestBusybox      # no busybox
provision/facts TestScript/*busybox*  # stubborn
`

// lines are events of one package, as "action test output".
func lines(events ...string) string {
	var b strings.Builder
	for _, e := range events {
		f := strings.SplitN(e, "|", 3)
		output := ""
		if len(f) == 3 {
			output = `,"Output":"` + f[2] + `\n"`
		}
		b.WriteString(`{"Action":"` + f[0] + `","Package":"github.com/hybridctl/hybridctl/provision/facts","Test":"` + f[1] + `"` + output + "}\n")
	}
	return b.String()
}

func TestRun(t *testing.T) {
	for name, c := range map[string]struct {
		in        string
		ok        bool
		out, errs string // errs: a part of it
	}{
		"all pass": {lines("output|TestA|=== RUN   TestA", "output|TestA|--- PASS: TestA (0.00s)", "pass|TestA", "output||PASS", "output||ok  \\tfacts\\t0.1s", "pass|"),
			true, "ok  \tfacts\t0.1s\n", "skipped: 0"},
		"one fails": {lines("output|TestA|=== RUN   TestA", "output|TestA|    a_test.go:1: wrong", "output|TestA|--- FAIL: TestA (0.00s)", "fail|TestA", "output||FAIL", "output||FAIL\\tfacts\\t0.1s", "fail|"),
			false, "    a_test.go:1: wrong\n--- FAIL: TestA (0.00s)\nFAIL\nFAIL\tfacts\t0.1s\n", "skipped: 0"},
		"known skip": {lines("output|TestBusybox|    a_test.go:1: no busybox", "output|TestBusybox|--- SKIP: TestBusybox (0.00s)", "skip|TestBusybox"),
			true, "", "skipped in provision/facts: 1: no busybox"},
		"known by a pattern":        {lines("output|TestScript/busybox_sh|    a_test.go:1: stubborn", "skip|TestScript/busybox_sh"), true, "", "tests skipped: 1"},
		"unknown skip":              {lines("output|TestB|    a_test.go:1: no moon", "skip|TestB"), false, "", "TestB was skipped, and is not in the list of those that may be: no moon"},
		"known, for another reason": {lines("output|TestBusybox|    a_test.go:1: too late today", "skip|TestBusybox"), false, "", "not in the list of those that may be: too late today"},
		"without a word":            {lines("output|TestBusybox|--- SKIP: TestBusybox (0.00s)", "skip|TestBusybox"), false, "", "without a word"},
		"no tests at all":           {lines("output||?   \\tfacts\\t[no test files]", "skip|"), true, "?   \tfacts\t[no test files]\n", "skipped: 0"},
		"does not build": {`{"ImportPath":"x","Action":"build-output","Output":"x.go:1: no\n"}` + "\n" + `{"ImportPath":"x","Action":"build-fail"}` + "\n" +
			lines("output||FAIL\\tx [build failed]", "fail|"), false, "x.go:1: no\nFAIL\tx [build failed]\n", ""},
		"go's own words": {"go: no such tool\n", true, "go: no such tool\n", ""},
		"torn":           {`{"Action":"outp`, true, `{"Action":"outp`, ""},
	} {
		var out, errs strings.Builder
		ok, err := run(strings.NewReader(c.in), &out, &errs, list)
		if err != nil || ok != c.ok || out.String() != c.out || !strings.Contains(errs.String(), c.errs) {
			t.Errorf("%s: %v, %v\nout  %q\nwant %q\nerrs %q", name, ok, err, out.String(), c.out, errs.String())
		}
	}
}

func TestParseList(t *testing.T) {
	for _, bad := range []string{"provision/facts TestX", "provision/facts TestX #", "TestX # why", "provision/facts Test[ # why", "a b c # why"} {
		if _, err := parseList("\n" + bad); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
