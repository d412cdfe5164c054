package inventory

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/golden"
)

func TestSchema_IsThatOfTheTypes(t *testing.T) {
	want := generateSchema(t)
	if golden.Update() {
		if err := os.WriteFile("schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("schema.json is not what the types say; run: go test ./provision/inventory -run TestSchema -update")
	}
}

func TestSchema_HasEveryFieldWithADescription(t *testing.T) {
	type object struct {
		Ref         string            `json:"$ref"`
		Defs        map[string]object `json:"$defs"`
		Properties  map[string]object
		Items       *object
		OneOf       []object
		Required    []string
		Closed      any `json:"additionalProperties"`
		Description string
	}
	var root object
	if err := json.Unmarshal(schema, &root); err != nil {
		t.Fatal(err)
	}
	var follow func(o object) object
	follow = func(o object) object {
		if name, ok := strings.CutPrefix(o.Ref, "#/$defs/"); ok {
			return follow(root.Defs[name])
		}
		if o.Properties == nil && len(o.OneOf) > 0 { // the shortest way to write it comes first
			return follow(o.OneOf[0])
		}
		if o.Items != nil {
			return follow(*o.Items)
		}
		return o
	}
	checked := 0
	var walk func(reflect.Type, object, string)
	walk = func(typ reflect.Type, o object, path string) {
		if typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct {
			return
		}
		fields := fieldsOf(typ)
		if o = follow(o); o.Closed != false || len(o.Properties) != len(fields) {
			t.Errorf("%s: additionalProperties %v, %d properties; the type has %d fields", path, o.Closed, len(o.Properties), len(fields))
		}
		required := 0
		for _, f := range fields {
			checked++
			property, ok := o.Properties[f.name]
			if !ok || property.Description == "" {
				t.Errorf("%s: present %v, description %q", field(path, f.name), ok, property.Description)
			}
			if f.required {
				required++
			}
			walk(typ.Field(f.index).Type, property, field(path, f.name))
		}
		if required != len(o.Required) {
			t.Errorf("%s: required %v, the type says %d", path, o.Required, required)
		}
	}
	walk(reflect.TypeFor[Cluster](), root, "")
	if checked < 60 {
		t.Errorf("only %d fields were looked at", checked)
	}
}

func TestSchema_AcceptsTheExamples(t *testing.T) {
	s := compileSchema(t)
	for _, file := range exampleFiles(t) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(asJSON(t, data)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		c, err := Load(file)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		shown, err := Show(c, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(asJSON(t, shown)); err != nil {
			t.Errorf("%s with its defaults: %v", file, err)
		}
	}
}

// Whatever the schema refuses, the loader refuses too.
func TestSchema_RefusesWhatTheLoaderRefuses(t *testing.T) {
	s := compileSchema(t)
	if err := s.Validate(asJSON(t, []byte(edit(t)))); err != nil {
		t.Fatal(err)
	}
	for _, replace := range [][2]string{
		{"v1alpha1", "v1"}, {"kind: Cluster", "kind: Pod"}, {"name: lab", "name: Lab"}, {"bundle: b", `bundle: ""`}, {"bundle: b", "sources: [a]"}, {"bundle: b", `sources: {a.example: ""}`},
		{"v1.36.3", "1.36.3"}, {"bundle: b", "bundle: b\n  extra: 1"}, {"bundle: b", "bundle: 3"},
		{"bundle: b", "bundle: b\n  cni: {provider: cilium}"}, {"bundle: b", "bundle: b\n  cni: {provider: manifest}"},
		{"bundle: b", "bundle: b\n  cni: {path: x}"}, {"bundle: b", "bundle: b\n  ssh: {hostKeys: no}"},
		{"bundle: b", "bundle: b\n  ssh: {port: 70000}"}, {"bundle: b", "bundle: b\n  ssh: {port: 0}"},
		{"bundle: b", "bundle: b\n  ssh: {keepAlive: 10}"}, {"bundle: b", "bundle: b\n  ssh: {keepAlive: -10s}"},
		{"bundle: b", "bundle: b\n  ssh: {sudoPasswordFile: a, sudoPasswordEnv: B}"},
		{"bundle: b", "bundle: b\n  preflight: {ignore: [a, a]}"},
		{"version: v1.36.3", "version: v1.36.3\n    podCIDR: 10.0.0.0"}, {"version: v1.36.3", "version: v1.36.3\n    endpoint: a"},
		{"version: v1.36.3", "version: v1.36.3\n    encryptionAlgorithm: RSA-1024"},
		{"version: v1.36.3", "version: v1.36.3\n    kubelet: {clusterDNS: [1.1.1.1]}"},
		{"version: v1.36.3", "version: v1.36.3\n    kubeProxy: {kind: X}"},
		{"version: v1.36.3", "version: v1.36.3\n    etcd: {extraArgs: [{name: --a, value: b}]}"},
		{"version: v1.36.3", "version: v1.36.3\n    etcd: {extraArgs: [{name: a}]}"},
		{"version: v1.36.3", "version: v1.36.3\n    files: [{name: a, path: /etc/passwd, secretEnv: A}]"},
		{"version: v1.36.3", "version: v1.36.3\n    files: [{name: a, path: /etc/kubernetes/a}]"},
		{"version: v1.36.3", "version: v1.36.3\n    files: [{name: a, path: /etc/kubernetes/a, secretEnv: A, secretFile: b}]"},
		{"version: v1.36.3", "version: v1.36.3\n    apiServer: {extraVolumes: [{name: a, hostPath: b, mountPath: /b}]}"},
		{"bundle: b", "bundle: b\n  cni: {backend: gre}"},
		{"role: control-plane", "role: master"}, {"role: control-plane", "role: worker"}, {"role: control-plane", "arch: mips"},
		{"address: 10.0.0.1", "address: root@10.0.0.1"}, {"address: 10.0.0.1, ", ""},
		{"role: control-plane", "role: control-plane, hostKey: SHA256:x"}, {"role: control-plane", "role: control-plane, nodeIP: x"},
		{"role: control-plane", "role: control-plane, labels: {a b: c}"}, {"role: control-plane", "role: control-plane, labels: {a: b c}"},
		{"role: control-plane", "role: control-plane, taints: [x]"}, {"role: control-plane", "role: control-plane, user: a b"},
	} {
		text := edit(t, replace)
		if err := s.Validate(asJSON(t, []byte(text))); err == nil {
			t.Errorf("the schema accepts %s", replace[1])
		}
		if _, err := Parse("inventory.yaml", []byte(text)); err == nil {
			t.Errorf("the loader accepts %s", replace[1])
		}
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if s.DraftVersion != 2020 {
		t.Errorf("the schema is of draft %d", s.DraftVersion)
	}
	return s
}

func asJSON(t *testing.T, text []byte) any {
	t.Helper()
	var value any
	if err := yaml.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func exampleFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../inventories/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 5 {
		t.Fatalf("only %d inventories were found", len(files))
	}
	return files
}
