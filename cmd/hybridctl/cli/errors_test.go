package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/fetch"
	"github.com/hybridctl/hybridctl/provision/golden"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/publish"
)

// endings are errors that verbs end with, one for each sentinel at least, as they are wrapped on their way.
var endings = []struct {
	sentinel string
	err      error
}{
	{"provision.ErrPreflight", provision.ErrPreflight},
	{"provision.ErrPartial", fmt.Errorf("%w: 1 of 3 hosts failed", provision.ErrPartial)},
	{"provision.ErrConformance", fmt.Errorf("%w: 2 cells", provision.ErrConformance)},
	{"provision.ErrReportDir", fmt.Errorf("%w: /r: %w", provision.ErrReportDir, fs.ErrPermission)},
	{"provision.ErrDeclined", provision.ErrDeclined},
	{"provision.ErrRefused", hint.With(fmt.Errorf("%w: arm-1 was not reached, and nothing was done: no route to host", provision.ErrRefused),
		"--offline takes the node out of the cluster alone")},
	{"provision.ErrLocked", fmt.Errorf("%w: process 7 on ops", provision.ErrLocked)},
	{"provision.ErrBundle", fmt.Errorf("%w: %w", provision.ErrBundle, bundle.ErrDamaged)},
	{"provision.ErrVolumes", fmt.Errorf("%w: pvc-1", provision.ErrVolumes)},
	{"bundle.ErrNotBundle", fmt.Errorf("./b: %w", bundle.ErrNotBundle)},
	{"bundle.ErrDamaged", fmt.Errorf("./b: %w", bundle.ErrDamaged)},
	{"bundle.ErrSource", fmt.Errorf("%w: source.yaml:3: no such file", bundle.ErrSource)},
	{"catalogue.ErrBad", fmt.Errorf("%w: c.yaml:3:1: kind: must be Catalogue", catalogue.ErrBad)},
	{"catalogue.ErrUnknownVersion", hint.With(fmt.Errorf("%w: v1.2.3", catalogue.ErrUnknownVersion), "name one that it has")},
	{"catalogue.ErrIncomplete", fmt.Errorf("%w: kubelet", catalogue.ErrIncomplete)},
	{"fetch.ErrInput", fmt.Errorf("%w: source https://dl.k8s.io: holds a name or a password", fetch.ErrInput)},
	{"fetch.ErrProgram", hint.With(fmt.Errorf("%w: hybridctl-probe-linux-arm64 is not there", fetch.ErrProgram), "it belongs beside the hybridctl executable")},
	{"fetch.ErrUnreachable", hint.With(fmt.Errorf("%w: dl.k8s.io does not answer", fetch.ErrUnreachable), "name a mirror in spec.sources")},
	{"fetch.ErrContent", fmt.Errorf("%w: dl.k8s.io has another file", fetch.ErrContent)},
	{"fetch.ErrLacks", fmt.Errorf("%w: the image is not there for arm64", fetch.ErrLacks)},
	{"fetch.ErrStopped", fmt.Errorf("%w: the next run goes on from there", fetch.ErrStopped)},
	{"fetch.ErrDisk", fmt.Errorf("%w: there is no room left", fetch.ErrDisk)},
	{"fetch.ErrOffline", fmt.Errorf("%w: kubelet", fetch.ErrOffline)},
	{"publish.ErrInput", fmt.Errorf("%w: harbor is no registry", publish.ErrInput)},
	{"publish.ErrSparse", hint.With(fmt.Errorf("%w: its index also names images for s390x", publish.ErrSparse), "--reduce-indexes")},
	{"conformance.ErrUsage", fmt.Errorf("%w: no node of architecture x", conformance.ErrUsage)},
	{"conformance.ErrFailed", fmt.Errorf("%w: 2 of 40 cells", conformance.ErrFailed)},
	{"conformance.ErrFlaky", conformance.ErrFlaky},
	{"conformance.ErrUnproven", conformance.ErrUnproven},
	{"conformance.ErrSetup", fmt.Errorf("%w: the API server is away", conformance.ErrSetup)},
	{"conformance.ErrLeftovers", fmt.Errorf("%w: namespace probe", conformance.ErrLeftovers)},
	{"", hint.With(usagef("no terminal to confirm on"), "--yes agrees beforehand")},
	{"", fmt.Errorf("around: %w", &inventory.Problems{List: []inventory.Problem{{File: "i.yaml", Line: 3, Column: 5, Message: "unknown field"}}})},
	{"", errors.Join(hint.With(errors.New("arm-1: no space left"), "make room on it"), hint.With(errors.New("x86-1: no space left"), "make room on it"))},
	{"", fmt.Errorf("interrupted, 2 steps are left: %w", context.Canceled)},
}

// Every error is what and why, and what can be done about it on a line of its own; the same in JSON, as fields.
func TestPrintError(t *testing.T) {
	var all bytes.Buffer
	for _, e := range endings {
		var text, log bytes.Buffer
		(&app{Deps: Deps{Stderr: &text}}).printError(e.err)
		a := &app{Deps: Deps{Stderr: &log}}
		a.global.logFormat = logJSON
		a.printError(e.err)
		fmt.Fprintf(&all, "# %s: exit %d\n%s", e.sentinel, ExitCode(e.err, false), text.String())
		if h := hint.Text(e.err); (h != "") != strings.Contains(log.String(), `"hint":`) {
			t.Errorf("%v: hint %q, in JSON %s", e.err, h, log.String())
		}
	}
	golden.Check(t, "errors.txt", all.String())
}

// A sentinel that a verb's error may wrap has a row above.
func TestPrintError_KnowsEverySentinel(t *testing.T) {
	rows := map[string]bool{}
	for _, e := range endings {
		rows[e.sentinel] = true
	}
	for _, pkg := range []string{"provision", "provision/bundle", "provision/catalogue", "provision/conformance", "provision/fetch", "provision/publish"} {
		files, err := filepath.Glob("../../../" + pkg + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%v, files %q", err, files)
		}
		for _, path := range files {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				v, ok := n.(*ast.ValueSpec)
				for i := 0; ok && i < len(v.Names); i++ {
					if s := v.Names[i].Name; strings.HasPrefix(s, "Err") && !rows[file.Name.Name+"."+s] {
						t.Errorf("%s.%s is in no row: how does it look?", file.Name.Name, s)
					}
				}
				return true
			})
		}
	}
}
