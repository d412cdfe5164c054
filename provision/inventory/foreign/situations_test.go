package foreign

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

// summary says of a draft what matters of its hosts, a host a line, and everything that is told.
func summary(d Draft, err error) string {
	var b strings.Builder
	for _, h := range d.Cluster.Spec.Hosts {
		fmt.Fprintf(&b, "%s %s %s", h.Role, h.Name, h.Address)
		s := d.Cluster.SSHFor(h)
		for _, part := range []struct {
			name string
			is   any
			none bool
		}{{"user", s.User, s.User == ""}, {"port", s.Port, s.Port == 0}, {"keys", s.IdentityFiles, s.IdentityFiles == nil}, {"jump", h.Jump + d.Cluster.Spec.SSH.Jump, h.Jump+d.Cluster.Spec.SSH.Jump == ""},
			{"labels", h.Labels, h.Labels == nil}, {"taints", h.Taints, h.Taints == nil}} {
			if !part.none {
				fmt.Fprintf(&b, " %s=%v", part.name, part.is)
			}
		}
		b.WriteString("\n")
	}
	for _, l := range d.Left {
		b.WriteString(l.String() + "\n")
	}
	if err != nil {
		b.WriteString("error: " + err.Error() + "\n")
	}
	return b.String()
}

const encryptedWhy = "is encrypted with Ansible's vault: what it holds may stand in the new inventory, if it is no secret"

