// Package foreign reads inventories of other tools, of Ansible (kubespray) and of k0sctl, and makes the draft of one of ours.
// Whatever has no counterpart is told with its line; nothing is left out silently, and no value that may be a secret is repeated.
// It opens no file and connects to nothing.
package foreign

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/yamltext"
)

// Draft is what another tool's inventory says in our words. Name, version, bundle and endpoint are empty where it does not say.
type Draft struct {
	Cluster inventory.Cluster
	Left    []Leftover // in the order of the file

	lines map[string]int // where the value of a field comes from, by the field's path
}

// Line is the line of the other tool's file that the field at path, as in inventory.Problem, or what it lies in was made of; 0 = none.
func (d Draft) Line(path string) int {
	if name, ok := strings.CutPrefix(path, "spec.ssh."); ok && d.lines[path] == 0 { // see shareLogin
		path = "spec.hosts[0]." + name
	}
	for path != "" {
		if line := d.lines[path]; line > 0 {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 0
}

// otherPlace is how a problem names another field of the new inventory; its hint has the line there.
var otherPlace = regexp.MustCompile(`is taken by (spec\.\S+)$`)

// Place puts a problem of the inventory that the draft makes where it comes from, in the other tool's file.
func (d Draft) Place(file string, p inventory.Problem) inventory.Problem {
	p.File, p.Line, p.Column = file, d.Line(p.Path), 1
	if m := otherPlace.FindStringSubmatch(p.Message); m != nil {
		p.Hint = fmt.Sprintf("line %d", d.Line(m[1]))
	}
	return p
}

// from notes where a field comes from.
func (d *Draft) from(path string, line int) {
	if d.lines == nil {
		d.lines = map[string]int{}
	}
	d.lines[path] = line
}

// add adds a host, with the lines of its fields and its own.
func (d *Draft) add(h inventory.Host, line int, fields map[string]int) {
	path := fmt.Sprintf("spec.hosts[%d]", len(d.Cluster.Spec.Hosts))
	d.from(path, line)
	for field, at := range fields {
		d.from(path+"."+field, at)
	}
	d.Cluster.Spec.Hosts = append(d.Cluster.Spec.Hosts, h)
}

// Leftover is something that the draft does not have, or has otherwise.
type Leftover struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"` // from 1; 0: the file itself
	What string `json:"what"`           // a variable, a group, a host, a field
	Why  string `json:"why"`
}

// String gives "file:line: what: why", or "file: what: why".
func (l Leftover) String() string {
	if l.Line == 0 {
		return l.File + ": " + l.What + ": " + l.Why
	}
	return fmt.Sprintf("%s:%d: %s: %s", l.File, l.Line, l.What, l.Why)
}

const noCounterpart = "has no counterpart"

// vault is how a file begins that Ansible encrypted whole.
const vault = "$ANSIBLE_VAULT"

// unreadable says of a file as a whole why nothing can be made of it.
func unreadable(file string, data []byte) error {
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return problem(file, 1, "the file is UTF-16", "save it as UTF-8")
	case bytes.HasPrefix(data, []byte(vault)):
		return problem(file, 1, "the file is encrypted with Ansible's vault", "import what ansible-vault view "+file+" prints")
	case len(bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))) == 0:
		return problem(file, 1, "the file is empty", "name an inventory of Ansible or k0sctl")
	case bytes.IndexByte(data, 0) >= 0:
		return problem(file, 1, "the file is not text", "name an inventory of Ansible or k0sctl")
	case bytes.HasPrefix(data, []byte("#!")):
		return problem(file, 1, "the file is a program, which makes an inventory when Ansible runs it", "import what ansible-inventory -i "+file+" --list prints")
	}
	return nil
}

// Read reads the inventory of another tool, whichever it is. The error is a *inventory.Problems that says where it cannot be understood;
// what was left until then is told even so.
func Read(file string, data []byte) (Draft, error) {
	if err := unreadable(file, data); err != nil {
		return Draft{}, err
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // editors of Windows put it there
	draft, err := read(file, data)
	slices.SortFunc(draft.Left, func(a, b Leftover) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.What, b.What), cmp.Compare(a.Why, b.Why))
	})
	draft.Left = slices.Compact(draft.Left) // a range of hosts says it for each
	if err != nil {
		return Draft{Left: draft.Left}, err
	}
	return draft, nil
}

