package podimages

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/registry/registrytest"
	"github.com/hybridctl/hybridctl/provision/workload"
)

// atHome has no one logged in by docker's configuration.
func atHome(t testing.TB) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
}

func manifests(t testing.TB, text string) *workload.Set {
	t.Helper()
	set, err := workload.Read([]workload.Source{{Name: "m.yaml", Text: []byte(text)}}, workload.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func both() v1.ImageIndex {
	return imagetest.Index(map[platform.Arch]v1.Image{platform.AMD64: imagetest.Program(platform.AMD64, ""), platform.ARM64: imagetest.Program(platform.ARM64, "")})
}

var byHTTP = registry.Options{PlainHTTP: []string{"*"}, Tries: 1}

// privateTeam is a registry with a password, and manifests that write a pull secret out: for a pod, for another one by its service account, and for
// a third not at all.
func privateTeam(t *testing.T, image string) (*registrytest.Server, string) {
	atHome(t)
	s := registrytest.New(t)
	s.Username, s.Password = "puller", "not for logs"
	s.Index(t, "team/app", "1", both())
	s.Image(t, "team/x86", "1", imagetest.Program(platform.AMD64, ""))
	auth := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, s.Host(), base64.StdEncoding.EncodeToString([]byte("puller:not for logs")))
	pod := func(name, more string) string {
		return fmt.Sprintf("---\napiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: team}\nspec:\n  %s\n  containers: [{name: a, image: %q}]\n", name, more, s.Host()+image)
	}
	return s, "apiVersion: v1\nkind: Secret\nmetadata: {name: pull, namespace: team}\ntype: kubernetes.io/dockerconfigjson\ndata:\n  .dockerconfigjson: " +
		base64.StdEncoding.EncodeToString([]byte(auth)) + "\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: builder, namespace: team}\nimagePullSecrets: [{name: pull}]\n" +
		pod("named", "imagePullSecrets: [{name: pull}]") + pod("by-account", "serviceAccountName: builder") + pod("nobody", "hostNetwork: false")
}

// TestKnown_ByPullSecretsOfTheManifests: what a pod's login opens is known, and that another pod lacks one is found.
func TestKnown_ByPullSecretsOfTheManifests(t *testing.T) {
	_, text := privateTeam(t, "/team/x86:1")
	set := manifests(t, text)
	known, err := Known(t.Context(), set, KnownOptions{Registry: byHTTP, Archs: platform.All()})
	if err != nil {
		t.Fatal(err)
	}
	problems, unknown := workload.Lint(set, workload.Options{Archs: platform.All(), Known: known})
	var got []string
	for _, p := range problems {
		got = append(got, p.Rule+" "+p.Object.Name)
	}
	if want := "L1 named, L1 by-account, L1 nobody, L13 nobody"; strings.Join(got, ", ") != want || len(unknown) != 0 {
		t.Errorf("got %q, unknown %v", got, unknown)
	}
	_, text = privateTeam(t, "/team/app:1")
	without := manifests(t, strings.ReplaceAll(text, "name: pull,", "name: other,"))
	if known, err = Known(t.Context(), without, KnownOptions{Registry: byHTTP, Archs: platform.All()}); err != nil {
		t.Fatal(err)
	}
	facts := known(without.Uses(nil)[0].Image)
	if facts.Err == nil || !facts.Login || strings.Contains(fmt.Sprintf("%v %+v", facts.Err, without.Uses(nil)), "not for logs") {
		t.Errorf("%+v", facts)
	}
}

func TestOfManifests_Keys(t *testing.T) {
	s, text := privateTeam(t, "/team/app:1")
	var got []string
	for _, w := range OfManifests(t.Context(), manifests(t, text), nil) {
		line := strings.TrimPrefix(w.Place.Object, "Pod team/")
		for _, k := range w.Keys {
			line += " " + k.Username + " of " + k.From
		}
		got = append(got, line+w.Why)
	}
	if want := "named puller of team/pull, by-account puller of team/pull, nobody"; strings.Join(got, ", ") != want {
		t.Errorf("got %q", got)
	}
	for name, c := range map[string]struct{ from, to, want string }{
		"no secret":    {"kind: Secret\nmetadata: {name: pull", "kind: Secret\nmetadata: {name: other", "the pull secret pull is not among the manifests"},
		"another team": {"kind: Secret\nmetadata: {name: pull, namespace: team", "kind: Secret\nmetadata: {name: pull, namespace: other", "the pull secret pull is not among the manifests"},
		"no base64":    {".dockerconfigjson: ", ".dockerconfigjson: \"?\" # ", "the pull secret pull (m.yaml:1) was of no use: its .dockerconfigjson is not base64"},
		"no JSON":      {".dockerconfigjson: ", ".dockerconfigjson: bm9uZQ== # ", "team/pull is no docker configuration"},
		"opaque":       {".dockerconfigjson: ", "password: ", "the pull secret pull (m.yaml:1) was of no use: it has neither .dockerconfigjson nor .dockercfg"},
	} {
		if w := OfManifests(t.Context(), manifests(t, strings.Replace(text, c.from, c.to, 1)), nil)[0]; len(w.Keys) != 0 || w.Why != c.want {
			t.Errorf("%s: %d keys, %q", name, len(w.Keys), w.Why)
		}
	}
	plain := strings.Replace(text, "data:\n  .dockerconfigjson: ", "stringData:\n  .dockerconfigjson: '{\"auths\":{\""+s.Host()+"\":{\"username\":\"u\",\"password\":\"p\"}}}' # ", 1)
	if w := OfManifests(t.Context(), manifests(t, plain), nil)[0]; len(w.Keys) != 1 || w.Keys[0].Username != "u" {
		t.Errorf("stringData: %d keys, %q", len(w.Keys), w.Why)
	}
}

// TestStarts looks into images with the logins of the manifests.
func TestStarts(t *testing.T) {
	s, text := privateTeam(t, "/team/app:1")
	starts, err := Starts(t.Context(), manifests(t, text), byHTTP)
	if err != nil {
		t.Fatal(err)
	}
	name := s.Host() + "/team/app:1"
	if wrong, unknown := starts(name, workload.Start{}, platform.ARM64); wrong+unknown != "" {
		t.Errorf("%q, %q", wrong, unknown)
	}
	if wrong, _ := starts(name, workload.Start{Command: []string{"/other"}}, platform.ARM64); wrong != "its program /other is not in the image" {
		t.Errorf("%q", wrong)
	}
}

// BenchmarkLint is of 10 MB and 4000 objects with 8 images, whose registry is asked. The goal is 3 s and 9 requests.
func BenchmarkLint(b *testing.B) {
	atHome(b)
	s := registrytest.New(b)
	for i := range 8 {
		s.Index(b, fmt.Sprintf("team/app%d", i), "1", both())
	}
	var text strings.Builder
	for i := 0; i < 4000; i++ {
		fmt.Fprintf(&text, "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: it%d\n  namespace: team\nspec:\n  selector: {matchLabels: {app: it%[1]d}}\n  template:\n    metadata: {labels: {app: it%[1]d}}\n"+
			"    spec:\n      nodeSelector:\n        kubernetes.io/os: linux\n      containers:\n", i)
		for c := range 8 {
			fmt.Fprintf(&text, "        - name: c%d\n          image: %s/team/app%d:1\n          args: [--verbose, \"--name=it%d\"]\n          env:\n            - name: POD\n              valueFrom:\n                fieldRef:\n                  fieldPath: metadata.name\n"+
				"          resources:\n            limits: {cpu: 100m, memory: 64Mi}\n", c, s.Host(), c, i)
		}
		text.WriteString("---\n")
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		s.Forget()
		set := manifests(b, text.String())
		known, err := Known(b.Context(), set, KnownOptions{Registry: byHTTP, Archs: platform.All()})
		if err != nil {
			b.Fatal(err)
		}
		if problems, unknown := workload.Lint(set, workload.Options{Archs: platform.All(), Known: known}); len(problems)+len(unknown) != 0 {
			b.Fatal(problems, unknown)
		}
		b.ReportMetric(float64(s.Count("")), "requests")
		b.ReportMetric(float64(len(set.Objects)), "objects")
	}
}
