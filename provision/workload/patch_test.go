package workload

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// TestPatch_Text shows where the requirement is written, in each way that the text may be written in.
func TestPatch_Text(t *testing.T) {
	const in = "{key: kubernetes.io/arch, operator: In, values: [amd64]}"
	for name, c := range map[string]struct{ before, after string }{
		"a block, lists indented": {
			"kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec:\n  containers:\n    - name: a\n      image: r/x86:1\n      args: [\"{{ x }}\"]\n\n# the end\n",
			"kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec:\n  containers:\n    - name: a\n      image: r/x86:1\n      args: [\"{{ x }}\"]\n" +
				"  affinity:\n    nodeAffinity:\n      requiredDuringSchedulingIgnoredDuringExecution:\n        nodeSelectorTerms:\n          - matchExpressions:\n              - " + in + "\n\n# the end\n",
		},
		"a block, lists not indented": {
			"kind: Pod\napiVersion: v1\nmetadata:\n   name: a\nspec:\n   containers:\n   - name: a\n     image: r/x86:1",
			"kind: Pod\napiVersion: v1\nmetadata:\n   name: a\nspec:\n   containers:\n   - name: a\n     image: r/x86:1\n" +
				"   affinity:\n      nodeAffinity:\n         requiredDuringSchedulingIgnoredDuringExecution:\n            nodeSelectorTerms:\n            - matchExpressions:\n              - " + in,
		},
		"a block scalar is last": {
			"kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec:\n  containers:\n  - image: r/x86:1\n    name: a\n    command:\n    - |\n      text\n\n      more\n",
			"kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec:\n  containers:\n  - image: r/x86:1\n    name: a\n    command:\n    - |\n      text\n\n      more\n" +
				"  affinity:\n    nodeAffinity:\n      requiredDuringSchedulingIgnoredDuringExecution:\n        nodeSelectorTerms:\n        - matchExpressions:\n          - " + in + "\n",
		},
		"beside a preference": {
			"kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec:\n  affinity:\n    nodeAffinity:\n      preferredDuringSchedulingIgnoredDuringExecution: []\n  containers:\n  - {image: r/x86:1, name: a}\n",
			"kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec:\n  affinity:\n    nodeAffinity:\n      preferredDuringSchedulingIgnoredDuringExecution: []\n" +
				"      requiredDuringSchedulingIgnoredDuringExecution:\n        nodeSelectorTerms:\n        - matchExpressions:\n          - " + in + "\n  containers:\n  - {image: r/x86:1, name: a}\n",
		},
		"an empty affinity": {
			"kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec:\n  affinity: {}\n  containers: [{image: r/x86:1, name: a}]\n",
			"kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec:\n  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [" + in + "]}]}}}\n  containers: [{image: r/x86:1, name: a}]\n",
		},
		"in brackets": {
			"{kind: Pod, apiVersion: v1, metadata: {name: a}, spec: {containers: [{image: r/x86:1, name: a}]}}\n",
			"{kind: Pod, apiVersion: v1, metadata: {name: a}, spec: {containers: [{image: r/x86:1, name: a}], affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [" + in + "]}]}}}}}\n",
		},
		"JSON with tabs": {
			"{\n\t\"kind\": \"Pod\",\n\t\"apiVersion\": \"v1\",\n\t\"metadata\": {\"name\": \"a\"},\n\t\"spec\": {\n\t\t\"containers\": [{\"image\": \"r/x86:1\", \"name\": \"a\"}]\n\t}\n}\n",
			"{\n\t\"kind\": \"Pod\",\n\t\"apiVersion\": \"v1\",\n\t\"metadata\": {\"name\": \"a\"},\n\t\"spec\": {\n\t\t\"containers\": [{\"image\": \"r/x86:1\", \"name\": \"a\"}],\n\t\t" +
				`"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}]}]}}}` + "\n\t}\n}\n",
		},
		"a term of fields alone": {
			deployment(terms("{matchFields: [{key: metadata.namespace, operator: In, values: [x]}]}") + x86),
			deployment(terms("{matchFields: [{key: metadata.namespace, operator: In, values: [x]}], matchExpressions: ["+in+"]}") + x86),
		},
		"a trailing comma": {
			deployment("affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: Exists}, ]}]}}}\n" + x86),
			deployment("affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: Exists}, " + in + " ]}]}}}\n" + x86),
		},
		"nothing behind the colon": {
			"kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec:\n  affinity: # none yet\n  containers:\n  - {image: r/x86:1, name: a}\n",
			"kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec:\n  affinity: # none yet\n    nodeAffinity:\n      requiredDuringSchedulingIgnoredDuringExecution:\n        nodeSelectorTerms:\n        - matchExpressions:\n          - " + in +
				"\n  containers:\n  - {image: r/x86:1, name: a}\n",
		},
		"null behind it": {
			"kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec:\n  affinity:\n    nodeAffinity: null # none\n  containers:\n  - {image: r/x86:1, name: a}\n",
			"kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec:\n  affinity:\n    nodeAffinity: # none\n      requiredDuringSchedulingIgnoredDuringExecution:\n        nodeSelectorTerms:\n        - matchExpressions:\n          - " + in +
				"\n  containers:\n  - {image: r/x86:1, name: a}\n",
		},
		"null in brackets": {
			deployment("affinity: {nodeAffinity: ~, podAffinity: {}}\n" + x86),
			deployment("affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [" + in + "]}]}}, podAffinity: {}}\n" + x86),
		},
		"nothing at the end": {
			"kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec:\n  containers:\n  - {image: r/x86:1, name: a}\n  affinity:",
			"kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec:\n  containers:\n  - {image: r/x86:1, name: a}\n  affinity:\n    nodeAffinity:\n      requiredDuringSchedulingIgnoredDuringExecution:\n        nodeSelectorTerms:\n        - matchExpressions:\n          - " + in,
		},
		"a list's second item": {
			"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: s}}\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: a}\n  spec:\n    containers: [{image: r/x86:1, name: a}]\n",
			"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: s}}\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: a}\n  spec:\n    containers: [{image: r/x86:1, name: a}]\n" +
				"    affinity:\n      nodeAffinity:\n        requiredDuringSchedulingIgnoredDuringExecution:\n          nodeSelectorTerms:\n          - matchExpressions:\n            - " + in + "\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			after := string(patched(t, "f.yaml", []byte(c.before), images))
			if after != c.after {
				t.Errorf("got\n%s\nwant\n%s", after, c.after)
			}
			if again := string(patched(t, "f.yaml", []byte(after), images)); again != after {
				t.Errorf("again:\n%s", again)
			}
		})
	}
}

