package main

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = moduleName + "/"

// top is the checkout's top folder, as tests here see it.
const top = "../.."

// mayImport is the architecture: which packages of this module each package may import directly. Arrows point right and down.
// Changing it is fine when the design changes, in the same commit.
var mayImport = map[string]string{
	"cmd/hybridctl":               "cmd/hybridctl/cli cmd/hybridctl/quiet",
	"cmd/hybridctl/cli":           "cmd/hybridctl/progress provision provision/hint provision/conformance provision/inventory provision/inventory/edit provision/inventory/foreign provision/bundle provision/catalogue provision/fetch provision/publish provision/image provision/registry provision/plan provision/platform provision/podimages provision/preflight provision/report provision/report/sarif provision/workload",
	"cmd/hybridctl/progress":      "provision/hint provision/report",
	"cmd/hybridctl/quiet":         "",
	"cmd/probe":                   "provision/probe",
	"provision":                   "provision/...",
	"provision/access":            "provision/adopt provision/ending provision/facts provision/fleet provision/hint provision/inventory provision/kube provision/lock provision/preflight provision/proof provision/ready provision/report provision/steps provision/survey",
	"provision/adopt":             "provision/bundle provision/fleet provision/hint provision/host provision/inventory provision/kube provision/platform provision/preflight",
	"provision/artefacts":         "provision/bundle provision/catalogue provision/ending provision/fetch provision/hint provision/image provision/inventory provision/platform provision/registry provision/report provision/survey",
	"provision/bundle":            "provision/filelock provision/hint provision/image provision/platform provision/strict",
	"provision/catalogue":         "provision/bundle provision/hint provision/image provision/platform provision/strict",
	"provision/conformance":       "provision/hint provision/kube provision/platform provision/probe provision/report",
	"provision/ending":            "provision/facts provision/hint provision/inventory provision/plan provision/report",
	"provision/execution":         "provision/access provision/bundle provision/ending provision/facts provision/fleet provision/hint provision/host provision/inventory provision/kube provision/lock provision/plan provision/proof provision/render provision/report provision/restarts provision/stack provision/steps provision/survey",
	"provision/facts":             "provision/host provision/inventory provision/platform provision/remote templates",
	"provision/fetch":             "provision/bundle provision/catalogue provision/filelock provision/hint provision/image provision/platform provision/registry provision/report",
	"provision/filelock":          "",
	"provision/fleet":             "provision/host provision/inventory provision/kube provision/remote provision/report provision/secret",
	"provision/golden":            "",
	"provision/hint":              "",
	"provision/host":              "provision/remote templates",
	"provision/image":             "provision/hint provision/platform provision/registry",
	"provision/inventory":         "provision/hint provision/platform provision/spelling provision/yamltext",
	"provision/inventory/edit":    "provision/filelock provision/hint provision/inventory provision/platform provision/yamltext",
	"provision/inventory/foreign": "provision/hint provision/inventory provision/yamltext",
	"provision/kube":              "provision/hint provision/report",
	"provision/kube/fakeapi":      "provision/kube provision/report",
	"provision/lock":              "provision/hint provision/host provision/kube",
	"provision/plan":              "provision/hint provision/inventory provision/facts provision/platform provision/bundle provision/render provision/host provision/report",
	"provision/platform":          "",
	"provision/podimages":         "provision/image provision/kube provision/platform provision/registry provision/report provision/workload",
	"provision/preflight":         "provision/hint provision/inventory provision/facts provision/platform provision/report provision/bundle provision/host",
	"provision/probe":             "",
	"provision/proposal":          "provision/access provision/artefacts provision/ending provision/facts provision/fleet provision/hint provision/inventory provision/kube provision/plan provision/platform provision/preflight provision/proof provision/render provision/report provision/steps provision/survey",
	"provision/proof":             "provision/bundle provision/conformance provision/fleet provision/inventory provision/kube provision/ready provision/render provision/report provision/secret provision/survey",
	"provision/publish":           "provision/bundle provision/hint provision/image provision/platform provision/registry",
	"provision/ready":             "provision/host provision/inventory provision/kube provision/plan provision/remote provision/render provision/report",
	"provision/registry":          "provision/report",
	"provision/remote":            "provision/filelock provision/hint",
	"provision/render":            "templates provision/platform",
	"provision/report":            "provision/hint",
	"provision/report/sarif":      "",
	"provision/restarts":          "provision/hint provision/host provision/report",
	"provision/secret":            "",
	"provision/spelling":          "",
	"provision/strict":            "",
	"provision/stack":             "provision/filelock provision/hint provision/plan provision/steps provision/report",
	"provision/steps":             "provision/hint provision/plan provision/host provision/kube provision/render provision/bundle provision/report provision/facts provision/inventory provision/platform",
	"provision/survey":            "provision/bundle provision/facts provision/fleet provision/hint provision/host provision/image provision/inventory provision/kube provision/plan provision/platform provision/podimages provision/preflight provision/remote provision/render provision/report provision/secret provision/steps provision/workload provision/registry",
	"provision/workload":          "provision/hint provision/platform provision/report provision/spelling provision/yamltext",
	"provision/yamltext":          "",
	"templates":                   "",
}

