package workload

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// contradiction is L2.
func contradiction(l *lint, t *Template) {
	if !t.constrained() {
		return
	}
	mentioned := []string{"no-such-architecture"}
	for _, a := range l.archs {
		mentioned = append(mentioned, a.String())
	}
	at, path := t.spec, t.Path
	for _, p := range t.selector() {
		if slices.Contains(archKeys, p.key) {
			mentioned, at, path = append(mentioned, p.value), p.valueNode, t.Path+".nodeSelector["+p.key+"]"
		}
	}
	terms, _ := t.required()
	for _, m := range terms {
		for _, e := range m.exprs {
			if slices.Contains(archKeys, e.key.Value) {
				mentioned = append(mentioned, e.values...)
				if at == t.spec {
					at, path = e.node, e.path
				}
			}
		}
	}
	somewhere := func(arch string) bool { return t.allowsOn(arch, linux) || t.allowsOn(arch, "windows") }
	if !slices.ContainsFunc(mentioned, somewhere) {
		l.find(t, at, path, "the constraints of the architecture contradict each other: the pod fits no node at all",
			"let nodeSelector and the node affinity's terms name the same architectures, or delete one of them")
	}
}

// label places are where a template names labels of nodes.
type labelPlace struct {
	key     *yaml.Node
	path    string
	values  []*yaml.Node
	mapping *yaml.Node // of a node selector
}

func (t *Template) labelPlaces() []labelPlace {
	var out []labelPlace
	selector := value(t.spec, "nodeSelector")
	for _, p := range t.selector() {
		out = append(out, labelPlace{p.keyNode, t.Path + ".nodeSelector[" + p.key + "]", []*yaml.Node{p.valueNode}, selector})
	}
	required, _ := t.required()
	for _, m := range append(required, t.preferred()...) {
		for _, e := range m.exprs {
			out = append(out, labelPlace{e.key, e.path + ".key", e.valueAt, nil})
		}
	}
	for i, c := range items(value(t.spec, "topologySpreadConstraints")) {
		if k := value(c, "topologyKey"); k != nil {
			out = append(out, labelPlace{k, fmt.Sprintf("%s.topologySpreadConstraints[%d].topologyKey", t.Path, i), nil, nil})
		}
	}
	return out
}

// oldKeys are the labels that have new names since Kubernetes 1.14 (KEP 589).
var oldKeys = map[string]string{"beta.kubernetes.io/arch": archLabel, "beta.kubernetes.io/os": osLabel}

const osLabel = "kubernetes.io/os"

// oldLabels is L4.
func oldLabels(l *lint, t *Template) {
	for _, p := range t.labelPlaces() {
		if now, old := oldKeys[p.key.Value]; old {
			l.find(t, p.key, p.path, p.key.Value+" is deprecated since Kubernetes 1.14", "write "+now)
		}
	}
}

// narrow is L5.
func narrow(l *lint, t *Template) {
	if !t.constrained() || t.pinned() != "" {
		return
	}
	made, unknown := t.supported(l.known, l.archs)
	allowed := t.Allowed(l.archs)
	more := slices.DeleteFunc(slices.Clone(made), func(a platform.Arch) bool { return slices.Contains(allowed, a) })
	uses := t.uses()
	amiss := slices.ContainsFunc(allowed, func(a platform.Arch) bool { return !slices.Contains(made, a) }) // L1's
	if len(unknown) > 0 || len(more) == 0 || len(allowed) == 0 || len(uses) == 0 || amiss {
		return
	}
	at, path := uses[0].node, uses[0].path
	for _, p := range t.labelPlaces() {
		if slices.Contains(archKeys, p.key.Value) {
			at, path = p.key, p.path
			break
		}
	}
	p := l.find(t, at, path, fmt.Sprintf("the pod is kept off %s, and all its images are made for it", listArchs(more)),
		"if the images were the reason, widen the constraint")
	p.Arch = more[0].String()
}

