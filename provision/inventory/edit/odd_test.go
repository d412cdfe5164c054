package edit

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// oddly is valid and unlike what anybody's editor would write.
const oddly = `%YAML 1.1
--- # the document
"apiVersion": hybridctl.dev/v1alpha1
kind: Cluster
metadata: {"name":lab}
spec: !!map
  bundle: |-
    ./bundle

  # between
  kubernetes:
    version: v1.36.3
    kubelet: {
      ümläut: "ä # no comment", # a comment
      list: [1, 2,
        3]
    }
  hosts: &hosts
  - # a host
    name: a
    # inside
    address: 10.0.0.1
    role: control-plane
  -
    name: b
    address: 10.0.0.2
    labels:
      'quoted': 'its'
      ? x
      : y
  - &c {name: c, "address": '10.0.0.3', taints: [
      a=b:NoSchedule,
      "c=d:NoSchedule" ]}
  # behind
`

func TestApply_OddText(t *testing.T) {
	for _, test := range []struct {
		edit Edit
		want string
	}{
		{Set("metadata.name", "prod"), "-metadata: {\"name\":lab}\n+metadata: {\"name\":prod}"},
		{Set("spec.kubernetes.kubelet.more", "5"), "-        3]\n+        3], more: 5"},
		{Set("spec.kubernetes.kubelet.ümläut", "x"), "-      ümläut: \"ä # no comment\", # a comment\n+      ümläut: x, # a comment"},
		{Set("spec.bundle", "./b"), "-  bundle: |-\n-    ./bundle\n+  bundle: ./b"},
		{Set("spec.hosts[a].labels.zone", "b"), "+    labels:\n+      zone: b"},
		{Set("spec.hosts[b].labels.quoted", "other"), "-      'quoted': 'its'\n+      'quoted': 'other'"},
		{Set("spec.hosts[c].address", "10.0.0.4"), "-  - &c {name: c, \"address\": '10.0.0.3', taints: [\n+  - &c {name: c, \"address\": '10.0.0.4', taints: ["},
		{Unset("spec.hosts[c].taints[0]"), "-      a=b:NoSchedule,"},
		{RemoveHost("c"), "-  - &c {name: c, \"address\": '10.0.0.3', taints: [\n-      a=b:NoSchedule,\n-      \"c=d:NoSchedule\" ]}"},
		{RemoveHost("b"), "-  -\n-    name: b\n-    address: 10.0.0.2\n-    labels:\n-      'quoted': 'its'\n-      ? x\n-      : y"},
		{RenameHost("b", "bb"), "-    name: b\n+    name: bb"},
		{AddHost(host(t, "d=10.0.0.5")), "+  - {name: d, address: 10.0.0.5}"},
	} {
		got, err := Apply("F", []byte(oddly), test.edit)
		if err != nil {
			t.Errorf("%#v: %v", test.edit, err)
			continue
		}
		if diff := cmp.Diff(test.want, changes(oddly, string(got))); diff != "" {
			t.Errorf("%#v: -want +got:\n%s", test.edit, diff)
		}
	}
}

// What cannot be spliced is refused, and never done half.
func TestApply_OddTextThatIsLeftToTheUser(t *testing.T) {
	for _, test := range []struct {
		text string
		edit Edit
		want string
	}{
		{strings.Replace(oddly, "'its'", "one\n        two", 1), Set("spec.hosts[b].labels.quoted", "x"), "F:28:17: spans several lines"},
		{strings.Replace(oddly, "{\"name\":lab}", "!!map {name: lab}", 1), Set("metadata", "{name: prod}"), "F:5:11: has an anchor or a tag"},
		{strings.Replace(oddly, "    # inside\n", "    name: a\n", 1), Set("metadata.name", "x"), `F:3:1: cannot be edited: line 21: mapping key "name" already defined at line 20`},
		{strings.Replace(block, "-   name: x86-1\n", "-   arch: amd64\n        # why\n        name: x86-1\n", 1), Unset("spec.hosts[x86-1].arch"), "F:24:15: is followed by a comment"},
		{flowing, RemoveHost("x86-1"), "F:9:5: stands beside a comment"},
	} {
		got, err := Apply("F", []byte(test.text), test.edit)
		if err == nil || !strings.Contains(err.Error(), test.want) || got != nil {
			t.Errorf("%v\n%s", err, got)
		}
	}
}

const bracketed = `apiVersion: hybridctl.dev/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  bundle: ./bundle
  kubernetes: {version: v1.36.3}
  hosts: [
    {name: a, address: 10.0.0.1, role: control-plane},
    {name: b, address: 10.0.0.2}, # rack 2
    {name: c, address: 10.0.0.3} # rack 3
  ]
`

