package inventory

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// What is needed cannot be taken out: the remedy is another one.
func TestParse_NoValueOfWhatIsNeeded(t *testing.T) {
	const host = "{name: a, address: 10.0.0.1, role: control-plane}"
	for _, test := range []struct {
		replace [2]string
		want    string
	}{
		{[2]string{"apiVersion: hybridctl.dev/v1alpha1", "apiVersion:"}, "apiVersion: has no value (write apiVersion: hybridctl.dev/v1alpha1)"},
		{[2]string{"kind: Cluster", "kind: ''"}, "kind: is empty (write kind: Cluster)"},
		{[2]string{"v1.36.3", ""}, "spec.kubernetes.version: has no value (for instance v1.36.3)"},
		{[2]string{host, "{name: a, address: , role: control-plane}"}, "spec.hosts[0].address: has no value (give it one: the field is needed)"},
		{[2]string{host, "{name: '', address: 10.0.0.1, role: control-plane}"}, "spec.hosts[0].name: is empty (give it a value: the field is needed)"},
		{[2]string{host, "{name: a, address: 10.0.0.1, role: }"}, "spec.hosts[0].role: has no value (give it one, or take the line out)"},
	} {
		if _, err := Parse("c.yaml", []byte(edit(t, test.replace))); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got %v, want %s", test.replace[1], err, test.want)
		}
	}
	for text, want := range map[string]string{
		"spec:\n":     "spec: has no value (write kubernetes and hosts under it, indented by two blanks)",
		"metadata:\n": "metadata: has no value (write metadata: {name: NAME})",
		"metadata: {name: a}\nspec: {kubernetes: , hosts: [" + host + "]}\n": "spec.kubernetes: has no value (write kubernetes: {version: v1.36.3})",
	} {
		if _, err := Parse("c.yaml", []byte("apiVersion: hybridctl.dev/v1alpha1\nkind: Cluster\n"+text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// One mistake each that the golden files do not hold; "" means that there is none.
func TestParse_OneMistake(t *testing.T) {
	const version, bundle, role = "version: v1.36.3", "bundle: b", "role: control-plane"
	kubernetes := func(line string) [2]string { return [2]string{version, version + "\n    " + line} }
	spec := func(line string) [2]string { return [2]string{bundle, bundle + "\n  " + line} }
	host := func(fields string) [2]string { return [2]string{role, role + ", " + fields} }
	second := func(fields string) [2]string {
		return [2]string{role + "}", role + "}\n  - {name: b, " + fields + "}"}
	}
	const rest = "version: v1.36.3\n  bundle: b\n  hosts:\n  - {name: a, address: 10.0.0.1, role: control-plane"
	adopted := func(line string) [2]string {
		return [2]string{rest, strings.Replace(rest, "\n", "\n    "+line+"\n  cni: {provider: none}\n", 1) + ", managed: false"}
	}
	two := func(endpoint string) [2]string { // control planes
		return [2]string{rest, strings.Replace(rest, "\n", "\n    endpoint: "+endpoint+"\n", 1) + "}\n  - {name: b, address: 10.0.0.2, role: control-plane"}
	}
	long := strings.Repeat("a", 64)

	for _, test := range []struct {
		replace [2]string
		want    string
	}{
		{[2]string{"v1.36.3", "v1.37.0-rc.1"}, ""},
		{[2]string{"v1.36.3", "1.36"}, `spec.kubernetes.version: is a number, not text (put it in quotes: "1.36")`},
		{[2]string{"v1.36.3", "v1.36"}, `spec.kubernetes.version: "v1.36" is not a Kubernetes version (name the patch release too, for instance v1.36.3)`},
		{[2]string{"v1.36.3", "v2.36.3"}, "spec.kubernetes.version: v2.36.3 is not supported (hybridctl knows Kubernetes v1 alone)"},
		{[2]string{"v1.36.3", "v1.30.9"}, "spec.kubernetes.version: v1.30.9 is not supported (v1.31.0 is the oldest that is)"},
		{[2]string{"v1.36.3", "stable"}, `spec.kubernetes.version: "stable" is not a Kubernetes version (for instance v1.36.3)`},
		{[2]string{"name: lab", "name: " + long}, `metadata.name: "` + long + `" is not a name (at most 63 characters)`},
		{[2]string{"apiVersion", "<<: {apiVersion: v1}\nx"}, "apiVersion: \"v1\" is not one of hybridctl.dev/v1alpha1\nx: unknown field (known here: apiVersion, kind, metadata, spec)"},
		{[2]string{"apiVersion: hybridctl.dev/v1alpha1", "<<: {apiVersion: v1}"}, `apiVersion: "v1" is not one of hybridctl.dev/v1alpha1`},

		{kubernetes("endpoint: 10.9.9.9:6443"), ""},
		{kubernetes("endpoint: api.example.com:443"), ""},
		{kubernetes("endpoint: ''"), "spec.kubernetes.endpoint: is empty (give it a value, or take the line out)"},
		{kubernetes("endpoint: 10.9.9.9"), `spec.kubernetes.endpoint: "10.9.9.9" has no port (write 10.9.9.9:6443)`},
		{kubernetes("endpoint: 10.9.9.9:0"), `spec.kubernetes.endpoint: "10.9.9.9:0" has no valid port (from 1 to 65535)`},
		{kubernetes("endpoint: 10.9.9.9:https"), `spec.kubernetes.endpoint: "10.9.9.9:https" has no valid port (from 1 to 65535)`},
		{kubernetes("endpoint: 0.0.0.0:6443"), `spec.kubernetes.endpoint: "0.0.0.0:6443" names no host that others can reach (host:port)`},
		{kubernetes("endpoint: '[fd00::1]:6443'"), `spec.kubernetes.endpoint: "[fd00::1]:6443" is an IPv6 address: clusters of IPv6 or of both families are not supported yet (write an IPv4 address or a name, and a port)`},
		{kubernetes("podCIDR: 10.0.0.0"), `spec.kubernetes.podCIDR: "10.0.0.0" is not a CIDR (for instance 10.244.0.0/16)`},
		{kubernetes("podCIDR: fd00::/48"), "spec.kubernetes.podCIDR: fd00::/48 is IPv6: clusters of IPv6 or of both families are not supported yet (give an IPv4 network)"},
		{kubernetes("podCIDR: '10.1.0.0/16,fd00::/48'"), `spec.kubernetes.podCIDR: "10.1.0.0/16,fd00::/48" are several networks: clusters of IPv6 or of both families are not supported yet (give one IPv4 network)`},
		{kubernetes("podCIDR: 10.1.0.0/25"), "spec.kubernetes.podCIDR: 10.1.0.0/25 has no /24 for each of 1 hosts (a /24 holds 1)"},
		{kubernetes("podCIDR: 10.1.0.0/25\n    controllerManager: {extraArgs: [{name: node-cidr-mask-size, value: '26'}]}"), ""},
		{kubernetes("podCIDR: 10.96.0.0/16"), "spec.kubernetes.podCIDR: the pod network 10.96.0.0/16 and the service network 10.96.0.0/12 overlap (the service network is 10.96.0.0/12 by default)"},
		{kubernetes("serviceCIDR: 10.240.0.0/12"), "spec.kubernetes.serviceCIDR: the pod network 10.244.0.0/16 and the service network 10.240.0.0/12 overlap (the pod network is 10.244.0.0/16 by default)"},
		{kubernetes("serviceCIDR: 172.0.0.0/8"), "spec.kubernetes.serviceCIDR: 172.0.0.0/8 is too large for a service network (a /12 or smaller)"},
		{kubernetes("ignorePreflightErrors: [all]"), ""},
		{kubernetes("ignorePreflightErrors: ['NumCPU,Mem']"), `spec.kubernetes.ignorePreflightErrors[0]: "NumCPU,Mem" is not one name (write each name as an item of the list)`},
		{kubernetes("ignorePreflightErrors: [NumCPU, NumCPU]"), `spec.kubernetes.ignorePreflightErrors[1]: "NumCPU" is in the list twice`},
		{kubernetes("patches: ~bob/x"), "spec.kubernetes.patches: ~bob/x names another user's home (write the path itself)"},
		{kubernetes("patches: /dev/null"), "spec.kubernetes.patches: /dev/null is not a directory (name the directory)"},
		{kubernetes("kubelet: {maxPods: 200, clusterdns: x}"), ""},

		{kubernetes("files: [{name: audit, path: /etc/kubernetes/audit/policy.yaml, source: fuzz_test.go}, {name: key, path: /etc/kubernetes/key.yaml, secretCommand: [pass, show, key]}]"), ""},
		{kubernetes("files: [{name: key, path: /etc/kubernetes/key.yaml, secretFile: not-there-yet}]"), ""},
		{kubernetes("files: [{name: audit, path: /etc/kubernetes/a.yaml, source: missing.yaml}]"), "spec.kubernetes.files[0].source: HERE/missing.yaml does not exist (relative paths start at the inventory's folder)"},
		{kubernetes("files: [{name: a, path: /etc/kubernetes/a}]"), "spec.kubernetes.files[0]: needs exactly one of source, secretFile, secretEnv and secretCommand (a file beside the inventory is the usual way: source: audit-policy.yaml)"},
		{kubernetes("files: [{name: a, path: /etc/kubernetes/a, secretEnv: $SECRET}]"), "spec.kubernetes.files[0].secretEnv: is not the name of an environment variable (its name without the $)"},
		{kubernetes("files: [{name: a, path: /etc/kubernetes/../passwd, secretEnv: A}]"), `spec.kubernetes.files[0].path: "/etc/kubernetes/../passwd" is not the path of a file below /etc/kubernetes (for instance /etc/kubernetes/audit/policy.yaml)`},
		{kubernetes("files: [{name: a, path: /etc/kubernetes/manifests/a.yaml, secretEnv: A}]"), "spec.kubernetes.files[0].path: /etc/kubernetes/manifests/a.yaml is in a directory that is kubeadm's own (for instance /etc/kubernetes/audit/policy.yaml)"},
		{kubernetes("files: [{name: a, path: /etc/kubernetes/pki/ca.key, secretEnv: A}]"), "spec.kubernetes.files[0].path: /etc/kubernetes/pki/ca.key is in a directory that is kubeadm's own (for instance /etc/kubernetes/audit/policy.yaml)"},
		{kubernetes("files: [{name: a, path: /etc/kubernetes/admin.conf, secretEnv: A}]"), "spec.kubernetes.files[0].path: /etc/kubernetes/admin.conf is named as kubeadm names its kubeconfigs, which it deletes (for instance /etc/kubernetes/audit/policy.yaml)"},
		{kubernetes("files: [{name: A, path: /etc/kubernetes/a, secretEnv: A}]"), `spec.kubernetes.files[0].name: "A" is not a name (small letters, digits and -, at most 40)`},
		{kubernetes("files: [{name: a, path: /etc/kubernetes/a, secretEnv: A}, {name: a, path: /etc/kubernetes/a/b, secretEnv: A}]"), "spec.kubernetes.files[1].name: a is taken by spec.kubernetes.files[0] (line 7)\nspec.kubernetes.files[1].path: /etc/kubernetes/a/b lies in what is to be a file itself (choose another path)"},
		{adopted("files: [{name: a, path: /etc/kubernetes/a, secretEnv: A}]"), "spec.kubernetes.files: has no effect: the cluster was made without them, and its control planes are not hybridctl's (take it out)"},
		{kubernetes("etcd: {extraVolumes: [{name: a, hostPath: /a, mountPath: /a}]}"), "spec.kubernetes.etcd.extraVolumes: cannot be set here: kubeadm mounts nothing more for etcd (a patch can give it some: spec.kubernetes.patches)"},
		{kubernetes("scheduler: {extraVolumes: [{name: a, hostPath: a, mountPath: /a/, pathType: Socket}]}"), "spec.kubernetes.scheduler.extraVolumes[0].hostPath: \"a\" is not an absolute path without a slash at its end (for instance /var/log/kubernetes)\nspec.kubernetes.scheduler.extraVolumes[0].mountPath: \"/a/\" is not an absolute path without a slash at its end (for instance /var/log/kubernetes)\nspec.kubernetes.scheduler.extraVolumes[0].pathType: \"Socket\" is not one of Directory, DirectoryOrCreate, File, FileOrCreate"},
		{kubernetes("serverTLSBootstrap: true\n    kubelet: {serverTLSBootstrap: false}"), "spec.kubernetes.kubelet.serverTLSBootstrap: says the opposite of spec.kubernetes.serverTLSBootstrap (take it out)"},
		{kubernetes("serverTLSBootstrap: true\n    kubelet: {serverTLSBootstrap: true}"), ""},

		{spec("cni: {backend: wireguard}"), ""},
		{spec("cni: {backend: wiregard}"), `spec.cni.backend: "wiregard" is not one of vxlan, wireguard (did you mean wireguard?)`},
		{spec("cni: {provider: manifest, path: fuzz_test.go, backend: wireguard}"), "spec.cni.backend: is flannel's, and not used by manifest (take it out)"},
		{spec("cni: {provider: manifest, path: /}"), "spec.cni.path: / is a directory (name one file)"},
		{spec("cni: {provider: calico}"), `spec.cni.provider: "calico" is not one of flannel, manifest, none`},
		{spec("cni: {provider: none}"), "spec.cni.provider: none is for a cluster that was there before, whose control plane has managed: false (write provider: manifest and path: FILE to install another pod network)"},
		{spec("cni: {provider: ''}"), "spec.cni.provider: is empty (give it a value, or take the line out)"},
		{spec("timeouts: {step: 0s}"), `spec.timeouts.step: "0s" is not longer than zero (for instance 90s or 15m)`},
		{spec("timeouts: {step: 1h30m}"), ""},
		{spec("ssh: {user: 'DOM\\me', sudoPasswordEnv: PW}"), ""},
		{spec("ssh: {sudoPasswordEnv: 123456}"), "spec.ssh.sudoPasswordEnv: is a number, not text (the name of an environment variable, not what it holds)"},
		{spec("conformance: {registry: {image: 'r.example:5000/a:1', username: me, passwordEnv: 123456}}"), "spec.conformance.registry: needs either passwordFile or passwordEnv (the password does not belong in this file)\nspec.conformance.registry.passwordEnv: is a number, not text (the name of an environment variable, not what it holds)"},
		{host("sudoPasswordEnv: true"), "spec.hosts[0].sudoPasswordEnv: is a truth value, not text (the name of an environment variable, not what it holds)"},
		{spec("conformance: {outside: [{name: a, address: 10.0.9.1}]}"), "spec.conformance.outside[0].name: a is a host of the cluster, and not outside it (name a host that is not in spec.hosts)"},
		{spec("conformance: {outside: [{name: desk, address: 10.0.9.1, user: me}, {name: desk, address: 10.0.9.2}]}"), "spec.conformance.outside[1].name: desk is taken by spec.conformance.outside[0] (line 8)"},
		{spec("conformance: {registry: {image: 'r.example:5000/a:1', username: me}}"), "spec.conformance.registry: needs either passwordFile or passwordEnv (the password does not belong in this file)"},
		{spec("conformance: {registry: {username: me, passwordEnv: PW}}"), "spec.conformance.registry: has no image to pull (image: registry.example:5000/team/app:1)"},
		{spec("conformance: {registry: {image: a, username: me, passwordEnv: $PW}}"), "spec.conformance.registry.passwordEnv: is not the name of an environment variable (its name without the $; the password does not belong in this file)"},
		{spec("conformance: {registry: {image: 'r.example:5000/a:1', username: me, passwordFile: pw}}"), ""},

		{[2]string{"  - {name: a, address: 10.0.0.1, role: control-plane}", "    []"}, "spec.hosts: holds no host (list at least one, with role: control-plane)"},
		{[2]string{"role: control-plane", "role: worker"}, "spec.hosts: holds no control-plane host (write role: control-plane at a, the only host)"},
		{[2]string{"role: control-plane", "role: node"}, `spec.hosts[0].role: "node" is not one of control-plane, worker (write worker)`},
		{[2]string{"role: control-plane", "role: ''"}, "spec.hosts[0].role: is empty (give it a value, or take the line out)"},
		{host("arch: ''"), "spec.hosts[0].arch: is empty (give it a value, or take the line out)"},
		{host("arch: aarch64"), ""},
		{host("nodeIP: ''"), "spec.hosts[0].nodeIP: is empty (give it a value, or take the line out)"},
		{host("taints: [a:NoSchedule, a:NoExecute, 'b=:NoSchedule']"), ""},
		{host("taints: [" + long + ":NoSchedule]"), `spec.hosts[0].taints[0]: "` + long + `:NoSchedule" is not a taint (key[=value]:NoSchedule|PreferNoSchedule|NoExecute)`},
		{host("labels: {" + long + ": x}"), `spec.hosts[0].labels.` + long + `: "` + long + `" is not a label ([prefix/]name: letters, digits, -, _ and ., at most 63 of them)`},
		{host("labels: {x: " + long + "}"), `spec.hosts[0].labels.x: "` + long + `" is not a label's value (letters, digits, -, _ and ., at most 63 of them)`},
		{host("labels: {node.kubernetes.io/instance-type: x, sub.kubelet.kubernetes.io/y: z, empty: ''}"), ""},
		{host("hostKey: ''"), "spec.hosts[0].hostKey: is empty (give it a value, or take the line out)"},

		{host("managed: false"), "spec.cni.provider: would replace the pod network of a cluster that hybridctl did not make: its control plane has managed: false (write cni: {provider: none})"},
		{host("managed: true"), ""},
		{host("managed: 'no'"), "spec.hosts[0].managed: is text, not true or false"},
		{second("address: 10.0.0.2, managed: false"), ""},
		{two("10.0.0.2:6443"), "spec.kubernetes.endpoint: is the own address of b: when that host is away, no other control plane is found (a name, a virtual address or a load balancer before them; kubeadm cannot change it later)"},
		{two("a:6443"), "spec.kubernetes.endpoint: is the own address of a: when that host is away, no other control plane is found (a name, a virtual address or a load balancer before them; kubeadm cannot change it later)"},
		{two("10.0.0.9:6443"), ""},
		{adopted("podCIDR: 10.244.0.0/30"), ""},
		{adopted("podCIDR: 10.0.0.0/16"), ""},
		{adopted("podCIDR: 10.96.0.0/16"), ""},
		{second("address: 10.0.0.2, managed: false, labels: {a: b}"), "spec.hosts[1].labels: has no effect on b, which hybridctl leaves as it is (managed: false) (take it out; kubectl label and kubectl taint work on any node)"},
		{second("address: 10.0.0.1, port: 22"), "spec.hosts[1].address: 10.0.0.1 is taken by spec.hosts[0] (line 9)"},
		{second("address: 10.0.0.1, port: 2222"), ""},
		{second("address: B.example.com"), ""},
		{second("address: 10.0.0.2, nodeIP: 10.0.0.1"), "spec.hosts[1].nodeIP: 10.0.0.1 is taken by spec.hosts[0] (line 9)"},
		{second("address: 10.0.0.2, jump: 'root@gate'"), ""},
		{second("address: 10.244.3.4"), "spec.hosts[1].address: 10.244.3.4 lies in the pod network 10.244.0.0/16 (choose another podCIDR)"},
	} {
		t.Run(test.replace[1], func(t *testing.T) {
			got := ""
			if _, err := Parse("F", []byte(edit(t, test.replace))); err != nil {
				var lines []string
				var problems *Problems
				if !errors.As(err, &problems) {
					t.Fatal(err)
				}
				for _, problem := range problems.List {
					if problem.Line == 0 {
						t.Errorf("no place: %s", problem)
					}
					problem.File, problem.Line = "", 0
					lines = append(lines, strings.TrimPrefix(problem.String(), ": "))
				}
				got = strings.Join(lines, "\n")
			}
			if here, err := os.Getwd(); err == nil {
				got = strings.ReplaceAll(got, here, "HERE")
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// A host's list is added to the cluster's, and kubeadm wants "all" alone.
func TestParse_AllOfAHostBesidesNamesOfTheCluster(t *testing.T) {
	_, err := Parse("F", []byte(edit(t,
		[2]string{"version: v1.36.3", "version: v1.36.3\n    ignorePreflightErrors: [Mem]"},
		[2]string{"role: control-plane", "role: control-plane, ignorePreflightErrors: [ALL]"})))
	want := `F:10:79: spec.hosts[0].ignorePreflightErrors[0]: "ALL" does not go with spec.kubernetes.ignorePreflightErrors: "all" stands alone (keep one of the two)`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}
