package cli

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/registry"
)

// What to do about a registry's error is a hint as any other: a line of its own, and a field in JSON.
func TestWithHint_IsALineAndAField(t *testing.T) {
	err := withHint(fmt.Errorf("harbor.example/a/b: %w", registry.ErrLogin))
	var text, log bytes.Buffer
	(&app{Deps: Deps{Stderr: &text}}).printError(err)
	a := &app{Deps: Deps{Stderr: &log}}
	a.global.logFormat = logJSON
	a.printError(err)
	if !strings.Contains(text.String(), "\nhint: log in with") {
		t.Errorf("text: %s", text.String())
	}
	if !strings.Contains(log.String(), `"hint":"log in with`) || strings.Contains(log.String(), `\nhint`) {
		t.Errorf("JSON: %s", log.String())
	}
	if withHint(nil) != nil {
		t.Error("no error has a hint")
	}
}
