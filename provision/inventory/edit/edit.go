// Package edit changes the text of an inventory and keeps everything else of it: comments, order, anchors, quotes, indentation and
// line ends. It finds the place through the YAML nodes and splices the text there; every result is read again and compared with what
// the edit was to mean, so that a place where the two differ is refused with its line and column. What was JSON stays JSON.
// It decides nothing about clusters and connects to nothing.
package edit

import (
	"errors"
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

// Edit is one change of an inventory: AddHost, RemoveHost, RenameHost, Set, Unset or Format makes one.
type Edit interface {
	// mean returns the values that the document is to have then; those it has stay as they are.
	mean(d *document) (map[string]any, error)
	// splice returns the text that the document is to have.
	splice(d *document) ([]byte, error)
}

// Apply carries out the edits one after another on text that was read from file, and returns the new text, which is a valid
// inventory. The error is, or wraps, a *inventory.Problems: about the text as it was, or about what it would have become.
func Apply(file string, text []byte, edits ...Edit) ([]byte, error) {
	before := text
	for _, e := range edits {
		var err error
		if text, err = apply(file, text, e); err != nil {
			return nil, err
		}
	}
	if _, err := inventory.Parse(file, text); err != nil {
		return nil, wrongResult(file, before, err)
	}
	return text, nil
}

// wrongResult tells problems of the text as it would be, whose lines may be others, from those that it has already.
func wrongResult(file string, before []byte, err error) error {
	if _, already := inventory.Parse(file, before); already != nil {
		return fmt.Errorf("refused, nothing was written: the inventory had problems before, and also edited like that it would have these:\n%w", err)
	}
	return fmt.Errorf("refused, nothing was written: edited like that, the inventory would have these problems:\n%w", err)
}

func apply(file string, text []byte, e Edit) ([]byte, error) {
	d, err := read(file, text)
	if err != nil {
		return nil, err
	}
	want, err := e.mean(d)
	if err != nil {
		return nil, err
	}
	edited, err := e.splice(d)
	if err != nil {
		return nil, d.asProblem(err)
	}
	got, err := read(file, edited)
	if err != nil || !reflect.DeepEqual(got.values, want) {
		return nil, d.unsafe()
	}
	if d.notation == inJSON && got.notation != inJSON {
		return nil, d.problem(d.root, "", "is JSON, and would be YAML when edited like that", "edit it by hand")
	}
	return edited, nil
}

// read parses text for one edit.
func read(file string, text []byte) (*document, error) {
	root, err := inventory.Root(file, text)
	if err != nil {
		return nil, err
	}
	d := newDocument(file, text, root)
	if err := d.CheckLineBreaks(); err != nil {
		return nil, d.asProblem(err)
	}
	d.noteAliases(root)
	if err := safeDecode(root, &d.values); err != nil {
		return nil, d.problem(root, "", "cannot be edited: "+err.Error(), "hybridctl inventory validate says what is wrong with it")
	}
	return d, nil
}

// safeDecode decodes nodes as they come; the library panics on some that no document should hold.
func safeDecode(n *yaml.Node, v any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	err = n.Decode(v)
	if several := (*yaml.TypeError)(nil); errors.As(err, &several) {
		return errors.New(several.Errors[0])
	}
	return err
}
