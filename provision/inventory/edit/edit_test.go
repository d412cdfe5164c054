package edit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

func host(t testing.TB, text string) inventory.Host {
	t.Helper()
	h, err := ParseHost(text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// block is written in several lines, with all that an edit might lose.
const block = `# The lab's inventory.
apiVersion: hybridctl.dev/v1alpha1
kind: Cluster
metadata:
    name:   lab   # short
spec:
    kubernetes:
        version: 'v1.36.3'
        kubelet:
            maxPods: 0x40 # in hexadecimal
    bundle: ./bundle   

    ssh: {user: "root", port: 22} # everywhere

    hosts:
    # The control plane.
    -   name: arm-1
        address: 192.0.2.21   # in the rack
        role: control-plane
        labels: &rack
            example.com/rack: a1
            zone: "true"
    # The workers.
    -   name: x86-1
        address: 192.0.2.11
        jump: arm-1
        labels: *rack
    -   <<: {user: admin}
        name: x86-2
        address: 192.0.2.12
        taints: ["dedicated=db:NoSchedule", 'a=b:NoExecute']
    # The end.
`

// flowing is written in brackets.
const flowing = `apiVersion: hybridctl.dev/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetes: {version: v1.36.3}
  bundle: ./bundle
  hosts: [
    {name: arm-1, address: 192.0.2.21, role: control-plane}, # first
    {name: x86-1, address: 192.0.2.11, labels: {}},
    {
      name: x86-2, # the second
      address: 192.0.2.12
    }
  ]
`

// stored has a single Ceph cluster, which needs no list around it.
const stored = `apiVersion: hybridctl.dev/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetes: {version: v1.36.3}
  bundle: ./bundle
  storage:
    ceph:
      fsid: 4f2e0b1c-8d3a-4e6f-9a7b-5c1d2e3f4a5b
      monitors: ["10.0.0.5:6789"]
      rbd:
        pool: 'kube'
        user: csi-rbd
        keyFile: rbd.key
        storageClass: ceph-rbd
  hosts:
    - {name: arm-1, address: 192.0.2.21, role: control-plane}
`

// begun has comments where its values are to come.
const begun = `apiVersion: hybridctl.dev/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetes:
    version: v1.36.3
    # endpoint: api.example.com:6443
    # podCIDR: 10.244.0.0/16
  # bundle: bundle
  # ssh:
  #   user: root
  hosts: # the first is where the cluster begins
    # - {name: x86-1, address: 192.0.2.11, role: control-plane}
    # - {name: arm-1, address: 192.0.2.21}
`

// A new entry stands where a comment shows it, and never between a field and the comments that belong to it.
func TestSet_BesideTheCommentsThatShowIt(t *testing.T) {
	got, err := Apply("F", []byte(begun), AddHost(host(t, "a=192.0.2.1,role=control-plane")), Set("spec.ssh.user", "ops"), Set("spec.bundle", "b.tar"),
		Set("spec.kubernetes.podCIDR", "10.1.0.0/16"), Set("spec.cni.provider", "flannel"), AddHost(host(t, "b=192.0.2.2")))
	if err != nil {
		t.Fatal(err)
	}
	want := `apiVersion: hybridctl.dev/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetes:
    version: v1.36.3
    # endpoint: api.example.com:6443
    podCIDR: 10.1.0.0/16
    # podCIDR: 10.244.0.0/16
  bundle: b.tar
  cni:
    provider: flannel
  # bundle: bundle
  ssh:
    user: ops
  # ssh:
  #   user: root
  hosts: # the first is where the cluster begins
    - {name: a, address: 192.0.2.1, role: control-plane}
    - {name: b, address: 192.0.2.2}
    # - {name: x86-1, address: 192.0.2.11, role: control-plane}
    # - {name: arm-1, address: 192.0.2.21}
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Each edit with the lines that go (-) and come (+), in order; every other line stays.
func TestApply_ChangesTheseLinesOnly(t *testing.T) {
	for _, test := range []struct {
		name, text string
		edit       Edit
		want       string
	}{
		{"a host in several lines", block, AddHost(host(t, "x86-3=192.0.2.13,role=worker,label=zone=b,taint=a=b:NoSchedule,arch=amd64")), `
+    -   name: x86-3
+        address: 192.0.2.13
+        role: worker
+        arch: amd64
+        labels: {zone: b}
+        taints: ["a=b:NoSchedule"]`},
		{"a host in brackets", flowing, AddHost(host(t, "x86-3=192.0.2.13,port=2222")), `
-    }
+    },
+    {name: x86-3, address: 192.0.2.13, port: 2222}`},
		{"the first host, where comments show some", begun, AddHost(host(t, "x86-3=192.0.2.13,role=control-plane")), `
+    - {name: x86-3, address: 192.0.2.13, role: control-plane}`},
		{"the first host, where nothing shows how", strings.ReplaceAll(begun, "    # - ", "# - "), AddHost(host(t, "x86-3=192.0.2.13,role=control-plane")), `
+    - {name: x86-3, address: 192.0.2.13, role: control-plane}`},
		{"the first host, without a list", strings.Split(begun, "  hosts:")[0], AddHost(host(t, "x86-3=192.0.2.13,role=control-plane")), `
+  hosts:
+    - {name: x86-3, address: 192.0.2.13, role: control-plane}`},
		{"a host goes", block, RemoveHost("x86-2"), `
-    -   <<: {user: admin}
-        name: x86-2
-        address: 192.0.2.12
-        taints: ["dedicated=db:NoSchedule", 'a=b:NoExecute']`},
		{"a host in brackets goes", flowing, RemoveHost("x86-2"), `
-    {name: x86-1, address: 192.0.2.11, labels: {}},
-    {
-      name: x86-2, # the second
-      address: 192.0.2.12
-    }
+    {name: x86-1, address: 192.0.2.11, labels: {}}`},
		{"a host is renamed, also in a jump", block, RenameHost("arm-1", "arm-9"), `
-    -   name: arm-1
+    -   name: arm-9
-        jump: arm-1
+        jump: arm-9`},
		{"a value keeps its quotes", block, Set("spec.kubernetes.version", "v1.36.4"), `
-        version: 'v1.36.3'
+        version: 'v1.36.4'`},
		{"a comment behind a value", block, Set("metadata.name", "prod"), `
-    name:   lab   # short
+    name:   prod   # short`},
		{"a value in brackets", block, Set("spec.ssh.port", "2222"), `
-    ssh: {user: "root", port: 22} # everywhere
+    ssh: {user: "root", port: 2222} # everywhere`},
		{"text that looks like a number", block, Set("spec.hosts[x86-1].user", "123"), `
+        user: "123"`},
		{"a field finds its place", block, Set("spec.kubernetes.podCIDR", "10.1.0.0/16"), `
+        podCIDR: 10.1.0.0/16`},
		{"a field and what it stands in", block, Set("spec.timeouts.step", "20m"), `
+    timeouts:
+        step: 20m`},
		{"a field in a host in brackets", flowing, Set("spec.hosts[arm-1].arch", "arm64"), `
-    {name: arm-1, address: 192.0.2.21, role: control-plane}, # first
+    {name: arm-1, address: 192.0.2.21, role: control-plane, arch: arm64}, # first`},
		{"a label in empty brackets", flowing, Set("spec.hosts[x86-1].labels[example.com/rack]", "a1"), `
-    {name: x86-1, address: 192.0.2.11, labels: {}},
+    {name: x86-1, address: 192.0.2.11, labels: {example.com/rack: a1}},`},
		{"labels for a host that has none", flowing, Set("spec.hosts[2].labels.zone", "b"), `
-      address: 192.0.2.12
+      address: 192.0.2.12, labels: {zone: b}`},
		{"an item of a list", block, Set("spec.hosts[x86-2].taints[1]", "a=c:NoExecute"), `
-        taints: ["dedicated=db:NoSchedule", 'a=b:NoExecute']
+        taints: ["dedicated=db:NoSchedule", 'a=c:NoExecute']`},
		{"another item of a list", block, Set("spec.hosts[x86-2].taints[2]", "c:NoExecute"), `
-        taints: ["dedicated=db:NoSchedule", 'a=b:NoExecute']
+        taints: ["dedicated=db:NoSchedule", 'a=b:NoExecute', c:NoExecute]`},
		{"a list", block, Set("spec.preflight.ignore", "[swap, memory]"), `
+    preflight:
+        ignore: [swap, memory]`},
		{"a fragment in place of a block", block, Set("spec.kubernetes.kubelet", "{maxPods: 10}"), `
-        kubelet:
-            maxPods: 0x40 # in hexadecimal
+        kubelet: {maxPods: 10}`},
		{"an alias gives way to a value", block, Set("spec.hosts[x86-1].labels", "{zone: b}"), `
-        labels: *rack
+        labels: {zone: b}`},
		{"what a merge key brings is overridden", block, Set("spec.hosts[x86-2].user", "root"), `
+        user: root`},
		{"a field goes", block, Unset("spec.hosts[arm-1].role"), "" /* refused: no control plane is left */},
		{"the last of a mapping takes that with it", block, Unset("spec.kubernetes.kubelet.maxPods"), `
-        kubelet:
-            maxPods: 0x40 # in hexadecimal`},
		{"the first in brackets goes", block, Unset("spec.ssh.user"), `
-    ssh: {user: "root", port: 22} # everywhere
+    ssh: {port: 22} # everywhere`},
		{"the first behind a dash goes", strings.Replace(block, "-   name: x86-1\n", "-   arch: amd64\n        name: x86-1\n", 1), Unset("spec.hosts[x86-1].arch"), `
-    -   arch: amd64
-        name: x86-1
+    -   name: x86-1`},
		{"an item goes", block, Unset("spec.hosts[x86-2].taints[0]"), `
-        taints: ["dedicated=db:NoSchedule", 'a=b:NoExecute']
+        taints: ['a=b:NoExecute']`},
		{"text in a Ceph cluster without a list", stored, Set("spec.storage.ceph.rbd.pool", "123"), `
-        pool: 'kube'
+        pool: '123'`},
		{"new text in a Ceph cluster without a list", stored, Set("spec.storage.ceph.clusterID", "123"), `
+      clusterID: "123"`},
		{"white space goes", block, Format(), `
-    bundle: ./bundle   
+    bundle: ./bundle`},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, variant := range []func(string) string{
				func(s string) string { return s },
				func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
				func(s string) string { return "\uFEFF" + s },
				func(s string) string { return strings.TrimSuffix(s, "\n") },
			} {
				text := variant(test.text)
				got, err := Apply("F", []byte(text), test.edit)
				if test.want == "" {
					if err == nil {
						t.Fatal("it was not refused")
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if test.edit == Format() && text != test.text {
					return
				}
				if diff := cmp.Diff(strings.TrimPrefix(test.want, "\n"), changes(text, string(got))); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			}
		})
	}
}

