package workload

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/yamltext"
)

// ErrManifest is wrapped by errors about a text that cannot be read as manifests. The user mends the text.
var ErrManifest = errors.New("")

// Source is a text that holds manifests: YAML of one document or several, or JSON.
type Source struct {
	Name string // for findings: a path, or "-"
	Text []byte
}

// Object is a Kubernetes object as a source or the API server has it.
type Object struct {
	APIVersion, Kind, Namespace, Name string
	File                              string
	Line                              int    // in the source, counted from 1; 0 for an object of the API server
	Owner                             string // "Kind/name" of its controller, or ""
	Hook                              bool   // a Helm hook
	Templates                         []Template

	root   *yaml.Node
	source *source
	path   string // "items[3]" within a list
}

// String is "Deployment team/web", or "Deployment web" without a namespace.
func (o *Object) String() string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// source is a text with its nodes.
type source struct {
	name string
	text *yamltext.Text
	docs []*yaml.Node
}

// ReadOptions says what counts as a pod template.
type ReadOptions struct {
	KnownKindsOnly bool // what only has the shape of a pod template, in kinds that Kubernetes does not have, is left alone
}

// Set is what was read together: rules look at objects beside each other.
type Set struct {
	Objects []*Object
	sources []*source
	// FromAPI reports that a running cluster's objects are in the set: there are no lines, and pods may differ from their templates.
	FromAPI bool
}

// Read reads the objects of all sources. The error wraps ErrManifest, and names the file and the line.
func Read(sources []Source, o ReadOptions) (*Set, error) {
	set := &Set{}
	for _, s := range sources {
		if err := set.add(s, o); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// Add reads objects of the API server, as JSON, into the set.
func (s *Set) Add(json []byte, o ReadOptions) error {
	s.FromAPI = true
	return s.add(Source{Text: json}, o)
}

func (s *Set) add(in Source, o ReadOptions) error {
	if bytes.HasPrefix(in.Text, []byte{0xFE, 0xFF}) || bytes.HasPrefix(in.Text, []byte{0xFF, 0xFE}) {
		return manifestError(in.Name, 1, 1, "the file is UTF-16", "save it as UTF-8")
	}
	docs, err := parse(in.Text)
	if err != nil {
		line, column, message, hint := yamltext.Explain(in.Text, err)
		if bytes.Contains(in.Text, []byte("{{")) {
			hint = renderFirst
		}
		return manifestError(in.Name, line, column, message, hint)
	}
	if at := helmKey(in.Text, docs); at != nil {
		return manifestError(in.Name, at.Line, at.Column, "this is a Helm template", renderFirst)
	}
	src := &source{name: in.Name, text: yamltext.New(in.Text), docs: docs}
	if in.Name != "" { // lines are counted otherwise by YAML then: neither a finding's place nor a patch would be right
		var place *yamltext.PlaceError
		if err := src.text.CheckLineBreaks(); asPlace(err, &place) {
			return manifestError(in.Name, place.Node.Line, place.Node.Column, place.Message, place.Hint)
		}
	}
	s.sources = append(s.sources, src)
	for _, doc := range docs {
		if err := s.collect(src, doc, "", o, 0); err != nil {
			return err
		}
	}
	return nil
}

const renderFirst = "a Helm template has to be rendered first: helm template CHART | hybridctl workload lint -f -"

// helmKey finds a value such as {{ .Release.Name }}: YAML takes it for a mapping whose key is a mapping.
func helmKey(text []byte, docs []*yaml.Node) *yaml.Node {
	if !bytes.Contains(text, []byte("{{")) {
		return nil
	}
	var find func(n *yaml.Node) *yaml.Node
	find = func(n *yaml.Node) *yaml.Node {
		for i, c := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 && c.Kind == yaml.MappingNode {
				return n
			}
			if at := find(c); at != nil {
				return at
			}
		}
		return nil
	}
	for _, doc := range docs {
		if at := find(doc); at != nil {
			return at
		}
	}
	return nil
}

// parse is yamltext.Parse for texts of strangers: the library panics on some.
func parse(text []byte) (docs []*yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			docs, err = nil, fmt.Errorf("yaml: %v", p)
		}
	}()
	docs, err = yamltext.Parse(bytes.NewReader(text))
	if err == nil || !startsJSON(text) {
		return docs, err
	}
	// JSON may be indented with tabs, which YAML refuses. Blanks in their place keep lines and columns; within its strings a tab is escaped.
	if again, tabErr := yamltext.Parse(io.Reader(bytes.NewReader(bytes.ReplaceAll(text, []byte("\t"), []byte(" "))))); tabErr == nil {
		return again, nil
	}
	return nil, err
}

