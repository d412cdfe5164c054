package foreign

import (
	"fmt"

	"gopkg.in/yaml.v3"
)

// maxGroupDepth is how deep groups may nest; an alias can stand inside its own anchor.
const maxGroupDepth = 50

// readAnsibleYAML reads Ansible's format in YAML: groups with hosts, children and vars.
func readAnsibleYAML(file string, root *yaml.Node) (Draft, error) {
	g := newGroups(file)
	var left []Leftover
	for key, v := range fields(root) {
		if err := g.yamlGroup(key, v, &left, 0); err != nil {
			return Draft{}, err
		}
	}
	d, err := g.draft()
	d.Left = append(d.Left, left...)
	return d, err
}

func (g *groups) yamlGroup(key, n *yaml.Node, left *[]Leftover, depth int) error {
	if g.visits++; depth > maxGroupDepth || g.visits > maxHosts {
		return problem(g.file, key.Line, "the groups are too many, or nested too deeply", "")
	}
	in := g.group(key.Value, key.Line)
	if n.Kind != yaml.MappingNode && textOf(n) != "" {
		return problem(g.file, key.Line, fmt.Sprintf("the group %s is no mapping", key.Value), "a group has hosts, children and vars")
	}
	for part, v := range fields(n) {
		switch part.Value {
		case "hosts":
			if err := g.yamlHosts(in, v); err != nil {
				return err
			}
		case "children":
			for child, c := range fields(v) {
				in.children = append(in.children, child.Value)
				if err := g.yamlGroup(child, c, left, depth+1); err != nil {
					return err
				}
			}
		case "vars":
			in.vars = append(in.vars, yamlVariables(v)...)
		default:
			*left = append(*left, Leftover{g.file, part.Line, key.Value + "." + part.Value, noCounterpart})
		}
	}
	return nil
}

func (g *groups) yamlHosts(in *group, n *yaml.Node) error {
	for key, vars := range fields(n) {
		if err := notVariable(key.Value, in.name+".vars"); err != nil {
			return problem(g.file, key.Line, err.Error(), "")
		}
		names, err := expand(key.Value)
		if err != nil {
			return problem(g.file, key.Line, err.Error(), "")
		}
		if len(g.hosts)+len(names) > maxHosts {
			return problem(g.file, key.Line, fmt.Sprintf("the ranges name more than %d hosts", maxHosts), "")
		}
		for _, name := range names {
			g.addHost(in, name, key.Line, yamlVariables(vars))
		}
	}
	return nil
}

func yamlVariables(n *yaml.Node) []variable {
	var vars []variable
	for key, v := range fields(n) {
		vars = append(vars, variable{key.Value, v, key.Line})
	}
	return vars
}