// pullSecret is L13.
func pullSecret(l *lint, t *Template) {
	if len(items(value(t.spec, "imagePullSecrets"))) > 0 {
		return
	}
	account := text(t.spec, "serviceAccountName")
	if account == "" {
		account = "default"
	}
	of := l.member("ServiceAccount", t.Object.Namespace, account)
	if of != nil && len(items(value(of.root, "imagePullSecrets"))) > 0 {
		return
	}
	for _, u := range t.uses() {
		if !l.known(u.image).Login || nodesLogIn(u.image) {
			continue
		}
		p := l.find(t, u.node, u.path, fmt.Sprintf("the registry of %s wants a login, and the pod has no pull secret", u.image),
			"name a secret in imagePullSecrets, here or at the service account "+account)
		p.Image = u.image
		if of == nil {
			p.Level = LevelNote
			p.Message += "; its service account was not seen"
		}
	}
}

// nodesLogIn reports whether a registry is one of those to which a cloud's nodes are let in by themselves (the kubelet's credential providers for
// ECR, ACR and Google's registries): pods need no secret then.
func nodesLogIn(image string) bool {
	host, _, _ := strings.Cut(image, "/")
	return slices.ContainsFunc([]string{".amazonaws.com", ".amazonaws.com.cn", ".azurecr.io", ".pkg.dev", "gcr.io"}, func(of string) bool { return strings.HasSuffix(host, of) })
}

// movingTag is L14.
func movingTag(l *lint, t *Template) {
	for _, u := range t.uses() {
		policy := text(u.item, "imagePullPolicy")
		tagless := !strings.Contains(u.image[strings.LastIndex(u.image, "/")+1:], ":")
		latest := tagless || strings.HasSuffix(u.image, ":latest")
		if strings.Contains(u.image, "@") || policy == "Always" || policy == "Never" || policy == "" && latest {
			continue
		}
		p := l.find(t, u.node, u.path, fmt.Sprintf("nodes that have %s do not pull it again when its tag moves", u.image), "name the digest of the image index")
		p.Image = u.image
	}
}

// bound is L15: misfits on a node that is named, and host paths whose names tell an architecture.
func bound(l *lint, t *Template) {
	fits(l, t)
	allowed := l.allowed(t)
	for i, v := range items(value(t.spec, "volumes")) {
		path := value(value(v, "hostPath"), "path")
		if path == nil {
			continue
		}
		named, ok := archOfPath(path.Value)
		if others := without(allowed, named); ok && len(others) > 0 && t.pinned() == "" {
			p := l.find(t, path, fmt.Sprintf("%s.volumes[%d].hostPath.path", t.Path, i),
				fmt.Sprintf("the host path %s is of %s, and the pod may land on %s", path.Value, named, listArchs(others)), requirement([]platform.Arch{named}))
			p.Level, p.Arch = LevelWarning, others[0].String()
		}
	}
}

// archOfPath finds Debian's multiarch directories and the names of loaders in a path.
func archOfPath(path string) (platform.Arch, bool) {
	for _, part := range strings.FieldsFunc(path, func(r rune) bool { return r == '/' }) {
		triple, _, isTriple := strings.Cut(part, "-linux-gnu")
		if loader, _, isLoader := strings.Cut(strings.TrimPrefix(part, "ld-linux-"), ".so"); isLoader {
			triple, isTriple = loader, true
		}
		if arch, err := platform.Parse(triple); isTriple && err == nil {
			return arch, true
		}
	}
	return "", false
}

// tunedFlag finds flags and variables that speak to one instruction set.
var tunedFlag = regexp.MustCompile(`GOAMD64|GOARM64|UseAVX|UseSSE|-march=|-mtune=|avx2|avx512`)

// tuned is L16.
func tuned(l *lint, t *Template) {
	for _, list := range []string{"initContainers", "containers"} {
		for i, c := range items(value(t.spec, list)) {
			path := fmt.Sprintf("%s.%s[%d]", t.Path, list, i)
			for _, of := range []string{"limits", "requests"} {
				for _, p := range pairs(value(value(c, "resources"), of)) {
					if strings.HasPrefix(p.key, "hugepages-") {
						l.find(t, p.keyNode, path+".resources."+of, p.key+": which sizes of huge pages a node has depends on its architecture and page size",
							"look at what nodes of each architecture offer, and have a workload for each")
					}
				}
			}
			for _, arg := range append(items(value(c, "command")), items(value(c, "args"))...) {
				l.tunedText(t, arg, path+".args")
			}
			for _, e := range items(value(c, "env")) {
				if k := value(e, "name"); k != nil {
					l.tunedText(t, k, path+".env")
				}
				if v := value(e, "value"); v != nil {
					l.tunedText(t, v, path+".env")
				}
			}
		}
	}
}

