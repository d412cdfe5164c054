package edit

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/yamltext"
)

// Unset returns the edit that takes a field or an item of a list out, and what it stood in when that is empty then. Comments on lines
// of their own stay, but for those inside of it. A *PathError says that the inventory has nothing of that path.
func Unset(path string) Edit { return unset{[]string{path}} }

// UnsetAll returns the edit that does so with what all the paths name in the inventory as it is.
func UnsetAll(paths []string) Edit { return unset{paths} }

type unset struct{ paths []string }

func (e unset) mean(d *document) (map[string]any, error) {
	all, err := d.stepsOut(e.paths)
	if err != nil {
		return nil, err
	}
	values := d.values
	for _, steps := range all {
		values = drop(values, outermost(values, steps)).(map[string]any)
	}
	return values, nil
}

func (e unset) splice(d *document) ([]byte, error) {
	all, err := d.stepsOut(e.paths)
	if err != nil {
		return nil, err
	}
	text := d.Bytes
	for _, steps := range all {
		if text, err = apply(d.file, text, takeOut{steps}); err != nil {
			return nil, err
		}
	}
	return text, nil
}

// takeOut takes out what stands at the steps.
type takeOut struct{ steps []step }

func (e takeOut) mean(d *document) (map[string]any, error) {
	return drop(d.values, outermost(d.values, e.steps)).(map[string]any), nil
}

func (e takeOut) splice(d *document) ([]byte, error) { return d.remove(outermost(d.values, e.steps)) }

// stepsOut are the steps to what the paths name, of a list its later items first, as otherwise they would have other numbers by then.
// What goes with something else that is named is not among them.
func (d *document) stepsOut(paths []string) ([][]step, error) {
	var all [][]step
	for _, path := range paths {
		steps, err := d.resolve(path)
		if err != nil {
			return nil, err
		}
		if !d.has(steps) {
			return nil, &PathError{text: path + " is not in the inventory: there is nothing to take out"}
		}
		all = append(all, steps)
	}
	slices.SortFunc(all, laterFirst)
	var out [][]step
	for _, steps := range all {
		if last := len(out) - 1; last < 0 || len(out[last]) > len(steps) || laterFirst(out[last], steps[:len(out[last])]) != 0 {
			out = append(out, steps)
		}
	}
	return out, nil
}

// laterFirst orders steps in one document: items of a list from its end, fields by their names, and what is around something before it.
func laterFirst(a, b []step) int {
	return slices.CompareFunc(a, b, func(a, b step) int {
		if a.index >= 0 {
			return b.index - a.index
		}
		return strings.Compare(a.name, b.name)
	})
}

// outermost are the steps to what has to go for a value to be gone: the outermost thing that would be empty without it.
func outermost(values any, steps []step) []step {
	for len(steps) > 1 && size(valueAt(values, steps[:len(steps)-1])) == 1 {
		steps = steps[:len(steps)-1]
	}
	return steps
}

// has reports whether the document gives a value to the steps, be it nothing.
func (d *document) has(steps []step) bool {
	last := steps[len(steps)-1]
	switch around := valueAt(d.values, steps[:len(steps)-1]).(type) {
	case []any:
		return last.index >= 0 && last.index < len(around)
	case map[string]any:
		_, ok := around[last.name]
		return ok
	}
	return false
}

func size(v any) int {
	switch v := v.(type) {
	case []any:
		return len(v)
	case map[string]any:
		return len(v)
	}
	return 0
}

// remove takes out what stands at the steps.
func (d *document) remove(steps []step) ([]byte, error) {
	trail, err := d.trail(steps)
	if err != nil {
		return nil, err
	}
	p := trail[len(trail)-1]
	if len(trail) <= len(steps) {
		at := p.node
		if m := merge(at); m != nil {
			at = m
		}
		return nil, d.problem(at, "", fmt.Sprintf("%s comes from a merge key", steps[len(trail)-1].name), "edit it where it stands, or write another value here")
	}
	if err := d.checkAnchors(p.node); err != nil {
		return nil, err
	}
	if yamltext.IsFlow(p.parent) {
		return d.removeFlow(p)
	}
	return d.removeBlock(p)
}

