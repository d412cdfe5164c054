package foreign

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

var (
	section   = regexp.MustCompile(`^\[([^\[\]:\s]+)(?::(children|vars))?\]$`)
	hostRange = regexp.MustCompile(`\[([0-9]+|[a-zA-Z]):([0-9]+|[a-zA-Z])(?::([0-9]+))?\]`)
	hostPort  = regexp.MustCompile(`^([^:\[\]]+):([0-9]+)$`)
)

// maxHosts bounds what ranges stand for: a few characters can name billions.
const maxHosts = 10000

// readAnsibleINI reads Ansible's own format.
func readAnsibleINI(file string, data []byte) (Draft, error) {
	g := newGroups(file)
	in, kind := g.group("ungrouped", 1), ""
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		var err error
		switch text := strings.TrimSpace(line); {
		case text == "", text[0] == '#', text[0] == ';':
		case text[0] == '[':
			in, kind, err = g.iniSection(text, number)
		case kind == "vars":
			err = iniVariable(in, text, number)
		default:
			err = g.iniMembers(in, kind, text, number)
		}
		if err != nil {
			return Draft{}, problem(file, number, err.Error(), "")
		}
	}
	return g.draft()
}

func (g *groups) iniSection(text string, number int) (in *group, kind string, err error) {
	text, _, _ = strings.Cut(text, " #")
	m := section.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return nil, "", fmt.Errorf("%q is neither [group] nor [group:children] nor [group:vars]", text)
	}
	return g.group(m[1], number), m[2], nil
}

// iniVariable reads name = value. It is not repeated when it is neither: it may be a secret.
func iniVariable(in *group, text string, number int) error {
	text, _, _ = strings.Cut(text, " #")
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return errors.New("this is not name=value")
	}
	value = strings.TrimSpace(value)
	if n := len(value); n > 1 && value[0] == value[n-1] && (value[0] == '"' || value[0] == '\'') {
		value = value[1 : n-1]
	}
	in.vars = append(in.vars, variable{strings.TrimSpace(name), iniValue(value), number})
	return nil
}

// iniMembers reads a line that names a group's hosts or its child.
func (g *groups) iniMembers(in *group, kind, text string, number int) error {
	words, err := splitWords(text)
	if err != nil || len(words) == 0 {
		return err
	}
	vars := in.name
	if vars == "ungrouped" {
		vars = "all"
	}
	if err := notVariable(words[0], "["+vars+":vars]"); err != nil {
		return err
	}
	if kind == "children" {
		g.group(words[0], number)
		in.children = append(in.children, words[0])
		return nil
	}
	return g.iniHosts(in, words, number)
}

// notVariable refuses a variable where a host or a group is named. What follows the = may be a secret, so it is not repeated.
func notVariable(text, vars string) error {
	if name, _, found := strings.Cut(text, "="); found {
		return fmt.Errorf("%q is a variable, and no host or group: write it under %s", name+"=…", vars)
	}
	return nil
}

// iniHosts reads a line that names hosts, with their variables.
func (g *groups) iniHosts(in *group, words []string, number int) error {
	var vars []variable
	for _, word := range words[1:] {
		name, text, ok := strings.Cut(word, "=")
		if !ok || name == "" {
			return errors.New("what follows the host is not name=value")
		}
		vars = append(vars, variable{name, iniValue(text), number})
	}
	pattern := words[0]
	if m := hostPort.FindStringSubmatch(pattern); m != nil {
		pattern = m[1]
		vars = append([]variable{{"ansible_port", iniValue(m[2]), number}}, vars...)
	}
	names, err := expand(pattern)
	if err != nil {
		return err
	}
	if len(g.hosts)+len(names) > maxHosts {
		return fmt.Errorf("the ranges name more than %d hosts", maxHosts)
	}
	for _, name := range names {
		g.addHost(in, name, number, vars)
	}
	return nil
}

// iniValue is a value as YAML: lists and mappings are written in brackets, everything else is text.
func iniValue(text string) *yaml.Node {
	var n yaml.Node
	if strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "{{") || strings.HasPrefix(text, "[") {
		if yaml.Unmarshal([]byte(text), &n) == nil && len(n.Content) == 1 {
			return n.Content[0]
		}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

// splitWords splits a line as a shell would: quotes hold words together, and # or ; begins a comment.
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, quote := false, rune(0)
	for _, c := range strings.TrimRight(line, "\r\n") {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			inWord, quote = true, c
		case (c == '#' || c == ';') && !inWord:
			return words, nil
		case c == ' ' || c == '\t':
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quote %c is not closed", quote)
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// expand returns the names that a pattern such as node[01:03] stands for.
func expand(pattern string) ([]string, error) {
	at := hostRange.FindStringSubmatchIndex(pattern)
	if at == nil {
		if strings.ContainsAny(pattern, "[]") {
			return nil, fmt.Errorf("%q has a range that is not [1:3] or [a:c]", pattern)
		}
		return []string{pattern}, nil
	}
	m := hostRange.FindStringSubmatch(pattern)
	middles, err := between(m[1], m[2], m[3])
	if err != nil {
		return nil, fmt.Errorf("%q: %w", pattern, err)
	}
	rest, err := expand(pattern[at[1]:])
	if err != nil {
		return nil, err
	}
	if len(middles)*len(rest) > maxHosts {
		return nil, fmt.Errorf("%q names more than %d hosts", pattern, maxHosts)
	}
	var names []string
	for _, middle := range middles {
		for _, end := range rest {
			names = append(names, pattern[:at[0]]+middle+end)
		}
	}
	return names, nil
}

// between lists a range with both its ends; numbers keep the zeros before them.
func between(from, to, step string) ([]string, error) {
	by := 1
	if step != "" {
		by, _ = strconv.Atoi(step) // zero, also of what is too large, is refused below
	}
	low, err := strconv.Atoi(from)
	high, err2 := strconv.Atoi(to)
	numbers := err == nil && err2 == nil
	if !numbers {
		if len(from) != 1 || len(to) != 1 || (err == nil) != (err2 == nil) {
			return nil, fmt.Errorf("the range from %s to %s is neither of numbers nor of letters", from, to)
		}
		low, high = int(from[0]), int(to[0])
	}
	if low > high || by < 1 || (high-low)/by >= maxHosts {
		return nil, fmt.Errorf("the range from %s to %s is empty or too large", from, to)
	}
	var all []string
	for n := low; n <= high; n += by {
		if numbers {
			all = append(all, fmt.Sprintf("%0*d", width(from), n))
		} else {
			all = append(all, string(rune(n)))
		}
	}
	return all, nil
}

func width(from string) int {
	if strings.HasPrefix(from, "0") {
		return len(from)
	}
	return 1
}
