package inventory

import (
	"bytes"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/yamltext"
)

// Root returns the mapping that an inventory's text is, with the places of all its nodes, for edits that keep the text. Its content
// need not be valid. The error is a *Problems.
func Root(file string, data []byte) (*yaml.Node, error) {
	doc, problems := readDocument(file, data)
	if len(problems) > 0 {
		return nil, asError(problems)
	}
	return doc.root, nil
}

// readDocument parses bytes into the one YAML mapping that an inventory is. It says what is wrong with the text; what is wrong
// with the content is decode's and validate's business.
func readDocument(file string, data []byte) (*document, []Problem) {
	doc := &document{file: file, positions: map[string]position{}}
	fail := func(at position, message, hint string) (*document, []Problem) {
		return nil, []Problem{doc.problem(at, "", message, hint)}
	}
	if bytes.HasPrefix(data, []byte{0xFE, 0xFF}) || bytes.HasPrefix(data, []byte{0xFF, 0xFE}) {
		return fail(position{1, 1}, "the file is UTF-16", "save it as UTF-8")
	}
	roots, err := yamltext.Parse(bytes.NewReader(data))
	switch {
	case err != nil:
		line, column, message, hint := yamltext.Explain(data, err)
		return fail(position{line, column}, message, hint)
	case len(roots) == 0 || isNull(roots[0]):
		return fail(position{1, 1}, "the file is empty", "an inventory begins with apiVersion: "+APIVersion+" and kind: "+Kind)
	case len(roots) > 1:
		return fail(nodePosition(roots[1]), "a second document begins here", "one file holds one cluster: keep each in its own file")
	case roots[0].Kind != yaml.MappingNode:
		return fail(nodePosition(roots[0]), "the file is "+describe(roots[0])+", not a mapping",
			"an inventory begins with apiVersion: "+APIVersion+" and kind: "+Kind)
	}
	doc.root = roots[0]
	return doc, nil
}

// lookup returns the value of a mapping's own field, or nil.
func lookup(mapping *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i+1]
		}
	}
	return nil
}
