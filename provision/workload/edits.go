package workload

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/yamltext"
)

// edit is one change of a template: as text, and as meaning, so that the two can be compared.
type edit interface {
	splice(t *yamltext.Text) (yamltext.Splice, error)
	mean(object map[string]any)
	path() string
	say() string
}

func asPlace(err error, place **yamltext.PlaceError) bool { return errors.As(err, place) }

// rename gives a label its new name.
type rename struct {
	template *Template
	place    labelPlace
	now      string
}

func (e rename) path() string { return e.place.path }
func (e rename) say() string  { return fmt.Sprintf("%s becomes %s", e.place.key.Value, e.now) }

func (e rename) splice(t *yamltext.Text) (yamltext.Splice, error) {
	start, err := t.Body(e.place.key)
	if err != nil {
		return yamltext.Splice{}, err
	}
	end, err := t.End(e.place.key, 0)
	if err != nil {
		return yamltext.Splice{}, err
	}
	return yamltext.Splice{Start: start, End: end, With: quotedAs(e.place.key, e.now)}, nil
}

// quotedAs writes a word that needs no quotes with those of a node.
func quotedAs(n *yaml.Node, word string) string {
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		return `"` + word + `"`
	case n.Style&yaml.SingleQuotedStyle != 0:
		return "'" + word + "'"
	}
	return word
}

func (e rename) mean(object map[string]any) {
	at, last := meant(object, e.template, e.place.path)
	if e.place.mapping != nil { // nodeSelector[key]
		selector := at.(map[string]any)["nodeSelector"].(map[string]any)
		selector[e.now] = selector[e.place.key.Value]
		delete(selector, e.place.key.Value)
		return
	}
	at.(map[string]any)[last] = e.now
}

// meant follows a path of the template's within the object's values. It ends at what holds the last step, which it returns; of a node selector's
// entry, at the pod spec.
func meant(object map[string]any, t *Template, path string) (at any, last string) {
	path = strings.TrimPrefix(path, t.Object.path)
	path = strings.TrimPrefix(path, ".")
	if head, _, isSelector := strings.Cut(path, ".nodeSelector["); isSelector {
		path = head + ".nodeSelector"
	}
	at = object
	steps := strings.Split(path, ".")
	for _, step := range steps[:len(steps)-1] {
		name, index, listed := strings.Cut(step, "[")
		at = at.(map[string]any)[name]
		for listed {
			var number, rest string
			number, rest, _ = strings.Cut(index, "]")
			var i int
			_, _ = fmt.Sscanf(number, "%d", &i) // paths are ours
			at = at.([]any)[i]
			_, index, listed = strings.Cut(rest, "[")
		}
	}
	return at, steps[len(steps)-1]
}

// podOf returns the values of a template's pod spec.
func podOf(object map[string]any, t *Template) map[string]any {
	at, _ := meant(object, t, t.Path+".x")
	return at.(map[string]any)
}

func meantRequirement(archs []platform.Arch) map[string]any {
	values := []any{}
	for _, a := range archs {
		values = append(values, a.String())
	}
	return map[string]any{"key": archLabel, "operator": "In", "values": values}
}

// addRequirement ANDs the requirement into a term.
type addRequirement struct {
	template *Template
	term     term
	archs    []platform.Arch
}

func (e addRequirement) path() string { return e.term.path }
func (e addRequirement) say() string {
	return "the term also requires " + archLabel + " In [" + listArchs(e.archs) + "]"
}

func (e addRequirement) splice(t *yamltext.Text) (yamltext.Splice, error) {
	w := writer{text: t, template: e.template}
	if list := value(e.term.node, "matchExpressions"); list != nil && list.Kind == yaml.SequenceNode {
		return w.addItem(list, requirementTree(e.archs))
	}
	return w.set(e.term.node, "matchExpressions", tree{items: []tree{requirementTree(e.archs)}})
}

func (e addRequirement) mean(object map[string]any) {
	at, last := meant(object, e.template, e.term.path+".x")
	_ = last
	m := at.(map[string]any)
	list, _ := m["matchExpressions"].([]any)
	m["matchExpressions"] = append(list, meantRequirement(e.archs))
}

// addAffinity makes the required node affinity where there is none.
type addAffinity struct {
	template *Template
	archs    []platform.Arch
}

func (e addAffinity) path() string { return e.template.Path + ".affinity" }
func (e addAffinity) say() string {
	return "a required node affinity: " + archLabel + " In [" + listArchs(e.archs) + "]"
}

func (e addAffinity) splice(t *yamltext.Text) (yamltext.Splice, error) {
	names := []string{"affinity", "nodeAffinity", requiredField, "nodeSelectorTerms"}
	at := e.template.spec
	for len(names) > 1 {
		inner := value(at, names[0])
		if inner == nil || inner.Kind != yaml.MappingNode {
			break
		}
		at, names = inner, names[1:]
	}
	term := tree{entries: []entryTree{{"matchExpressions", tree{items: []tree{requirementTree(e.archs)}}}}}
	what := tree{items: []tree{term}}
	for i := len(names) - 1; i > 0; i-- {
		what = tree{entries: []entryTree{{names[i], what}}}
	}
	w := writer{text: t, template: e.template}
	return w.set(at, names[0], what)
}

func (e addAffinity) mean(object map[string]any) {
	at := podOf(object, e.template)
	for _, name := range []string{"affinity", "nodeAffinity", requiredField} {
		inner, ok := at[name].(map[string]any)
		if !ok {
			inner = map[string]any{}
			at[name] = inner
		}
		at = inner
	}
	at["nodeSelectorTerms"] = []any{map[string]any{"matchExpressions": []any{meantRequirement(e.archs)}}}
}

// addSelector adds to the node selector, or makes one.
type addSelector struct {
	template *Template
	arch     platform.Arch
}

func (e addSelector) path() string { return e.template.Path + ".nodeSelector" }
func (e addSelector) say() string  { return "nodeSelector " + archLabel + ": " + e.arch.String() }

func (e addSelector) splice(t *yamltext.Text) (yamltext.Splice, error) {
	w := writer{text: t, template: e.template}
	if selector := value(e.template.spec, "nodeSelector"); selector != nil && selector.Kind == yaml.MappingNode {
		return w.addEntry(selector, archLabel, tree{word: e.arch.String()})
	}
	return w.set(e.template.spec, "nodeSelector", tree{entries: []entryTree{{archLabel, tree{word: e.arch.String()}}}})
}

func (e addSelector) mean(object map[string]any) {
	at := podOf(object, e.template)
	selector, ok := at["nodeSelector"].(map[string]any)
	if !ok {
		selector = map[string]any{}
		at["nodeSelector"] = selector
	}
	selector[archLabel] = e.arch.String()
}
