package workload

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// Level is how bad a finding is, in SARIF's words.
type Level string

// The levels: an error fails on some node, a warning may, and a note is worth a look.
const (
	LevelError   Level = "error"
	LevelWarning Level = "warning"
	LevelNote    Level = "note"
)

// Rule is one kind of finding.
type Rule struct {
	ID, Title string
	Level     Level
	Help      string // what to do, in general
	OnRequest bool   // it would fire on nearly every file: only when asked for by its ID
	check     func(*lint, *Template)
	object    func(*lint, *Object)
	made      func(l *lint, o, maker *Object) // of an object that is made from another's template
}

// Problem is what a rule found.
type Problem struct {
	Rule      string `json:"rule"`
	Level     Level  `json:"level"`
	Object    Named  `json:"object"`
	Owner     string `json:"owner,omitempty"` // "Kind/name": what would overwrite a change of the object
	Path      string `json:"path"`            // of the field
	File      string `json:"file,omitempty"`
	Line      int    `json:"line,omitempty"`
	Column    int    `json:"column,omitempty"`
	Image     string `json:"image,omitempty"`
	Arch      string `json:"arch,omitempty"`
	Message   string `json:"message"`
	Fix       string `json:"fix,omitempty"`
	silencing string // the finding's line and the one before, for comments
}

// Named is how an object is called.
type Named struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
}

// String is "Deployment team/web".
func (n Named) String() string {
	if n.Namespace == "" {
		return n.Kind + " " + n.Name
	}
	return n.Kind + " " + n.Namespace + "/" + n.Name
}

// Options of a lint.
type Options struct {
	Archs  []platform.Arch // that pods may land on: those of the cluster
	Known  Known
	Nodes  []Node   // of the cluster, where it is known: labels and taints of theirs decide, too
	Only   []string // IDs of rules; empty = all but those on request
	Ignore []string // IDs of rules
}

// UnknownImage is an image that nothing is known of: no finding, and no clean bill either.
type UnknownImage struct {
	Image  string `json:"image"`
	Reason string `json:"reason"`
}

// Lint looks at every pod template of a set. unknown are the images of which nothing is known; rules about them were not tried. The findings
// stand in the order of the text.
func Lint(set *Set, o Options) (problems []Problem, unknown []UnknownImage) {
	l := &lint{set: set, archs: o.Archs, nodes: o.Nodes, known: remember(o.Known), misfit: map[*Template][]misfit{}}
	for _, r := range rules {
		if !wanted(r, o) {
			continue
		}
		l.rule = r
		for _, object := range set.Objects {
			l.look(object)
		}
	}
	l.problems = slices.DeleteFunc(l.problems, silenced)
	if r := ruleOf("L20"); wanted(r, o) {
		l.rule = r
		l.overwritten()
	}
	l.sort()
	return l.problems, l.unknown()
}

// look tries the present rule on an object. What is made from a template of the set is not looked at twice, but for what was added to it.
func (l *lint) look(o *Object) {
	maker := l.maker(o)
	switch {
	case l.rule.made != nil && maker != nil:
		l.rule.made(l, o, maker)
	case maker != nil:
	case l.rule.object != nil:
		l.rule.object(l, o)
	case l.rule.check != nil:
		for i := range o.Templates {
			l.rule.check(l, &o.Templates[i])
		}
	}
}

// wanted reports whether a rule is to be tried.
func wanted(r Rule, o Options) bool {
	named := func(list []string) bool {
		return slices.ContainsFunc(list, func(id string) bool { return strings.EqualFold(id, r.ID) })
	}
	switch {
	case named(o.Ignore):
		return false
	case len(o.Only) > 0:
		return named(o.Only)
	}
	return !r.OnRequest
}

// lint is one run.
type lint struct {
	set      *Set
	archs    []platform.Arch
	nodes    []Node
	known    Known
	rule     Rule
	problems []Problem
	misfit   map[*Template][]misfit // of templates that were looked at
	members  map[string]*Object     // objects of the set by kind, namespace and name
}

// remember asks about each image once.
func remember(known Known) Known {
	if known == nil {
		known = NothingKnown
	}
	told := map[string]ImageFacts{}
	return func(image string) ImageFacts {
		f, ok := told[image]
		if !ok {
			f = known(image)
			told[image] = f
		}
		return f
	}
}

