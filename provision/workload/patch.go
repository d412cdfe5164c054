package workload

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/yamltext"
)

// PatchOptions says what a patch is to require.
type PatchOptions struct {
	Archs        []platform.Arch // that pods may land on
	Known        Known
	Require      []platform.Arch // instead of what the images are made for
	NodeSelector bool            // where one architecture remains, a nodeSelector in place of an affinity
}

// Patched is a source and what it is to be.
type Patched struct {
	Name          string
	Before, After []byte
	Changes       []Change
}

// Change is one change of a pod template.
type Change struct {
	Object  Named
	Path    string
	Message string
	Note    string // what more it takes: a Job's template cannot be changed in place
	object  *Object
	want    map[string]any // the object as it is to be
}

// Left is a template that wants a change and did not get one.
type Left struct {
	Object  Named
	File    string
	Line    int
	Message string
}

// Patch works out the text of each source in which every pod template keeps off architectures that its images are not made for, and old labels
// have their new names. It only ever narrows. Every other byte stays; a text that comes out with another meaning is refused, and the error
// wraps ErrManifest.
func Patch(set *Set, o PatchOptions) (out []Patched, left []Left, err error) {
	known := remember(o.Known)
	for _, src := range set.sources {
		p := patcher{source: src, options: o, known: known}
		for _, object := range set.Objects {
			if object.source == src {
				p.object(object)
			}
		}
		done, err := p.finish()
		if err != nil {
			return nil, nil, err
		}
		out, left = append(out, done), append(left, p.left...)
	}
	return out, left, nil
}

// patcher collects the splices of one source.
type patcher struct {
	source  *source
	options PatchOptions
	known   Known
	splices []yamltext.Splice
	changes []Change
	left    []Left
	err     error
}

func (p *patcher) leave(o *Object, at *yaml.Node, message string) {
	p.left = append(p.left, Left{o.Named(), o.File, at.Line, message})
}

// Named is how the object is called.
func (o *Object) Named() Named { return Named{o.APIVersion, o.Kind, o.Namespace, o.Name} }

// object patches an object's templates, all of them or none.
func (p *patcher) object(o *Object) {
	if len(o.Templates) == 0 || p.err != nil {
		return
	}
	var edits []edit
	for i := range o.Templates {
		edits = append(edits, p.edits(&o.Templates[i])...)
	}
	if len(edits) == 0 {
		return
	}
	if o.Owner != "" {
		p.leave(o, o.root, fmt.Sprintf("%s controls it and would overwrite the change: change that one", o.Owner))
		return
	}
	var want map[string]any
	if err := safely(func() error { return o.root.Decode(&want) }); err != nil {
		p.leave(o, o.root, "it cannot be read without loss: "+firstLine(err))
		return
	}
	var splices []yamltext.Splice
	for _, e := range edits {
		s, err := e.splice(p.source.text)
		if err != nil {
			p.fail(o, err)
			return
		}
		if err := safely(func() error { e.mean(want); return nil }); err != nil {
			p.leave(o, o.root, "its fields have names that a path cannot tell apart")
			return
		}
		splices = append(splices, s)
	}
	p.splices = append(p.splices, splices...)
	for _, e := range edits {
		p.changes = append(p.changes, Change{Object: o.Named(), Path: e.path(), Message: e.say(), Note: inPlace(o.Kind), object: o, want: want})
	}
}

func (p *patcher) fail(o *Object, err error) {
	at, message := o.root, err.Error()
	if place := (*yamltext.PlaceError)(nil); asPlace(err, &place) {
		at, message = place.Node, place.Message
	}
	p.err = manifestError(p.source.name, at.Line, at.Column, fmt.Sprintf("%s cannot be patched here: %s", o, message), "edit this place by hand")
}

// inPlace is what has to be done beside changing the text.
func inPlace(kind string) string {
	switch kind {
	case "Job":
		return "the template of a Job that is there cannot be changed: delete it and create it again"
	case "Pod":
		return "the affinity of a Pod that is there cannot be changed: delete it and create it again"
	}
	return ""
}

