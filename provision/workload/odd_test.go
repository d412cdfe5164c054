package workload

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// TestLint_OddManifests are texts as people have them: what is right gives nothing, whatever it looks like.
func TestLint_OddManifests(t *testing.T) {
	const head = "apiVersion: v1\nkind: Pod\nmetadata: {name: it}\n"
	for _, c := range []struct{ name, want, text string }{
		{"a merged selector is overridden", "L1", "x: &s {kubernetes.io/arch: amd64}\n" + head + "spec:\n  nodeSelector: {<<: *s, kubernetes.io/arch: arm64}\n  " + x86},
		{"a merged selector that fits now", "", "x: &s {kubernetes.io/arch: arm64}\n" + head + "spec:\n  nodeSelector: {<<: *s, kubernetes.io/arch: amd64}\n  " + x86},
		{"of two merged selectors the first counts", "", "x: &s {kubernetes.io/arch: amd64}\ny: &u {kubernetes.io/arch: arm64}\n" + head + "spec:\n  nodeSelector: {<<: [*s, *u]}\n  " + x86},
		{"a merge within itself", "L1", head + "spec:\n  nodeSelector: &s {<<: *s}\n  " + x86},
		{"a whole spec by an alias", "L1", "x: &c [{name: a, image: r/x86:1}]\n" + head + "spec: {containers: *c}\n"},
		{"for Windows, and nothing for Linux", "", deployment("nodeSelector: {kubernetes.io/os: windows}\ncontainers: [{name: a, image: r/arm32:1}]\n")},
		{"for Windows of an architecture", "", deployment("nodeSelector: {kubernetes.io/os: windows, kubernetes.io/arch: amd64}\ncontainers: [{name: a, image: r/arm32:1}]\n")},
		{"for Windows by its spec", "", deployment("os: {name: windows}\ncontainers: [{name: a, image: r/arm32:1}]\n")},
		{"for Windows by its affinity", "", deployment(terms(expression("kubernetes.io/os", "In", "windows")) + "containers: [{name: a, image: r/arm32:1}]\n")},
		{"not for Linux by its affinity", "", deployment(terms(expression("kubernetes.io/os", "NotIn", "linux")) + "containers: [{name: a, image: r/arm32:1}]\n")},
		{"for Windows, or for Linux", "L1", deployment(terms(expression("kubernetes.io/os", "In", "windows"), expression("kubernetes.io/os", "In", "linux")) + x86)},
		{"for Linux", "L1", deployment("os: {name: linux}\nnodeSelector: {kubernetes.io/os: linux}\n" + x86)},
		{"for Windows by an old label", "L4", deployment("nodeSelector: {beta.kubernetes.io/os: windows}\ncontainers: [{name: a, image: r/arm32:1}]\n")},
		{"an image that is null", "", head + "spec:\n  containers: [{name: a, image: ~}, {name: b, image: null}, {name: c, image: \"\"}]\n"},
		{"containers that are no list", "", head + "spec: {containers: {a: r/x86:1}}\n"},
		{"a Service of Knative, whose container has no name", "L1", "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: it}\nspec: {template: {spec: {containers: [{image: r/x86:1}]}}}\n"},
		{"a ClusterServiceVersion", "L1", "apiVersion: operators.coreos.com/v1alpha1\nkind: ClusterServiceVersion\nmetadata: {name: it}\nspec: {install: {spec: {deployments: [{name: a, spec: {template: {spec: {containers: [{name: a, image: r/x86:1}]}}}}]}}}\n"},
		{"a definition of a resource", "", "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: it}\nspec: {versions: [{schema: {openAPIV3Schema: {properties: {containers: [{name: a, image: r/x86:1}]}}}}]}\n"},
		{"manifests within a ConfigMap are text", "", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: it}\ndata:\n  pod.yaml: |\n    apiVersion: v1\n    kind: Pod\n    spec: {containers: [{name: a, image: r/x86:1}]}\n"},
		{"a list in a list", "L1", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: PodList\n  items:\n  - apiVersion: v1\n    kind: Pod\n    metadata: {name: it}\n    spec:\n      " + x86},
		{"a kustomization and its patches", "", "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a.yaml]\nimages: [{name: r/x86, newTag: \"1\"}]\n---\n- op: replace\n  path: /spec/x\n  value: r/x86:1\n"},
		{"a byte order mark", "L1", "\uFEFF" + head + "spec:\n  " + x86},
		{"JSON with a byte order mark and tabs", "L1", "\uFEFF{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Pod\",\n\t\"metadata\": {\"name\": \"it\"},\n\t\"spec\": {\"containers\": [{\"name\": \"a\", \"image\": \"r/x86:1\"}]}\n}\n"},
		{"JSON in an array", "L1", `[{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "it"}, "spec": {"containers": [{"name": "a", "image": "r/x86:1"}]}}]`},
		{"empty documents between", "L1", "---\n---\n# nothing\n---\n" + head + "spec:\n  " + x86 + "---\n...\n---\n"},
		{"a key twice", "L21", head + "spec:\n  nodeSelector: {kubernetes.io/arch: arm64, kubernetes.io/arch: amd64}\n  " + x86},
		{"one node by matchFields", "L15", deployment(terms("{matchFields: [{key: metadata.name, operator: In, values: [old-1]}]}") + x86)},
		{"Gt of an architecture fits nothing", "L2 L17", deployment(terms(expression("kubernetes.io/arch", "Gt", "\"1\"")) + both)},
		{"an architecture that exists", "L1", deployment(terms("{matchExpressions: [{key: kubernetes.io/arch, operator: Exists}]}") + x86)},
		{"an architecture that does not exist", "L2", deployment(terms("{matchExpressions: [{key: kubernetes.io/arch, operator: DoesNotExist}]}") + both)},
		{"the old label and the new one", "L4", deployment("nodeSelector: {beta.kubernetes.io/arch: amd64}\n" + terms(expression("kubernetes.io/arch", "In", "amd64")) + x86)},
		{"a port, a tag and a digest", "", deployment("containers: [{name: a, image: \"r:5000/app-x:v1@sha256:0000000000000000000000000000000000000000000000000000000000000000\"}]\n")},
	} {
		if got := problemsOf(t, c.text, Options{Known: images}); got != c.want {
			t.Errorf("%s: found %q, want %q", c.name, got, c.want)
		}
	}
}

// TestLint_ByTheClustersNodes: where nodes are known, their labels and taints decide as well.
func TestLint_ByTheClustersNodes(t *testing.T) {
	arm := func(n *corev1.Node) {}
	node := func(name, arch string, change func(*corev1.Node)) corev1.Node {
		n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{archLabel: arch, osLabel: linux, "pool": name}}}
		change(&n)
		return n
	}
	tainted := func(key string) func(*corev1.Node) {
		return func(n *corev1.Node) {
			n.Spec.Taints = []corev1.Taint{{Key: key, Value: "arm64", Effect: corev1.TaintEffectNoSchedule}}
		}
	}
	for _, c := range []struct {
		name, want, spec string
		arm              func(*corev1.Node)
	}{
		{"any node", "L1", x86, arm},
		{"a pool of the right architecture", "", "nodeSelector: {pool: x86}\n" + x86, arm},
		{"the other pool", "L1", "nodeSelector: {pool: arm}\n" + x86, arm},
		{"a pool that is still empty", "L1", "nodeSelector: {pool: new}\n" + x86, arm},
		{"a taint of the architecture keeps it off", "", x86, tainted("kubernetes.io/arch")},
		{"and is tolerated", "L12", "tolerations: [{key: kubernetes.io/arch, operator: Exists}]\n" + x86, tainted("kubernetes.io/arch")},
		{"a taint that goes by", "L1", x86, tainted(corev1.TaintNodeNotReady)},
		{"a term of the right pool", "", terms(expression("pool", "In", "x86")) + x86, arm},
		{"a term of the right node", "", terms("{matchFields: [{key: metadata.name, operator: NotIn, values: [arm]}]}") + x86, arm},
		{"the right node by its name", "", "nodeName: x86\n" + x86, arm},
		{"the wrong node by its name", "L15", "nodeName: arm\n" + x86, arm},
		{"a label that looks misspelt, and is there", "", "nodeSelector: {k8s.io/arch: x}\n" + both, func(n *corev1.Node) { n.Labels["k8s.io/arch"] = "x" }},
		{"a label that is misspelt", "L17", "nodeSelector: {k8s.io/arch: x}\n" + both, arm},
	} {
		nodes := NodesOf([]corev1.Node{node("x86", "amd64", arm), node("arm", "arm64", c.arm), node("win", "amd64", func(n *corev1.Node) { n.Labels[osLabel] = "windows" })})
		if len(nodes) != 2 {
			t.Fatalf("%+v", nodes)
		}
		if got := problemsOf(t, deployment(c.spec), Options{Known: images, Nodes: nodes}); got != c.want {
			t.Errorf("%s: found %q, want %q", c.name, got, c.want)
		}
	}
}

