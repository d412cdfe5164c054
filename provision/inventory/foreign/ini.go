package foreign

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/hint"
)

var (
	section   = regexp.MustCompile(`^\[([^\[\]:\s]+)(?::(children|vars))?\]$`)
	hostRange = regexp.MustCompile(`\[([0-9]+|[a-zA-Z]):([0-9]+|[a-zA-Z])(?::([0-9]+))?\]`)
	// A host may have its port: node[1:3]:2222, and an address of IPv6 brackets: [2001:db8::1]:2222.
	hostPort   = regexp.MustCompile(`^((?:[^:\[\]]|\[[^\[\]]*\])+):([0-9]+)$`)
	inBrackets = regexp.MustCompile(`^\[([0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)\]$`)
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
		text := strings.TrimSpace(line)
		head := withoutComment(text)
		switch {
		case text == "", text[0] == '#', text[0] == ';':
		case text[0] == '[' && strings.HasSuffix(head, "]") && !inBrackets.MatchString(head): // else it begins with a range
			in, kind, err = g.iniSection(head, number)
		case text[0] == '[' && !strings.Contains(text, "]"):
			err = fmt.Errorf("%q is not closed: a group is written [kube_node]", head)
		case kind == "vars":
			err = g.iniVariable(in, text, number)
		default:
			err = g.iniMembers(in, kind, text, number)
		}
		if err != nil {
			return Draft{}, problem(file, number, err.Error(), hint.Text(err))
		}
	}
	d, err := g.draft()
	d.Left = append(d.Left, g.told...)
	return d, err
}

// withoutComment cuts off what stands behind a # or ; that a blank precedes.
func withoutComment(text string) string {
	for i, c := range text {
		if (c == '#' || c == ';') && i > 0 && (text[i-1] == ' ' || text[i-1] == '\t') {
			return strings.TrimSpace(text[:i])
		}
	}
	return text
}

func (g *groups) iniSection(text string, number int) (in *group, kind string, err error) {
	m := section.FindStringSubmatch(text)
	if m == nil {
		return nil, "", fmt.Errorf("%q is neither [group] nor [group:children] nor [group:vars]", text)
	}
	return g.group(m[1], number), m[2], nil
}

// iniVariable reads name = value. It is not repeated when it is neither: it may be a secret.
func (g *groups) iniVariable(in *group, text string, number int) error {
	name, text, ok := strings.Cut(text, "=")
	if !ok {
		return errors.New("this is not name=value")
	}
	name, text = strings.TrimSpace(name), strings.TrimSpace(text)
	value, quoted, err := unquote(text)
	if err != nil {
		return err
	}
	if !quoted {
		// Ansible takes a comment off a number, a list and a mapping; with a text it would stay, which no one wants.
		if value = withoutComment(text); value != text && isTaken(name) && iniValue(value).Kind == yaml.ScalarNode && strings.Trim(value, "0123456789") != "" {
			g.told = append(g.told, Leftover{g.file, number, "variable " + name, "what is behind the # is taken for a comment; put the value in quotes where it is none"})
		}
	}
	in.vars = append(in.vars, variable{name, iniValue(value), number})
	return nil
}

// unquote takes the quotes off a value that begins with one, with what is escaped in it; behind it there may be a comment.
func unquote(text string) (value string, quoted bool, err error) {
	if text == "" || text[0] != '"' && text[0] != '\'' {
		return text, false, nil
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && strings.ContainsRune(`\'"`, rune(text[i+1])):
			i++
			b.WriteByte(text[i])
		case c == text[0]:
			if rest := strings.TrimSpace(text[i+1:]); rest != "" && rest[0] != '#' && rest[0] != ';' {
				return text, false, nil // text that happens to begin with a quote
			}
			return b.String(), true, nil
		default:
			b.WriteByte(c)
		}
	}
	return "", false, fmt.Errorf("a quote %c is not closed", text[0])
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
		return hint.With(fmt.Errorf("%q is a variable, and no host or group", name+"=…"), "write it under %s", vars)
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
	names := []string{unbracketed(pattern)}
	if !inBrackets.MatchString(pattern) && !isIPv6(pattern) {
		var err error
		if names, err = expand(pattern); err != nil {
			return err
		}
	}
	if len(g.hosts)+len(names) > maxHosts {
		return fmt.Errorf("the ranges name more than %d hosts", maxHosts)
	}
	for _, name := range names {
		g.addHost(in, name, number, vars)
	}
	return nil
}

func isIPv6(text string) bool {
	a, err := netip.ParseAddr(text)
	return err == nil && a.Is6()
}

// iniValue is a value as YAML: lists and mappings are written in brackets, everything else is text.
func iniValue(text string) *yaml.Node {
	var n yaml.Node
	if inBrackets.MatchString(text) {
		text = unbracketed(text)
	}
	if strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "{{") || strings.HasPrefix(text, "[") {
		if yaml.Unmarshal([]byte(text), &n) == nil && len(n.Content) == 1 {
			return n.Content[0]
		}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

// splitWords splits a line as a shell would: quotes hold words together, a backslash takes a character as it is, and # or ; begins a comment.
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, quote, escaped := false, rune(0), false
	for _, c := range strings.TrimRight(line, "\r\n") {
		switch {
		case escaped:
			if quote != 0 && c != '"' && c != '\\' {
				word.WriteByte('\\')
			}
			word.WriteRune(c)
			escaped = false
		case c == '\\' && quote != '\'':
			inWord, escaped = true, true
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
