package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/report"
)

// What an API server, a host or an image says reaches no terminal as it is, whichever text it stands in.
func TestWrite_NothingThatATerminalObeys(t *testing.T) {
	const evil = "v1\x1b]0;title\a\x1b[2J\u009b2J"
	for name, text := range map[string]func(io.Writer) error{
		"status":   func(w io.Writer) error { return writeStatus(w, provision.StatusReport{Version: evil}, true) },
		"remove":   func(w io.Writer) error { return writeRemove(w, provision.Result{Notes: []string{evil}}, true, true) },
		"scaleout": func(w io.Writer) error { return writeScaleOut(w, provision.Result{Nothing: evil}, true, true) },
		"inspect": func(w io.Writer) error {
			return writeInspections(w, []image.Report{{Ref: "a", Findings: []image.Finding{{Message: evil}}}}, true)
		},
		"assemble": func(w io.Writer) error {
			return assembled{Assembly: &image.Assembly{Target: evil, Notes: []string{evil}}, Pushed: &image.Pushed{}}.text(w, true)
		},
	} {
		for _, output := range []report.Format{report.Text, report.JSON} {
			var b bytes.Buffer
			a := &app{Deps: Deps{Stdout: &b}}
			a.global.output = output
			if err := a.write(map[string]string{"x": evil}, text); err != nil {
				t.Fatal(err)
			}
			if got := b.String(); got == "" || strings.Contains(got, "\x1b]") || strings.Contains(got, "\x1b[2J") || strings.ContainsAny(got, "\a\u009b") {
				t.Errorf("%s, %s: %q", name, output, got)
			}
		}
	}
	var b bytes.Buffer
	doc, want := "{\"msg\":\"\u009b2J\"}", `{"msg":"\u009b2J"}`
	if n, err := fmt.Fprint(jsonWriter{&b}, doc); err != nil || n != len(doc) || b.String() != want {
		t.Errorf("%q, %d, %v", b.String(), n, err)
	}
}