// TestLint_PullSecretsOfClouds: whose nodes log in by themselves needs none.
func TestLint_PullSecretsOfClouds(t *testing.T) {
	login := func(string) ImageFacts { return ImageFacts{Archs: platform.All(), Login: true} }
	for image, want := range map[string]string{
		"registry.example/a:1": "L13", "1234.dkr.ecr.eu-west-1.amazonaws.com/a:1": "", "team.azurecr.io/a:1": "", "europe-docker.pkg.dev/p/r/a:1": "", "eu.gcr.io/p/a:1": "",
		"amazonaws.com.example/a:1": "L13",
	} {
		if got := problemsOf(t, deployment("containers: [{name: a, image: \""+image+"\"}]\n"), Options{Known: login}); got != want {
			t.Errorf("%s: found %q, want %q", image, got, want)
		}
	}
}

// TestExplain_ARunningPod could have come to another node than the one that the scheduler chose; a static pod could not.
func TestExplain_ARunningPod(t *testing.T) {
	for owner, by := range map[string]string{`"kind":"ReplicaSet","name":"web-1"`: "", `"kind":"Node","name":"other"`: bySelector} {
		s := &Set{}
		pod := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","ownerReferences":[{"controller":true,` + owner + `}]},"spec":{"nodeName":"other","containers":[{"name":"a","image":"r/both:1"}]}}`
		if err := s.Add([]byte(pod), ReadOptions{}); err != nil {
			t.Fatal(err)
		}
		verdicts, err := Explain(s.Templates()[0], World{Known: images, Nodes: []corev1.Node{apiNode("n", nil)}})
		if err != nil || verdicts[0].By != by {
			t.Errorf("%s: %+v, %v", owner, verdicts, err)
		}
	}
}

// TestExplain_Windows: whether an image is made for Windows no one knows here.
func TestExplain_Windows(t *testing.T) {
	windows := apiNode("n", func(n *corev1.Node) { n.Labels[archLabel], n.Labels[osLabel] = "amd64", "windows" })
	verdicts, err := Explain(set(t, "f", []byte(deployment(armOnly))).Templates()[0], World{Known: images, Nodes: []corev1.Node{windows}})
	if err != nil || !verdicts[0].Unknown || verdicts[0].By != "" || !strings.HasSuffix(verdicts[0].Message, "not judged for windows") {
		t.Errorf("%+v, %v", verdicts, err)
	}
}