func read(file string, data []byte) (Draft, error) {
	var root yaml.Node
	err := yaml.Unmarshal(data, &root)
	named := strings.HasSuffix(file, ".yaml") || strings.HasSuffix(file, ".yml") || strings.HasSuffix(file, ".json") || bytes.HasPrefix(bytes.TrimSpace(data), []byte("{"))
	isMapping := err == nil && len(root.Content) == 1 && root.Content[0].Kind == yaml.MappingNode && (named || allMappings(root.Content[0]))
	var draft Draft
	var twice []Leftover
	if isMapping {
		twice = dropTwice(file, root.Content[0])
	}
	switch {
	case isMapping && strings.HasPrefix(textOf(value(root.Content[0], "apiVersion")), k0sctlAPI):
		draft, err = readK0sctl(file, root.Content[0])
	case isMapping && textOf(value(root.Content[0], "apiVersion")) == inventory.APIVersion:
		return Draft{}, problem(file, 1, "the file is an inventory of hybridctl already", "name it with -f")
	case isMapping && textOf(value(root.Content[0], "apiVersion")) != "" && textOf(value(root.Content[0], "kind")) != "":
		return Draft{}, problem(file, 1, "the file is a "+textOf(value(root.Content[0], "kind"))+" of "+textOf(value(root.Content[0], "apiVersion")), "Ansible's inventories are read, and k0sctl's Cluster")
	case isMapping:
		draft, err = readAnsibleYAML(file, root.Content[0])
	case named && err != nil:
		line, column, message, hint := yamltext.Explain(data, err)
		return Draft{}, &inventory.Problems{List: []inventory.Problem{{File: file, Line: line, Column: column, Message: message, Hint: hint}}}
	case named:
		return Draft{}, problem(file, 1, "the file is not one mapping", "Ansible's groups and k0sctl's Cluster are mappings")
	default:
		draft, err = readAnsibleINI(file, data)
	}
	draft.Left = append(draft.Left, twice...)
	if err != nil {
		return draft, err
	}
	if line := secondDocument(data); isMapping && line > 0 {
		draft.Left = append(draft.Left, Leftover{file, line, "a further document", "only the first is read"})
	}
	relativeKeys(file, &draft)
	draft.Cluster.APIVersion, draft.Cluster.Kind = inventory.APIVersion, inventory.Kind
	shareLogin(&draft.Cluster.Spec)
	return draft, nil
}

// dropTwice takes fields out of mappings that stand there again further down: as for Ansible, the last counts.
func dropTwice(file string, n *yaml.Node) (left []Leftover) {
	if n.Kind == yaml.MappingNode {
		last := map[string]*yaml.Node{}
		for i := len(n.Content) - 2; i >= 0; i -= 2 {
			key := n.Content[i]
			switch again := last[key.Value]; {
			case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge":
			case again != nil:
				left = append(left, Leftover{file, key.Line, key.Value, fmt.Sprintf("stands again in line %d, which counts, and is left out here", again.Line)})
				n.Content = slices.Delete(n.Content, i, i+2)
			default:
				last[key.Value] = key
			}
		}
	}
	for _, child := range n.Content {
		left = append(left, dropTwice(file, child)...)
	}
	return left
}

// secondDocument is the line of a YAML file at which another document begins; 0 = there is none.
func secondDocument(data []byte) int {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var n yaml.Node
	for range 2 {
		n = yaml.Node{}
		if decoder.Decode(&n) != nil {
			return 0
		}
	}
	return n.Content[0].Line
}

// relativeKeys tells of key files whose paths begin elsewhere than in our inventory.
func relativeKeys(file string, d *Draft) {
	for _, h := range d.Cluster.Spec.Hosts {
		for _, path := range h.IdentityFiles {
			if !filepath.IsAbs(path) && !strings.HasPrefix(path, "~") {
				d.Left = append(d.Left, Leftover{file, 0, "the key file " + path, "is looked for in the folder of the new inventory"})
			}
		}
	}
}

// allMappings tells groups in YAML from a line of the other format that happens to be YAML too.
func allMappings(root *yaml.Node) bool {
	for _, v := range fields(root) {
		if v.Kind != yaml.MappingNode {
			return value(root, "apiVersion") != nil
		}
	}
	return true
}

