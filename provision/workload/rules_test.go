package workload

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/platform"
)

var images, _ = ReadKnown([]byte(`{"r/x86:1": ["amd64"], "r/arm:1": ["arm64"], "r/both:1": ["amd64", "arm64"], "r/arm32:1": ["arm"],
  "r/app-arm64:1": ["arm64"], "r/lists-arm64:1": ["amd64", "arm64"]}`))

// deployment has a pod spec; its lines are indented by six.
func deployment(spec string) string { return object("apps/v1", "Deployment", "", spec) }

func object(apiVersion, kind, meta, spec string) string {
	return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: it%s}\nspec:\n  template:\n    spec:\n%s", apiVersion, kind, meta, indent(spec, 6))
}

func indent(text string, by int) string {
	pad := strings.Repeat(" ", by)
	return pad + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+pad) + "\n"
}

const (
	x86      = "containers: [{name: a, image: r/x86:1}]\n"
	both     = "containers: [{name: a, image: r/both:1}]\n"
	armOnly  = "containers: [{name: a, image: r/arm:1}]\n"
	unknown  = "containers: [{name: a, image: r/nobody:1}]\n"
	only86   = "nodeSelector: {kubernetes.io/arch: amd64}\n"
	required = "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [%s]}}}\n"
)

func terms(all ...string) string { return fmt.Sprintf(required, strings.Join(all, ", ")) }
func expression(key, op, values string) string {
	return fmt.Sprintf("{matchExpressions: [{key: %s, operator: %s, values: [%s]}]}", key, op, values)
}

