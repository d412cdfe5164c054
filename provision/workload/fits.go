package workload

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// misfit is an image of a template that is not made for everywhere the pod may land, and the rule that says why best.
type misfit struct {
	rule    string
	at      *yaml.Node
	path    string
	image   string
	arch    platform.Arch // the first one that lacks
	level   Level         // "" = the rule's
	message string
	fix     string
}

// fits reports the template's misfits of the present rule: of the rules that speak of the same fault the one that says most is chosen.
func fits(l *lint, t *Template) {
	all, looked := l.misfit[t]
	if !looked { // several rules ask
		all = l.misfits(t)
		l.misfit[t] = all
	}
	for _, m := range all {
		if m.rule != l.rule.ID {
			continue
		}
		p := l.find(t, m.at, m.path, m.message, m.fix)
		p.Image, p.Arch = m.image, string(m.arch)
		if m.level != "" {
			p.Level = m.level
		}
	}
}

func (l *lint) misfits(t *Template) []misfit {
	allowed := l.allowed(t)
	if len(allowed) == 0 {
		return nil // L2's, or for nodes that the cluster does not have
	}
	if m, none := l.nothingInCommon(t); none {
		return []misfit{m}
	}
	var out []misfit
	for _, u := range t.uses() {
		if u.role == roleVolume {
			continue
		}
		f := l.known(u.image)
		lacks := slices.DeleteFunc(slices.Clone(allowed), func(a platform.Arch) bool { return f.Made(a) != No })
		switch {
		case f.Err != nil:
			if m, found := l.toldByName(t, u, allowed); found {
				out = append(out, m)
			}
		case len(lacks) > 0:
			out = append(out, l.blame(t, u, f, lacks)...)
		}
	}
	return slices.CompactFunc(out, func(a, b misfit) bool { return a.rule == b.rule && a.at == b.at })
}

// nothingInCommon is L7: images of one pod that are all known, each made for something, and for nothing in common.
func (l *lint) nothingInCommon(t *Template) (misfit, bool) {
	common := slices.Clone(l.archs)
	var said []string
	uses := slices.DeleteFunc(slices.Clone(t.uses()), func(u use) bool { return u.role == roleVolume })
	for _, u := range uses {
		f := l.known(u.image)
		if f.Err != nil {
			continue
		}
		mine := slices.DeleteFunc(slices.Clone(l.archs), func(a platform.Arch) bool { return f.Made(a) != Yes })
		if len(mine) == 0 {
			return misfit{}, false // L1's
		}
		common = slices.DeleteFunc(common, func(a platform.Arch) bool { return !slices.Contains(mine, a) })
		said = append(said, fmt.Sprintf("%s %s: %s", u.role, u.name, listArchs(mine)))
	}
	if len(common) > 0 || len(said) < 2 {
		return misfit{}, false
	}
	return misfit{
		rule: "L7", at: uses[0].node, path: uses[0].path, image: uses[0].image,
		message: "no architecture is common to the images: " + strings.Join(said, "; "),
		fix:     "split the pod, or build the images for one architecture in common",
	}, true
}

// toldByName is L11 for an image of which nothing else is known.
func (l *lint) toldByName(t *Template, u use, allowed []platform.Arch) (misfit, bool) {
	named, ok := archInName(u.image)
	if !ok || t.constrained() || t.pinned() != "" || !slices.ContainsFunc(allowed, func(a platform.Arch) bool { return a != named }) {
		return misfit{}, false
	}
	return misfit{
		rule: "L11", at: u.node, path: u.path, image: u.image, level: LevelWarning,
		message: fmt.Sprintf("the image's name says %s, and nothing keeps the pod off %s nodes", named, listArchs(without(allowed, named))),
		fix:     requirement([]platform.Arch{named}) + "; or an image index for all of them",
	}, true
}

// blame says which rule an image is the business of, that is known not to be made for some of the architectures that are allowed.
func (l *lint) blame(t *Template, u use, f ImageFacts, lacks []platform.Arch) []misfit {
	made := slices.DeleteFunc(slices.Clone(l.archs), func(a platform.Arch) bool { return f.Made(a) != Yes })
	m := misfit{at: u.node, path: u.path, image: u.image, arch: lacks[0], fix: requirement(made) + ", or build the image for " + listArchs(lacks) + " too"}
	lacking := fmt.Sprintf("the image %s is not made for %s", u.image, listArchs(lacks))
	if len(made) == 0 {
		m.fix = "an image that is made for " + listArchs(l.archs)
	}
	preferred := slices.IndexFunc(t.preferred(), term.aboutArch)
	named, isNamed := archInName(u.image)
	switch node := t.pinned(); {
	case node != "":
		m.rule, m.message = "L15", fmt.Sprintf("%s, and the pod runs on %s alone", lacking, node)
		if slices.ContainsFunc(l.nodes, func(n Node) bool { return slices.Contains(strings.Split(node, ", "), n.Name) }) {
			m.level = LevelError // which architecture that node has is known
		}
		m.fix = "see that this node's architecture is " + listArchs(made)
	case t.constrained():
		return l.loose(t, m, lacking, lacks, made)
	case preferred >= 0:
		p := t.preferred()[preferred]
		m.rule, m.at, m.path = "L6", p.node, p.path
		m.message = lacking + ", and the pod only prefers other nodes"
		m.fix = requirement(made)
	case t.Daemon && t.toleratesAll():
		m.rule, m.message = "L8", lacking+", and this DaemonSet tolerates every taint: it comes to every node"
	case (t.Object.Hook || t.Object.Kind == "Job" || t.Object.Kind == "CronJob") && l.mainIsConstrained(t.Object):
		m.rule, m.message = "L9", lacking+", and the constraint that the workload beside it has is missing here"
	case f.Single && strings.Contains(u.image, "@"):
		m.rule, m.message = "L10", lacking+": the digest is of one platform's manifest"
		m.fix = "name the digest of the image index; or " + requirement(made)
	case t.toleratesArch():
		m.rule, m.message = "L12", lacking+": the toleration of an architecture's taint keeps the pod off no other node"
	case isNamed && slices.Contains(made, named):
		m.rule, m.message = "L11", fmt.Sprintf("%s, as its name says, and nothing keeps the pod off such nodes", lacking)
	default:
		m.rule, m.message = "L1", lacking+", and nothing keeps the pod off such nodes"
	}
	return []misfit{m}
}

