package edit

import (
	"bytes"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/yamltext"
)

// Format returns the edit that tidies what cannot be seen: line ends, white space at the end of lines, more than one empty line in a row,
// empty lines at both ends, a missing last newline, a byte order mark. Comments, order, quotes and indentation are the user's.
func Format() Edit { return format{} }

type format struct{}

func (format) mean(d *document) (map[string]any, error) { return d.values, nil }

func (format) splice(d *document) ([]byte, error) {
	inText, err := d.linesOfText()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	empty := 0 // lines that are waiting for another one
	for n := range d.Lines() {
		line := bytes.TrimSuffix(d.Line(n), []byte("\r"))
		if !inText[n] {
			line = bytes.TrimRight(line, " \t")
		}
		if len(line) == 0 {
			empty++
			continue
		}
		for ; empty > 0 && out.Len() > 0; empty-- {
			out.WriteByte('\n')
			if !inText[n] && !inText[n-1] {
				break
			}
		}
		empty = 0
		out.Write(line)
		out.WriteByte('\n')
	}
	return out.Bytes(), nil
}

// linesOfText are the lines, counted from 0, inside of text that spans several: there white space counts.
func (d *document) linesOfText() (map[int]bool, error) {
	lines := map[int]bool{}
	var walk func(n *yaml.Node, outer int) error
	walk = func(n *yaml.Node, outer int) error {
		const several = yaml.LiteralStyle | yaml.FoldedStyle | yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle
		if n.Kind == yaml.ScalarNode && n.Style&several != 0 {
			start, err := d.Start(n)
			if err != nil {
				return err
			}
			end, err := d.End(n, outer)
			if err != nil {
				return err
			}
			for i := d.LineOf(start); i < d.LineOf(end); i++ {
				lines[i] = true
			}
			if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
				lines[d.LineOf(end)] = true
			}
		}
		inner := outer
		if n.Kind != yaml.ScalarNode && !yamltext.IsFlow(n) {
			inner = d.IndentOf(n)
		}
		for _, c := range n.Content {
			if err := walk(c, inner); err != nil {
				return err
			}
		}
		return nil
	}
	return lines, walk(d.root, 0)
}