// TestRules_RedAndSilent has for every rule a manifest that it finds something in, and some that it leaves alone.
func TestRules_RedAndSilent(t *testing.T) {
	facts := func(image string) ImageFacts {
		switch image {
		case "r/one@sha256:0000000000000000000000000000000000000000000000000000000000000000":
			return ImageFacts{Archs: []platform.Arch{platform.AMD64}, Single: true}
		case "r/private:1":
			return ImageFacts{Archs: platform.All(), Login: true}
		}
		return images(image)
	}
	const digest = "containers: [{name: a, image: r/one@sha256:0000000000000000000000000000000000000000000000000000000000000000}]\n"
	for _, c := range []struct{ name, want, text string }{
		{"an image for one, nothing says so", "L1", deployment(x86)},
		{"the selector says so", "", deployment(only86 + x86)},
		{"NotIn says so", "", deployment(terms(expression("kubernetes.io/arch", "NotIn", "arm64")) + x86)},
		{"an image for both", "", deployment(both)},
		{"nothing is known", "", deployment(unknown)},
		{"an init container's", "L1", deployment("initContainers: [{name: i, image: r/arm:1}]\n" + both)},
		{"an ephemeral container's", "L1", deployment("ephemeralContainers: [{name: i, image: r/arm:1}]\n" + both)},
		{"the constraint allows too much", "L1", deployment(terms(expression("kubernetes.io/arch", "In", "amd64, arm64")) + x86)},
		{"the constraint is the wrong one", "L1", deployment(only86 + armOnly)},
		{"32-bit Arm is not arm64", "L1", deployment("containers: [{name: a, image: r/arm32:1}]\n")},

		{"selector against affinity", "L2", deployment(only86 + terms(expression("kubernetes.io/arch", "In", "arm64")) + both)},
		{"an affinity against itself", "L2", deployment(terms("{matchExpressions: [{key: kubernetes.io/arch, operator: In, values: [amd64]}, {key: kubernetes.io/arch, operator: NotIn, values: [amd64]}]}") + both)},
		{"nodes that this cluster does not have", "", deployment("nodeSelector: {kubernetes.io/arch: s390x}\n" + both)},
		{"selector and affinity agree", "", deployment(only86 + terms(expression("kubernetes.io/arch", "In", "amd64, arm64")) + x86)},

		{"a term without it", "L3", deployment(terms(expression("kubernetes.io/arch", "In", "amd64"), expression("zone", "In", "a")) + x86)},
		{"a term without it, for both", "", deployment(terms(expression("kubernetes.io/arch", "In", "amd64"), expression("zone", "In", "a")) + both)},
		{"a term without it, beside a selector", "", deployment(only86 + terms(expression("kubernetes.io/arch", "In", "amd64"), expression("zone", "In", "a")) + x86)},
		{"an empty term matches nothing", "", deployment(terms(expression("kubernetes.io/arch", "In", "amd64"), "{}") + x86)},

		{"an old label", "L4", deployment("nodeSelector: {beta.kubernetes.io/arch: amd64}\n" + x86)},
		{"an old label of the operating system in an affinity", "L4", deployment(terms(expression("beta.kubernetes.io/os", "In", "linux")) + both)},
		{"the new label", "", deployment("nodeSelector: {kubernetes.io/os: linux}\n" + both)},
		{"an old label in a pod's labels is no node's", "", object("apps/v1", "Deployment", ", labels: {beta.kubernetes.io/arch: amd64}", both)},

		{"narrower than its image", "L5", deployment(only86 + both)},
		{"narrower than one of its images", "", deployment(only86 + "containers: [{name: a, image: r/both:1}, {name: b, image: r/x86:1}]\n")},
		{"narrow, and an image that nobody knows", "", deployment(only86 + "containers: [{name: a, image: r/both:1}, {name: b, image: r/nobody:1}]\n")},

		{"a preference alone", "L6", deployment("affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: " + expression("kubernetes.io/arch", "In", "amd64") + "}]}}\n" + x86)},
		{"a preference for an image of both", "", deployment("affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: " + expression("kubernetes.io/arch", "In", "arm64") + "}]}}\n" + both)},

		{"nothing in common", "L7", deployment("initContainers: [{name: i, image: r/arm:1}]\n" + x86)},
		{"something in common", "", deployment(only86 + "initContainers: [{name: i, image: r/both:1}]\n" + x86)},

		{"a DaemonSet that tolerates everything", "L8", object("apps/v1", "DaemonSet", "", "tolerations: [{operator: Exists}]\n"+x86)},
		{"a DaemonSet that tolerates everything and says where", "", object("apps/v1", "DaemonSet", "", only86+"tolerations: [{operator: Exists}]\n"+x86)},
		{"a DaemonSet that tolerates little", "L1", object("apps/v1", "DaemonSet", "", x86)},

		{"a hook without what its workload has", "L9", deployment(only86+x86) + "---\n" + object("batch/v1", "Job", `, annotations: {helm.sh/hook: pre-install}`, x86)},
		{"a CronJob without it", "L9", deployment(only86+x86) + "---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c}\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{name: a, image: r/x86:1}]}}}}}\n"},
		{"a Job like its workload", "", deployment(only86+x86) + "---\n" + object("batch/v1", "Job", "", only86+x86)},

		{"a digest of one platform", "L10", deployment(digest)},
		{"a digest of one platform, said", "", deployment(only86 + digest)},

		{"the name tells", "L11", deployment("containers: [{name: a, image: r/app-arm64:1}]\n")},
		{"the name tells, and nothing else is known", "L11", deployment("containers: [{name: a, image: \"r/nobody:v1-aarch64\"}]\n")},
		{"the name tells, the registry knows better", "", deployment("containers: [{name: a, image: r/lists-arm64:1}]\n")},
		{"the name tells, and the selector", "", deployment("nodeSelector: {kubernetes.io/arch: arm64}\ncontainers: [{name: a, image: \"r/nobody:v1-aarch64\"}]\n")},
		{"a registry's host tells nothing", "", deployment("containers: [{name: a, image: \"arm64.example:5000/nobody:v1\"}]\n")},
		{"a name of both tells nothing", "", deployment("containers: [{name: a, image: \"r/nobody:amd64-arm64\"}]\n")},

		{"a toleration alone", "L12", deployment("tolerations: [{key: kubernetes.io/arch, operator: Equal, value: arm64, effect: NoSchedule}]\n" + armOnly)},
		{"a toleration for an image of both", "", deployment("tolerations: [{key: kubernetes.io/arch, operator: Equal, value: arm64, effect: NoSchedule}]\n" + both)},

		{"no pull secret", "L13", deployment("containers: [{name: a, image: r/private:1}]\n")},
		{"a pull secret", "", deployment("imagePullSecrets: [{name: s}]\ncontainers: [{name: a, image: r/private:1}]\n")},
		{"its account's pull secret", "", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: sa}\nimagePullSecrets: [{name: s}]\n---\n" + deployment("serviceAccountName: sa\ncontainers: [{name: a, image: r/private:1}]\n")},

		{"one node by its name", "L15", deployment("nodeName: old-1\n" + x86)},
		{"one node by its host name", "L15", deployment("nodeSelector: {kubernetes.io/hostname: old-1}\n" + x86)},
		{"one node, an image for both", "", deployment("nodeName: old-1\n" + both)},
		{"files of one architecture", "L15", deployment("volumes: [{name: l, hostPath: {path: /usr/lib/x86_64-linux-gnu}}]\n" + both)},
		{"files of one architecture, said", "", deployment(only86 + "volumes: [{name: l, hostPath: {path: /usr/lib/x86_64-linux-gnu}}]\n" + x86)},
		{"files of any", "", deployment("volumes: [{name: l, hostPath: {path: /var/log}}]\n" + both)},

		{"a misspelt key", "L17", deployment("nodeSelector: {kubenetes.io/arch: amd64}\n" + both)},
		{"letters that changed places", "L17", deployment("nodeSelector: {kuberentes.io/arch: amd64}\n" + both)},
		{"a misspelt key in an affinity", "L17", deployment(terms(expression("kubernetes.io/architecture", "In", "amd64")) + both)},
		{"a kernel's spelling", "L17", deployment(terms(expression("kubernetes.io/arch", "NotIn", "aarch64")) + both)},
		{"an architecture of others", "", deployment(terms(expression("kubernetes.io/arch", "NotIn", "ppc64le, s390x")) + both)},
		{"labels of one's own", "", deployment("nodeSelector: {arch: x86_64, example.com/arch: x86_64}\n" + both)},

		{"an image volume", "L18", deployment("volumes: [{name: m, image: {reference: r/x86:1}}]\n" + both)},
		{"an image volume where it is", "", deployment("nodeSelector: {kubernetes.io/arch: amd64}\nvolumes: [{name: m, image: {reference: r/x86:1}}]\n" + x86)},

		{"the same key twice", "L21", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, name: b}\n"},
		{"two selectors, of which one is lost", "L21 L5", deployment("nodeSelector: {zone: a}\nnodeSelector: {kubernetes.io/arch: amd64}\n" + both)},
		{"the same key in two mappings", "", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {name: a}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := problemsOf(t, c.text, Options{Known: facts}); got != c.want {
				t.Errorf("found %q, want %q in\n%s", got, c.want, c.text)
			}
		})
	}
}

