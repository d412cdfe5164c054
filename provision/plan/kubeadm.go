package plan

import (
	"fmt"
	"net"
	"slices"
	"sort"
	"strings"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/render"
)

// apiPort is the port that the API server binds; kubeadm's default.
const apiPort = 6443

// controlPlaneTaint keeps ordinary pods off a control plane, as kubeadm does by default.
var controlPlaneTaint = render.Taint{Key: "node-role.kubernetes.io/control-plane", Effect: "NoSchedule"}

func (b *builder) initStep(h inventory.Host) Step {
	config := b.initConfig(h)
	in := InitInputs{ConfigDigest: Digest(config), Config: config, Files: b.filesOf(h)}
	s := Step{ID: HostID(h.Name, Init), Kind: Init, Host: h.Name, Inputs: in, Digest: Digest(in), DependsOn: b.before(h)}
	b.judgeMember(&s, h)
	if s.Action == Create {
		s.Details = []string{fmt.Sprintf("kubeadm init %s, endpoint %s, pods %s, services %s", config.Version, config.Endpoint, config.PodCIDR, config.ServiceCIDR)}
	}
	return s
}

func (b *builder) joinStep(h inventory.Host, after ID) Step {
	config := b.joinConfig(h)
	in := JoinInputs{ConfigDigest: Digest(config), Config: config, Files: b.filesOf(h)}
	s := Step{ID: HostID(h.Name, Join), Kind: Join, Host: h.Name, Inputs: in, Digest: Digest(in), DependsOn: b.before(h)}
	if after != "" {
		s.DependsOn = append(s.DependsOn, after)
	}
	b.judgeMember(&s, h)
	if in.Forced = b.forced(h); in.Forced {
		s.Action, s.Reason, s.Inputs = Create, "it is not known to be of this cluster, and is reset first, as --force names it", in
	}
	if s.Action == Create {
		s.Details = []string{fmt.Sprintf("kubeadm join %s as %s", config.Endpoint, h.Role)}
	}
	if in.Registers = s.Action == Create && !in.Forced && b.registersYet(s, h); in.Registers {
		s.Reason = "it has joined, and its kubelet has not registered the node yet"
		s.Details = []string{"wait for the node; if none comes, reset the host and " + s.Details[0]}
		s.Inputs = in
	}
	return s
}

// forced reports whether the user named the host to be reset.
func (b *builder) forced(h inventory.Host) bool {
	return slices.Contains(b.in.Forced, h.Name) && b.facts[h.Name].Err == nil
}

// registersYet reports whether a worker has joined with these very settings and was never seen by the API server: an earlier run ended between
// kubeadm and the moment when the kubelet registers its node. A node that was there and is gone has left pods and their network behind, which
// do not fit the addresses that it gets as a new one.
func (b *builder) registersYet(s Step, h inventory.Host) bool {
	f, m := b.facts[h.Name], b.facts[h.Name].Markers[string(Join)]
	_, listed := b.nodes[h.Name]
	return b.in.API.Observed && !listed && h.Role == inventory.Worker && m.State == host.MarkerDone && m.Digest == s.Digest && f.Kubeadm.KubeletConf && !f.Kubeadm.Pods
}

