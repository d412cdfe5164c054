package foreign

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/golden"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

// The draft, and everything that has no counterpart, of each file in testdata.
func TestRead_Golden(t *testing.T) {
	for _, file := range []string{"kubespray.ini", "nested.yaml", "k0sctl.yaml"} {
		t.Run(file, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata", file))
			if err != nil {
				t.Fatal(err)
			}
			d, err := Read(file, data)
			if err != nil {
				t.Fatal(err)
			}
			text, err := inventory.Show(&d.Cluster, false)
			if err != nil {
				t.Fatal(err)
			}
			got := string(text)
			for _, l := range d.Left {
				got += l.String() + "\n"
			}
			if strings.Contains(got, "hunter2") {
				t.Error("a password is repeated")
			}
			golden.Check(t, file+".golden", got)
		})
	}
}

func TestRead_WhatCannotBeUnderstood(t *testing.T) {
	for _, test := range []struct{ file, text, want string }{
		{"h.ini", "[kube_node]\na\n", "h.ini:1:1: no host is in the group kube_control_plane (hosts get their roles from the groups kube_control_plane and kube_node)"},
		{"h.ini", "[a b]\n", `h.ini:1:1: "[a b]" is neither [group] nor [group:children] nor [group:vars]`},
		{"h.ini", "[kube_node\na\n", `h.ini:1:1: "[kube_node" is not closed: a group is written [kube_node]`},
		{"h.yaml", "all:\n\thosts: {}\n", "h.yaml:2:1: a tab indents this line (YAML wants spaces)"},
		{"h.yaml", "all:\n  hosts:\n    a: b: c\n", "h.yaml:3:5: not YAML: mapping values are not allowed in this context (a value with a colon in it needs quotes; or the indentation is wrong)"},
		{"h.ini", "[x:vars]\nsecret hunter2\n", "h.ini:2:1: this is not name=value"},
		{"h.ini", "host hunter2\n", "h.ini:1:1: what follows the host is not name=value"},
		{"h.ini", "host a='b\n", "h.ini:1:1: a quote ' is not closed"},
		{"h.ini", "node[1:\n", `h.ini:1:1: "node[1:" has a range that is not [1:3] or [a:c]`},
		{"h.ini", "node[3:1]\n", `h.ini:1:1: "node[3:1]": the range from 3 to 1 is empty or too large`},
		{"h.ini", "node[1:b]\n", `h.ini:1:1: "node[1:b]": the range from 1 to b is neither of numbers nor of letters`},
		{"h.ini", "node[1:9999][1:9999]\n", `h.ini:1:1: "node[1:9999][1:9999]" names more than 10000 hosts`},
		{"h.ini", "[a:children]\nb\n[b:children]\na\n", "h.ini:1:1: the group a lies within itself"},
		{"h.ini", "[all]\na\nansible_password=hunter2\n", `h.ini:3:1: "ansible_password=…" is a variable, and no host or group (write it under [all:vars])`},
		{"h.ini", "ansible_password=\"[hun ter2\"\n", `h.ini:1:1: "ansible_password=…" is a variable, and no host or group (write it under [all:vars])`},
		{"h.ini", "[x]\nansible_password= hunter2\n", `h.ini:2:1: "ansible_password=…" is a variable, and no host or group (write it under [x:vars])`},
		{"h.ini", "[x]\nansible_password =hunter2\n", "h.ini:2:1: what follows the host is not name=value"},
		{"h.ini", "[x:children]\nansible_password=hunter2\n", `h.ini:2:1: "ansible_password=…" is a variable, and no host or group (write it under [x:vars])`},
		{"h.yaml", "all:\n  hosts:\n    ansible_password=hunter2:\n", `h.yaml:3:1: "ansible_password=…" is a variable, and no host or group (write it under all.vars)`},
		{"h.yaml", "all:\n  hosts: ansible_password=hunter2\n", `h.yaml:2:1: "ansible_password=…" is a variable, and no host or group (write it under all.vars)`},
		{"h.yaml", "all:\n  children: ansible_password=hunter2\n", `h.yaml:2:1: "ansible_password=…" is a variable, and no host or group (write it under all.vars)`},
		{"h.yaml", "kube_node:\n  hosts:\n  - w1\n", "h.yaml:2:1: the hosts of the group kube_node are no mapping (write each as name: on its own line)"},
		{"h.yaml", "kube_node:\n  hosts: 7\n", "h.yaml:2:1: the hosts of the group kube_node are no mapping (write each as name: on its own line)"},
		{"h.yaml", "kube_node:\n  children: [a]\n", "h.yaml:2:1: the children of the group kube_node are no mapping (write each as name: on its own line)"},
		{"h.yaml", "kube_node:\n  vars:\n  - a: hunter2\n", "h.yaml:2:1: the vars of the group kube_node are no mapping (write each as name: value on its own line)"},
		{"h.yaml", "kube_node:\n  hosts: {w1: hunter2}\n", "h.yaml:2:1: the variables of w1 are no mapping (write each as name: value on its own line)"},
		{"h.yaml", "kube_node:\n- w1\n", "h.yaml:1:1: the group kube_node is no mapping (a group has hosts, children and vars)"},
		{"h.yaml", "kube_node: ''\n", "h.yaml:1:1: the group kube_node is no mapping (a group has hosts, children and vars)"},
		{"h.ini", "[a:children]\nall\n", "h.ini:2:1: the group all lies within itself"},
		{"h.yaml", "all: {children: {all: }}\n", "h.yaml:1:1: the group all lies within itself"},
		{"h.yaml", "- a\n", "h.yaml:1:1: the file is not one mapping (Ansible's groups and k0sctl's Cluster are mappings)"},
		{"h.yaml", "all: 5\n", "h.yaml:1:1: the group all is no mapping (a group has hosts, children and vars)"},
		{"h.yaml", "all: &a {children: {b: *a}}\n", "h.yaml:1:1: the groups are too many, or nested too deeply"},
		{"k.yaml", "apiVersion: k0sctl.k0sproject.io/v1beta1\nspec: {hosts: []}\n", "k.yaml:1:1: spec.hosts holds no host that is reached over SSH"},
	} {
		_, err := Read(test.file, []byte(test.text))
		if err == nil || err.Error() != test.want {
			t.Errorf("%q:\ngot  %v\nwant %s", test.text, err, test.want)
		}
	}
}