// Files as they are in the field: what each becomes, and what is told of it.
func TestRead_Situations(t *testing.T) {
	const k0s = "apiVersion: k0sctl.k0sproject.io/v1beta1\nspec:\n  hosts:\n"
	for _, c := range []struct{ name, file, text, want string }{
		{"a range at the beginning of a line", "h.ini", "[kube_control_plane]\n[01:02].rack ansible_user=o\n[a:b]x:2200 ansible_user=o\n",
			"control-plane 01.rack 01.rack user=o\ncontrol-plane 02.rack 02.rack user=o\ncontrol-plane ax ax user=o port=2200\ncontrol-plane bx bx user=o port=2200\n"},
		{"ranges with a port", "h.ini", "[kube_control_plane] # first\nn[1:2]:22 ansible_user=o\n",
			"control-plane n1 n1 user=o port=22\ncontrol-plane n2 n2 user=o port=22\n"},
		{"IPv6", "h.ini", "[kube_control_plane]\n[2001:db8::1]:2222 ansible_user=o\n[2001:db8::2] ansible_user=o\n2001:db8::3 ansible_user=o ansible_host=a\nb ansible_user=o ansible_host=[2001:db8::12]\nc ansible_user=o ansible_host='[2001:db8::]'\n",
			"control-plane 2001-db8--3 a user=o\n" +
				"h.ini:2: host 2001:db8::1: has the IPv6 address 2001:db8::1, and clusters of IPv6 are not supported yet: it is left out\n" +
				"h.ini:3: host 2001:db8::2: has the IPv6 address 2001:db8::2, and clusters of IPv6 are not supported yet: it is left out\n" +
				"h.ini:4: host 2001:db8::3: is called 2001-db8--3 here, as nodes are named\n" +
				"h.ini:5: host b: has the IPv6 address 2001:db8::12, and clusters of IPv6 are not supported yet: it is left out\n" +
				"h.ini:6: host c: has the IPv6 address 2001:db8::, and clusters of IPv6 are not supported yet: it is left out\n"},
		{"IPv6 in YAML", "h.yml", "kube_control_plane:\n  hosts:\n    a: {ansible_user: o, ansible_host: [2001:db8::12]}\n    b: {ansible_user: o, ansible_host: '[2001:db8::13]'}\n    c: {ansible_user: o, ansible_host: [10.0.0.1, 10.0.0.2]}\n",
			"control-plane c c user=o\n" +
				"h.yml:3: host a: has the IPv6 address 2001:db8::12, and clusters of IPv6 are not supported yet: it is left out\n" +
				"h.yml:4: host b: has the IPv6 address 2001:db8::13, and clusters of IPv6 are not supported yet: it is left out\n" +
				"h.yml:5: host c: has no address here but its name: ansible_host could not be read\nh.yml:5: variable ansible_host: has no counterpart\n"},
		{"a bastion", "h.ini", "[bastion]\nb ansible_host=198.51.100.7 ansible_user=j\nb2\n[kube_control_plane]\na ansible_user=o\nb2 ansible_user=o\n",
			"control-plane a a user=o jump=j@198.51.100.7:22\ncontrol-plane b2 b2 user=o\nh.ini:3: host b2: is a further bastion: the way goes over b\n"},
		{"a bastion whose address is not known", "h.ini", "[bastion]\nb ansible_host=\"{{ x }}\" ansible_port=2\n[kube_control_plane]\na ansible_user=o\n",
			"control-plane a a user=o\nh.ini:2: the jump over b: ansible_host is a template, which only Ansible can fill in\nh.ini:2: the jump over b: has no address that can be read here: the hosts have no jump\nh.ini:2: variable ansible_host: is a template, which only Ansible can fill in\n"},
		{"quotes and #", "h.ini", "[kube_control_plane]\na ansible_user=\"o\" ansible_private_key_file='/k #1' # c\n[all:vars]\nansible_port = 2222 # p\nansible_ssh_private_key_file = \"/k \\\"#2\\\"\" ; c\n",
			"control-plane a a user=o port=2222 keys=[/k \"#2\"]\n"},
		{"# behind a text without quotes", "h.ini", "[kube_control_plane]\na\n[all:vars]\nansible_user = ops # who\nx = y # z\n",
			"control-plane a a user=ops\nh.ini:4: variable ansible_user: what is behind the # is taken for a comment; put the value in quotes where it is none\nh.ini:5: variable x: has no counterpart\n"},
		{"a backslash", "h.ini", "[kube_control_plane]\na ansible_user=o ansible_private_key_file=/my\\ keys/id\n", "control-plane a a user=o keys=[/my keys/id]\n"},
		{"labels and taints as text", "h.ini", "[kube_control_plane]\na ansible_user=o node_labels=\"x=1, y/z=\" node_taints=k=v:NoSchedule,w:NoExecute\nb ansible_user=o node_labels=x\n",
			"control-plane a a user=o labels=map[x:1 y/z:] taints=[k=v:NoSchedule w:NoExecute]\ncontrol-plane b b user=o\nh.ini:3: variable node_labels: is neither a mapping nor key=value,key=value\n"},
		{"a mark, and line ends of Windows", "h.ini", "\ufeff# c\r\n[kube_control_plane]\r\na ansible_user=o\r\n[all:vars]\r\nansible_port=\"22\"\r\n", "control-plane a a user=o port=22\n"},
		{"the vault, in YAML", "h.yml", "kube_control_plane:\n  hosts:\n    a: {ansible_user: !vault \"$ANSIBLE_VAULT;1.1\\n6162\", ansible_port: 22}\n    b:\n      ansible_user: o\n      ansible_host: !vault |\n        $ANSIBLE_VAULT;1.1\n        6162\n      node_labels: {x: !vault y}\n",
			"control-plane a a port=22\ncontrol-plane b b user=o\nh.yml:3: variable ansible_user: " + encryptedWhy + "\nh.yml:6: host b: has no address here but its name: ansible_host could not be read\nh.yml:6: variable ansible_host: " + encryptedWhy + "\nh.yml:9: variable node_labels: " + encryptedWhy + "\n"},
		{"what ansible-inventory --list prints", "h.json", `{"_meta": {"hostvars": {"a": {"ansible_host": "192.0.2.1", "ansible_user": "o"}, "b": {"ansible_user": {"__ansible_vault": "$ANSIBLE_VAULT;1.1"}}}},
 "all": {"children": ["kube_control_plane", "kube_node", "ungrouped"]}, "kube_control_plane": {"hosts": ["a"], "vars": {"ansible_port": 22}}, "kube_node": ["b"]}`,
			"control-plane a 192.0.2.1 user=o port=22\nworker b b\nh.json:1: variable ansible_user: " + encryptedWhy + "\n"},
		{"connections", "h.ini", "[kube_control_plane]\na ansible_user=o ansible_connection=ssh\n[kube_node]\nw ansible_user=o ansible_connection=winrm\nl ansible_host=127.0.0.1 ansible_user=o\n",
			"control-plane a a user=o\nh.ini:4: host w: is not reached over SSH (ansible_connection): it is left out\nh.ini:5: host l: has the address 127.0.0.1, which is the machine on which hybridctl runs: it is left out\n"},
		{"no control plane over SSH", "h.ini", "[kube_control_plane]\na ansible_connection=local\n[kube_node]\nw ansible_user=o\n",
			"h.ini:2: host a: is not reached over SSH (ansible_connection): it is left out\nerror: h.ini:2:1: every host of the group kube_control_plane is left out, beginning with a (a control plane has to be reached over SSH, at an IPv4 address or a name of its own)\n"},
		{"no login", "h.ini", "[kube_control_plane]\na\n[kube_node]\nb\nc ansible_user=o\n",
			"control-plane a a\nworker b b\nworker c c user=o\nh.ini: the login of a and 1 more: is not given: root logs in unless ~/.ssh/config says otherwise, where Ansible takes your own name; see spec.ssh.user\n"},
		{"encrypted whole", "h.yml", "$ANSIBLE_VAULT;1.1;AES256\n6162\n", "error: h.yml:1:1: the file is encrypted with Ansible's vault (import what ansible-vault view h.yml prints)\n"},
		{"a program", "h.py", "#!/usr/bin/python3\n", "error: h.py:1:1: the file is a program, which makes an inventory when Ansible runs it (import what ansible-inventory -i h.py --list prints)\n"},
		{"ours", "i.yaml", "apiVersion: hybridctl.dev/v1alpha1\nkind: Cluster\n", "error: i.yaml:1:1: the file is an inventory of hybridctl already (name it with -f)\n"},
		{"UTF-16", "h.ini", "\xff\xfe[\x00", "error: h.ini:1:1: the file is UTF-16 (save it as UTF-8)\n"},

		{"k0sctl: reset", "k.yaml", k0s + "  - {role: controller, hostname: a, ssh: {address: 192.0.2.1}}\n  - {role: worker, hostname: b, reset: true, ssh: {address: 192.0.2.2}}\n  - {role: worker, hostname: c, reset: false, ssh: {address: 192.0.2.3}}\n",
			"control-plane a 192.0.2.1\nworker c 192.0.2.3\nk.yaml:5: spec.hosts[1]: is marked to leave the cluster (reset: true), and left out\n"},
		{"k0sctl: no controller over SSH", "k.yaml", k0s + "  - {role: single, localhost: {enabled: true}}\n  - {role: worker, hostname: b, ssh: {address: 192.0.2.2}}\n  - {role: worker, winRM: {address: 192.0.2.3, password: hunter2}}\n",
			"k.yaml:4: spec.hosts[0]: is not reached over SSH: it is left out\nk.yaml:6: spec.hosts[2]: is not reached over SSH: it is left out\nerror: k.yaml:4:1: every controller is left out, this one among them (a control plane has to be reached over SSH, at an IPv4 address or a name of its own)\n"},
		{"k0sctl: this machine", "k.yaml", k0s + "  - {role: single, ssh: {address: localhost, user: root, port: 2022, keyPath: null}}\n  - {role: worker, hostname: b, ssh: {address: '[2001:db8::1]'}}\n",
			"k.yaml:4: spec.hosts[0]: has the address localhost, which is the machine on which hybridctl runs: it is left out\nk.yaml:5: spec.hosts[1]: has the IPv6 address 2001:db8::1, and clusters of IPv6 are not supported yet: it is left out\n" +
				"error: k.yaml:4:1: every controller is left out, this one among them (a control plane has to be reached over SSH, at an IPv4 address or a name of its own)\n"},
		{"k0sctl: a controller that leaves", "k.yaml", k0s + "  - {role: controller, reset: true, ssh: {address: 192.0.2.1}}\n",
			"k.yaml:4: spec.hosts[0]: is marked to leave the cluster (reset: true), and left out\nerror: k.yaml:4:1: every controller is left out, this one among them (a control plane has to be reached over SSH, at an IPv4 address or a name of its own)\n"},
		{"k0sctl: variables of the environment", "k.yaml", k0s + "  - {role: controller, hostname: a, ssh: {address: 192.0.2.1, user: '${U}', keyPath: $HOME/k, port: $P}}\n  - {role: worker, ssh: {address: '${W}'}}\n",
			"control-plane a 192.0.2.1\n" +
				"k.yaml:4: spec.hosts[0].ssh.keyPath: holds $HOME, which k0sctl takes from its environment: fill it in first (envsubst <k.yaml >FILE), or in the new inventory\n" +
				"k.yaml:4: spec.hosts[0].ssh.port: holds $P, which k0sctl takes from its environment: fill it in first (envsubst <k.yaml >FILE), or in the new inventory\n" +
				"k.yaml:4: spec.hosts[0].ssh.user: holds ${U}, which k0sctl takes from its environment: fill it in first (envsubst <k.yaml >FILE), or in the new inventory\n" +
				"k.yaml:5: spec.hosts[1]: has no address that can be read here, and is left out\n" +
				"k.yaml:5: spec.hosts[1].ssh.address: holds ${W}, which k0sctl takes from its environment: fill it in first (envsubst <k.yaml >FILE), or in the new inventory\n"},
		{"k0sctl: names and a bastion of IPv6", "k.yaml", k0s + "  - {role: controller, hostname: PHost_1, ssh: {address: 192.0.2.1, keyPath: null, bastion: {address: '2001:db8::1'}}}\n",
			"control-plane phost-1 192.0.2.1\nk.yaml:4: spec.hosts[0].hostname: is phost-1 here, as nodes are named\nk.yaml:4: spec.hosts[0].ssh.bastion: has an address of IPv6, which is not supported yet: the hosts have no jump\n"},
		{"a host that stands twice", "h.yml", "all:\n  hosts:\n    a: {ansible_host: 192.0.2.1, ansible_user: o}\n    a: {ansible_host: 192.0.2.2, ansible_user: o}\n  children:\n    kube_control_plane: {hosts: {a: }}\n",
			"control-plane a 192.0.2.2 user=o\nh.yml:3: a: stands again in line 4, which counts, and is left out here\n"},
		{"k0sctl: roles that are not known, and none", "k.yaml", k0s + "  - {role: controller, hostname: a, ssh: {address: 192.0.2.1, user: o}}\n  - {role: gateway, hostname: b, ssh: {address: 192.0.2.2}}\n  - {hostname: c, ssh: {address: 192.0.2.3}}\n",
			"control-plane a 192.0.2.1 user=o\nk.yaml:5: spec.hosts[1]: has the role gateway, which is not known here, and is left out\nk.yaml:6: spec.hosts[2]: has no role, and is left out\n"},
		{"k0sctl: the cluster's name", "k.yaml", "apiVersion: k0sctl.k0sproject.io/v1beta1\nmetadata: {name: My_Cluster}\nspec:\n  hosts: [{role: controller, hostname: a, ssh: {address: 192.0.2.1, user: o}}]\n",
			"control-plane a 192.0.2.1 user=o\nk.yaml:2: metadata.name: is my-cluster here, as clusters are named\n"},
		{"of another tool", "k.yaml", "apiVersion: kubeone.k8c.io/v1beta2\nkind: KubeOneCluster\n",
			"error: k.yaml:1:1: the file is a KubeOneCluster of kubeone.k8c.io/v1beta2 (Ansible's inventories are read, and k0sctl's Cluster)\n"},
	} {
		if got := summary(Read(c.file, []byte(c.text))); got != c.want {
			t.Errorf("%s:\n%swant\n%s", c.name, got, c.want)
		}
	}
}