func (l *lint) tunedText(t *Template, n *yaml.Node, path string) {
	if flag := tunedFlag.FindString(n.Value); flag != "" {
		l.find(t, n, path, flag+" speaks to one instruction set", "set it for the architecture that has it alone")
	}
}

// imageVolumes is L18.
func imageVolumes(l *lint, t *Template) {
	allowed := l.allowed(t)
	for _, u := range t.uses() {
		f := l.known(u.image)
		if u.role != roleVolume || f.Err != nil || f.Single || t.pinned() != "" {
			continue // a single manifest is pulled anywhere, and may be data
		}
		lacks := slices.DeleteFunc(slices.Clone(allowed), func(a platform.Arch) bool { return f.Made(a) != No })
		if len(lacks) > 0 {
			p := l.find(t, u.node, u.path, fmt.Sprintf("the image volume %s has nothing for %s, and the pod may land there", u.image, listArchs(lacks)),
				"add the architecture to the index, or keep the pod off it")
			p.Image, p.Arch = u.image, lacks[0].String()
		}
	}
}

// injected is L19: containers of a pod that its template does not have.
func injected(l *lint, o, maker *Object) {
	if o.Kind != "Pod" || len(o.Templates) == 0 {
		return
	}
	pod, template := &o.Templates[0], &maker.Templates[0]
	own := map[string]bool{}
	for _, u := range template.uses() {
		own[u.name] = true
	}
	allowed := l.allowed(template)
	for _, u := range pod.uses() {
		if own[u.name] || u.role == roleVolume || u.role == roleEphemeral {
			continue
		}
		f := l.known(u.image)
		lacks := slices.DeleteFunc(slices.Clone(allowed), func(a platform.Arch) bool { return f.Made(a) != No })
		if f.Err != nil || len(lacks) == 0 {
			continue
		}
		p := l.find(pod, u.node, u.path, fmt.Sprintf("the %s %s, which %s does not have, was injected at admission; its image %s is not made for %s",
			u.role, u.name, maker, u.image, listArchs(lacks)), "have the injector use an image for it, or keep the pods of "+maker.String()+" off it")
		p.Image, p.Arch, p.Owner = u.image, lacks[0].String(), maker.Kind+"/"+maker.Name
	}
}

// overwritten is L20, for objects that have findings.
func (l *lint) overwritten() {
	said := map[Named]bool{}
	for _, p := range slices.Clone(l.problems) {
		if p.Owner == "" || p.Rule == "L19" || said[p.Object] {
			continue
		}
		said[p.Object] = true
		for _, o := range l.set.Objects {
			if (Named{o.APIVersion, o.Kind, o.Namespace, o.Name}) == p.Object {
				l.findIn(o, o.root, o.at("metadata.ownerReferences"), fmt.Sprintf("%s controls this object and overwrites what is changed here", o.Owner),
					"change the configuration of "+o.Owner)
				break
			}
		}
	}
}

// twice is L21.
func twice(l *lint, o *Object) {
	if o.Line == 0 {
		return
	}
	been := map[*yaml.Node]bool{}
	var walk func(n *yaml.Node, path string)
	walk = func(n *yaml.Node, path string) {
		if been[n] || n.Kind == yaml.AliasNode {
			return
		}
		been[n] = true
		seen := map[string]*yaml.Node{}
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			inner := strings.TrimPrefix(path+"."+k.Value, ".")
			if first := seen[k.Value]; first != nil && k.Kind == yaml.ScalarNode && k.ShortTag() != "!!merge" {
				l.findIn(o, k, o.at(inner), fmt.Sprintf("%s stands here again: it is in line %d already, and one of the two values is lost", k.Value, first.Line),
					"keep one of them")
			} else {
				seen[k.Value] = k
			}
			walk(n.Content[i+1], inner)
		}
		for i := 0; n.Kind == yaml.SequenceNode && i < len(n.Content); i++ {
			walk(n.Content[i], fmt.Sprintf("%s[%d]", path, i))
		}
	}
	walk(o.root, "")
}