// outside says which packages may import a dependency directly; it stands for all packages of the dependency. A dependency that is
// not here is an error: a new one is a decision.
var outside = map[string]string{
	"github.com/google/go-cmp":               "provision/golden",
	"github.com/google/go-containerregistry": "provision/image provision/registry",
	"github.com/invopop/jsonschema":          "provision/inventory",
	"github.com/klauspost/compress":          "provision/image",
	"github.com/opencontainers/go-digest":    "provision/image provision/bundle",
	"github.com/opencontainers/image-spec":   "provision/image provision/bundle",
	"github.com/owenrumney/go-sarif/v3":      "provision/report/sarif",
	"github.com/pkg/sftp":                    "provision/remote",
	"github.com/pulumi/pulumi/pkg/v3":        "provision/stack",
	"github.com/pulumi/pulumi/sdk/v3":        "provision/stack",
	"github.com/rogpeppe/go-internal":        "provision/inventory/edit provision/workload",
	"github.com/spf13/cobra":                 "cmd/hybridctl/cli",
	"github.com/spf13/pflag":                 "cmd/hybridctl/cli",
	"github.com/vbauerster/mpb/v8":           "cmd/hybridctl/progress",
	"golang.org/x/crypto":                    "provision/remote",
	"golang.org/x/sync":                      "provision/conformance provision/facts provision/bundle provision/fetch provision/image provision/podimages provision/publish provision/steps provision/ready provision/survey",
	"golang.org/x/term":                      "cmd/hybridctl/cli cmd/hybridctl/progress",
	"google.golang.org/grpc":                 "provision/stack",
	"google.golang.org/protobuf":             "provision/stack",
	"go.yaml.in/yaml/v3":                     "provision/kube/fakeapi provision/inventory provision/inventory/edit provision/inventory/foreign provision/strict provision/workload provision/yamltext",
	"k8s.io/api":                             "provision/kube provision/workload",
	"k8s.io/apimachinery":                    "provision/kube",
	"k8s.io/client-go":                       "provision/kube",
	"k8s.io/component-helpers":               "provision/workload",
	"k8s.io/klog/v2":                         "provision/kube provision/workload",
	"k8s.io/streaming":                       "provision/kube",
	"sigs.k8s.io/yaml":                       "cmd/hybridctl/cli provision/report provision/kube provision/render provision/plan",
}

// pure are the packages that touch no network, no process, no file and no clock.
const pure = "provision/plan provision/platform provision/preflight provision/render provision/workload"

// impure are the ways out: whole packages, or names of packages that have pure ones too.
var (
	impure      = regexp.MustCompile(`^(net/http|os|os/exec|syscall)$`)
	impureNames = regexp.MustCompile(`^(net\.(Dial|Listen|Lookup|Resolve|Interface).*|time\.(Now|Since|Until|Sleep|After|NewTimer|NewTicker|Tick))$`)
)

// listed is what `go list -json` tells of a package, as far as it is needed here.
type listed struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
}

// name is the package's path inside the module.
func (p listed) name() string { return strings.TrimPrefix(p.ImportPath, module) }

// packages lists the packages of the module that have code of their own: e2e and scripts are outside the table.
func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,GoFiles,Imports", "./cmd/...", "./provision/...", "./templates/...")
	cmd.Dir, cmd.Stderr, cmd.Env = top, os.Stderr, withCache(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 {
			all = append(all, p)
		}
	}
	if len(all) < 10 {
		t.Fatalf("only %d packages listed", len(all))
	}
	return all
}

// withCache is the environment of a go command: the test gives it a cache where the user's home holds none.
func withCache(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	if dir := strings.TrimSpace(string(out)); err == nil && filepath.IsAbs(dir) {
		if file, err := os.CreateTemp(dir, "writable-*"); err == nil {
			file.Close()
			os.Remove(file.Name())
			return nil // this process's own
		}
	}
	return append(os.Environ(), "GOCACHE="+t.TempDir())
}