// loose tells of a constraint that allows more than the image is made for: of terms without a word of the architecture each is a place of its own.
func (l *lint) loose(t *Template, m misfit, lacking string, lacks, made []platform.Arch) []misfit {
	terms, _ := t.required()
	var out []misfit
	some := slices.ContainsFunc(terms, term.aboutArch)
	for _, one := range terms {
		if some && !one.empty && !one.aboutArch() {
			of := m
			of.rule, of.at, of.path = "L3", one.node, one.path
			of.message = lacking + ", and this term lets the pod onto such nodes, whatever the other terms say: terms are ORed"
			of.fix = "add the requirement to this term: " + requirement(made)
			out = append(out, of)
		}
	}
	if len(out) == 0 {
		m.rule, m.message = "L1", fmt.Sprintf("%s, and the pod's constraint allows %s", lacking, listArchs(lacks))
		out = append(out, m)
	}
	return out
}

func without(archs []platform.Arch, off platform.Arch) []platform.Arch {
	return slices.DeleteFunc(slices.Clone(archs), func(a platform.Arch) bool { return a == off })
}

// requirement is how the constraint to architectures is written.
func requirement(archs []platform.Arch) string {
	if len(archs) == 0 {
		return "an image for the cluster's architectures"
	}
	return fmt.Sprintf("require {key: %s, operator: In, values: [%s]}", archLabel, listArchs(archs))
}

// pinned is the node that a template names, by name or host name; "" = none.
func (t *Template) pinned() string {
	if name := text(t.spec, "nodeName"); name != "" {
		return name
	}
	for _, p := range t.selector() {
		if p.key == "kubernetes.io/hostname" {
			return p.value
		}
	}
	terms, has := t.required()
	if !has {
		return ""
	}
	var named []string
	for _, m := range terms {
		if m.empty {
			continue
		}
		one := m.hostnames()
		if len(one) == 0 {
			return ""
		}
		named = append(named, one...)
	}
	return strings.Join(named, ", ")
}

// hostnames are the nodes that a term names.
func (m term) hostnames() []string {
	for _, e := range m.exprs {
		if e.key.Value == "kubernetes.io/hostname" && e.op == "In" {
			return e.values
		}
	}
	for _, f := range items(value(m.node, "matchFields")) {
		if text(f, "key") == "metadata.name" && text(f, "operator") == "In" {
			var out []string
			for _, v := range items(value(f, "values")) {
				out = append(out, v.Value)
			}
			return out
		}
	}
	return nil
}

func (t *Template) toleratesAll() bool {
	return slices.ContainsFunc(t.tolerations(), func(o Toleration) bool { return o.Key == "" && o.Operator == "Exists" })
}

// archTaints are the keys of taints that clouds and administrators give to nodes of an architecture.
var archTaints = append([]string{"arch", "architecture"}, archKeys...)

func (t *Template) toleratesArch() bool {
	return slices.ContainsFunc(t.tolerations(), func(o Toleration) bool { return slices.Contains(archTaints, o.Key) })
}

// mainIsConstrained reports whether another workload of the set, in the same namespace and no Job or hook itself, has a constraint.
func (l *lint) mainIsConstrained(of *Object) bool {
	return slices.ContainsFunc(l.set.Objects, func(o *Object) bool {
		if o == of || o.Hook || o.Kind == "Job" || o.Kind == "CronJob" || o.Namespace != of.Namespace || l.set.FromAPI && !sameApp(o, of) {
			return false
		}
		return slices.ContainsFunc(o.Templates, func(t Template) bool { return t.constrained() })
	})
}

// sameApp reports whether two objects say that they belong to the same application.
func sameApp(a, b *Object) bool {
	for _, key := range []string{"app.kubernetes.io/instance", "app"} {
		x, y := label(a, key), label(b, key)
		if x != "" && x == y {
			return true
		}
	}
	return false
}

func label(o *Object, key string) string {
	return text(value(value(o.root, "metadata"), "labels"), key)
}
