package inventory

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// entry is one field of a mapping.
type entry struct {
	name       string
	key, value *yaml.Node
}

// entries lists what a mapping holds: its own fields first, then those of merge keys (<<) that it does not have itself.
func (d *decoder) entries(n *yaml.Node, path string) []entry {
	var own []entry
	var merges []*yaml.Node
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch first := seen[key.Value]; {
		case isMerge(key):
			merges = append(merges, value)
		case key.Kind != yaml.ScalarNode || isNull(key):
			d.fail(n.Content[i], path, "a field's name is "+describe(key)+", not text", "")
		case first != nil:
			d.fail(key, field(path, key.Value), fmt.Sprintf("is given twice, first in line %d", first.Line), "keep one of them")
		default:
			seen[key.Value] = key
			own = append(own, entry{key.Value, key, value})
		}
	}
	for _, m := range merges {
		own = append(own, d.merged(m, path, seen)...)
	}
	return own
}

// merged lists what a merge key brings; of several mappings the first that has a field wins.
func (d *decoder) merged(n *yaml.Node, path string, seen map[string]*yaml.Node) []entry {
	n, done := d.enter(n, path)
	if n == nil {
		return nil
	}
	defer done()
	var all []entry
	switch n.Kind {
	case yaml.MappingNode:
		d.budget -= min(len(n.Content)/2, max(d.budget-1, 0))
		for _, e := range d.entries(n, path) {
			if seen[e.name] == nil {
				seen[e.name] = e.key
				all = append(all, e)
			}
		}
	case yaml.SequenceNode:
		for _, m := range n.Content {
			all = append(all, d.merged(m, path, seen)...)
		}
	default:
		d.fail(n, path, "a merge key (<<) brings "+describe(n), "it takes a mapping, or a list of mappings")
	}
	return all
}
