package edit

import (
	"bytes"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

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

// addToFlow adds an item to a list in brackets; on a line of its own if the last one has that, or has a comment in its line.
func (d *document) addToFlow(last *yaml.Node, end int, text string) ([]byte, error) {
	start, err := d.start(last)
	if err != nil {
		return nil, err
	}
	line := d.text[d.starts[d.lineOf(start)]:start]
	indent := d.newline() + string(line[:len(line)-len(bytes.TrimLeft(line, " "))])
	if rest, comma, comment := d.behind(end); comment {
		if comma {
			return d.cut(end+len(rest), end+len(rest), indent+text+","), nil
		}
		return d.cut(end, end+len(rest), ","+rest+indent+text), nil
	}
	between := ", "
	if d.first(start) {
		between = "," + indent
	}
	return d.cut(end, end, between+text), nil
}

// behind is what follows in a line: whether it begins with a comma, and whether nothing else follows but a comment.
func (d *document) behind(at int) (rest string, comma, comment bool) {
	rest = string(d.text[at:])
	if i := strings.IndexAny(rest, "\r\n"); i >= 0 {
		rest = rest[:i]
	}
	after, comma := strings.CutPrefix(strings.TrimLeft(rest, " \t"), ",")
	return rest, comma, strings.HasPrefix(strings.TrimLeft(after, " \t"), "#")
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
