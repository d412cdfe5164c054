package workload

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"go.yaml.in/yaml/v3"
)

// Diff is the change of a source, as diff -u writes it; "" when there is none.
func (p Patched) Diff() string {
	if bytes.Equal(p.Before, p.After) {
		return ""
	}
	return string(diff.Diff("a/"+p.Name, p.Before, "b/"+p.Name, p.After))
}

// Kustomize writes the changes as strategic merge patches, a document for each object. A list of terms is atomic in such a merge: all terms are
// said again.
func Kustomize(w io.Writer, all []Patched) error {
	first := true
	for _, p := range all {
		said := map[*Object]bool{}
		for _, c := range p.Changes {
			if said[c.object] {
				continue
			}
			said[c.object] = true
			if !first {
				if _, err := io.WriteString(w, "---\n"); err != nil {
					return err
				}
			}
			first = false
			e := yaml.NewEncoder(w)
			e.SetIndent(2)
			if err := e.Encode(c.mergePatch()); err != nil {
				return err
			}
			if err := e.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// mergePatch is what an object's templates are to be, as a patch.
func (c Change) mergePatch() map[string]any {
	meta := map[string]any{"name": c.Object.Name}
	if c.Object.Namespace != "" {
		meta["namespace"] = c.Object.Namespace
	}
	out := map[string]any{"apiVersion": c.Object.APIVersion, "kind": c.Object.Kind, "metadata": meta}
	for i := range c.object.Templates {
		t := &c.object.Templates[i]
		is := podOf(c.want, t)
		patch := map[string]any{}
		if selector, ok := is["nodeSelector"].(map[string]any); ok {
			said := map[string]any{}
			for _, p := range t.selector() {
				if _, stays := selector[p.key]; !stays {
					said[p.key] = nil // takes it away
				}
			}
			for key, value := range selector {
				said[key] = value
			}
			patch["nodeSelector"] = said
		}
		if affinity, ok := is["affinity"].(map[string]any); ok && affinity["nodeAffinity"] != nil {
			patch["affinity"] = map[string]any{"nodeAffinity": affinity["nodeAffinity"]}
		}
		put(out, strings.TrimPrefix(strings.TrimPrefix(t.Path, c.object.path), "."), patch)
	}
	return out
}

// put sets what stands at a path of names.
func put(at map[string]any, path string, value any) {
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		inner, ok := at[name].(map[string]any)
		if !ok {
			inner = map[string]any{}
			at[name] = inner
		}
		at = inner
	}
	at[names[len(names)-1]] = value
}

// String is the finding for a terminal: as compilers write them, and what to do below.
func (p Problem) String() string {
	where := p.Object.String()
	if p.File != "" {
		where = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
	text := fmt.Sprintf("%s: %s %s: ", where, p.Level, p.Rule)
	if p.File != "" {
		text += p.Object.String() + ": "
	}
	text += p.Message
	if p.Fix != "" {
		text += "\n    " + p.Path + "\n    hint: " + p.Fix
	}
	return text
}