// The load balancer before the API servers is the endpoint, at its own port.
func TestRead_Endpoint(t *testing.T) {
	const k0s = "apiVersion: k0sctl.k0sproject.io/v1beta1\nspec:\n  hosts: [{role: controller, hostname: a, ssh: {address: 192.0.2.1}}]\n  k0s: {config: {spec: {api: "
	const group = "  children: {kube_control_plane: {hosts: {a: {ansible_host: 192.0.2.1, ansible_user: o}}}}\n"
	for _, c := range []struct{ file, text, want, left string }{
		{"h.yml", "all:\n  vars: {loadbalancer_apiserver: {address: 192.0.2.100, port: 8383}}\n" + group, "192.0.2.100:8383", ""},
		{"h.yml", "all:\n  vars: {loadbalancer_apiserver: {address: lb.example}}\n" + group, "lb.example:6443", ""},
		{"h.yml", "all:\n  vars: {loadbalancer_apiserver: {port: 6443}}\n" + group, "", "h.yml:2: variable loadbalancer_apiserver: has no counterpart\n"},
		{"h.yml", "all:\n  vars: {loadbalancer_apiserver: {address: '{{ vip }}', port: 6443}}\n" + group, "", "h.yml:2: variable loadbalancer_apiserver: is a template, which only Ansible can fill in\n"},
		{"h.ini", "[all:vars]\nloadbalancer_apiserver={\"address\": \"192.0.2.100\", \"port\": 8383}\n[kube_control_plane]\na ansible_host=192.0.2.1 ansible_user=o\n", "192.0.2.100:8383", ""},
		{"k.yaml", k0s + "{externalAddress: lb.example, port: 8443}}}}\n", "lb.example:8443", ""},
		{"k.yaml", k0s + "{port: 8443}}}}\n", "", "k.yaml:4: spec.k0s.config.spec.api.port: has no counterpart\n"},
	} {
		d, err := Read(c.file, []byte(c.text))
		var left strings.Builder
		for _, l := range d.Left {
			left.WriteString(l.String() + "\n")
		}
		if err != nil || d.Cluster.Spec.Kubernetes.Endpoint != c.want || left.String() != c.left {
			t.Errorf("%s%v: endpoint %q, left %q", c.text, err, d.Cluster.Spec.Kubernetes.Endpoint, left.String())
		}
	}
}

