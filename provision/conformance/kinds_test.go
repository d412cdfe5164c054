package conformance

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// constantsOf are the values of the constants of a type in this package's sources.
func constantsOf(t *testing.T, typeName string) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if id, ok := spec.Type.(*ast.Ident); !ok || id.Name != typeName {
				return true
			}
			for _, v := range spec.Values {
				if text, ok := v.(*ast.BasicLit); ok {
					s, err := strconv.Unquote(text.Value)
					if err != nil {
						t.Fatal(err)
					}
					out = append(out, s)
				}
			}
			return true
		})
	}
	if len(out) == 0 {
		t.Fatalf("no constant of the type %s was found", typeName)
	}
	return out
}

// Every constant has its row, every row its constant and its function, and some cell is of it.
func TestKinds_Complete(t *testing.T) {
	planned := map[kind]bool{}
	arm, x86 := planNode("arm-1", "arm64"), planNode("x86-1", "amd64")
	grown := planInput(planNode("arm-1", "arm64", isNew), x86)
	grown.Scenario = ScaleOut
	known := planInput(arm, x86)
	known.NodesKnow = true
	for _, in := range []Input{planInput(arm, x86), grown, known} {
		in.Storage = []StorageClass{{Name: "rbd", Driver: RBD, Grows: true}, {Name: "cephfs", Driver: CephFS}}
		m, err := Plan(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range m.Cells {
			planned[c.kind] = true
		}
	}
	constants := constantsOf(t, "kind")
	for _, name := range constants {
		k := kind(name)
		row, ok := kinds[k]
		switch {
		case !ok:
			t.Errorf("kind %q has no row in kinds", k)
		case (row.try == nil) != (k == kindNever):
			t.Errorf("kind %q: whether it has a function that tries it", k)
		case !planned[k]:
			t.Errorf("no check plans a cell of kind %q", k)
		}
	}
	if len(kinds) != len(constants) {
		t.Errorf("%d rows for %d constants", len(kinds), len(constants))
	}
}

// Every fault turns cells of some kind red, or is the one that must turn none.
func TestKinds_EveryFaultIsSeen(t *testing.T) {
	known := map[FaultName]bool{}
	for _, name := range constantsOf(t, "FaultName") {
		known[FaultName(name)] = true
	}
	seen := map[FaultName]bool{faultNone: true}
	for k, row := range kinds {
		for f, at := range row.red {
			if seen[f] = true; !known[f] || at == nil {
				t.Errorf("kind %q: fault %q", k, f)
			}
		}
	}
	for f := range known {
		if !seen[f] {
			t.Errorf("no kind of cell sees the fault %q", f)
		}
	}
}
