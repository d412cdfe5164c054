package edit

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/yamltext"
)

// document is the text of an inventory with the nodes and the values in it.
type document struct {
	*yamltext.Text
	notation
	file   string
	root   *yaml.Node
	values map[string]any // what the nodes mean: aliases followed, merge keys resolved

	aliases map[*yaml.Node]*yaml.Node // from a node with an anchor to the first alias of it
	touched []*yaml.Node              // what the edit goes through, outermost first, for what is said when it is refused
}

func newDocument(file string, text []byte, root *yaml.Node) *document {
	return &document{Text: yamltext.New(text), notation: notationOf(text), file: file, root: root, aliases: map[*yaml.Node]*yaml.Node{}}
}

// noteAliases remembers where anchors are used.
func (d *document) noteAliases(n *yaml.Node) {
	if n.Kind == yaml.AliasNode && d.aliases[n.Alias] == nil {
		d.aliases[n.Alias] = n
	}
	for _, child := range n.Content {
		d.noteAliases(child)
	}
}

// indentStep is by how much the file indents: as its first nested mapping does.
func (d *document) indentStep() int {
	for _, n := range d.root.Content {
		if n.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle == 0 && len(n.Content) > 0 && n.Content[0].Column > 1 {
			return n.Content[0].Column - 1
		}
	}
	return 2
}

// problem makes an error with the place of a node.
func (d *document) problem(n *yaml.Node, path, message, hint string) error {
	return &inventory.Problems{List: []inventory.Problem{{
		File: d.file, Line: n.Line, Column: n.Column, Path: path, Message: message, Hint: hint,
	}}}
}

// asProblem makes a place that cannot be spliced a problem of the inventory.
func (d *document) asProblem(err error) error {
	var at *yamltext.PlaceError
	if errors.As(err, &at) {
		return d.problem(at.Node, "", at.Message, at.Hint)
	}
	return err
}

// byHand refuses an edit of a place whose text says it in a way that cannot be spliced.
func (d *document) byHand(n *yaml.Node, message string) error {
	return d.problem(n, "", message, "edit this place by hand")
}

// unsafe refuses an edit whose result would mean something else than was asked for.
func (d *document) unsafe() error {
	for _, n := range d.touched {
		if alias := d.aliases[n]; alias != nil {
			return d.problem(n, "", fmt.Sprintf("what has the anchor &%s here is used again in line %d, which the edit would change too", n.Anchor, alias.Line),
				"write it out in both places, or edit it by hand")
		}
	}
	at := d.root
	if len(d.touched) > 0 {
		at = d.touched[len(d.touched)-1]
	}
	return d.byHand(at, "cannot be edited without changing what other lines mean")
}
