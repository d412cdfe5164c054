package render

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/hybridctl/hybridctl/provision/golden"
)

func full() KubeadmInit {
	return KubeadmInit{
		Token: "abcdef.0123456789abcdef", TokenTTL: "20m0s", TokenDescription: "for one run",
		NodeIP: "192.0.2.10", BindPort: 6443,
		Registration: Registration{Name: "cp-1", CRISocket: "unix:///run/containerd/containerd.sock",
			Taints:                []Taint{{Key: "node-role.kubernetes.io/control-plane", Effect: "NoSchedule"}, {Key: "dedicated", Value: "db", Effect: "NoExecute"}},
			KubeletExtraArgs:      []NameValue{{"node-ip", "192.0.2.10"}, {"v", "2"}},
			IgnorePreflightErrors: []string{"NumCPU", "Mem"}},
		Timeouts: []NameValue{{"kubernetesAPICall", "10m0s"}, {"tlsBootstrap", "15m0s"}},
		Patches:  "/var/lib/hybridctl/patches",
		Version:  "v1.36.3", ClusterName: "mixed", Endpoint: "[2001:db8::1]:6443", ImageRepository: "registry.example/kube",
		EncryptionAlgorithm: "ECDSA-P256", PodCIDR: "10.244.0.0/16", ServiceCIDR: "10.96.0.0/12", DNSDomain: "cluster.local",
		DNSRepository: "registry.example/kube", DNSTag: "v1.14.2", EtcdRepository: "registry.example/kube", EtcdTag: "3.6.8-0",
		CertSANs:  []string{"192.0.2.10", "api.example"},
		Etcd:      Component{ExtraArgs: []NameValue{{"heartbeat-interval", "500"}, {"quote", `a "b": c`}}, ExtraEnvs: []NameValue{{"GOGC", "200"}}},
		APIServer: Component{ExtraArgs: []NameValue{{"profiling", "false"}}},
		Scheduler: Component{ExtraArgs: []NameValue{{"leader-elect", "false"}}},
		Kubelet:   map[string]any{"maxPods": 50, "failSwapOn": false},
		KubeProxy: map[string]any{"conntrack": map[string]any{"maxPerCore": 0}},
	}
}

func least() KubeadmInit {
	return KubeadmInit{
		Token: "abcdef.0123456789abcdef", TokenTTL: "20m0s", TokenDescription: "for one run", BindPort: 6443,
		Registration: Registration{Name: "cp-1", CRISocket: "unix:///run/containerd/containerd.sock"},
		Version:      "v1.36.3", ClusterName: "mixed", Endpoint: "192.0.2.10:6443", ImageRepository: "registry.example",
		PodCIDR: "10.244.0.0/16", ServiceCIDR: "10.96.0.0/12", DNSDomain: "cluster.local",
		DNSRepository: "registry.example/coredns", DNSTag: "v1.14.2", EtcdRepository: "registry.example", EtcdTag: "3.6.8-0",
	}
}

func join(controlPlane bool) KubeadmJoin {
	return KubeadmJoin{Token: "abcdef.0123456789abcdef", CACertHashes: []string{"sha256:7c4c5f3a8e1d6b2f0a9e8d7c6b5a49382716051423324150617283940a1b2c3d"},
		Endpoint: "192.0.2.10:6443", ControlPlane: controlPlane, NodeIP: "192.0.2.11", BindPort: 6443,
		Registration: full().Registration, Timeouts: full().Timeouts}
}

func TestGolden(t *testing.T) {
	for name, body := range map[string][]byte{
		"modules.conf":            ModulesConf([]string{"overlay", "br_netfilter", "vxlan"}),
		"sysctl.conf":             SysctlConf([]Setting{{"net.ipv4.ip_forward", "1"}, {"-net.bridge.bridge-nf-call-ip6tables", "1"}}),
		"config.toml":             ContainerdConfig("registry.example/pause:3.10.2", ""),
		"containerd.service":      ContainerdUnit(),
		"kubelet.service":         KubeletUnit(),
		"10-kubeadm.conf":         KubeletDropIn(),
		"init-full.yaml":          KubeadmInitConfig(full()),
		"init-least.yaml":         KubeadmInitConfig(least()),
		"join-worker.yaml":        KubeadmJoinConfig(join(false)),
		"join-control-plane.yaml": KubeadmJoinConfig(join(true)),
		"flannel.yaml":            FlannelManifest(Flannel{PodCIDR: "10.244.0.0/16", Image: "registry.example/flannel:v0.28.4", PluginImage: "registry.example/flannel-cni-plugin:v1.9.1", APIHost: "10.99.0.11", APIPort: "6443", Backend: "vxlan", ConfigDigest: "0123456789ab"}),
	} {
		t.Run(name, func(t *testing.T) { golden.Check(t, name, body) })
	}
}

// The pod network has to be on every node, whatever its taints, and over the address that the node has in the cluster.
func TestFlannel_OnEveryNodeOverItsAddress(t *testing.T) {
	var set struct {
		Spec struct {
			Template struct {
				Spec struct {
					HostNetwork bool `json:"hostNetwork"`
					Tolerations []struct{ Key, Operator, Effect string }
					Containers  []struct {
						Args []string
						Env  []struct {
							Name      string
							ValueFrom struct {
								FieldRef struct {
									FieldPath string `json:"fieldPath"`
								} `json:"fieldRef"`
							} `json:"valueFrom"`
						}
					}
				}
			}
		}
	}
	docs := bytes.Split(FlannelManifest(filled[Flannel]("x")), []byte("\n---\n"))
	if err := yaml.Unmarshal(docs[len(docs)-1], &set); err != nil {
		t.Fatal(err)
	}
	pod := set.Spec.Template.Spec
	if len(pod.Tolerations) != 1 || pod.Tolerations[0].Operator != "Exists" || pod.Tolerations[0].Key != "" || pod.Tolerations[0].Effect != "" {
		t.Errorf("tolerates %+v", pod.Tolerations)
	}
	c := pod.Containers[0]
	if !pod.HostNetwork || !slices.Contains(c.Args, "--iface=$(NODE_IP)") || c.Env[0].Name != "NODE_IP" || c.Env[0].ValueFrom.FieldRef.FieldPath != "status.hostIP" {
		t.Errorf("%+v", c)
	}
}

// TestKubeadmTakesIt gives the configurations to a real kubeadm, where HYBRIDCTL_KUBEADM names one (the lab's cache has it).
func TestKubeadmTakesIt(t *testing.T) {
	kubeadm := os.Getenv("HYBRIDCTL_KUBEADM")
	if kubeadm == "" {
		t.Skip("HYBRIDCTL_KUBEADM names no kubeadm; `make e2e` runs this with the lab's")
	}
	for _, name := range []string{"init-full.yaml", "init-least.yaml", "join-worker.yaml", "join-control-plane.yaml"} {
		out, err := exec.Command(kubeadm, "config", "validate", "--config", filepath.Join("testdata", name)).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