// judgeMember reports whether the host is a member of the cluster already. Settings that changed since are not a reason to touch a
// running member: notes tells them.
func (b *builder) judgeMember(s *Step, h inventory.Host) {
	f := b.facts[h.Name]
	m, marked := f.Markers[string(s.Kind)]
	node, listed := b.nodes[h.Name]
	switch {
	case f.Err != nil:
		s.Action, s.Reason = Unknown, "the host was not reached"
	case f.BadMarker(string(s.Kind)) && listed && f.Kubeadm.KubeletConf && node.MachineID == f.MachineID:
		s.Action, s.Reason = Update, unread(s.Kind)+", and it is a node"
	case f.BadMarker(string(s.Kind)):
		s.Action, s.Reason = Create, unread(s.Kind)+", and it is not known to be a node"
	case marked && m.State != host.MarkerDone && worksAnyway(h, f, node): // it is not reset, with the pods that run there, for the end that was not seen
		s.Action, s.Reason = Update, "an earlier run did not see its end, and its node is Ready"
	case marked && m.State != host.MarkerDone:
		s.Action, s.Reason = Create, "an earlier run did not finish it"
	case marked && !f.Kubeadm.KubeletConf:
		s.Action, s.Reason = Create, "the host was reset since it was a node"
	case b.in.API.Observed && !listed && f.Kubeadm.KubeletConf && marked:
		s.Action, s.Reason = Create, "the API server no longer has its node"
	case marked && len(m.Drift) > 0:
		s.Action, s.Reason = Update, m.Drift[0]
	case marked:
		s.Action, s.Reason = Unchanged, "is a node"
	case listed && f.Kubeadm.KubeletConf && node.MachineID == f.MachineID:
		s.Action, s.Reason = Unchanged, "is a node, although hybridctl left no marker"
	case listed && node.MachineID != "" && f.MachineID != node.MachineID:
		s.Action, s.Reason = Create, fmt.Sprintf("the host was reinstalled: its machine-id is %s, its node's %s", f.MachineID, node.MachineID)
	default:
		s.Action, s.Reason = Create, "is no node yet"
	}
}

// worksAnyway reports whether a worker is a node that is Ready, whatever its marker says: kubeadm gives up on a slow kubelet that registers later. Of
// what makes a control plane more may be missing.
func worksAnyway(h inventory.Host, f facts.Host, node facts.Node) bool {
	worker := h.Role == inventory.Worker && !node.ControlPlane && !runsEtcd(f)
	return worker && node.Ready && f.Kubeadm.KubeletConf && f.MachineID != "" && node.MachineID == f.MachineID
}

func (b *builder) initConfig(h inventory.Host) render.KubeadmInit {
	k := b.in.Cluster.Spec.Kubernetes
	api, _ := imageOf(b.in.Bundle, "kube-apiserver")
	dns, _ := imageOf(b.in.Bundle, "coredns")
	etcd, _ := imageOf(b.in.Bundle, "etcd")
	c := render.KubeadmInit{
		TokenTTL: "20m0s", TokenDescription: TokenDescription,
		NodeIP: h.NodeIP, BindPort: apiPort, Registration: b.registration(h), Timeouts: kubeadmTimeouts(k.Timeouts), Patches: b.patches(),
		Version: k.Version, ClusterName: b.in.Cluster.Metadata.Name, Endpoint: k.Endpoint, EncryptionAlgorithm: k.EncryptionAlgorithm,
		PodCIDR: k.PodCIDR, ServiceCIDR: k.ServiceCIDR, DNSDomain: k.DNSDomain, CertSANs: b.certSANs(h),
		Etcd: component(k.Etcd), APIServer: apiServerComponent(k), ControllerManager: component(k.ControllerManager), Scheduler: component(k.Scheduler),
		Kubelet: k.Kubelet, KubeProxy: k.KubeProxy, ServerTLSBootstrap: k.ServerTLSBootstrap,
	}
	c.ImageRepository, _ = split(api.Ref)
	c.DNSRepository, c.DNSTag = split(dns.Ref)
	c.EtcdRepository, c.EtcdTag = split(etcd.Ref)
	return c
}

func (b *builder) joinConfig(h inventory.Host) render.KubeadmJoin {
	k := b.in.Cluster.Spec.Kubernetes
	return render.KubeadmJoin{Endpoint: k.Endpoint, ControlPlane: h.Role == inventory.ControlPlane, NodeIP: h.NodeIP, BindPort: apiPort,
		Registration: b.registration(h), Timeouts: kubeadmTimeouts(k.Timeouts), Patches: b.patches()}
}

// TokenDescription marks the bootstrap tokens that hybridctl makes, so that leftovers can be told from others'.
const TokenDescription = "made by hybridctl for one run"