func startsJSON(text []byte) bool {
	trimmed := bytes.TrimLeft(bytes.TrimPrefix(text, []byte("\uFEFF")), " \t\r\n")
	return len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[')
}

func manifestError(file string, line, column int, message, hint string) error {
	if file == "-" {
		file = "standard input"
	}
	text := fmt.Sprintf("%s:%d:%d: %s", file, line, column, message)
	if hint != "" {
		text += " (" + hint + ")"
	}
	return fmt.Errorf("%s%w", text, ErrManifest)
}

// collect notes the objects of a document: itself, or the items of a list.
func (s *Set) collect(src *source, n *yaml.Node, path string, o ReadOptions, depth int) error {
	n = behind(n)
	if n.Kind == yaml.SequenceNode && depth == 0 { // a JSON array of objects
		return s.items(src, n, "", o, depth)
	}
	if n.Kind != yaml.MappingNode || depth > 4 {
		return nil
	}
	kind, apiVersion := text(n, "kind"), text(n, "apiVersion")
	if kind == "" || apiVersion == "" {
		return nil // a values file, a kustomization, a patch
	}
	if items := value(n, "items"); strings.HasSuffix(kind, "List") && items != nil && items.Kind == yaml.SequenceNode {
		return s.items(src, items, "items", o, depth)
	}
	meta := value(n, "metadata")
	object := &Object{
		APIVersion: apiVersion, Kind: kind, Namespace: text(meta, "namespace"), Name: cmp.Or(text(meta, "name"), text(meta, "generateName")),
		File: src.name, Owner: controller(meta), Hook: value(value(meta, "annotations"), "helm.sh/hook") != nil,
		root: n, source: src, path: path,
	}
	if src.name != "" {
		object.Line = n.Line
	}
	object.Templates = templates(object, o)
	s.Objects = append(s.Objects, object)
	return nil
}

func (s *Set) items(src *source, list *yaml.Node, path string, o ReadOptions, depth int) error {
	for i, item := range list.Content {
		if err := s.collect(src, item, fmt.Sprintf("%s[%d]", path, i), o, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// controller is the owner that controls an object, as "Kind/name".
func controller(meta *yaml.Node) string {
	owners := value(meta, "ownerReferences")
	if owners == nil || owners.Kind != yaml.SequenceNode {
		return ""
	}
	for _, owner := range owners.Content {
		if text(owner, "controller") == "true" {
			return text(owner, "kind") + "/" + text(owner, "name")
		}
	}
	return ""
}

// behind follows aliases.
func behind(n *yaml.Node) *yaml.Node {
	for range 16 {
		if n == nil || n.Kind != yaml.AliasNode {
			return n
		}
		n = n.Alias
	}
	return n
}

// value returns the value of a mapping's field, behind aliases and merge keys, or nil. Of equal keys the last counts, as for the API server.
func value(n *yaml.Node, key string) *yaml.Node {
	_, v := entry(n, key, 16)
	return v
}

// entry returns the key and the value of a mapping's field.
func entry(n *yaml.Node, name string, depth int) (key, val *yaml.Node) {
	n = behind(n)
	if n == nil || n.Kind != yaml.MappingNode || depth == 0 {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i]; k.Value == name && k.ShortTag() != "!!merge" {
			key, val = k, behind(n.Content[i+1])
		}
	}
	if key != nil {
		return key, val
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].ShortTag() != "!!merge" {
			continue
		}
		from := behind(n.Content[i+1])
		list := []*yaml.Node{from}
		if from != nil && from.Kind == yaml.SequenceNode {
			list = from.Content
		}
		for _, m := range list {
			if k, v := entry(m, name, depth-1); k != nil {
				return k, v
			}
		}
	}
	return nil, nil
}

// text is the scalar value of a mapping's field, or "".
func text(n *yaml.Node, key string) string {
	if v := value(n, key); v != nil && v.Kind == yaml.ScalarNode && v.ShortTag() != "!!null" {
		return v.Value
	}
	return ""
}