// A comment behind a host in brackets is about that host: it stays with it, and goes with it.
func TestApply_CommentsBehindItemsInBrackets(t *testing.T) {
	comma := strings.Replace(bracketed, "} # rack 3", "}, # rack 3", 1)
	for _, test := range []struct {
		text string
		edit Edit
		want string
	}{
		{bracketed, AddHost(host(t, "d=10.0.0.4")),
			"-    {name: c, address: 10.0.0.3} # rack 3\n+    {name: c, address: 10.0.0.3}, # rack 3\n+    {name: d, address: 10.0.0.4}"},
		{comma, AddHost(host(t, "d=10.0.0.4")), "+    {name: d, address: 10.0.0.4},"},
		{bracketed, RemoveHost("b"), "-    {name: b, address: 10.0.0.2}, # rack 2"},
		{comma, RemoveHost("c"), ""}, // a comment stands before it
		{strings.Replace(bracketed, " # rack 2", "", 1), RemoveHost("c"), "-    {name: b, address: 10.0.0.2},\n-    {name: c, address: 10.0.0.3} # rack 3\n+    {name: b, address: 10.0.0.2}"},
	} {
		got, err := Apply("i.yaml", []byte(test.text), test.edit)
		if test.want == "" {
			if err == nil || !strings.Contains(err.Error(), "comment, which would be lost") {
				t.Errorf("%v: %v\n%s", test.edit, err, got)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", test.edit, err)
			continue
		}
		if change := changes(test.text, string(got)); change != test.want {
			t.Errorf("%v:\n%s\nwant\n%s", test.edit, change, test.want)
		}
	}
}

func TestUnsetAll_NumbersAreThoseOfTheFile(t *testing.T) {
	text := strings.Replace(bracketed, "{name: b, address: 10.0.0.2}", "{name: b, address: 10.0.0.2, taints: ['a=a:NoSchedule', 'b=b:NoSchedule', 'c=c:NoSchedule']}", 1)
	text = strings.Replace(text, "address: 10.0.0.3}", "address: 10.0.0.3, port: 2222}", 1)
	many := strings.Replace(bracketed, "} # rack 3", "}", 1)
	for i := 3; i <= 11; i++ {
		many = strings.Replace(many, "\n  ]", fmt.Sprintf(",\n    {name: n%d, address: 10.0.1.%d}\n  ]", i, i), 1)
	}
	const n8, n9, n10, n11 = "-    {name: n8, address: 10.0.1.8},\n", "-    {name: n9, address: 10.0.1.9},\n", "-    {name: n10, address: 10.0.1.10},\n", "-    {name: n11, address: 10.0.1.11}\n"
	const toB, toC = "-    {name: b, address: 10.0.0.2, taints: ['a=a:NoSchedule', 'b=b:NoSchedule', 'c=c:NoSchedule']}, # rack 2\n", "-    {name: c, address: 10.0.0.3, port: 2222} # rack 3\n"
	for _, test := range []struct {
		text  string
		paths string
		want  string
	}{
		{text, "spec.hosts[b].taints[0] spec.hosts[b].taints[1]", toB + "+    {name: b, address: 10.0.0.2, taints: ['c=c:NoSchedule']}, # rack 2"},
		{text, "spec.hosts[b].taints[0] spec.hosts.1.taints.1", toB + "+    {name: b, address: 10.0.0.2, taints: ['c=c:NoSchedule']}, # rack 2"},
		{text, "spec.hosts[b] spec.hosts[2].port", toB + toC + "+    {name: c, address: 10.0.0.3} # rack 3"},
		{text, "spec.hosts.1 spec.hosts[c].port", toB + toC + "+    {name: c, address: 10.0.0.3} # rack 3"},
		{text, "spec.hosts.b.taints[0] spec.hosts[1]", strings.TrimSuffix(toB, "\n")},
		{text, "spec.hosts.b.taints[0] spec.hosts[1] spec.hosts[b].address", strings.TrimSuffix(toB, "\n")},
		{text, "spec.hosts.1 spec.hosts[b]", strings.TrimSuffix(toB, "\n")},
		{many, "spec.hosts.8 spec.hosts.9", n8 + strings.TrimSuffix(n9, "\n")},
		{many, "spec.hosts.9 spec.hosts.10", n9 + strings.TrimSuffix(n10, "\n")},
		{many, "spec.hosts[9] spec.hosts[10]", n9 + strings.TrimSuffix(n10, "\n")},
		{many, "spec.hosts.9 spec.hosts[n8] spec.hosts[10]", n8 + n9 + strings.TrimSuffix(n10, "\n")},
		{many, "spec.hosts.3 spec.hosts.11 spec.hosts[n10]", "-    {name: n3, address: 10.0.1.3},\n-    {name: n9, address: 10.0.1.9},\n" + n10 + n11 + "+    {name: n9, address: 10.0.1.9}"},
	} {
		got, err := Apply("i.yaml", []byte(test.text), UnsetAll(strings.Fields(test.paths)))
		if err != nil {
			t.Errorf("%s: %v", test.paths, err)
			continue
		}
		if diff := cmp.Diff(test.want, changes(test.text, string(got))); diff != "" {
			t.Errorf("%s: -want +got:\n%s", test.paths, diff)
		}
	}
}
