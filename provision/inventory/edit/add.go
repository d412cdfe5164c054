package edit

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/yamltext"
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
	at := trail[len(trail)-1]
	hosts := at.node
	switch missing := steps[len(trail)-1:]; {
	case len(missing) == 1 && hosts.Kind == yaml.MappingNode && len(hosts.Content) > 0 && !yamltext.IsFlow(hosts) && merge(hosts) == nil:
		indent := strings.Repeat(" ", d.IndentOf(hosts))
		return insertEntry(d, hosts, typeAt(steps[:len(trail)-1]), missing[0].name, indent+missing[0].name+":", indent+strings.Repeat(" ", d.indentStep())+"- "+d.flow(n))
	case len(missing) == 0 && waits(d, at):
		return addFirst(d, at, d.flow(n))
	}
	if len(trail) <= len(steps) || hosts.Kind != yaml.SequenceNode || len(hosts.Content) == 0 {
		return set{path: hostsPath + "[0]", value: d.flow(n)}.splice(d)
	}
	last := hosts.Content[len(hosts.Content)-1]
	end, err := d.End(last, d.IndentOf(hosts))
	if err != nil {
		return nil, err
	}
	if yamltext.IsFlow(hosts) {
		return d.addToFlow(last, end, d.flow(n))
	}
	if !d.Alone(end) {
		return nil, d.byHand(last, "is followed by something in its line")
	}
	return d.InsertLine(end, d.hostLines(hosts, last, n)...), nil
}

// waits reports whether a key has nothing behind it but a comment.
func waits(d *document, p place) bool {
	if p.key == nil || p.node.Kind != yaml.ScalarNode || p.node.Anchor != "" || yamltext.Tagged(p.node) {
		return false
	}
	start, err := d.Start(p.node)
	if err != nil {
		return false
	}
	end, err := d.End(p.node, d.outer(p))
	colon, noColon := d.Colon(p.key)
	return err == nil && noColon == nil && start == end && d.Alone(colon)
}

// addFirst writes the first item of a list beneath its key, where comments show how: they may be uncommented later.
func addFirst(d *document, p place, text string) ([]byte, error) {
	colon, err := d.Colon(p.key)
	if err != nil {
		return nil, err
	}
	key := d.outer(p)
	indent := key + d.indentStep()
	for n := d.LineOf(colon) + 1; n < d.Lines(); n++ {
		column, comment := commentIn(d, n)
		if comment == "" || column < key {
			break
		}
		if strings.HasPrefix(comment, "# - ") {
			indent = column
			break
		}
	}
	return d.InsertLine(colon, strings.Repeat(" ", indent)+"- "+text), nil
}

// commentIn is the comment that a line consists of, with its #, and the column where it begins; "" = it is something else.
func commentIn(d *document, line int) (column int, text string) {
	raw := strings.TrimRight(string(d.Line(line)), "\r")
	text = strings.TrimLeft(raw, " ")
	if !strings.HasPrefix(text, "#") {
		return 0, ""
	}
	return len(raw) - len(text), text
}

// addToFlow adds an item to a list in brackets; on a line of its own if the last one has that, or has a comment in its line.
func (d *document) addToFlow(last *yaml.Node, end int, text string) ([]byte, error) {
	start, err := d.Start(last)
	if err != nil {
		return nil, err
	}
	line := d.Bytes[d.LineStart(d.LineOf(start)):start]
	indent := d.Newline() + string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
	if rest, comma, comment := d.Behind(end); comment {
		if comma {
			return d.Cut(end+len(rest), end+len(rest), indent+text+","), nil
		}
		return d.Cut(end, end+len(rest), ","+rest+indent+text), nil
	}
	between := ", "
	if d.First(start) {
		between = "," + indent
	}
	return d.Cut(end, end, between+text), nil
}

// hostLines writes a new item of a block list as the last one is written.
func (d *document) hostLines(hosts, last, n *yaml.Node) []string {
	indent := strings.Repeat(" ", d.IndentOf(hosts))
	if last.Kind != yaml.MappingNode || yamltext.IsFlow(last) {
		return []string{indent + "- " + d.flow(n)}
	}
	gap := strings.Repeat(" ", max(1, d.IndentOf(last)-len(indent)-1))
	var lines []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		lead := indent + "-" + gap
		if i > 0 {
			lead = indent + " " + gap
		}
		lines = append(lines, lead+d.flow(n.Content[i])+": "+d.flow(n.Content[i+1]))
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
