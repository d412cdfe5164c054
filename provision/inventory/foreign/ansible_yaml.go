package foreign

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/hint"
)

// maxGroupDepth is how deep groups may nest; an alias can stand inside its own anchor.
const maxGroupDepth = 50

// readAnsibleYAML reads Ansible's format in YAML: groups with hosts, children and vars.
func readAnsibleYAML(file string, root *yaml.Node) (Draft, error) {
	if meta := value(root, "_meta"); meta != nil {
		return readAnsibleList(file, root, meta)
	}
	g := newGroups(file)
	var left []Leftover
	for key, v := range fields(root) {
		if err := g.yamlGroup(key, v, &left, 0); err != nil {
			return Draft{Left: left}, err
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
	if !isMapping(n) {
		return problem(g.file, key.Line, fmt.Sprintf("the group %s is no mapping", key.Value), "a group has hosts, children and vars")
	}
	for part, v := range fields(n) {
		var err error
		switch part.Value {
		case "hosts":
			err = g.yamlHosts(in, part, named(v))
		case "children":
			err = g.yamlChildren(in, part, named(v), left, depth)
		case "vars":
			if textOf(v) != "" {
				*left = append(*left, Leftover{g.file, part.Line, key.Value + ".vars", "is text, and gives no variable a value"})
				continue
			}
			in.vars, err = g.yamlVariables(in.vars, part, v, "the vars of the group "+key.Value)
		default:
			*left = append(*left, Leftover{g.file, part.Line, key.Value + "." + part.Value, noCounterpart})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isMapping reports whether there are entries, or nothing where they may be.
func isMapping(n *yaml.Node) bool {
	return n.Kind == yaml.MappingNode || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// named makes the mapping of one name that Ansible takes text for.
func named(n *yaml.Node) *yaml.Node {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" || n.Value == "" {
		return n
	}
	return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{n, {Kind: yaml.ScalarNode, Tag: "!!null"}}}
}

func (g *groups) yamlChildren(in *group, part, n *yaml.Node, left *[]Leftover, depth int) error {
	if !isMapping(n) {
		return problem(g.file, part.Line, fmt.Sprintf("the children of the group %s are no mapping", in.name), "write each as name: on its own line")
	}
	for key, v := range fields(n) {
		if err := notVariable(key.Value, in.name+".vars"); err != nil {
			return problem(g.file, key.Line, err.Error(), hint.Text(err))
		}
		in.children = append(in.children, key.Value)
		if err := g.yamlGroup(key, v, left, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (g *groups) yamlHosts(in *group, part, n *yaml.Node) error {
	if !isMapping(n) {
		return problem(g.file, part.Line, fmt.Sprintf("the hosts of the group %s are no mapping", in.name), "write each as name: on its own line")
	}
	for key, v := range fields(n) {
		if err := notVariable(key.Value, in.name+".vars"); err != nil {
			return problem(g.file, key.Line, err.Error(), hint.Text(err))
		}
		names, err := expand(key.Value)
		if err != nil {
			return problem(g.file, key.Line, err.Error(), "")
		}
		if len(g.hosts)+len(names) > maxHosts {
			return problem(g.file, key.Line, fmt.Sprintf("the ranges name more than %d hosts", maxHosts), "")
		}
		vars, err := g.yamlVariables(nil, key, v, "the variables of "+key.Value)
		if err != nil {
			return err
		}
		for _, name := range names {
			g.addHost(in, name, key.Line, vars)
		}
	}
	return nil
}

// yamlVariables adds those that stand at a key to vars.
func (g *groups) yamlVariables(vars []variable, at, n *yaml.Node, what string) ([]variable, error) {
	if !isMapping(n) {
		return nil, problem(g.file, at.Line, what+" are no mapping", "write each as name: value on its own line")
	}
	for key, v := range fields(n) {
		vars = append(vars, variable{key.Value, v, key.Line})
	}
	return vars, nil
}

// readAnsibleList reads what ansible-inventory --list and dynamic inventories print: groups with lists of hosts and of children, and the
// hosts' variables in one place.
func readAnsibleList(file string, root, meta *yaml.Node) (Draft, error) {
	g := newGroups(file)
	variables := value(meta, "hostvars")
	for key, n := range fields(root) {
		if key.Value == "_meta" {
			continue
		}
		in := g.group(key.Value, key.Line)
		hosts := n // an old form has nothing else
		if n.Kind == yaml.MappingNode {
			hosts = value(n, "hosts")
			for part, v := range fields(n) {
				var err error
				switch part.Value {
				case "hosts":
				case "children":
					for _, child := range listOf(v) {
						g.group(child, part.Line)
						in.children = append(in.children, child)
					}
				case "vars":
					in.vars, err = g.yamlVariables(in.vars, part, v, "the vars of the group "+in.name)
				default:
					g.told = append(g.told, Leftover{file, part.Line, in.name + "." + part.Value, noCounterpart})
				}
				if err != nil {
					return Draft{Left: g.told}, err
				}
			}
		}
		if hosts == nil {
			continue
		}
		for _, item := range hosts.Content {
			name := textOf(behindAlias(item))
			if name == "" || hosts.Kind != yaml.SequenceNode {
				return Draft{Left: g.told}, problem(file, key.Line, "the hosts of the group "+in.name+" are no list of names", "")
			}
			if len(g.hosts) >= maxHosts {
				return Draft{Left: g.told}, problem(file, key.Line, fmt.Sprintf("there are more than %d hosts", maxHosts), "")
			}
			var vars []variable
			if own := value(variables, name); own != nil && g.hosts[name] == nil {
				var err error
				if vars, err = g.yamlVariables(nil, item, own, "the variables of "+name); err != nil {
					return Draft{Left: g.told}, err
				}
			}
			g.addHost(in, name, item.Line, vars)
		}
	}
	d, err := g.draft()
	d.Left = append(d.Left, g.told...)
	return d, err
}