// edits are the changes that a template needs.
func (p *patcher) edits(t *Template) []edit {
	var out []edit
	for _, place := range t.labelPlaces() {
		now, old := oldKeys[place.key.Value]
		if !old {
			continue
		}
		if place.mapping != nil && value(place.mapping, now) != nil {
			p.leave(t.Object, place.key, fmt.Sprintf("%s stands beside %s: delete the old one", place.key.Value, now))
			continue
		}
		out = append(out, rename{t, place, now})
	}
	return append(out, p.constrain(t)...)
}

// constrain are the edits that keep a template off what its images are not made for.
func (p *patcher) constrain(t *Template) []edit {
	require := p.options.Require
	if len(require) == 0 {
		require, _ = t.supported(p.known, p.options.Archs)
	}
	allowed := t.Allowed(p.options.Archs)
	if !slices.ContainsFunc(allowed, func(a platform.Arch) bool { return !slices.Contains(require, a) }) {
		return nil
	}
	switch node := t.pinned(); {
	case len(require) == 0:
		p.leave(t.Object, t.spec, "no architecture is common to its images, so that no constraint helps")
		return nil
	case node != "":
		p.leave(t.Object, t.spec, fmt.Sprintf("it is bound to %s: see that this node's architecture is %s", node, listArchs(require)))
		return nil
	}
	terms, has := t.required()
	if !has {
		if p.options.NodeSelector && len(require) == 1 && !t.hasArchSelector() {
			return []edit{addSelector{t, require[0]}}
		}
		return []edit{addAffinity{t, require}}
	}
	var out []edit
	for _, m := range terms {
		loose := !m.empty && slices.ContainsFunc(allowed, func(a platform.Arch) bool { return m.allows(a.String(), linux) && !slices.Contains(require, a) })
		if loose {
			out = append(out, addRequirement{t, m, require})
		}
	}
	return out
}

func (t *Template) hasArchSelector() bool {
	return slices.ContainsFunc(t.selector(), func(p pair) bool { return slices.Contains(archKeys, p.key) })
}

// finish splices, reads the result again, and compares it with what was meant.
func (p *patcher) finish() (Patched, error) {
	done := Patched{Name: p.source.name, Before: p.source.text.Bytes, After: p.source.text.Bytes, Changes: p.changes}
	if p.err != nil || len(p.splices) == 0 {
		return done, p.err
	}
	if err := p.source.text.CheckLineBreaks(); err != nil {
		p.fail(p.changes[0].object, err)
		return done, p.err
	}
	done.After = p.source.text.Apply(p.splices)
	again := &Set{}
	if err := again.add(Source{p.source.name, done.After}, ReadOptions{}); err != nil {
		return done, p.refuse(p.changes[0])
	}
	before := &Set{}
	if err := before.add(Source{p.source.name, done.Before}, ReadOptions{}); err != nil {
		return done, err
	}
	if len(again.Objects) != len(before.Objects) {
		return done, p.refuse(p.changes[0])
	}
	meant := map[int]Change{} // by the object's place in the source
	for i, o := range before.Objects {
		for _, c := range p.changes {
			if c.object.path == o.path && c.object.Line == o.root.Line {
				meant[i] = c
			}
		}
	}
	for i, o := range before.Objects {
		var was, is map[string]any
		if safely(func() error { return o.root.Decode(&was) }) != nil {
			continue // and so it was not touched
		}
		c, changed := meant[i]
		if changed {
			was = c.want
		} else {
			c = p.changes[0]
		}
		if safely(func() error { return again.Objects[i].root.Decode(&is) }) != nil || !reflect.DeepEqual(was, is) {
			return done, p.refuse(c)
		}
	}
	return done, nil
}

func (p *patcher) refuse(c Change) error {
	return manifestError(p.source.name, c.object.Line, 1,
		fmt.Sprintf("%s cannot be patched without changing what other lines mean: an alias may use the same text", c.object), "edit it by hand")
}

func safely(decode func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return decode()
}

func firstLine(err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
