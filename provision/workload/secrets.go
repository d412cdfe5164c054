package workload

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

// PullSecret is a secret for registries that stands among manifests.
type PullSecret struct {
	Name    string // "team/pull"
	Content []byte // as .dockerconfigjson, or the older .dockercfg, has it
}

// Format keeps the secret out of logs and errors.
func (p PullSecret) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "pull secret "+p.Name) }

// MarshalJSON keeps it out of documents.
func (p PullSecret) MarshalJSON() ([]byte, error) { return []byte(`"a pull secret"`), nil }

// secretKinds are the fields of secrets for registries.
var secretKinds = []string{".dockerconfigjson", ".dockercfg"}

// pullSecrets are those of manifests, by their names.
type pullSecrets map[string][]*Object

// pullSecrets lists the objects of manifests that pull secrets come from: secrets and service accounts.
func (s *Set) pullSecrets() pullSecrets {
	out := pullSecrets{}
	for _, o := range s.Objects {
		if (o.Kind == "Secret" || o.Kind == "ServiceAccount") && o.APIVersion == "v1" {
			out[o.Kind+"/"+o.Name] = append(out[o.Kind+"/"+o.Name], o)
		}
	}
	return out
}

// find returns an object of a namespace. What names none goes to that of kubectl, which is not known here.
func (p pullSecrets) find(kind, name, namespace string) *Object {
	for _, o := range p[kind+"/"+name] {
		if o.Namespace == namespace || o.Namespace == "" || namespace == "" {
			return o
		}
	}
	return nil
}

// of are the pull secrets of a template: those that it names, else those of its service account. why says what is not to be had.
func (p pullSecrets) of(t *Template) (found []PullSecret, why []string) {
	from, namespace := t.spec, t.Object.Namespace
	if len(items(value(from, "imagePullSecrets"))) == 0 {
		account := text(t.spec, "serviceAccountName")
		if account == "" {
			account = "default"
		}
		o := p.find("ServiceAccount", account, namespace)
		if o == nil {
			return nil, nil
		}
		from = o.root
	}
	for _, named := range items(value(from, "imagePullSecrets")) {
		name := text(named, "name")
		if name == "" {
			continue
		}
		o := p.find("Secret", name, namespace)
		if o == nil {
			why = append(why, "the pull secret "+name+" is not among the manifests")
			continue
		}
		content, err := o.dockerConfig()
		if err != nil {
			why = append(why, fmt.Sprintf("the pull secret %s (%s:%d) was of no use: %v", name, o.File, o.Line, err))
			continue
		}
		found = append(found, PullSecret{strings.TrimPrefix(namespace+"/"+name, "/"), content})
	}
	return found, why
}

// dockerConfig is what a secret for registries holds: stringData wins, as in the API. The error shows nothing of it.
func (o *Object) dockerConfig() ([]byte, error) {
	for _, field := range secretKinds {
		if plain := text(value(o.root, "stringData"), field); plain != "" {
			return []byte(plain), nil
		}
		if encoded := text(value(o.root, "data"), field); encoded != "" {
			content, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(encoded), ""))
			if err != nil {
				return nil, fmt.Errorf("its %s is not base64", field)
			}
			return content, nil
		}
	}
	return nil, fmt.Errorf("it has neither %s", strings.Join(secretKinds, " nor "))
}