// changes lists the lines that differ, without their carriage returns.
func changes(before, after string) string {
	f := File{before: []byte(before), after: []byte(after)}
	var lines []string
	for line := range strings.Lines(f.Diff()) {
		switch {
		case strings.HasPrefix(line, "---"), strings.HasPrefix(line, "+++"):
		case line[0] == '+', line[0] == '-':
			lines = append(lines, strings.TrimRight(line, "\r\n"))
		}
	}
	return strings.Join(lines, "\n")
}

func TestApply_RefusesWithThePlaceAndTheRemedy(t *testing.T) {
	for _, test := range []struct {
		name, text string
		edit       Edit
		want       string
	}{
		{"a value behind an alias", block, Set("spec.hosts[x86-1].labels.zone", "b"),
			"F:27:17: the value is the alias *rack of what stands in line 20 (edit it there for all who use it, or write it out here first)"},
		{"a value that others share", block, Set("spec.hosts[arm-1].labels.zone", "b"),
			"F:20:17: what has the anchor &rack here is used again in line 27, which the edit would change too (write it out in both places, or edit it by hand)"},
		{"an anchor that others use", block, RemoveHost("arm-1"),
			"F:20:17: has the anchor &rack, which line 27 uses (write it out there first)"},
		{"what a merge key brings", block, Unset("spec.hosts[x86-2].user"),
			"F:28:9: user comes from a merge key (edit it where it stands, or write another value here)"},
		{"inside of what a merge key brings", strings.Replace(block, "{user: admin}", "{labels: {a: b}}", 1), Set("spec.hosts[x86-2].labels.zone", "b"),
			"F:28:9: labels comes from this merge key (write it out here first, or edit it where it stands)"},
		{"a field of what is text", block, Set("metadata.name.x", "b"), "x cannot be set: what it would stand in is no mapping"},
		{"an item that is not there", block, Unset("spec.hosts[x86-2].taints[7]"), "spec.hosts[x86-2].taints has no item 7: it has 2"},
		{"a host that is there", block, AddHost(host(t, "x86-1=192.0.2.99")),
			"F:24:9: there is a host x86-1 already (choose another name, or change this one with hybridctl inventory set)"},
		{"a host that others are reached through", strings.ReplaceAll(block, "*rack", "{}"), RemoveHost("arm-1"),
			"refused, nothing was written: edited like that, the inventory would have these problems:\n" +
				"F:15:5: spec.hosts: holds no control-plane host (write role: control-plane at the host that is to run the API server)\n" +
				"F:20:15: spec.hosts[0].jump: no host is named arm-1; an address that has no dot is written arm-1:22"},
		{"a name that is none", flowing, RenameHost("arm-1", "Arm_9"),
			"refused, nothing was written: edited like that, the inventory would have these problems:\nF:8:12: spec.hosts[0].name: \"Arm_9\" is not a node name (write arm-9)"},
		{"a taken address", flowing, AddHost(host(t, "x86-3=192.0.2.12")),
			"refused, nothing was written: edited like that, the inventory would have these problems:\nF:14:28: spec.hosts[3].address: 192.0.2.12 is taken by spec.hosts[2] (line 12)"},
		{"an unknown field", flowing, Set("spec.kubernetes.verison", "v1"),
			"refused, nothing was written: edited like that, the inventory would have these problems:\nF:5:34: spec.kubernetes.verison: unknown field (did you mean version?)"},
		{"an edit of what is wrong elsewhere", strings.Replace(flowing, "bundle:", "bundel:", 1), Set("metadata.name", "prod"),
			"refused, nothing was written: the inventory had problems before, and also edited like that it would have these:\nF:6:3: spec.bundel: unknown field (did you mean bundle?)"},
		{"an unknown host", flowing, Set("spec.hosts[x86-3].user", "me"), "spec.hosts has no x86-3; did you mean x86-1?"},
		{"nothing to unset", flowing, Unset("spec.ssh.user"), "spec.ssh.user is not in the inventory: there is nothing to take out"},
		{"an open bracket", flowing, Set("spec.hosts[x86", "me"), `the path "spec.hosts[x86" has a bracket that holds nothing or does not close`},
		{"text for a list", flowing, Set("spec.preflight.ignore", "[swap"), `spec.preflight.ignore: "[swap" is no value in one line of YAML`},
		{"an unusual line break", "# \u2028\n" + flowing, Format(), "F:1:3: an unusual line break stands here (replace it with a new line, then edit again)"},
		{"no YAML", "a: [", Format(), "F:1:1: not YAML: did not find expected node content"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Apply("F", []byte(test.text), test.edit)
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			var problems *inventory.Problems
			var path *PathError
			if !errors.As(err, &problems) && !errors.As(err, &path) {
				t.Errorf("%T is neither a problem nor about the path", err)
			}
		})
	}
}