// checkAnchors refuses to remove an anchor that is used elsewhere.
func (d *document) checkAnchors(removed *yaml.Node) error {
	inside := map[*yaml.Node]bool{}
	var collect func(n *yaml.Node)
	collect = func(n *yaml.Node) {
		inside[n] = true
		for _, c := range n.Content {
			collect(c)
		}
	}
	collect(removed)
	var find func(n *yaml.Node) error
	find = func(n *yaml.Node) error {
		if inside[n] {
			return nil
		}
		if n.Kind == yaml.AliasNode && inside[n.Alias] {
			return d.problem(n.Alias, "", fmt.Sprintf("has the anchor &%s, which line %d uses", n.Alias.Anchor, n.Line), "write it out there first")
		}
		for _, c := range n.Content {
			if err := find(c); err != nil {
				return err
			}
		}
		return nil
	}
	return find(d.root)
}

// removeBlock takes the lines of an entry or item away.
func (d *document) removeBlock(p place) ([]byte, error) {
	var start int
	var err error
	if p.key != nil {
		start, err = d.Start(p.key)
	} else {
		start, err = d.Dash(p.node)
	}
	if err != nil {
		return nil, err
	}
	end, err := d.entryEnd(p)
	if err != nil {
		return nil, err
	}
	if !d.Alone(end) {
		return nil, d.byHand(p.node, "is followed by something in its line")
	}
	if d.First(start) {
		return d.CutLines(d.LineOf(start), d.LineOf(end)), nil
	}
	return d.pullUp(p, start, end)
}

// entryEnd is where an entry or item ends.
func (d *document) entryEnd(p place) (int, error) {
	end, err := d.End(p.node, d.outer(p))
	if err != nil || p.key == nil {
		return end, err
	}
	colon, err := d.Colon(p.key)
	return max(end, colon), err
}

// pullUp removes the first entry of a mapping that begins behind a dash: the next one takes its place.
func (d *document) pullUp(p place, start, end int) ([]byte, error) {
	if p.key == nil || p.index != 0 || len(p.parent.Content) < 4 {
		return nil, d.byHand(p.node, "does not stand on its own lines")
	}
	next, err := d.Start(p.parent.Content[2])
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(d.Bytes[end:next])) > 0 {
		return nil, d.byHand(p.node, "is followed by a comment, which would be lost")
	}
	return d.Cut(start, next, ""), nil
}

// removeFlow takes an entry or item out of brackets, with the comma before it or, of the first one, behind it.
func (d *document) removeFlow(p place) ([]byte, error) {
	first := p.node
	width := 1
	if p.key != nil {
		first, width = p.key, 2
	}
	start, err := d.Start(first)
	if err != nil {
		return nil, err
	}
	end, err := d.entryEnd(p)
	if err != nil {
		return nil, err
	}
	switch {
	case p.index >= width:
		before := place{node: p.parent.Content[p.index-1], parent: p.parent, index: p.index - width}
		if width == 2 {
			before.key = p.parent.Content[p.index-2]
		}
		from, err := d.entryEnd(before)
		if err != nil {
			return nil, err
		}
		rest, comma, comment := d.Behind(end)
		switch seam := d.Bytes[from:start]; {
		case !comment:
			return d.cutBeside(p, from, end, seam, "")
		case !d.First(start):
			return nil, d.byHand(p.node, "stands beside a comment, which would be lost")
		case comma:
			return d.cutBeside(p, from, end+len(rest), seam, ",")
		default:
			return d.cutBeside(p, from, end+len(rest), seam, "")
		}
	case len(p.parent.Content) > width:
		next, err := d.Start(p.parent.Content[width])
		if err != nil {
			return nil, err
		}
		return d.cutBeside(p, start, next, d.Bytes[end:next], "")
	}
	return d.Cut(start, end, ""), nil
}

// cutBeside puts text in place of what is from start to end, unless a comment would be lost with the seam, which is between what goes
// and what stays.
func (d *document) cutBeside(p place, start, end int, seam []byte, text string) ([]byte, error) {
	if bytes.IndexByte(seam, '#') >= 0 {
		return nil, d.byHand(p.node, "stands beside a comment, which would be lost")
	}
	return d.Cut(start, end, text), nil
}