// Ansible takes one name as text, and no value for nothing.
func TestRead_HostsAndChildrenAsText(t *testing.T) {
	const text = "kube_control_plane:\n  hosts: cp[1:2]\nkube_node:\n  hosts: &w w1\n  children: racks\n  vars:\nracks:\n  hosts: {w2: , w3: {}}\n  children:\nrest:\n  hosts: *w\n"
	d, err := Read("h.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, h := range d.Cluster.Spec.Hosts {
		names = append(names, h.Name)
	}
	if want := []string{"cp1", "cp2", "w1", "w2", "w3"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}

// Of the groups that give a host a variable the deepest wins, and of those as deep the last by name.
func TestRead_WhichGroupWins(t *testing.T) {
	const plane = "kube_control_plane: {hosts: {cp: }}\n"
	for _, test := range []struct{ name, text, want string }{
		{"beside all and in it", plane + "all: {children: {a: {hosts: {cp: }, vars: {ansible_user: a}}}}\nb: {hosts: {cp: }, vars: {ansible_user: b}}\n", "b"},
		{"beside all and in it, the other way", plane + "all: {children: {b: {hosts: {cp: }, vars: {ansible_user: b}}}}\na: {hosts: {cp: }, vars: {ansible_user: a}}\n", "b"},
		{"all and a group", plane + "all: {vars: {ansible_user: all}}\na: {hosts: {cp: }, vars: {ansible_user: a}}\n", "a"},
		{"a deeper one", plane + "b: {hosts: {cp: }, vars: {ansible_user: b}}\nc: {children: {a: {hosts: {cp: }, vars: {ansible_user: a}}}}\n", "a"},
		{"a deeper one beneath all", plane + "b: {hosts: {cp: }, vars: {ansible_user: b}}\nall: {children: {c: {children: {a: {hosts: {cp: }, vars: {ansible_user: a}}}}}}\n", "a"},
	} {
		d, err := Read("h.yaml", []byte(test.text))
		if err != nil || d.Cluster.Spec.SSH.User != test.want {
			t.Errorf("%s: %q, %v, want %q", test.name, d.Cluster.Spec.SSH.User, err, test.want)
		}
	}
}

func TestExpand(t *testing.T) {
	for pattern, want := range map[string][]string{
		"a":            {"a"},
		"n[1:3]":       {"n1", "n2", "n3"},
		"n[08:10].x":   {"n08.x", "n09.x", "n10.x"},
		"n[1:5:2]":     {"n1", "n3", "n5"},
		"db-[a:c]":     {"db-a", "db-b", "db-c"},
		"r[1:2]n[a:b]": {"r1na", "r1nb", "r2na", "r2nb"},
	} {
		if got, err := expand(pattern); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", pattern, got, err)
		}
	}
}

