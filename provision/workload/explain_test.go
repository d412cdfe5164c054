package workload

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/hybridctl/hybridctl/provision/platform"
)

func apiNode(name string, change func(*corev1.Node)) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{archLabel: "arm64", "zone": "a"}}}
	if change != nil {
		change(&n)
	}
	return n
}

func TestExplain_TheFirstThingThatKeepsItOff(t *testing.T) {
	cordoned := func(n *corev1.Node) { n.Spec.Unschedulable = true }
	tainted := func(n *corev1.Node) {
		n.Spec.Taints = []corev1.Taint{{Key: "dedicated", Value: "db", Effect: corev1.TaintEffectNoSchedule}}
	}
	for name, c := range map[string]struct {
		text    string
		change  func(*corev1.Node)
		by, say string
	}{
		"nothing":                       {deployment(both), nil, "", "nothing keeps it off"},
		"a selector":                    {deployment(only86 + both), nil, bySelector, "nodeSelector wants kubernetes.io/arch=amd64, the node has kubernetes.io/arch=arm64"},
		"a selector of a label":         {deployment("nodeSelector: {disk: ssd}\n" + both), nil, bySelector, "the node has no label disk"},
		"a node's name":                 {deployment("nodeName: other\n" + both), nil, bySelector, "spec.nodeName is other"},
		"an affinity":                   {deployment(terms(expression("kubernetes.io/arch", "In", "amd64"), "{}") + both), nil, byAffinity, "kubernetes.io/arch In [amd64], the node has kubernetes.io/arch=arm64; or an empty term matches nothing"},
		"a taint":                       {deployment(both), tainted, byTaint, "dedicated=db:NoSchedule is not tolerated"},
		"a taint that is tolerated":     {deployment("tolerations: [{key: dedicated, operator: Exists}]\n" + both), tainted, "", "nothing keeps it off"},
		"a cordon":                      {deployment(both), cordoned, byCordon, "kubectl uncordon n"},
		"a cordon, and a DaemonSet":     {object("apps/v1", "DaemonSet", "", both), cordoned, "", "nothing keeps it off"},
		"a volume":                      {deployment("volumes: [{name: d, persistentVolumeClaim: {claimName: data}}]\n" + both), nil, byVolume, "the volume pv of claim data"},
		"an image":                      {deployment(x86), nil, byImage, "r/x86:1 of container a is not made for arm64"},
		"an image of nobody":            {deployment(unknown), nil, "", "is not known of r/nobody:1"},
		"an affinity that is not valid": {deployment(terms("{matchExpressions: [{key: a, operator: Near, values: [b]}]}") + both), nil, byAffinity, "not valid"},
	} {
		w := World{
			Known: images, Nodes: []corev1.Node{apiNode("n", c.change)},
			Claims:  []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "pv"}}},
			Volumes: []corev1.PersistentVolume{{ObjectMeta: metav1.ObjectMeta{Name: "pv"}}},
		}
		w.Volumes[0].Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
			{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "zone", Operator: corev1.NodeSelectorOpIn, Values: []string{"b"}}}}}}}
		verdicts, err := Explain(set(t, "f", []byte(c.text)).Templates()[0], w)
		if err != nil || len(verdicts) != 1 {
			t.Fatalf("%s: %v %+v", name, err, verdicts)
		}
		v := verdicts[0]
		unknown := strings.Contains(c.say, "not known")
		if v.By != c.by || !strings.Contains(v.Message, c.say) || v.Fits != (c.by == "" && !unknown) || v.Unknown != unknown {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// TestExplain_Programs asks for what each container starts when nothing else keeps the pod off.
func TestExplain_Programs(t *testing.T) {
	for name, c := range map[string]struct{ wrong, unknown, by, say string }{
		"it starts":   {"", "", "", "nothing keeps it off"},
		"it does not": {"its program sh is not in the image", "", byProgram, "init container i does not run there: in r/both:1, its program sh is not in the image"},
		"not known":   {"", "it lies in a volume", "", "nothing keeps it off; whether it starts there is not known of i (it lies in a volume), a (it lies in a volume)"},
	} {
		var asked []string
		w := World{Known: images, Nodes: []corev1.Node{apiNode("n", nil)}, Starts: func(image string, s Start, arch platform.Arch) (string, string) {
			asked = append(asked, fmt.Sprintf("%s %v %v %s %s %v %s%s", image, s.Command, s.Args, s.Dir, s.Path, s.Mounts, s.Unknown, arch))
			return c.wrong, c.unknown
		}}
		text := deployment("initContainers: [{name: i, image: r/both:1, command: [sh], args: [-c, x], workingDir: /w, env: [{name: PATH, value: /p}], volumeMounts: [{name: v, mountPath: /v}]}]\n" +
			both + "volumes: [{name: v, image: {reference: r/both:1}}]\n")
		verdicts, err := Explain(set(t, "f", []byte(text)).Templates()[0], w)
		if err != nil || len(verdicts) != 1 {
			t.Fatal(err, verdicts)
		}
		if v := verdicts[0]; v.By != c.by || v.Message != c.say || v.Fits != (c.wrong+c.unknown == "") || v.Unknown != (c.unknown != "") {
			t.Errorf("%s: %+v", name, v)
		}
		if asked[0] != "r/both:1 [sh] [-c x] /w /p [/v] arm64" || c.wrong == "" && len(asked) != 2 {
			t.Errorf("%s: %q", name, asked)
		}
	}
}

// TestUses_Start has what cannot be told from the pod.
func TestUses_Start(t *testing.T) {
	for spec, want := range map[string]string{
		"command: [\"$(TOOL)\"]": "the name of its program has a variable: $(TOOL)",
		"args: [\"$(TOOL)\"]":    "the name of its program has a variable: $(TOOL)",
		"command: [a, \"$(X)\"]": "",
		"env: [{name: PATH, valueFrom: {configMapKeyRef: {name: c, key: k}}}]": "its PATH does not stand in the pod",
		"env: [{name: PATH, value: \"/x:$(PATH)\"}]":                           "its PATH does not stand in the pod",
		"env: [{name: PATHS, value: /x}]":                                      "",
	} {
		u := set(t, "f", []byte(deployment("containers: [{name: a, image: r/both:1, "+spec+"}]\n"))).Uses(nil)
		if len(u) != 1 || u[0].Start.Unknown != want {
			t.Errorf("%s: %+v", spec, u[0].Start)
		}
	}
	if u := set(t, "f", []byte(deployment(both+"volumes: [{name: v, image: {reference: r/x86:1}}]\n"))).Uses(nil); len(u) != 2 || u[1].Start != nil {
		t.Errorf("%+v", u)
	}
}

// TestMayRunOn_AgreesWithTheScheduler holds our own predicate, which the audit uses, against the scheduler's.
func TestMayRunOn_AgreesWithTheScheduler(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	for n := range 3000 {
		labels := map[string]string{archLabel: pick("amd64", "arm64"), "size": pick("1", "7", "x", "")}
		if r.IntN(2) == 0 {
			labels["zone"] = pick("a", "b")
		}
		pod := &corev1.Pod{}
		var w Workload
		if r.IntN(2) == 0 {
			pod.Spec.NodeSelector = map[string]string{pick(archLabel, "zone"): pick("amd64", "a")}
			w.Selector = pod.Spec.NodeSelector
		}
		if r.IntN(4) > 0 {
			required := &corev1.NodeSelector{}
			w.Terms = []Term{}
			for range r.IntN(3) + 1 {
				var term corev1.NodeSelectorTerm
				mine := Term{}
				for range r.IntN(3) {
					op := pick("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
					q := corev1.NodeSelectorRequirement{Key: pick(archLabel, "zone", "size"), Operator: corev1.NodeSelectorOperator(op)}
					switch op {
					case "In", "NotIn":
						q.Values = []string{pick("amd64", "a", "7"), pick("arm64", "b")}
					case "Gt", "Lt":
						q.Values = []string{pick("3", "7")}
					}
					term.MatchExpressions = append(term.MatchExpressions, q)
					mine = append(mine, Requirement{Key: q.Key, Operator: op, Values: q.Values})
				}
				required.NodeSelectorTerms = append(required.NodeSelectorTerms, term)
				w.Terms = append(w.Terms, mine)
			}
			pod.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: required}}
		}
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: labels}}
		want, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(node)
		if err != nil {
			continue
		}
		if got := w.MayRunOn(Node{Name: "n", Labels: labels}); got != want {
			t.Fatalf("%d: %v, the scheduler says %v: %+v on %v", n, got, want, w, labels)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, text := range []string{deployment(x86), terms("{}"), "a: &a [*a]\n", "apiVersion: v1\nkind: List\nitems: [1, {kind: Pod, apiVersion: v1, spec: {containers: 3}}]\n", "<<: *x"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Read([]Source{{"f.yaml", text}}, ReadOptions{})
		if err != nil {
			return
		}
		problems, _ := Lint(s, Options{Archs: platform.All(), Known: images})
		for _, p := range problems {
			if p.Line < 1 {
				t.Errorf("%+v", p)
			}
		}
		_, _, _ = Patch(s, PatchOptions{Archs: platform.All(), Known: images})
	})
}

func BenchmarkLint(b *testing.B) {
	var text strings.Builder
	for i := 0; text.Len() < 10<<20; i++ {
		fmt.Fprintf(&text, "%s---\n", strings.Replace(deployment(only86+x86+"# "+strings.Repeat("x", 2300)+"\n"), "name: it", fmt.Sprintf("name: it%d", i), 1))
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		s, err := Read([]Source{{"-", []byte(text.String())}}, ReadOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if problems, _ := Lint(s, Options{Archs: platform.All(), Known: images}); len(problems) != 0 {
			b.Fatal(problems[0])
		}
		b.ReportMetric(float64(len(s.Objects)), "objects")
	}
}