func TestPatch_NodeSelector(t *testing.T) {
	for before, after := range map[string]string{
		deployment(x86):                                deployment(x86 + only86),
		deployment("nodeSelector:\n" + x86):            deployment("nodeSelector:\n  kubernetes.io/arch: amd64\n" + x86),
		deployment("nodeSelector: {zone: a}\n" + x86):  deployment("nodeSelector: {zone: a, kubernetes.io/arch: amd64}\n" + x86),
		deployment("nodeSelector:\n  zone: a\n" + x86): deployment("nodeSelector:\n  zone: a\n  kubernetes.io/arch: amd64\n" + x86),
	} {
		out, _, err := Patch(set(t, "f", []byte(before)), PatchOptions{Archs: platform.All(), Known: images, NodeSelector: true})
		after = strings.Replace(after, "nodeSelector: {kubernetes.io/arch: amd64}", "nodeSelector:\n        kubernetes.io/arch: amd64", 1)
		if err != nil || string(out[0].After) != after {
			t.Errorf("%v\n%s\nwant\n%s", err, out[0].After, after)
		}
	}
}

// TestPatch_LeavesAlone holds that nothing is changed, and what is said of it.
func TestPatch_LeavesAlone(t *testing.T) {
	for name, c := range map[string]struct{ text, left string }{
		"nothing in common":  {deployment("initContainers: [{name: i, image: r/arm:1}]\n" + x86), "no architecture is common"},
		"one node":           {deployment("nodeName: old-1\n" + x86), "bound to old-1"},
		"owned":              {object("apps/v1", "Deployment", ", ownerReferences: [{kind: Database, name: db, controller: true}]", x86), "Database/db controls it"},
		"both labels":        {deployment("nodeSelector: {kubernetes.io/arch: amd64, beta.kubernetes.io/arch: amd64}\n" + x86), "delete the old one"},
		"an image of nobody": {deployment(unknown), ""},
		"narrower":           {deployment(only86 + both), ""},
		"only empty terms":   {deployment(terms("{}") + x86), ""},
	} {
		out, left, err := Patch(set(t, "f", []byte(c.text)), PatchOptions{Archs: platform.All(), Known: images})
		said := fmt.Sprint(left)
		if err != nil || string(out[0].After) != c.text || c.left == "" && len(left) > 0 || !strings.Contains(said, c.left) {
			t.Errorf("%s: %v, %s\n%s", name, err, said, out[0].After)
		}
	}
}