// TestRules_OnRequest are silent unless their IDs are given.
func TestRules_OnRequest(t *testing.T) {
	for id, text := range map[string]string{
		"L14": deployment("containers: [{name: a, image: r/both:1, imagePullPolicy: IfNotPresent}]\n"),
		"L16": deployment("containers: [{name: a, image: r/both:1, resources: {limits: {hugepages-2Mi: 1Gi}}}]\n"),
	} {
		if got := problemsOf(t, text, Options{Known: images}); got != "" {
			t.Errorf("%s: %q without being asked", id, got)
		}
		if got := problemsOf(t, text, Options{Known: images, Only: []string{strings.ToLower(id)}}); got != id {
			t.Errorf("%s: found %q", id, got)
		}
		if got := problemsOf(t, deployment(both), Options{Known: images, Only: []string{"L16"}}); got != "" {
			t.Errorf("found %q", got)
		}
	}
}

// TestRules_FromAPI are those that need pods beside their owners.
func TestRules_FromAPI(t *testing.T) {
	const pods = `{"apiVersion":"v1","kind":"List","items":[
  {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"n"},"spec":{"template":{"spec":{"containers":[{"name":"a","image":"r/both:1"}]}}}},
  {"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"web-1","namespace":"n","ownerReferences":[{"kind":"Deployment","name":"web","controller":true}]},
   "spec":{"template":{"spec":{"containers":[{"name":"a","image":"r/both:1"}]}}}},
  {"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-1-x","namespace":"n","ownerReferences":[{"kind":"ReplicaSet","name":"web-1","controller":true}]},
   "spec":{"nodeName":"old-1","containers":[{"name":"a","image":"r/both:1"},{"name":"proxy","image":"%s"}]}},
  {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"made","namespace":"n","ownerReferences":[{"kind":"Database","name":"db","controller":true}]},
   "spec":{"template":{"spec":{"containers":[{"name":"a","image":"%s"}]}}}}]}`
	for _, c := range []struct{ proxy, made, want string }{
		{"r/both:1", "r/both:1", ""},
		{"r/x86:1", "r/both:1", "L19 of Deployment/web"},
		{"r/both:1", "r/x86:1", "L1 of Database/db, L20 of Database/db"},
	} {
		s := &Set{}
		if err := s.Add(fmt.Appendf(nil, pods, c.proxy, c.made), ReadOptions{}); err != nil {
			t.Fatal(err)
		}
		problems, _ := Lint(s, Options{Archs: platform.All(), Known: images})
		var got []string
		for _, p := range problems {
			got = append(got, p.Rule+" of "+p.Owner)
			if p.File != "" || p.Line != 0 {
				t.Errorf("a place in no file: %+v", p)
			}
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestLint_EveryRuleIsTried(t *testing.T) {
	seen := map[string]bool{}
	for i, r := range Rules() {
		if r.ID != fmt.Sprintf("L%d", i+1) || r.Title == "" || r.Help == "" || r.Level == "" || seen[r.ID] {
			t.Errorf("%+v", r)
		}
		seen[r.ID] = true
		if r.check == nil && r.object == nil && r.made == nil && r.ID != "L20" {
			t.Errorf("%s has no function", r.ID)
		}
	}
}

func TestLint_Silenced(t *testing.T) {
	for _, c := range []struct{ name, want, text string }{
		{"in the line", "", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n    image: r/x86:1 # hybridctl:ignore L1 as there is one node\n"},
		{"above it", "", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n    # hybridctl:ignore L5, L1\n    image: r/x86:1\n"},
		{"above the object", "", "# hybridctl:ignore L1\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n    image: r/x86:1\n"},
		{"another rule", "L1", "# hybridctl:ignore L11\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n    image: r/x86:1\n"},
		{"another object", "L1", "# hybridctl:ignore L1\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n    image: r/x86:1\n"},
	} {
		if got := problemsOf(t, c.text, Options{Known: images}); got != c.want {
			t.Errorf("%s: found %q, want %q", c.name, got, c.want)
		}
	}
	if got := problemsOf(t, deployment(x86), Options{Known: images, Ignore: []string{"L1"}}); got != "" {
		t.Errorf("ignored, and found: %q", got)
	}
}

// TestLint_Places holds findings to their lines, whatever the file is like.
func TestLint_Places(t *testing.T) {
	text := "# a comment\r\n---\r\napiVersion: v1\r\nkind: Pod\r\nmetadata: {name: é}\r\nspec:\r\n  containers:\r\n  - {name: é, image: \"r/x86:1\"}\r\n---\r\n" +
		"kind: Rollout\r\napiVersion: argoproj.io/v1alpha1\r\nmetadata: {name: r}\r\nspec:\r\n  template: {spec: {containers: [{name: a, image: r/arm:1}]}}\r\n"
	problems, _ := Lint(set(t, "m.yaml", []byte(text)), Options{Archs: platform.All(), Known: images})
	if len(problems) != 2 {
		t.Fatalf("%+v", problems)
	}
	if p := problems[0]; p.Line != 8 || p.Column != 22 || p.Path != "spec.containers[0].image" {
		t.Errorf("%+v", p)
	}
	if p := problems[1]; p.Line != 14 || p.Path != "spec.template.spec.containers[0].image" || p.Object.String() != "Rollout r" {
		t.Errorf("%+v", p)
	}
}

func TestRead_KnownKindsOnly(t *testing.T) {
	text := "kind: Rollout\napiVersion: argoproj.io/v1alpha1\nmetadata: {name: r}\nspec:\n  template: {spec: {containers: [{name: a, image: r/arm:1}]}}\n"
	s, err := Read([]Source{{"-", []byte(text)}}, ReadOptions{KnownKindsOnly: true})
	if err != nil || len(s.Objects) != 1 || len(s.Objects[0].Templates) != 0 {
		t.Errorf("%v %+v", err, s)
	}
}

func TestRead_WhatIsNoManifest(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"a template of Helm":  {"apiVersion: v1\nkind: Pod\nmetadata:\n  name: {{ .Release.Name }}\n", "helm template"},
		"a tab behind a dash": {"apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  -\tname: a\n", "f.yaml:5:4: a tab stands before this token"},
		"a tab":               {"apiVersion: v1\n\tkind: Pod\n", "f.yaml:2:1: a tab indents this line"},
		"an open bracket":     {"a: [\n", "f.yaml:"},
		"UTF-16":              {"\xff\xfea\x00", "UTF-16"},
		"carriage returns":    {"apiVersion: v1\rkind: Pod\rmetadata: {name: a}\r", "f.yaml:1:15: an unusual line break stands here"},
		"a line separator":    {"a: \"x\u2028y\"\n---\napiVersion: v1\nkind: Pod\n", "f.yaml:1:6: an unusual line break stands here"},
	} {
		_, err := Read([]Source{{"f.yaml", []byte(c.text)}}, ReadOptions{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "comments": "# a\n", "empty documents": "---\n---\n", "values": "image: {repository: r/x86}\n", "a word": "word\n",
		"JSON with tabs": "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Pod\"\n}\n",
	} {
		if _, err := Read([]Source{{"f.yaml", []byte(text)}}, ReadOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
