package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// plain are words that a plainer one stands for, in comments, messages and documents.
var plain = []struct {
	word    *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`tells whether`), "reports whether"}, // as everywhere in Go
	{regexp.MustCompile(`(?i)\bnobody\b(?:'s)? [a-z]|(?i)\bsomebody\b`), "no one, someone, or who it is"},
	{regexp.MustCompile(`\banew\b`), "again"},
	{regexp.MustCompile(`\ball the same\b`), "anyway, even so"},
}

func TestWords_ArePlain(t *testing.T) {
	for _, path := range texts(t) {
		text, err := os.ReadFile(filepath.Join(top, path))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(string(text)) {
			n++
			for _, p := range plain {
				if found := p.word.FindString(line); found != "" {
					t.Errorf("%s:%d: %q: write %q", path, n, found, p.instead)
				}
			}
		}
	}
}

// texts are the code of the packages, without their tests, and the documents.
func texts(t *testing.T) (paths []string) {
	t.Helper()
	for _, p := range packages(t) {
		for _, file := range p.GoFiles {
			paths = append(paths, filepath.Join(p.name(), file))
		}
	}
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != top {
			return filepath.SkipDir
		}
		if err == nil && filepath.Ext(path) == ".md" {
			path, err = filepath.Rel(top, path)
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// commands are the ways out of an error: commands to run, and that a command is to be run again.
var commands = regexp.MustCompile(`\nhint: |\bkubectl [a-z]|\brun it again|` +
	`\bhybridctl (up|plan|preflight|status|init|adopt|scale-out|remove|destroy|storage|inventory|bundle|image|workload|conformance|report)\b`)

// advice is what the user is to do instead. What names a step of the program's own has the cause behind it ("remove the file: %w").
var advice = regexp.MustCompile(`[:;,] (run|write|set|give|choose|take|use|see|try|wait|put|add|delete|name|remove|bring|look|start|restart|install|make|unmount|log in) |\((see|try|run|use) `)

// An error says what is wrong, and why. What can be done about it is a hint, on a line of its own and a field in JSON.
func TestWords_CommandsStandInHints(t *testing.T) {
	makes := map[string]bool{"Errorf": true, "New": true, "usagef": true, "faultf": true, "sentencef": true, "failf": true}
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || !makes[called(call)] {
					return true
				}
				for _, arg := range call.Args {
					if text := literal(arg); commands.MatchString(text) || advice.MatchString(text) && !strings.HasSuffix(text, ": %w") {
						at := set.Position(arg.Pos())
						t.Errorf("%s:%d: %q: what is to be run belongs into a hint (package hint)", filepath.Join(p.name(), name), at.Line, text)
					}
				}
				return true
			})
		}
	}
}

// called is the name of the function or method that is called.
func called(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// literal is the text of string literals that are joined, without what else is.
func literal(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, _ := strconv.Unquote(e.Value) // "" for a number
		return text
	case *ast.BinaryExpr:
		return literal(e.X) + literal(e.Y)
	}
	return ""
}
