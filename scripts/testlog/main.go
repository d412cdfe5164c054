// Testlog reads what "go test -json" prints on standard input and prints what go test itself would have: the packages, and of tests the
// output of those that failed. Then it holds the skipped tests against a list, so that none is skipped without being known.
//
// Usage: go test -json ./... | testlog LIST
//
// It ends with 1 when a test failed, or was skipped that is not in the list, or without a word about what it lacks.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go test -json ./... | testlog LIST")
		os.Exit(2)
	}
	list, err := os.ReadFile(os.Args[1])
	if err == nil {
		var ok bool
		if ok, err = run(os.Stdin, os.Stdout, os.Stderr, string(list)); err == nil && !ok {
			os.Exit(1)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testlog:", err)
		os.Exit(2)
	}
}

// event is a line of "go test -json": see "go doc test2json".
type event struct {
	Action     string
	Package    string
	ImportPath string // of build-output
	Test       string
	Output     string
}

// log is what is known so far.
type log struct {
	out     io.Writer
	texts   map[[2]string]*strings.Builder // output by package and test, of those that are not over
	failed  bool
	skipped []skip
}

type skip struct{ test, reason string } // test: "provision/facts TestX/sub"

// run returns whether everything passed and every skipped test is in the list.
func run(in io.Reader, out, errs io.Writer, list string) (bool, error) {
	allowed, err := parseList(list)
	if err != nil {
		return false, err
	}
	l := log{out: out, texts: map[[2]string]*strings.Builder{}}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil {
				fmt.Fprint(out, line) // go's own complaints are no JSON
			} else {
				l.take(e)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return false, err
		}
	}
	return l.judge(errs, allowed) && !l.failed, nil
}

func (l *log) take(e event) {
	key := [2]string{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(l.out, e.Output)
	case "build-fail":
		l.failed = true
	case "output":
		if e.Test == "" {
			if e.Output != "PASS\n" {
				fmt.Fprint(l.out, e.Output)
			}
			return
		}
		if l.texts[key] == nil {
			l.texts[key] = &strings.Builder{}
		}
		if !strings.HasPrefix(e.Output, "=== ") {
			l.texts[key].WriteString(e.Output)
		}
	case "fail":
		l.failed = true
		if t := l.texts[key]; t != nil {
			fmt.Fprint(l.out, t.String())
		}
		delete(l.texts, key)
	case "skip":
		if e.Test != "" {
			l.skipped = append(l.skipped, skip{short(e.Package) + " " + e.Test, reason(l.texts[key])})
		}
		delete(l.texts, key)
	case "pass":
		delete(l.texts, key)
	}
}

// short is a package's path inside this module.
func short(p string) string {
	if _, rest, ok := strings.Cut(p, "/hybridctl/hybridctl/"); ok {
		return rest
	}
	return p
}

// reason is what a test said when it was skipped: "    file_test.go:12: no busybox".
func reason(text *strings.Builder) string {
	if text == nil {
		return ""
	}
	var words []string
	for line := range strings.Lines(text.String()) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "--- SKIP") {
			continue
		}
		if place, rest, ok := strings.Cut(line, ": "); ok && strings.Contains(place, ".go:") {
			line = rest
		}
		if line != "" {
			words = append(words, line)
		}
	}
	return strings.Join(words, "; ")
}

// known is a line of the list.
type known struct {
	test  string // "package TestX", a pattern of path.Match for each part between slashes
	words string // a part of what the test says
}

func (k known) covers(s skip) bool {
	match, _ := path.Match(k.test, s.test)
	return match && strings.Contains(s.reason, k.words)
}

// parseList reads lines of "PACKAGE TEST  # words".
func parseList(text string) ([]known, error) {
	var out []known
	n := 0
	for line := range strings.Lines(text) {
		n++
		entry, words, _ := strings.Cut(line, "#")
		words = strings.TrimSpace(words)
		if strings.TrimSpace(entry) == "" {
			continue
		}
		f := strings.Fields(entry)
		if len(f) != 2 || words == "" {
			return nil, fmt.Errorf("line %d of the list is not \"PACKAGE TEST  # words that the test says\": %s", n, strings.TrimSpace(line))
		}
		if _, err := path.Match(f[1], ""); err != nil {
			return nil, fmt.Errorf("line %d of the list: %q is no pattern", n, f[1])
		}
		out = append(out, known{f[0] + " " + f[1], words})
	}
	return out, nil
}

// judge tells of what was skipped and returns whether that is all in order.
func (l *log) judge(errs io.Writer, allowed []known) bool {
	ok := true
	inOrder := map[skip]int{} // by package and reason, of those that are in the list
	slices.SortFunc(l.skipped, func(a, b skip) int { return strings.Compare(a.test, b.test) })
	for _, s := range l.skipped {
		switch {
		case s.reason == "":
			ok = false
			fmt.Fprintf(errs, "== %s was skipped without a word about what it lacks\n", s.test)
		case !slices.ContainsFunc(allowed, func(k known) bool { return k.covers(s) }):
			ok = false
			fmt.Fprintf(errs, "== %s was skipped, and is not in the list of those that may be: %s\n", s.test, s.reason)
		default:
			p, _, _ := strings.Cut(s.test, " ")
			inOrder[skip{p, s.reason}]++
		}
	}
	for _, s := range slices.SortedFunc(maps.Keys(inOrder), func(a, b skip) int {
		return cmp.Or(strings.Compare(a.test, b.test), strings.Compare(a.reason, b.reason))
	}) {
		fmt.Fprintf(errs, "== skipped in %s: %d: %s\n", s.test, inOrder[s], s.reason)
	}
	fmt.Fprintf(errs, "== tests skipped: %d\n", len(l.skipped))
	return ok
}
