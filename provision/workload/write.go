package workload

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/yamltext"
)

// tree is what is to be written: a word, a list, or a mapping. All words need no quotes.
type tree struct {
	word    string
	items   []tree
	entries []entryTree
	inline  bool // in brackets, if the text has no other ways around it
}

type entryTree struct {
	key  string
	tree tree
}

func requirementTree(archs []platform.Arch) tree {
	values := tree{inline: true}
	for _, a := range archs {
		values.items = append(values.items, tree{word: a.String()})
	}
	return tree{inline: true, entries: []entryTree{{"key", tree{word: archLabel}}, {"operator", tree{word: "In"}}, {"values", values}}}
}

// flow writes a tree in one line, with double quotes in JSON.
func (t tree) flow(quote string) string {
	var parts []string
	switch {
	case t.word != "":
		return quote + t.word + quote
	case t.items != nil:
		for _, i := range t.items {
			parts = append(parts, i.flow(quote))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	for _, e := range t.entries {
		parts = append(parts, quote+e.key+quote+": "+e.tree.flow(quote))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// writer writes trees as the text around them is written.
type writer struct {
	text     *yamltext.Text
	template *Template
}

// step is by how much the text indents mappings, and dash by how much the dashes of lists, as the template itself does.
func (w writer) step() (step, dash int) {
	step, dash = 2, 0
	spec := w.template.spec
	if yamltext.IsFlow(spec) || len(spec.Content) == 0 {
		return step, dash
	}
	for _, key := range []string{"containers", "initContainers", "volumes", "tolerations"} {
		k, list := entry(spec, key, 1)
		if k == nil || list.Kind != yaml.SequenceNode || yamltext.IsFlow(list) || len(list.Content) == 0 {
			continue
		}
		dash = max(0, w.text.IndentOf(list)-(k.Column-1))
		if item := list.Content[0]; item.Kind == yaml.MappingNode && !yamltext.IsFlow(item) && dash > 0 {
			return dash, dash
		}
		break
	}
	for i := 1; i < len(spec.Content); i += 2 {
		if v := spec.Content[i]; v.Kind == yaml.MappingNode && !yamltext.IsFlow(v) && len(v.Content) > 0 && v.Content[0].Column > spec.Content[i-1].Column {
			return v.Content[0].Column - spec.Content[i-1].Column, dash
		}
	}
	if above := w.template.Object.root; !yamltext.IsFlow(above) {
		for i := 1; i < len(above.Content); i += 2 {
			if v := above.Content[i]; v.Kind == yaml.MappingNode && !yamltext.IsFlow(v) && len(v.Content) > 0 && v.Content[0].Column > above.Content[i-1].Column {
				return v.Content[0].Column - above.Content[i-1].Column, dash
			}
		}
	}
	return step, dash
}

// block writes a tree in lines that begin at the indentation; the first line has none, as it stands behind a key or dash.
func (w writer) block(t tree, indent int) []string {
	step, dash := w.step()
	pad := strings.Repeat(" ", indent)
	switch {
	case t.word != "" || t.inline:
		return []string{t.flow("")}
	case t.items != nil:
		var out []string
		for _, i := range t.items {
			lines := w.block(i, indent+2)
			out = append(out, pad+"- "+strings.TrimLeft(lines[0], " "))
			out = append(out, lines[1:]...)
		}
		return out
	}
	var out []string
	for _, e := range t.entries {
		inner := indent + step
		if e.tree.items != nil {
			inner = indent + dash
		}
		lines := w.block(e.tree, inner)
		if e.tree.word != "" || e.tree.inline {
			out = append(out, pad+e.key+": "+lines[0])
			continue
		}
		out = append(out, pad+e.key+":")
		out = append(out, lines...)
	}
	return out
}

// set adds an entry to a mapping, or fills one that has nothing behind its colon, as charts write them.
func (w writer) set(n *yaml.Node, name string, what tree) (yamltext.Splice, error) {
	key, val := entry(n, name, 1)
	if key == nil || val.ShortTag() != "!!null" {
		return w.addEntry(n, name, what)
	}
	start, err := w.text.Colon(key)
	if err != nil {
		return yamltext.Splice{}, err
	}
	end := start
	if val.Value != "" { // null, ~
		if end, err = w.text.End(val, 0); err != nil {
			return yamltext.Splice{}, err
		}
	}
	if yamltext.IsFlow(n) {
		quote := ""
		if w.isJSON(n) {
			quote = `"`
		}
		return yamltext.Splice{Start: start, End: end, With: " " + what.flow(quote)}, nil
	}
	step, dash := w.step()
	indent := w.text.IndentOf(n) + step
	if what.items != nil {
		indent = w.text.IndentOf(n) + dash
	}
	line := w.text.LineEnd(end)
	with := string(w.text.Bytes[end:line]) // a comment
	for _, l := range w.block(what, indent) {
		with += w.text.Newline() + l
	}
	return yamltext.Splice{Start: start, End: line, With: with}, nil
}

// addEntry adds an entry behind the last one of a mapping.
func (w writer) addEntry(n *yaml.Node, key string, what tree) (yamltext.Splice, error) {
	if n.Kind != yaml.MappingNode {
		return yamltext.Splice{}, &yamltext.PlaceError{Node: n, Message: "this is no mapping"}
	}
	if len(n.Content) == 0 || yamltext.IsFlow(n) {
		return w.addFlow(n, tree{entries: []entryTree{{key, what}}})
	}
	last, err := w.lastEnd(n)
	if err != nil {
		return yamltext.Splice{}, err
	}
	return w.insert(last, w.block(tree{entries: []entryTree{{key, what}}}, w.text.IndentOf(n))), nil
}

// addItem adds an item behind the last one of a list.
func (w writer) addItem(n *yaml.Node, what tree) (yamltext.Splice, error) {
	if len(n.Content) == 0 || yamltext.IsFlow(n) {
		return w.addFlow(n, tree{items: []tree{what}})
	}
	last := n.Content[len(n.Content)-1]
	indent := w.text.IndentOf(n)
	end, err := w.text.End(last, indent)
	if err != nil {
		return yamltext.Splice{}, err
	}
	if last.Kind == yaml.MappingNode && !yamltext.IsFlow(last) { // written as its neighbour is
		what.inline = false
	}
	return w.insert(end, w.block(tree{items: []tree{what}}, indent)), nil
}

// lastEnd is where the last entry of a block mapping ends.
func (w writer) lastEnd(n *yaml.Node) (int, error) {
	key, last := n.Content[len(n.Content)-2], n.Content[len(n.Content)-1]
	end, err := w.text.End(last, w.text.IndentOf(n))
	if err != nil {
		return 0, err
	}
	colon, err := w.text.Colon(key)
	return max(end, colon), err
}

func (w writer) insert(behind int, lines []string) yamltext.Splice {
	end := w.text.LineEnd(behind)
	var all strings.Builder
	for _, l := range lines {
		all.WriteString(w.text.Newline() + l)
	}
	return yamltext.Splice{Start: end, End: end, With: all.String()}
}

// addFlow adds what a tree holds to a collection in brackets, or to an empty one.
func (w writer) addFlow(n *yaml.Node, what tree) (yamltext.Splice, error) {
	quote := ""
	if w.isJSON(n) {
		quote = `"`
	}
	whole := what.flow(quote)
	if len(n.Content) == 0 {
		start, err := w.text.Body(n)
		if err != nil {
			return yamltext.Splice{}, err
		}
		end, err := w.text.End(n, 0)
		return yamltext.Splice{Start: start, End: end, With: whole}, err
	}
	last := n.Content[len(n.Content)-1]
	end, err := w.text.End(last, 0)
	if err != nil {
		return yamltext.Splice{}, err
	}
	first := last
	if n.Kind == yaml.MappingNode {
		first = n.Content[len(n.Content)-2]
	}
	inner := whole[1 : len(whole)-1]
	start, err := w.text.Start(first)
	if err != nil {
		return yamltext.Splice{}, err
	}
	between := ", "
	if line := w.text.Bytes[w.text.LineStart(w.text.LineOf(start)):start]; w.text.First(start) && n.Line != first.Line {
		between = "," + w.text.Newline() + string(line)
	}
	if rest, comma, _ := w.text.Behind(end); comma { // [a, b,]
		at := end + strings.Index(rest, ",") + 1
		return yamltext.Splice{Start: at, End: at, With: strings.TrimPrefix(between, ",") + inner}, nil
	}
	return yamltext.Splice{Start: end, End: end, With: between + inner}, nil
}

// isJSON reports whether the text around a node is written as JSON is: with its keys in double quotes.
func (w writer) isJSON(n *yaml.Node) bool {
	for _, m := range []*yaml.Node{n, w.template.spec, w.template.Object.root} {
		if m.Kind == yaml.MappingNode && yamltext.IsFlow(m) && len(m.Content) > 0 {
			return m.Content[0].Style&yaml.DoubleQuotedStyle != 0
		}
	}
	return false
}