func TestApply_ManyEditsMayBeWrongInBetween(t *testing.T) {
	got, err := Apply("F", []byte(flowing), Set("spec.hosts[arm-1].address", "192.0.2.11"), Set("spec.hosts[x86-1].address", "192.0.2.21"))
	if err != nil || !strings.Contains(string(got), "{name: x86-1, address: 192.0.2.21, ") {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestApply_MendsWhatIsWrong(t *testing.T) {
	got, err := Apply("F", []byte(strings.Replace(flowing, "v1.36.3", "1.36", 1)), Set("spec.kubernetes.version", "v1.36.3"))
	if err != nil || string(got) != flowing {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestFormat_KeepsWhatTextSays(t *testing.T) {
	const text = "\n\nkind: Cluster \t\r\n\n\n\napiVersion: hybridctl.dev/v1alpha1\nmetadata: {name: lab}\nspec:\n  bundle: b\n" +
		"  kubernetes:\n    version: v1.36.3\n    kubelet:\n      a: |+\n        one  \n\n\n        two\n      b: \"x  \n\n\n        y\"\n  hosts:\n  - {name: a, address: 10.0.0.1, role: control-plane}  \n\n\n"
	got, err := Apply("F", []byte(text), Format())
	if err != nil {
		t.Fatal(err)
	}
	want := "kind: Cluster\n\napiVersion: hybridctl.dev/v1alpha1\nmetadata: {name: lab}\nspec:\n  bundle: b\n" +
		"  kubernetes:\n    version: v1.36.3\n    kubelet:\n      a: |+\n        one  \n\n\n        two\n      b: \"x  \n\n\n        y\"\n  hosts:\n  - {name: a, address: 10.0.0.1, role: control-plane}\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	if again, err := Apply("F", got, Format()); err != nil || string(again) != want {
		t.Errorf("a second time it changes again: %v\n%s", err, again)
	}
}

func examples(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("../../../inventories/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	return files
}

func TestFormat_ExamplesAreFormatted(t *testing.T) {
	for _, file := range examples(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Apply(file, text, Format()); err != nil || string(got) != string(text) {
			t.Errorf("%s: %v, or it is not as fmt writes it", file, err)
		}
	}
}