func TestImports_HoldTheArchitecture(t *testing.T) {
	for _, p := range packages(t) {
		subject := subjectOf(p.name())
		allowed, known := mayImport[subject]
		if !known {
			t.Errorf("%s is not in the table mayImport: a new package is a decision", p.name())
			continue
		}
		equipment := subject != p.name()
		if equipment {
			allowed += " " + subject
		}
		for _, imported := range p.Imports {
			name, own := strings.CutPrefix(imported, module)
			switch {
			case own && equipment && covers(allowed, subjectOf(name)):
			case own && !covers(allowed, name):
				t.Errorf("%s must not import %s (it may import: %s)", p.name(), name, allowed)
			case !own && isOutside(imported):
				checkOutside(t, p.name(), imported, equipment)
			case covers(pure, p.name()) && impure.MatchString(imported):
				t.Errorf("%s is pure and must not import %s", p.name(), imported)
			}
		}
	}
}

// What each package owns and never does stands in the table that people read.
func TestPackages_AreInTheTable(t *testing.T) {
	const page = "provision/README.md"
	text, err := os.ReadFile(filepath.Join(top, page))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n| package | owns | never does |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	named := map[string]bool{}
	for row := range strings.Lines(table) {
		cells := strings.SplitN(row, "|", 3)
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
			named[m[1]] = true
			if _, err := os.Stat(filepath.Join(top, m[1])); err != nil {
				t.Errorf("%s has a row for %s, which does not exist", page, m[1])
			}
		}
	}
	for name := range mayImport {
		if !named[name] {
			t.Errorf("%s has no row for %s: what does it own, and what does it never do?", page, name)
		}
	}
}

// checkOutside holds a dependency against the table; test equipment may use all that is in it.
func checkOutside(t *testing.T, name, imported string, equipment bool) {
	t.Helper()
	for dependency, allowed := range outside {
		if imported != dependency && !strings.HasPrefix(imported, dependency+"/") {
			continue
		}
		if !equipment && !covers(allowed, name) {
			t.Errorf("%s must not import %s (that is for: %s)", name, imported, allowed)
		}
		return
	}
	t.Errorf("%s imports %s, which is not in the table outside: a new dependency is a decision", name, imported)
}

// subjectOf is the package whose rules hold: a package of test equipment (kube/kubetest) may do what its subject (kube) may.
func subjectOf(name string) string {
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	if base == path.Base(dir)+"test" {
		return dir
	}
	return name
}

// isOutside tells dependencies from the standard library, whose paths have no dot in their first element.
func isOutside(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".")
}

// covers reports whether a list of packages has name; "x/..." stands for everything beneath x.
func covers(list, name string) bool {
	return slices.ContainsFunc(strings.Fields(list), func(entry string) bool {
		beneath, all := strings.CutSuffix(entry, "...")
		return entry == name || all && strings.HasPrefix(name, beneath)
	})
}

// spelling finds names of architectures. Elsewhere than in package platform they are data that the package hands out.
var spelling = regexp.MustCompile(`(?i)\b(amd64|arm64|x86_64|aarch64)\b`)

// composers are the packages that may compose commands: host and facts do, remote carries them out.
const composers = "provision/host provision/facts provision/remote"

// runners may start a program on this machine: secret starts the user's own, which prints a key.
const runners = composers + " provision/secret"

// TestCode_KeepsToItsPlace looks at string literals and at names of other packages; comments may name what they explain.
func TestCode_KeepsToItsPlace(t *testing.T) {
	for _, p := range packages(t) {
		if subjectOf(p.name()) != p.name() {
			continue
		}
		for _, file := range p.GoFiles {
			inspect(t, filepath.Join(p.Dir, file), func(where, literal, name string) {
				switch {
				case p.name() != "provision/platform" && spelling.MatchString(literal):
					t.Errorf("%s spells an architecture: %s", where, literal)
				case p.name() != "provision/platform" && strings.HasPrefix(name, "platform.") && spelling.MatchString(name):
					t.Errorf("%s names %s: ask the profile for what differs", where, name)
				case covers(pure, p.name()) && impureNames.MatchString(name):
					t.Errorf("%s: %s is pure and must not use %s", where, p.name(), name)
				case !covers(composers, p.name()) && name == "remote.Command":
					t.Errorf("%s composes a command: that is for %s", where, composers)
				case !covers(runners, p.name()) && strings.HasPrefix(name, "exec.Command"):
					t.Errorf("%s starts a program: that is for %s", where, runners)
				}
			})
		}
	}
}

// inspect calls see with every string literal and every name of another package ("net.Dial") in a file.
func inspect(t *testing.T, path string, see func(where, literal, name string)) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				see(files.Position(n.Pos()).String(), n.Value, "")
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok {
				see(files.Position(n.Pos()).String(), "", x.Name+"."+n.Sel.Name)
			}
		}
		return true
	})
}

func TestTemplates_AreTheSameForAllArchitectures(t *testing.T) {
	err := filepath.WalkDir(filepath.Join(top, "templates"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".go") || strings.Contains(path, "testdata") {
			return err
		}
		text, err := os.ReadFile(path)
		if found := spelling.Find(text); found != nil {
			t.Errorf("%s spells %s: give it to the template as data", path, found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
