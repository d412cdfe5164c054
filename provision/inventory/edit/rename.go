package edit

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// RenameHost returns the edit that gives a host another name, also where others are reached through it. A *PathError says that there is
// no such host.
func RenameHost(from, to string) Edit { return renameHost{from, to} }

type renameHost struct{ from, to string }

func (e renameHost) mean(d *document) (map[string]any, error) {
	steps, err := d.host(e.from)
	if err != nil {
		return nil, err
	}
	values, err := put(d.values, append(steps, step{name: "name", index: -1}), e.to)
	if err != nil {
		return nil, err
	}
	spec := maps.Clone(member(values, "spec").(map[string]any))
	if jump, ok := member(spec["ssh"], "jump").(string); ok {
		ssh := maps.Clone(spec["ssh"].(map[string]any))
		ssh["jump"] = e.hops(jump)
		spec["ssh"] = ssh
	}
	hosts := slices.Clone(spec["hosts"].([]any))
	for i, h := range hosts {
		if jump, ok := member(h, "jump").(string); ok {
			h := maps.Clone(h.(map[string]any))
			h["jump"] = e.hops(jump)
			hosts[i] = h
		}
	}
	spec["hosts"] = hosts
	out := maps.Clone(values.(map[string]any))
	out["spec"] = spec
	return out, nil
}

// hops renames the host in a jump: a list of hops, separated by commas.
func (e renameHost) hops(jump string) string {
	hops := strings.Split(jump, ",")
	for i, hop := range hops {
		if strings.TrimSpace(hop) == e.from {
			hops[i] = strings.Replace(hop, e.from, e.to, 1)
		}
	}
	return strings.Join(hops, ",")
}

func (e renameHost) splice(d *document) ([]byte, error) {
	values := map[*yaml.Node]string{} // by scalar: one that is used through aliases stands once
	spec := field(d.root, "spec")
	if jump := field(field(spec, "ssh"), "jump"); jump != nil {
		values[jump] = e.hops(jump.Value)
	}
	for _, h := range field(spec, "hosts").Content {
		if name := field(h, "name"); name != nil && name.Value == e.from {
			values[name] = e.to
		}
		if jump := field(h, "jump"); jump != nil {
			values[jump] = e.hops(jump.Value)
		}
	}
	nodes := slices.Collect(maps.Keys(values))
	slices.SortFunc(nodes, func(a, b *yaml.Node) int { // from the end, so that the places before stay
		return cmp.Or(cmp.Compare(b.Line, a.Line), cmp.Compare(b.Column, a.Column))
	})
	d.touched = nodes
	for _, n := range nodes {
		if n.Value == values[n] {
			continue
		}
		start, err := d.Body(n)
		if err != nil {
			return nil, err
		}
		end, err := d.End(n, 0)
		if err != nil {
			return nil, err
		}
		d = newDocument(d.file, d.Cut(start, end, d.requote(n, values[n])), d.root)
	}
	return d.Bytes, nil
}

// field returns the value of a mapping's field, behind aliases and merge keys too, or nil.
func field(n *yaml.Node, name string) *yaml.Node {
	return fieldWithin(n, name, 64)
}

// fieldWithin goes no deeper than the depth: an alias may stand inside its own anchor.
func fieldWithin(n *yaml.Node, name string, depth int) *yaml.Node {
	n = behindAlias(n)
	if n == nil || depth == 0 || n.Kind != yaml.MappingNode {
		return nil
	}
	if p, ok := child(n, step{name, -1}); ok {
		return behindAlias(p.node)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].ShortTag() != "!!merge" {
			continue
		}
		from := []*yaml.Node{n.Content[i+1]}
		if from[0].Kind == yaml.SequenceNode {
			from = from[0].Content
		}
		for _, m := range from {
			if found := fieldWithin(m, name, depth-1); found != nil {
				return found
			}
		}
	}
	return nil
}

func behindAlias(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