// find notes a finding at a node of the template's object.
func (l *lint) find(t *Template, at *yaml.Node, path, message, fix string) *Problem {
	return l.findIn(t.Object, at, path, message, fix)
}

func (l *lint) findIn(o *Object, at *yaml.Node, path, message, fix string) *Problem {
	p := Problem{
		Rule: l.rule.ID, Level: l.rule.Level, Path: path, Owner: l.overwriting(o), Message: message, Fix: fix,
		Object: Named{o.APIVersion, o.Kind, o.Namespace, o.Name},
	}
	if o.Line > 0 {
		p.File, p.Line, p.Column = o.File, at.Line, at.Column
		p.silencing = comments(o.source, o.root, at.Line)
	}
	l.problems = append(l.problems, p)
	return &l.problems[len(l.problems)-1]
}

// comments are those that may silence a finding: in its line, in the one above, and above the object.
func comments(s *source, root *yaml.Node, line int) string {
	if line > s.text.Lines() {
		return ""
	}
	out := string(s.text.Line(line - 1))
	if line > 1 {
		if above := strings.TrimSpace(string(s.text.Line(line - 2))); strings.HasPrefix(above, "#") {
			out += "\n" + above
		}
	}
	for n := root.Line - 2; n >= 0; n-- {
		above := strings.TrimSpace(string(s.text.Line(n)))
		if !strings.HasPrefix(above, "#") {
			break
		}
		out += "\n" + above
	}
	return out
}

// silence is a comment such as "# hybridctl:ignore L5, L11 until the next release".
var silence = regexp.MustCompile(`#\s*hybridctl:ignore\s+((?:L\d+[,\s]*)+)`)

func silenced(p Problem) bool {
	for _, m := range silence.FindAllStringSubmatch(p.silencing, -1) {
		ids := strings.FieldsFunc(m[1], func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
		if slices.Contains(ids, p.Rule) {
			return true
		}
	}
	return false
}

func (l *lint) sort() {
	slices.SortStableFunc(l.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(ruleNumber(a.Rule), ruleNumber(b.Rule)))
	})
}

func ruleNumber(id string) int {
	n := 0
	_, _ = fmt.Sscanf(id, "L%d", &n) // every ID is one of ours
	return n
}

func (l *lint) unknown() []UnknownImage {
	var out []UnknownImage
	for _, o := range l.set.Objects {
		for i := range o.Templates {
			for _, image := range o.Templates[i].Images() {
				if f := l.known(image); f.Err != nil {
					out = append(out, UnknownImage{image, f.Err.Error()})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b UnknownImage) int { return cmp.Compare(a.Image, b.Image) })
	return slices.CompactFunc(out, func(a, b UnknownImage) bool { return a.Image == b.Image })
}

// member finds an object of the set.
func (l *lint) member(kind, namespace, name string) *Object {
	if l.members == nil {
		l.members = map[string]*Object{}
		for _, o := range l.set.Objects {
			l.members[o.Kind+" "+o.Namespace+"/"+o.Name] = o
		}
	}
	return l.members[kind+" "+namespace+"/"+name]
}

// ownerIn is the controller of an object, if it is in the set.
func (l *lint) ownerIn(o *Object) *Object {
	kind, name, ok := strings.Cut(o.Owner, "/")
	if !ok {
		return nil
	}
	return l.member(kind, o.Namespace, name)
}

// ownedByTemplate reports whether an object is made from a template that is in the set too: that one is looked at.
func (l *lint) ownedByTemplate(o *Object) bool { return l.maker(o) != nil }

// maker is the outermost object of the set with a pod template that an object is made from; nil = none.
func (l *lint) maker(o *Object) *Object {
	var made *Object
	for range 8 { // owners of owners: a Pod's ReplicaSet's Deployment; a circle ends
		owner := l.ownerIn(o)
		if owner == nil || owner == o {
			break
		}
		if len(owner.Templates) > 0 {
			made = owner
		}
		o = owner
	}
	return made
}

// overwriting is the controller that would undo a change of the object, or "".
func (l *lint) overwriting(o *Object) string {
	if l.ownedByTemplate(o) {
		return ""
	}
	return o.Owner
}
