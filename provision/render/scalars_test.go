package render

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// odd are texts that YAML takes for something else, or stumbles over, when they stand there without quotes. Names of hosts among them are allowed.
var odd = []string{"101", "no", "on", "yes", "y", "true", "null", "~", "1e3", "2026", "0x1f", "0b1", "0o7", "017", "1_000", "12:30:45", ".inf", "1.5", "2026-11-29",
	"a: b", "a #b", "- a", "{a", "[a", "*a", "&a", "!a", "%a", "@a", "|", ">", "'", `"`, `\`, "<<", "=", "#", " a ", "größe"}

// filled is a value of type T whose texts are all text, with one entry in each list and mapping.
func filled[T any](text string) T {
	var out T
	fill(reflect.ValueOf(&out).Elem(), text)
	if f := reflect.ValueOf(&out).Elem().FieldByName("Timeouts"); f.IsValid() { // their names are keys, and ours
		f.Index(0).FieldByName("Name").SetString("x")
	}
	return out
}

func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() {
			v.SetString(text)
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(7)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), text)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), text)
	case reflect.Map:
		if v.Type() == reflect.TypeFor[map[string]string]() {
			v.Set(reflect.ValueOf(map[string]string{text: text}))
		}
	}
}

// Every template of YAML is filled with each odd text, and read again: it stands wherever an ordinary one would, as text.
func TestScalars(t *testing.T) {
	ceph := func(text string) []byte {
		c := filled[CephCSI](text)
		c.Classes[0].Parameters[0].Name = "x"
		second := c.Classes[0]
		c.Classes[0].Type, second.Type = RBD, CephFS
		c.Classes = append(c.Classes, second)
		return CephManifest(c)
	}
	for name, body := range map[string]func(string) []byte{
		"init":    func(text string) []byte { return KubeadmInitConfig(filled[KubeadmInit](text)) },
		"join":    func(text string) []byte { return KubeadmJoinConfig(filled[KubeadmJoin](text)) },
		"flannel": func(text string) []byte { return FlannelManifest(filled[Flannel](text)) },
		"ceph":    ceph,
	} {
		const ordinary = "ordinarytext"
		want := read(t, name, body(ordinary))
		for _, text := range odd {
			got := read(t, name+" with "+text, body(text))
			if where := differ("", replaced(want, ordinary, text), got); where != "" {
				t.Errorf("%s with %q: %s", name, text, where)
			}
		}
	}
}

// read reads the documents, in the dialect that kubeadm and the API server read.
func read(t *testing.T, name string, body []byte) []any {
	t.Helper()
	var docs []any
	for _, doc := range bytes.Split(body, []byte("\n---\n")) {
		var v any
		if err := yaml.Unmarshal(doc, &v); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, doc)
		}
		docs = append(docs, v)
	}
	return docs
}

// replaced puts text in the place of ordinary, in keys too. Data of secrets is encoded, and texts that are documents themselves are not looked into.
func replaced(v any, ordinary, text string) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, ordinary, text)
	case []any:
		out := []any{}
		for _, item := range v {
			out = append(out, replaced(item, ordinary, text))
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for key, item := range v {
			out[strings.ReplaceAll(key, ordinary, text)] = replaced(item, ordinary, text)
		}
		return out
	}
	return v
}

// differ says where got is not want.
func differ(path string, want, got any) string {
	switch want := want.(type) {
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return fmt.Sprintf("%s is %v, want %v", path, got, want)
		}
		for i := range want {
			if where := differ(fmt.Sprintf("%s[%d]", path, i), want[i], list[i]); where != "" {
				return where
			}
		}
		return ""
	case map[string]any:
		m, ok := got.(map[string]any)
		if !ok || len(m) != len(want) {
			return fmt.Sprintf("%s is %v, want %v", path, got, want)
		}
		for key := range want {
			if where := differ(path+"."+key, want[key], m[key]); where != "" {
				return where
			}
		}
		return ""
	case string:
		if strings.Contains(path, "userID") || strings.Contains(path, "userKey") || strings.Contains(path, "adminID") || strings.Contains(path, "adminKey") || strings.HasSuffix(path, ".json") {
			if _, ok := got.(string); ok {
				return ""
			}
		}
	}
	if !reflect.DeepEqual(want, got) {
		return fmt.Sprintf("%s is %#v, want %#v", path, got, want)
	}
	return ""
}
