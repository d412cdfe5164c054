package edit

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

const hostsPath = "spec.hosts"

// AddHost returns the edit that adds a host after the last one, written like that one: in one line or in several.
func AddHost(h inventory.Host) Edit { return addHost{h} }

type addHost struct{ host inventory.Host }

func (e addHost) mean(d *document) (map[string]any, error) {
	if steps, err := d.host(e.host.Name); err == nil {
		trail, err := d.trail(steps)
		if err != nil {
			return nil, err
		}
		return nil, d.problem(trail[len(trail)-1].node, "", fmt.Sprintf("there is a host %s already", e.host.Name),
			"choose another name, or change this one with hybridctl inventory set")
	}
	n, err := hostNode(e.host)
	if err != nil {
		return nil, err
	}
	var value any
	if err := n.Decode(&value); err != nil {
		return nil, err
	}
	steps, err := d.resolve(hostsPath)
	if err != nil {
		return nil, err
	}
	list, _ := valueAt(d.values, steps).([]any)
	values, err := put(d.values, append(steps, step{index: len(list)}), value)
	if err != nil {
		return nil, err
	}
	return values.(map[string]any), nil
}

func (e addHost) splice(d *document) ([]byte, error) {
	n, err := hostNode(e.host)
	if err != nil {
		return nil, err
	}
	steps, err := d.resolve(hostsPath)
	if err != nil {
		return nil, err
	}
	trail, err := d.trail(steps)
	if err != nil {
		return nil, err
	}
	hosts := trail[len(trail)-1].node
	if len(trail) <= len(steps) || hosts.Kind != yaml.SequenceNode || len(hosts.Content) == 0 {
		return set{path: hostsPath + "[0]", value: flow(n)}.splice(d)
	}
	last := hosts.Content[len(hosts.Content)-1]
	end, err := d.end(last, d.indentOf(hosts))
	if err != nil {
		return nil, err
	}
	if isFlow(hosts) {
		return d.addToFlow(last, end, flow(n))
	}
	if !d.alone(end) {
		return nil, d.byHand(last, "is followed by something in its line")
	}
	return d.insertLine(end, d.hostLines(hosts, last, n)...), nil
}

// addToFlow adds an item to a list in brackets; on a line of its own if the last one has that.
func (d *document) addToFlow(last *yaml.Node, end int, text string) ([]byte, error) {
	start, err := d.start(last)
	if err != nil {
		return nil, err
	}
	between := ", "
	if d.first(start) {
		between = "," + d.newline() + string(d.text[d.starts[d.lineOf(start)]:start])
	}
	return d.cut(end, end, between+text), nil
}

// hostLines writes a new item of a block list as the last one is written.
func (d *document) hostLines(hosts, last, n *yaml.Node) []string {
	indent := strings.Repeat(" ", d.indentOf(hosts))
	if last.Kind != yaml.MappingNode || isFlow(last) {
		return []string{indent + "- " + flow(n)}
	}
	gap := strings.Repeat(" ", max(1, d.indentOf(last)-len(indent)-1))
	var lines []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		lead := indent + "-" + gap
		if i > 0 {
			lead = indent + " " + gap
		}
		lines = append(lines, lead+flow(n.Content[i])+": "+flow(n.Content[i+1]))
	}
	return lines
}

// hostNode is the host as YAML, its fields in the order of the type.
func hostNode(h inventory.Host) (*yaml.Node, error) {
	var n yaml.Node
	if err := n.Encode(h); err != nil {
		return nil, err
	}
	return &n, nil
}

// flow writes a node in one line.
func flow(n *yaml.Node) string {
	var parts []string
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			parts = append(parts, flow(n.Content[i])+": "+flow(n.Content[i+1]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case yaml.SequenceNode:
		for _, c := range n.Content {
			parts = append(parts, flow(c))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	if n.ShortTag() == "!!str" {
		return quoteText(n.Value)
	}
	return n.Value
}

// RemoveHost returns the edit that takes a host out of the inventory. Comments on lines of their own stay. A *PathError says that
// there is no such host.
func RemoveHost(name string) Edit { return removeHost{name} }

type removeHost struct{ name string }

func (e removeHost) mean(d *document) (map[string]any, error) {
	steps, err := d.host(e.name)
	if err != nil {
		return nil, err
	}
	return drop(d.values, steps).(map[string]any), nil
}

func (e removeHost) splice(d *document) ([]byte, error) {
	steps, err := d.host(e.name)
	if err != nil {
		return nil, err
	}
	return d.remove(steps)
}

// host returns the steps to a host by its name.
func (d *document) host(name string) ([]step, error) {
	steps, err := d.resolve(hostsPath)
	if err != nil {
		return nil, err
	}
	list, _ := valueAt(d.values, steps).([]any)
	i := slices.IndexFunc(list, func(v any) bool { return member(v, "name") == name })
	if i < 0 {
		return nil, &PathError{noItem(hostsPath, name, list)}
	}
	return append(steps, step{index: i}), nil
}

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
		if a.Line != b.Line {
			return b.Line - a.Line
		}
		return b.Column - a.Column
	})
	d.touched = nodes
	for _, n := range nodes {
		if n.Value == values[n] {
			continue
		}
		start, err := d.body(n)
		if err != nil {
			return nil, err
		}
		end, err := d.end(n, 0)
		if err != nil {
			return nil, err
		}
		d = newDocument(d.file, d.cut(start, end, requote(n, values[n])), d.root)
	}
	return d.text, nil
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