// Whatever bytes come: no panic, and an error or hosts.
func FuzzRead(f *testing.F) {
	for _, file := range []string{"kubespray.ini", "nested.yaml", "k0sctl.yaml"} {
		data, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("a: &a {children: {b: *a, c: *a}}"))
	f.Add([]byte("a: &a {<<: [*a, *a], hosts: {b: *a}}"))
	f.Add([]byte("[kube_control_plane]\nn[1:3:2]:22 a=[1 b={"))
	f.Add([]byte("\ufeff[kube_control_plane]\r\n[1:2].x:22 ansible_user='a\\'b' node_labels=a=b,c=d # c\r\n[bastion]\nb\n[all:vars]\na = \"x\" # y\n"))
	f.Add([]byte(`{"_meta": {"hostvars": {"a": {"ansible_user": {"__ansible_vault": "x"}}}}, "kube_control_plane": ["a"], "all": {"children": ["b"]}}`))
	f.Add([]byte("apiVersion: k0sctl.k0sproject.io/v1\nspec: {hosts: [{role: controller, reset: true, ssh: {address: ${A}, bastion: {address: '::1'}}}, {localhost: {enabled: true}}, {winRM: {}}]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Read([]string{"F", "F.yaml", "F.json"}[len(data)%3], data)
		for i := range d.Cluster.Spec.Hosts {
			if d.Line(fmt.Sprintf("spec.hosts[%d].address", i)) == 0 {
				t.Errorf("host %d has no line", i)
			}
		}
		if err == nil && len(d.Cluster.Spec.Hosts) == 0 {
			t.Error("no hosts and no error")
		}
		for _, l := range d.Left {
			if l.Line < 0 || l.What == "" || l.Why == "" {
				t.Errorf("%+v", l)
			}
		}
	})
}

// What is easily dropped on the way is there, or is told.
func TestRead_NothingIsLostInSilence(t *testing.T) {
	const k0s = "apiVersion: k0sctl.k0sproject.io/v1beta1\nspec:\n  hosts:\n  - role: controller\n    hostname: a\n    ssh: "
	for name, test := range map[string]struct {
		text, left string
		is         func(c inventory.Cluster) bool
	}{
		"a second document": {k0s + "{address: 10.0.0.1}\n---\nspec: {}\n", "k.yaml:8: a further document: only the first is read",
			func(c inventory.Cluster) bool { return len(c.Spec.Hosts) == 1 }},
		"merge keys": {strings.Replace(k0s, "spec:", "x: &x {user: root, address: 10.0.0.9}\ny: &y {port: 2222, user: eve}\nspec:", 1) + "{<<: [*x, *y], address: 10.0.0.1}\n", "k.yaml:2: x: has no counterpart",
			func(c inventory.Cluster) bool {
				return c.Spec.Hosts[0].Address == "10.0.0.1" && c.Spec.SSH.User == "root" && c.Spec.SSH.Port == 2222
			}},
		"one merge key": {strings.Replace(k0s, "spec:", "x: &x {user: root}\nspec:", 1) + "{<<: *x, address: 10.0.0.1}\n", "k.yaml:2: x: has no counterpart",
			func(c inventory.Cluster) bool { return c.Spec.SSH.User == "root" }},
		"a relative key file": {k0s + "{address: 10.0.0.1, keyPath: keys/id}\n", "k.yaml: the key file keys/id: is looked for in the folder of the new inventory",
			func(c inventory.Cluster) bool { return len(c.Spec.Hosts) == 1 }},
		"vars that are text": {"kube_control_plane:\n  hosts: a\n  vars: ansible_password=hunter2\n", "k.yaml:3: kube_control_plane.vars: is text, and gives no variable a value",
			func(c inventory.Cluster) bool { return c.Spec.Hosts[0].Address == "a" }},
		"no version, no address": {k0s + "{address: 10.0.0.1, keyPath: ''}\n  k0s: {version: , config: {spec: {api: {externalAddress: ''}}}}\n", "k.yaml:7: spec.k0s.version: has no counterpart",
			func(c inventory.Cluster) bool {
				return c.Spec.Kubernetes.Version == "" && c.Spec.Kubernetes.Endpoint == "" && c.Spec.SSH.IdentityFiles == nil
			}},
	} {
		d, err := Read("k.yaml", []byte(test.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		told := slices.ContainsFunc(d.Left, func(l Leftover) bool { return l.String() == test.left })
		if !told || !test.is(d.Cluster) {
			t.Errorf("%s: left %v\n%+v", name, d.Left, d.Cluster.Spec)
		}
	}
}