// registration is how the node registers: its taints are there before the first pod can land.
func (b *builder) registration(h inventory.Host) render.Registration {
	r := render.Registration{Name: h.Name, CRISocket: host.CRISocket}
	if h.Role == inventory.ControlPlane {
		r.Taints = append(r.Taints, controlPlaneTaint)
	}
	for _, t := range h.Taints {
		r.Taints = append(r.Taints, taint(t))
	}
	if ip := h.NodeIP; ip != "" {
		r.KubeletExtraArgs = append(r.KubeletExtraArgs, render.NameValue{Name: "node-ip", Value: ip})
	}
	r.KubeletExtraArgs = append(r.KubeletExtraArgs, nameValues(h.KubeletExtraArgs)...)
	r.IgnorePreflightErrors = append(append([]string(nil), b.in.Cluster.Spec.Kubernetes.IgnorePreflightErrors...), h.IgnorePreflightErrors...)
	return r
}

// certSANs are the names the API server's certificate is good for, beside those kubeadm puts there itself.
func (b *builder) certSANs(h inventory.Host) []string {
	names := map[string]bool{h.Address: true}
	if endpoint, _, err := net.SplitHostPort(b.in.Cluster.Spec.Kubernetes.Endpoint); err == nil {
		names[endpoint] = true
	}
	for _, x := range b.in.Cluster.Spec.Hosts {
		if x.Role == inventory.ControlPlane {
			names[x.Address] = true
		}
	}
	out := make([]string, 0, len(names))
	for n := range names {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}

func (b *builder) patches() string {
	if len(b.in.Patches) == 0 {
		return ""
	}
	return PatchesDir
}

func (b *builder) nodeStep(h inventory.Host, member Kind) Step {
	in := NodeInputs{Labels: h.Labels, Taints: h.Taints}
	s := Step{ID: HostID(h.Name, Node), Kind: Node, Host: h.Name, DependsOn: []ID{HostID(h.Name, member)}, Inputs: in, Digest: Digest(in)}
	_, listed := b.nodes[h.Name]
	switch {
	case b.in.API.Observed && listed && b.in.API.NodeInPlace[h.Name]:
		s.Action, s.Reason = Unchanged, "in place"
	case b.in.API.Observed && listed:
		s.Action, s.Reason = Update, "labels or taints differ from the inventory"
	case b.in.API.Observed || b.in.API.Err == nil:
		s.Action, s.Reason = Create, "no node yet"
	default:
		s.Action, s.Reason = Unknown, "the API server did not answer"
	}
	if s.pending() {
		for _, k := range sorted(in.Labels) {
			s.Details = append(s.Details, "label "+k+"="+in.Labels[k])
		}
		for _, t := range in.Taints {
			s.Details = append(s.Details, "taint "+t)
		}
	}
	return s
}

func (b *builder) cniStep(after ...ID) Step {
	manifest := CNIManifest(b.in)
	in := CNIInputs{Provider: b.in.Cluster.Spec.CNI.Provider, ManifestDigest: Digest(manifest), Manifest: manifest}
	s := Step{ID: ClusterID(CNI), Kind: CNI, DependsOn: after, Inputs: in, Digest: Digest(in)}
	b.judgeObjects(&s, b.in.API.CNI)
	return s
}

// judgeObjects compares a step of objects with what the API server told of them.
func (b *builder) judgeObjects(s *Step, state facts.CNIState) {
	switch {
	case b.in.API.Observed && state.InPlace:
		s.Action, s.Reason = Unchanged, "in place"
	case b.in.API.Observed && allMissing(state.Differs):
		s.Action, s.Reason = Create, "not installed yet"
	case b.in.API.Observed:
		s.Action, s.Reason, s.Details = Update, "objects differ from what is wanted", state.Differs
	case b.in.API.Err == nil:
		s.Action, s.Reason = Create, "no cluster yet"
	default:
		s.Action, s.Reason = Unknown, "the API server did not answer"
	}
}

func allMissing(objects []string) bool {
	for _, o := range objects {
		if !strings.HasSuffix(o, facts.Missing) {
			return false
		}
	}
	return true
}

// CNIManifest returns the pod network's objects.
func CNIManifest(in Input) []byte {
	if in.Cluster.Spec.CNI.Provider != inventory.CNIFlannel {
		return in.CNIManifest
	}
	image, _ := imageOf(in.Bundle, "flannel")
	plugin, _ := imageOf(in.Bundle, "flannel-cni-plugin")
	k := in.Cluster.Spec.Kubernetes
	f := render.Flannel{PodCIDR: k.PodCIDR, Image: image.Ref, PluginImage: plugin.Ref, ConfigDigest: Digest(k.PodCIDR)[7:19], Backend: in.Cluster.Spec.CNI.Overlay().Backend}
	if f.Backend != inventory.BackendVXLAN { // with VXLAN the digest is what it was before there was a choice
		f.ConfigDigest = Digest(k.PodCIDR + " " + f.Backend)[7:19]
	}
	f.APIHost, f.APIPort, _ = net.SplitHostPort(k.Endpoint) // the inventory's own check
	return render.FlannelManifest(f)
}

// notes tells what the user should know beside the steps.
func (b *builder) notes() []string {
	var out []string
	for _, h := range b.in.Cluster.Spec.Hosts {
		f := b.facts[h.Name]
		if !b.planned(h) {
			continue
		}
		if f.Err != nil {
			out = append(out, fmt.Sprintf("%s was not reached: %v", h.Name, f.Err))
		}
		for _, k := range []Kind{Init, Join} {
			if m, ok := f.Markers[string(k)]; ok && m.State == host.MarkerDone && m.Digest != b.memberDigest(h, k) {
				out = append(out, fmt.Sprintf("%s: the inventory's kubeadm settings changed after kubeadm %s; a running node is not changed by them", h.Name, k))
			}
		}
	}
	out = append(out, renamedNotes(b.in)...)
	for _, n := range b.in.API.Nodes {
		if _, ok := b.in.Cluster.Host(n.Name); !ok && b.in.Only == nil {
			out = append(out, fmt.Sprintf("the node %s is in the cluster but not in the inventory; it is left as it is", n.Name))
		}
	}
	if b.in.Cluster.Spec.Kubernetes.ServerTLSBootstrap {
		out = append(out, "kubelets ask the cluster for their serving certificates (serverTLSBootstrap): hybridctl approves those of nodes that join; before one ends, "+
			"someone has to approve the next: hybridctl up, or an approver in the cluster")
	}
	return append(out, b.cephNotes()...)
}

func (b *builder) memberDigest(h inventory.Host, k Kind) string {
	if k == Init {
		return Digest(InitInputs{ConfigDigest: Digest(b.initConfig(h))})
	}
	return Digest(JoinInputs{ConfigDigest: Digest(b.joinConfig(h))})
}

func kubeadmTimeouts(t inventory.KubeadmTimeouts) []render.NameValue {
	var out []render.NameValue
	for _, x := range []struct {
		name  string
		value inventory.Duration
	}{
		{"controlPlaneComponentHealthCheck", t.ControlPlaneComponentHealthCheck},
		{"kubeletHealthCheck", t.KubeletHealthCheck},
		{"kubernetesAPICall", t.KubernetesAPICall},
		{"etcdAPICall", t.EtcdAPICall},
		{"tlsBootstrap", t.TLSBootstrap},
		{"discovery", t.Discovery},
	} {
		if x.value != 0 {
			out = append(out, render.NameValue{Name: x.name, Value: x.value.String()})
		}
	}
	return out
}

func component(c inventory.Component) render.Component {
	out := render.Component{ExtraArgs: nameValues(c.ExtraArgs), ExtraEnvs: nameValues(c.ExtraEnvs)}
	for _, v := range c.ExtraVolumes {
		out.ExtraVolumes = append(out.ExtraVolumes, render.Volume(v))
	}
	return out
}

func nameValues(in []inventory.NameValue) []render.NameValue {
	var out []render.NameValue
	for _, x := range in {
		out = append(out, render.NameValue(x))
	}
	return out
}

// taint reads key[=value]:Effect, which the inventory's validation has checked.
func taint(s string) render.Taint {
	rest, effect, _ := strings.Cut(s, ":")
	key, value, _ := strings.Cut(rest, "=")
	return render.Taint{Key: key, Value: value, Effect: effect}
}

func sorted(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
