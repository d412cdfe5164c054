// Package render turns typed data and the files of package templates into bytes: file bodies for hosts, kubeadm configurations,
// manifests. It is pure, and every output is held by a golden file. A field that a template names and the data lacks is an error.
package render

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"text/template"

	"github.com/hybridctl/hybridctl/templates"
	"sigs.k8s.io/yaml"
)

// file fills one template of templates.FS in; parts are further files whose definitions it uses. Templates and data are ours, so an
// error is a programming error and panics; the golden tests meet it first.
func file(name string, data any, parts ...string) []byte {
	t := template.New("").Option("missingkey=error").Funcs(template.FuncMap{"quote": strconv.Quote, "indent": indent, "base64": encode})
	t = template.Must(t.ParseFS(templates.FS, append([]string{name}, parts...)...))
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, name[strings.LastIndex(name, "/")+1:], data); err != nil {
		panic(fmt.Sprintf("render %s: %v", name, err))
	}
	if !bytes.HasSuffix(b.Bytes(), []byte("\n")) {
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// static returns a file that needs no filling in.
func static(name string) []byte {
	b, err := templates.FS.ReadFile(name)
	if err != nil {
		panic("render: " + err.Error())
	}
	return b
}

// indented is a component with the blanks before its keys.
type indented struct {
	Prefix    string
	Component Component
}

func indent(n int, c Component) indented {
	return indented{Prefix: strings.Repeat(" ", n), Component: c}
}

// encode is how a Secret's data stands in it.
func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// document is one YAML document of a component's configuration, keys sorted.
func document(apiVersion, kind string, own, user map[string]any) string {
	m := map[string]any{"apiVersion": apiVersion, "kind": kind}
	for _, part := range []map[string]any{own, user} {
		for k, v := range part {
			m[k] = v
		}
	}
	b, err := yaml.Marshal(m)
	if err != nil {
		panic("render: " + err.Error()) // the inventory's fragments came out of YAML
	}
	return string(b)
}
