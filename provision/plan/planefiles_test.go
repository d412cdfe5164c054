package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/golden"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// withFiles is a cluster of several control planes that have files; done: they are there.
func withFiles(t *testing.T, planes int, done bool) Input {
	t.Helper()
	in := fresh()
	k := &in.Cluster.Spec.Kubernetes
	k.Endpoint = "api.example:6443"
	k.Files = []inventory.ControlPlaneFile{{Name: "audit", Path: "/etc/kubernetes/audit/policy.yaml", Source: "/a"}, {Name: "key", Path: "/etc/kubernetes/key.yaml", SecretCommand: []string{"pass"}}}
	in.Files = map[string]inventory.Secret{"audit": "rules: []\n", "key": "key: hunter2\n"}
	for i := 1; i < planes; i++ {
		name := fmt.Sprintf("cp-%d", i)
		in.Cluster.Spec.Hosts = append(in.Cluster.Spec.Hosts, inventory.Host{Name: name, Address: "192.0.2." + fmt.Sprint(30+i), Role: inventory.ControlPlane})
		in.Hosts = append(in.Hosts, facts.Host{Name: name, Arch: platform.AMD64})
	}
	if !done {
		return in
	}
	p := mustBuild(t, in)
	in.API = facts.Cluster{Observed: true, CNI: facts.CNIState{InPlace: true}, NodeInPlace: map[string]bool{}}
	for i := range in.Hosts {
		h := &in.Hosts[i]
		h.Kubeadm.KubeletConf, h.Markers = true, map[string]facts.Marker{}
		in.API.Nodes = append(in.API.Nodes, facts.Node{Name: h.Name, ControlPlane: h.Name != "x86-1"})
		in.API.NodeInPlace[h.Name] = true
		for _, s := range p.Steps {
			if s.Host == h.Name && s.Kind != Node {
				h.Markers[string(s.Kind)] = facts.Marker{Marker: host.Marker{Step: string(s.Kind), State: host.MarkerDone, Digest: s.Digest}}
			}
			if images, ok := s.Inputs.(ImagesInputs); ok && s.Host == h.Name {
				for _, image := range images.Images {
					h.Images = append(h.Images, image.Ref)
				}
			}
		}
	}
	return in
}

func TestBuild_FilesOfControlPlanes(t *testing.T) {
	p := mustBuild(t, withFiles(t, 2, false))
	golden.Check(t, "files.txt", planText(p))
	whole, err := json.Marshal(p)
	if err != nil || strings.Contains(string(whole), "hunter2") || !strings.Contains(string(whole), "/etc/kubernetes/key.yaml") {
		t.Errorf("the plan as JSON: %v\n%s", err, whole)
	}
	// A secret that can be guessed is not to be found by hashing guesses, which costs nothing.
	if guess := sha256.Sum256([]byte("key: hunter2\n")); strings.Contains(string(whole), hex.EncodeToString(guess[:])) {
		t.Error("the plan holds the sum of a secret file")
	}
	for _, s := range p.Steps {
		if (s.Kind == Init || s.Kind == Join) && slices.Contains(s.DependsOn, HostID(s.Host, Files)) == (s.Host == "x86-1") {
			t.Errorf("%s depends on %v", s.ID, s.DependsOn)
		}
		if in, ok := s.Inputs.(InitInputs); ok {
			v := in.Config.APIServer.ExtraVolumes
			if len(v) != 2 || v[1].Name != "hybridctl-key" || v[1].HostPath != "/etc/kubernetes/key.yaml" || v[1].MountPath != v[1].HostPath || !v[1].ReadOnly || v[1].PathType != "File" {
				t.Errorf("volumes %+v", v)
			}
		}
	}
}

// What is in place stays; another content is brought to one control plane after another, and to no other host.
func TestBuild_FilesThatChange(t *testing.T) {
	if p := mustBuild(t, withFiles(t, 3, true)); p.Changes() != 0 {
		t.Errorf("in place:\n%s", planText(p))
	}
	in := withFiles(t, 3, true)
	in.Files["key"] = "key: another\n"
	var got []string
	for _, s := range mustBuild(t, in).Steps {
		if s.Action != Unchanged {
			got = append(got, fmt.Sprintf("%s %s behind %v", s.Action, s.ID, s.Behind))
			if !strings.Contains(strings.Join(s.Details, "\n"), "kube-apiserver is started again, on one control plane after another") {
				t.Errorf("%s: %q", s.ID, s.Details)
			}
		}
	}
	if want := "update arm-1/files behind [], update cp-1/files behind [arm-1/files], update cp-2/files behind [cp-1/files]"; strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
	// A program is not run by a plan; what it would print is not known.
	in = withFiles(t, 1, true)
	delete(in.Files, "key")
	if s, _ := mustBuild(t, in).Step("arm-1/files"); s.Action != Unknown || !strings.Contains(s.Reason, "secretCommand") {
		t.Errorf("%+v", s)
	}
	// Files that a running cluster is given: its kube-apiserver does not mount them.
	in = withFiles(t, 1, true)
	delete(in.Hosts[1].Markers, "files")
	if s, _ := mustBuild(t, in).Step("arm-1/files"); s.Action != Create || !strings.Contains(strings.Join(s.Details, "\n"), "mounts none of them") {
		t.Errorf("%+v", s)
	}
}

// The way from node to node is a matter of the kernel's module, of the manifest, and of the pods, which are rolled when it changes.
func TestBuild_WireGuard(t *testing.T) {
	in := fresh()
	vxlan := string(CNIManifest(in))
	in.Cluster.Spec.CNI.Backend = inventory.BackendVXLAN
	if string(CNIManifest(in)) != vxlan {
		t.Error("to name the default changes the manifest")
	}
	in.Cluster.Spec.CNI.Backend = inventory.BackendWireGuard
	manifest := string(CNIManifest(in))
	changed := 0
	was := strings.Split(vxlan, "\n")
	for i, line := range strings.Split(manifest, "\n") {
		if line != was[i] {
			changed++
		}
	}
	if changed != 2 || !strings.Contains(manifest, `"Type": "wireguard"`) {
		t.Errorf("%d lines of the manifest differ", changed)
	}
	if m := Modules(in.Cluster); !slices.Equal(m, []string{"overlay", "br_netfilter", "wireguard"}) {
		t.Errorf("modules %v", m)
	}
}

// Whether a host is as it should be is judged by digests: what a cluster does not ask for must not be in what they are made of.
func TestDigests_OfWhatIsNotAskedFor(t *testing.T) {
	in := fresh()
	for _, s := range mustBuild(t, in).Steps {
		text, err := json.Marshal(s.Inputs)
		if err != nil || strings.Contains(string(text), "processes") || strings.Contains(string(text), "Lands") {
			t.Errorf("%s: %s %v", s.ID, text, err)
		}
		if init, ok := s.Inputs.(InitInputs); ok {
			text, err := json.Marshal(init.Config)
			if err != nil || strings.Contains(string(text), "ExtraVolumes") || strings.Contains(string(text), "ServerTLSBootstrap") {
				t.Errorf("kubeadm's configuration: %s %v", text, err)
			}
		}
	}
}