// TestPatch_Refuses holds that a text which would come out with another meaning is not patched.
func TestPatch_Refuses(t *testing.T) {
	for name, text := range map[string]string{
		"an anchor that another object uses": "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: &s\n  containers: [{name: a, image: r/x86:1}]\n---\napiVersion: v1\nkind: List\nitems:\n" +
			"- &p {apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: r/x86:1}]}}\n- *p\n",
		"a selector by a merge key": "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: &x {beta.kubernetes.io/arch: amd64}}\nspec: {nodeSelector: {<<: *x}, containers: [{name: a, image: r/x86:1}]}\n",
	} {
		out, _, err := Patch(set(t, "f.yaml", []byte(text)), PatchOptions{Archs: platform.All(), Known: images})
		if !errors.Is(err, ErrManifest) || !strings.HasPrefix(err.Error(), "f.yaml:") || out != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPatch_SaysWhatCannotBeChangedInPlace(t *testing.T) {
	out, _, err := Patch(set(t, "f", []byte(object("batch/v1", "Job", "", x86))), PatchOptions{Archs: platform.All(), Known: images})
	if err != nil || len(out[0].Changes) != 1 || !strings.Contains(out[0].Changes[0].Note, "delete it") {
		t.Errorf("%v %+v", err, out)
	}
}

func TestPatch_Require(t *testing.T) {
	out, _, err := Patch(set(t, "f", []byte(deployment(unknown))), PatchOptions{Archs: platform.All(), Require: []platform.Arch{platform.ARM64}})
	if err != nil || !strings.Contains(string(out[0].After), "values: [arm64]") {
		t.Errorf("%v\n%s", err, out[0].After)
	}
}

// flow are lines within whose brackets something may be added.
var flow = regexp.MustCompile(`^ *affinity: \{`)

// TestPatch_LinesThatStay patches random manifests: every line stays but for what is added within brackets, and lint is content then.
func TestPatch_LinesThatStay(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	for n := range 400 {
		spec := pick("", "", "# note\n", "nodeSelector: {zone: a} # x\n", "nodeSelector:\n  zone: 'a'\n", "nodeSelector: {}\n") +
			pick("", "tolerations:\n- {operator: Exists}\n", "affinity:\n  podAffinity: {}\n", "affinity: {nodeAffinity: {}}\n",
				terms(expression("zone", "In", "a")), terms(expression("zone", "In", "a"), "{}", expression("kubernetes.io/arch", "In", "amd64")),
				"affinity:\n    nodeAffinity:\n        requiredDuringSchedulingIgnoredDuringExecution:\n            nodeSelectorTerms:\n            -   matchExpressions:\n                -   key: zone # z\n                    operator: Exists\n",
				"affinity:\n  nodeAffinity:\n    requiredDuringSchedulingIgnoredDuringExecution:\n      nodeSelectorTerms:\n        - matchFields:\n            - {key: metadata.x, operator: In, values: [b]}\n") +
			pick("", "\n\n", "hostNetwork: true # yes\n") +
			pick(x86, "containers:\n- name: a\n  image: r/x86:1 # old\n", "containers:\n  - image: 'r/x86:1'\n    name: a\n    command: [sh, -c, \"x\"]\n",
				"containers:\n- name: a\n  image: r/x86:1\n  args:\n  - >-\n    folded\n    text\n\n    more\n") + pick("", "# last\n", "terminationGracePeriodSeconds: 3\n")
		text := object(pick("apps/v1", "argoproj.io/v1"), pick("Deployment", "StatefulSet"), "", spec)
		if r.IntN(3) == 0 {
			text += "---\n" + deployment(x86)
		}
		if r.IntN(3) == 0 {
			text = strings.ReplaceAll(text, "\n", "\r\n")
		}
		after := string(patched(t, "f.yaml", []byte(text), images))
		if got := problemsOf(t, after, Options{Known: images, Ignore: []string{"L8"}}); got != "" {
			t.Fatalf("%d: then %q:\n%s\n---- was\n%s", n, got, after, text)
		}
		rest := strings.Split(after, "\n")
		bare := func(l string) string {
			return strings.ReplaceAll(l, ", {key: kubernetes.io/arch, operator: In, values: [amd64]}", "")
		}
		for _, line := range strings.Split(text, "\n") {
			at := slices.IndexFunc(rest, func(l string) bool {
				return l == line || flow.MatchString(line) &&
					(strings.HasPrefix(l, strings.TrimRight(line, "[]{}\r")) || bare(l) == bare(line))
			})
			if at < 0 {
				t.Fatalf("%d: the line %q is gone, or is another:\n%s", n, line, after)
			}
			rest = rest[at+1:]
		}
	}
}
