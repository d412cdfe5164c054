package edit

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hybridctl/hybridctl/provision/hint"
)

// jsonText is an inventory that is JSON, as a program writes it.
const jsonText = `{
  "apiVersion": "hybridctl.dev/v1alpha1",
  "kind": "Cluster",
  "metadata": {"name": "lab"},
  "spec": {
    "kubernetes": {"version": "v1.36.3", "kubelet": {"maxPods": 64}},
    "bundle": "./bundle",
    "ssh": {"user": "root", "jump": "x86-1"},
    "hosts": [
      {
        "name": "arm-1",
        "address": "192.0.2.21",
        "role": "control-plane"
      },
      {
        "name": "x86-1",
        "address": "192.0.2.11",
        "labels": {},
        "taints": ["a=b:NoSchedule"]
      }
    ]
  }
}
`

// What is JSON stays JSON, whatever the edit, and keeps its other bytes.
func TestApply_JSONStaysJSON(t *testing.T) {
	for _, test := range []struct {
		name string
		edit Edit
		want string
	}{
		{"a host", AddHost(host(t, "x86-3=192.0.2.13,port=2222,label=zone=b,taint=a=b:NoSchedule")), `
-      }
+      },
+      {"name": "x86-3", "address": "192.0.2.13", "port": 2222, "labels": {"zone": "b"}, "taints": ["a=b:NoSchedule"]}`},
		{"a label", Set("spec.hosts[x86-1].labels[example.com/rack]", "a1"), `
-        "labels": {},
+        "labels": {"example.com/rack": "a1"},`},
		{"a label where there is none", Set("spec.hosts[arm-1].labels.zone", "true"), `
-        "role": "control-plane"
+        "role": "control-plane", "labels": {"zone": "true"}`},
		{"text", Set("spec.kubernetes.version", "v1.36.4"), `
-    "kubernetes": {"version": "v1.36.3", "kubelet": {"maxPods": 64}},
+    "kubernetes": {"version": "v1.36.4", "kubelet": {"maxPods": 64}},`},
		{"a number", Set("spec.kubernetes.kubelet.maxPods", "0x10"), `
-    "kubernetes": {"version": "v1.36.3", "kubelet": {"maxPods": 64}},
+    "kubernetes": {"version": "v1.36.3", "kubelet": {"maxPods": 16}},`},
		{"a word where anything may stand", Set("spec.kubernetes.kubelet.maxPods", `<ä> "b" \ c`), `
-    "kubernetes": {"version": "v1.36.3", "kubelet": {"maxPods": 64}},
+    "kubernetes": {"version": "v1.36.3", "kubelet": {"maxPods": "<ä> \"b\" \\ c"}},`},
		{"a list of YAML", Set("spec.preflight.ignore", "[swap, 'memory']"), `
-    "ssh": {"user": "root", "jump": "x86-1"},
+    "ssh": {"user": "root", "jump": "x86-1"}, "preflight": {"ignore": ["swap", "memory"]},`},
		{"a mapping of YAML, in its order", Set("spec.kubernetes.kubelet", "{b: yes, a: [True, 1_0, &x {c: 1.5}, *x]}"), `
-    "kubernetes": {"version": "v1.36.3", "kubelet": {"maxPods": 64}},
+    "kubernetes": {"version": "v1.36.3", "kubelet": {"b": "yes", "a": [true, 10, {"c": 1.5}, {"c": 1.5}]}},`},
		{"a mapping of JSON, as it is", Set("spec.kubernetes.kubelet", `{"b":1e3,  "a":[]}`), `
-    "kubernetes": {"version": "v1.36.3", "kubelet": {"maxPods": 64}},
+    "kubernetes": {"version": "v1.36.3", "kubelet": {"b":1e3,  "a":[]}},`},
		{"an item", Set("spec.hosts[x86-1].taints[1]", "c:NoExecute"), `
-        "taints": ["a=b:NoSchedule"]
+        "taints": ["a=b:NoSchedule", "c:NoExecute"]`},
		{"the last field goes", Unset("spec.hosts[x86-1].taints"), `
-        "labels": {},
-        "taints": ["a=b:NoSchedule"]
+        "labels": {}`},
		{"the first field goes", Unset("spec.ssh.user"), `
-    "ssh": {"user": "root", "jump": "x86-1"},
+    "ssh": {"jump": "x86-1"},`},
		{"a host is renamed", RenameHost("x86-1", "x86-9"), `
-    "ssh": {"user": "root", "jump": "x86-1"},
+    "ssh": {"user": "root", "jump": "x86-9"},
-        "name": "x86-1",
+        "name": "x86-9",`},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, variant := range []func(string) string{
				func(s string) string { return s },
				func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
				func(s string) string { return strings.ReplaceAll(s, "  ", "\t") },
			} {
				text := variant(jsonText)
				got, err := Apply("F", []byte(text), test.edit)
				if err != nil {
					t.Fatal(err)
				}
				if !json.Valid(got) {
					t.Errorf("it is JSON no more:\n%s", got)
				}
				if diff := cmp.Diff(variant(strings.TrimPrefix(test.want, "\n")), variant(changes(text, string(got)))); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			}
		})
	}
}