// shareLogin moves to spec.ssh what all hosts have alike.
func shareLogin(spec *inventory.Spec) {
	if len(spec.Hosts) == 0 {
		return
	}
	first := spec.Hosts[0]
	same := func(equal func(h inventory.Host) bool) bool {
		return !slices.ContainsFunc(spec.Hosts, func(h inventory.Host) bool { return !equal(h) })
	}
	user := same(func(h inventory.Host) bool { return h.User == first.User })
	port := same(func(h inventory.Host) bool { return h.Port == first.Port })
	keys := same(func(h inventory.Host) bool { return slices.Equal(h.IdentityFiles, first.IdentityFiles) })
	jump := same(func(h inventory.Host) bool { return h.Jump == first.Jump })
	for i := range spec.Hosts {
		h := &spec.Hosts[i]
		move(user, &spec.SSH.User, &h.User)
		move(port, &spec.SSH.Port, &h.Port)
		move(keys, &spec.SSH.IdentityFiles, &h.IdentityFiles)
		move(jump, &spec.SSH.Jump, &h.Jump)
	}
}

// move moves a value, if it is alike, from a host to where it holds for all.
func move[T any](alike bool, to, from *T) {
	if alike {
		var zero T
		*to, *from = *from, zero
	}
}

// nodeName is the name that Kubernetes takes; changed says that it is another one.
func nodeName(name string) (ours string, changed bool) {
	if ours = inventory.NodeName(name); ours == "" {
		return name, false // and what that name lacks is said where the draft is checked
	}
	return ours, ours != name
}

// loopback tells of addresses that are on the machine itself.
func loopback(address string) bool {
	ip, err := netip.ParseAddr(address)
	return address == "localhost" || err == nil && ip.IsLoopback()
}

// unusable says why no host of ours can have an address; "" = it can.
func unusable(address string) string {
	switch {
	case loopback(address):
		return "has the address " + address + ", which is the machine on which hybridctl runs: it is left out"
	case isIPv6(address):
		return "has the IPv6 address " + address + ", and clusters of IPv6 are not supported yet: it is left out"
	}
	return ""
}

// unbracketed is an address of IPv6 without the brackets in which it stands before a port.
func unbracketed(address string) string {
	if m := inBrackets.FindStringSubmatch(address); m != nil {
		return m[1]
	}
	return address
}

func problem(file string, line int, message, hint string) error {
	return &inventory.Problems{List: []inventory.Problem{{File: file, Line: line, Column: 1, Message: message, Hint: hint}}}
}

// value returns the value of a mapping's field, behind an alias, or nil.
func value(n *yaml.Node, name string) *yaml.Node {
	for key, v := range fields(n) {
		if key.Value == name {
			return v
		}
	}
	return nil
}

// fields goes through a mapping's fields, behind aliases and with those that merge keys bring; anything else has none.
func fields(n *yaml.Node) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		n := behindAlias(n)
		if n == nil || n.Kind != yaml.MappingNode {
			return
		}
		visit(n, map[string]bool{}, map[*yaml.Node]bool{}, yield)
	}
}

// visit hands on the fields that were not seen before: a mapping's own first, as they win over merged ones; of mappings that merge each
// other, each once. False: yield wants no more.
func visit(n *yaml.Node, seen map[string]bool, been map[*yaml.Node]bool, yield func(key, value *yaml.Node) bool) bool {
	if been[n] {
		return true
	}
	been[n] = true
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, v := n.Content[i], behindAlias(n.Content[i+1])
		switch {
		case key.ShortTag() == "!!merge" && v.Kind == yaml.SequenceNode:
			merged = append(merged, v.Content...)
		case key.ShortTag() == "!!merge":
			merged = append(merged, v)
		case !seen[key.Value]:
			seen[key.Value] = true
			if !yield(key, v) {
				return false
			}
		}
	}
	for _, m := range merged {
		if m = behindAlias(m); m != nil && m.Kind == yaml.MappingNode && !visit(m, seen, been, yield) {
			return false
		}
	}
	return true
}

func behindAlias(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// textOf returns a scalar's text; anything else, and what is encrypted, has none.
func textOf(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" || encryptedScalar(n) {
		return ""
	}
	return n.Value
}

// encrypted tells of a value that Ansible's vault holds, or of a list or mapping with one: tagged in YAML, a mapping of one name in JSON.
func encrypted(n *yaml.Node) bool {
	if n = behindAlias(n); n == nil {
		return false
	}
	return encryptedScalar(n) || slices.ContainsFunc(n.Content, func(item *yaml.Node) bool { return encryptedScalar(behindAlias(item)) }) ||
		value(n, "__ansible_vault") != nil
}

func encryptedScalar(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && (n.Tag == "!vault" || n.Tag == "!vault-encrypted" || strings.HasPrefix(strings.TrimSpace(n.Value), vault))
}