// What holds nothing that could be read is said to be so.
func TestRead_NoText(t *testing.T) {
	for text, want := range map[string]string{"": "the file is empty", "\ufeff \n\n": "the file is empty", "\x7fELF\x02\x00\x00": "the file is not text"} {
		if _, err := Read("h.ini", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), "h.ini:1:1: "+want+" (") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Problems of the new inventory are told with the lines of the file that it was made of.
func TestDraft_Place(t *testing.T) {
	const text = "[all:vars]\nansible_user=a b\nkube_pods_subnet=x\n\n[kube_control_plane]\nN_1 ansible_port=99999\nn-1 node_taints=x\n"
	d, err := Read("h.ini", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	d.Cluster.Metadata.Name, d.Cluster.Spec.Bundle, d.Cluster.Spec.Kubernetes.Version = "a", "./bundle", "v1.36.3"
	body, err := inventory.Show(&d.Cluster, false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = inventory.Parse("new.yaml", body)
	problems, ok := err.(*inventory.Problems)
	if !ok {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, p := range problems.List {
		fmt.Fprintln(&got, d.Place("h.ini", p))
	}
	want := `h.ini: spec.kubernetes.endpoint: is missing: there are 2 control-plane hosts, and each can go away (the host:port of a load balancer or a virtual address before them)
h.ini:3:1: spec.kubernetes.podCIDR: "x" is not a CIDR (for instance 10.244.0.0/16)
h.ini:2:1: spec.ssh.user: "a b" is not a user name
h.ini:6:1: spec.hosts[0].port: 99999 is not a port (from 1 to 65535)
h.ini:7:1: spec.hosts[1].name: n-1 is taken by spec.hosts[0] (line 6)
h.ini:7:1: spec.hosts[1].taints[0]: "x" is not a taint (key[=value]:NoSchedule|PreferNoSchedule|NoExecute)
`
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}