// White space goes, and what is refused in YAML is refused here.
func TestApply_JSONIsNoOtherInventory(t *testing.T) {
	got, err := Apply("F", []byte(strings.Replace(jsonText, ",\n", ", \t\n\n\n", 1)), Format())
	if want := strings.Replace(jsonText, ",\n", ",\n\n", 1); err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
	if got, err := Apply("F", []byte(jsonText), RemoveHost("x86-1")); err == nil || !strings.Contains(err.Error(), "ssh.jump") {
		t.Errorf("others are reached through it: %v\n%s", err, got)
	}
}

// In one line, and with nothing to stand beside.
func TestApply_JSONInOneLine(t *testing.T) {
	const begun = `{"apiVersion":"hybridctl.dev/v1alpha1","kind":"Cluster","metadata":{"name":"lab"},"spec":{"kubernetes":{"version":"v1.36.3"},"bundle":"./bundle"HOSTS}}`
	for _, hosts := range []string{``, `,"hosts":null`, `,"hosts":[]`} {
		got, err := Apply("F", []byte(strings.Replace(begun, "HOSTS", hosts, 1)), AddHost(host(t, "a=192.0.2.1,role=control-plane")), AddHost(host(t, "on=192.0.2.2")))
		if err != nil || !json.Valid(got) || !strings.Contains(string(got), `"bundle":"./bundle"`) {
			t.Errorf("%s: %v\n%s", hosts, err, got)
		}
	}
}

// What JSON has no word for is refused.
func TestApply_JSONHasNoWordForIt(t *testing.T) {
	for _, value := range []string{".inf", "[2001-01-01]", "{a: .nan}"} {
		got, err := Apply("F", []byte(jsonText), Set("spec.kubernetes.kubelet.maxPods", value))
		want := `spec.kubernetes.kubelet.maxPods: "` + value + `" is no value of JSON, which the inventory is`
		if err == nil || err.Error() != want || got != nil || hint.Text(err) != "write the value as JSON" {
			t.Errorf("%v\n%s", err, got)
		}
	}
}

// Brackets and quotes alone do not make it JSON: then YAML is written.
func TestApply_WhatIsNotQuiteJSONIsYAML(t *testing.T) {
	text := strings.Replace(jsonText, "{\n", "{ # a comment\n", 1)
	got, err := Apply("F", []byte(text), Set("spec.hosts[x86-1].labels.zone", "a"))
	if err != nil || changes(text, string(got)) != "-        \"labels\": {},\n+        \"labels\": {zone: a}," {
		t.Errorf("%v\n%s", err, changes(text, string(got)))
	}
}
