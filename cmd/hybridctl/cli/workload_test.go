package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/podimages"
	"github.com/hybridctl/hybridctl/provision/workload"
)

const (
	x86Only = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    spec:\n      containers:\n      - name: web\n        image: r/x86:1 # by hand\n"
	fitting = "apiVersion: v1\nkind: Pod\nmetadata: {name: fine}\nspec:\n  nodeSelector: {kubernetes.io/arch: amd64}\n  containers: [{name: a, image: r/x86:1}]\n"
)

// workloadRun has manifests and a list of images in the current directory.
func workloadRun(t *testing.T) *run {
	r := newRun(t)
	t.Chdir(r.dir)
	r.file("images.json", `{"r/x86:1": ["amd64"], "r/both:1": ["amd64", "arm64"]}`)
	r.file("web.yaml", x86Only)
	r.file("fine.yaml", fitting)
	return r
}

func TestWorkloadLint(t *testing.T) {
	r := workloadRun(t)
	if code := r.do("workload lint -f web.yaml --images images.json"); code != 6 {
		t.Errorf("exit %d: %s", code, r.stderr.String())
	}
	for _, part := range []string{"web.yaml:9:16: error L1: Deployment web: the image r/x86:1 is not made for arm64", "\n    hint: require {key: kubernetes.io/arch", "errors: 1, warnings: 0"} {
		if !strings.Contains(r.stdout.String(), part) {
			t.Errorf("%q is not in\n%s", part, r.stdout.String())
		}
	}
	for line, want := range map[string]int{
		"workload lint -f fine.yaml --images images.json":                    0,
		"workload lint -f . --images images.json --fail-on never":            0,
		"workload lint -f web.yaml --images images.json --arch amd64":        0,
		"workload lint -f web.yaml --images images.json --ignore L1":         0,
		"workload lint -f web.yaml --images images.json --rule L99":          2,
		"workload lint -f web.yaml --images images.json --fail-on sometimes": 2,
		"workload lint -f nothing.yaml --images images.json":                 2,
		"workload lint":                               2,
		"workload lint -f web.yaml --arch vax":        2,
		"workload lint -f web.yaml --images web.yaml": 2,
		"plan -o sarif":                               2,
		"workload lint --list":                        0,
	} {
		if code := r.do(line); code != want {
			t.Errorf("%s: exit %d, want %d: %s", line, code, want, r.stderr.String())
		}
	}
}

func TestWorkloadLint_JSONAndSARIF(t *testing.T) {
	r := workloadRun(t)
	r.do("workload lint -f web.yaml --images images.json -o json")
	var doc lintDocument
	if err := json.Unmarshal(r.stdout.Bytes(), &doc); err != nil || len(doc.Findings) != 1 || doc.Findings[0].Line != 9 || doc.Findings[0].Arch != "arm64" {
		t.Errorf("%v %s", err, r.stdout.String())
	}
	r.do("workload lint -f " + arg(filepath.Join(r.dir, "web.yaml")) + " --images images.json -o sarif")
	var sarif struct {
		Runs []struct {
			Results []struct {
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine int }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(r.stdout.Bytes(), &sarif); err != nil || len(sarif.Runs) != 1 || len(sarif.Runs[0].Results) != 1 {
		t.Fatalf("%v %s", err, r.stdout.String())
	}
	if at := sarif.Runs[0].Results[0].Locations[0].PhysicalLocation; at.ArtifactLocation.URI != "web.yaml" || at.Region.StartLine != 9 {
		t.Errorf("%+v", at)
	}
}

func TestWorkloadLint_AKustomizationIsSaid(t *testing.T) {
	r := workloadRun(t)
	for _, name := range []string{"k/kustomization.yaml", "k/web.yaml"} {
		if err := os.MkdirAll("k", 0o755); err != nil {
			t.Fatal(err)
		}
		r.file(name, fitting)
	}
	r.want("workload lint -f k --images images.json", 0)
	contains(t, "stderr", r.stderr.String(), "note: k/kustomization.yaml is not carried out", "kubectl kustomize k | hybridctl")
	r.want("workload lint -f k/web.yaml --images images.json", 0)
	if r.stderr.Len() > 0 {
		t.Errorf("stderr %q", r.stderr.String())
	}
}

func TestWorkloadLint_NothingKnownIsSaid(t *testing.T) {
	r := workloadRun(t)
	r.file("images.json", "{}")
	if code := r.do("workload lint -f web.yaml --images images.json"); code != 0 || !strings.Contains(r.stderr.String(), "not known: what r/x86:1 is made for") ||
		!strings.Contains(r.stdout.String(), "images of which nothing is known: 1") {
		t.Errorf("exit %d\n%s%s", code, r.stdout.String(), r.stderr.String())
	}
}

func TestWorkloadPatch(t *testing.T) {
	r := workloadRun(t)
	if code := r.do("workload patch -f . --images images.json"); code != 0 || !strings.Contains(r.stdout.String(), "+++ b/web.yaml") || strings.Contains(r.stdout.String(), "fine") {
		t.Errorf("exit %d\n%s", code, r.stdout.String())
	}
	is := func() string {
		text, err := os.ReadFile("web.yaml")
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if is() != x86Only {
		t.Error("a diff wrote the file")
	}
	r.stdin = x86Only
	if code := r.do("workload patch -f - --images images.json"); code != 0 || !strings.HasPrefix(r.stdout.String(), strings.TrimSuffix(x86Only, "\n")) || !strings.Contains(r.stdout.String(), "values: [amd64]") {
		t.Errorf("exit %d\n%s", code, r.stdout.String())
	}
	if code := r.do("workload patch -f web.yaml --images images.json --kustomize"); code != 0 || !strings.Contains(r.stdout.String(), "nodeSelectorTerms:") || strings.Contains(r.stdout.String(), "image:") {
		t.Errorf("exit %d\n%s", code, r.stdout.String())
	}
	if code := r.do("workload patch -f web.yaml --images images.json --write"); code != 0 || !strings.Contains(is(), "image: r/x86:1 # by hand\n      affinity:\n") || !strings.HasSuffix(r.stdout.String(), "web.yaml: written, 1 change\n") {
		t.Errorf("exit %d %s\n%s", code, r.stderr.String(), is())
	}
	if code := r.do("workload lint -f web.yaml --images images.json"); code != 0 {
		t.Errorf("lint of it: exit %d\n%s", code, r.stdout.String())
	}
	for _, line := range []string{"workload patch -f - --write", "workload patch -f - -f web.yaml", "workload patch -f inventory.yaml", "workload patch --kubeconfig x -f web.yaml", "workload patch -f web.yaml --require vax"} {
		if code := r.do(line); code != 2 {
			t.Errorf("%s: exit %d: %s", line, code, r.stderr.String())
		}
	}
}

func TestWorkloadExplain(t *testing.T) {
	r := workloadRun(t)
	r.file("kubeconfig", "kubeconfig")
	node := func(name string, arch platform.Arch) corev1.Node {
		return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/arch": arch.String()}}}
	}
	r.front.WorkloadsOf = func(context.Context, []byte, workload.ReadOptions) (podimages.Running, error) {
		set := &workload.Set{}
		err := set.Add([]byte(`{"apiVersion":"apps/v1","kind":"DeploymentList","items":[{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"shop","namespace":"n"},
			"spec":{"template":{"spec":{"nodeSelector":{"kubernetes.io/arch":"amd64"},"containers":[{"name":"a","image":"r/x86:1"}]}}}}]}`), workload.ReadOptions{})
		return podimages.Running{Set: set, Archs: platform.All(), World: workload.World{Nodes: []corev1.Node{node("x86-1", platform.AMD64), node("arm-1", platform.ARM64)}}}, err
	}
	for _, line := range []string{"workload explain deploy/shop --kubeconfig kubeconfig --images images.json", "workload explain -f web.yaml --kubeconfig kubeconfig --images images.json"} {
		if code := r.do(line); code != 0 || !strings.Contains(r.stdout.String(), "nothing keeps it off") || !strings.Contains(r.stdout.String(), "no    ") {
			t.Errorf("%s: exit %d\n%s%s", line, code, r.stdout.String(), r.stderr.String())
		}
	}
	for _, line := range []string{"workload explain shop", "workload explain -f web.yaml", "workload explain --kubeconfig kubeconfig", "workload explain other --kubeconfig kubeconfig"} {
		if code := r.do(line + " --images images.json"); code != 2 {
			t.Errorf("%s: exit %d: %s", line, code, r.stderr.String())
		}
	}
}

// TestWorkload_RegistriesOfACluster: as an audit of images, lint asks no host that somebody's pod names.
func TestWorkload_RegistriesOfACluster(t *testing.T) {
	s := twoImages(t)
	r := workloadRun(t)
	r.front.KnownImages, r.front.Programs = podimages.Known, podimages.Starts
	text := strings.ReplaceAll(fitting, "r/x86:1", s.Host()+"/build/app-linux-amd64:1.5")
	r.front.WorkloadsOf = func(context.Context, []byte, workload.ReadOptions) (podimages.Running, error) {
		set, err := workload.Read([]workload.Source{{Name: "", Text: []byte(text)}}, workload.ReadOptions{})
		node := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "x86-1", Labels: map[string]string{"kubernetes.io/arch": platform.AMD64.String()}}}
		return podimages.Running{Set: set, Archs: platform.All(), World: workload.World{Nodes: []corev1.Node{node}}}, err
	}
	r.front.Kubeconfig = func(context.Context, provision.Options) ([]byte, error) { return []byte("kubeconfig"), nil }
	r.file("kubeconfig", "kubeconfig")
	r.file("fine.yaml", text)
	r.file("named.yaml", lab+"  registries: [{host: \""+s.Host()+"\", mirrors: [mirror.test]}]\n")
	for line, asked := range map[string]bool{
		"workload lint --plain-http --kubeconfig kubeconfig":                                false,
		"workload lint --plain-http -f inventory.yaml":                                      false,
		"workload lint --plain-http -f named.yaml":                                          true,
		"workload lint --plain-http --kubeconfig kubeconfig --registry " + s.Host():         true,
		"workload lint --plain-http -f fine.yaml":                                           true,
		"workload lint --plain-http -f fine.yaml --registry registry.test":                  false,
		"workload explain --plain-http --kubeconfig kubeconfig fine":                        false,
		"workload explain --plain-http --kubeconfig kubeconfig fine --programs":             false,
		"workload explain --plain-http --kubeconfig kubeconfig fine --registry " + s.Host(): true,
		"workload explain --plain-http --kubeconfig kubeconfig -f fine.yaml":                true,
	} {
		s.Forget()
		r.want(line, 0)
		if n := s.Count(""); n > 0 != asked {
			t.Errorf("%s: %d requests: %q", line, n, s.Asked())
		}
		if said := strings.Contains(r.stderr.String(), s.Host()+" asks them\n"); said == asked {
			t.Errorf("%s: stderr %q", line, r.stderr.String())
		}
	}
}

// TestWorkload_AsksRegistries has a registry without TLS, as a closed site's.
func TestWorkload_AsksRegistries(t *testing.T) {
	s := twoImages(t)
	r := workloadRun(t)
	r.front.KnownImages, r.front.Programs = podimages.Known, podimages.Starts
	r.front.WorkloadsOf = func(context.Context, []byte, workload.ReadOptions) (podimages.Running, error) {
		arm := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "arm-1", Labels: map[string]string{"kubernetes.io/arch": platform.ARM64.String()}}}
		return podimages.Running{Set: &workload.Set{}, Archs: platform.All(), World: workload.World{Nodes: []corev1.Node{arm}}}, nil
	}
	r.file("kubeconfig", "kubeconfig")
	text := strings.ReplaceAll(x86Only, "r/x86:1", s.Host()+"/build/app-linux-amd64:1.5")
	r.file("web.yaml", text)
	r.want("workload lint -f web.yaml --plain-http", 6)
	contains(t, "stdout", r.stdout.String(), "error L", "is not made for arm64")
	if n := s.Count(""); n != 2 {
		t.Errorf("%d requests: %q", n, s.Asked())
	}
	r.want("workload lint -f web.yaml", 0)
	contains(t, "stderr", r.stderr.String(), "not known: what "+s.Host()+"/build/app-linux-amd64:1.5 is made for")
	r.want("workload patch -f web.yaml --plain-http", 0)
	contains(t, "stdout", r.stdout.String(), "values: [amd64]")
	r.want("workload lint -f web.yaml --ca-file none.pem", 2)
	contains(t, "stderr", r.stderr.String(), "--ca-file: ")
	explain := "workload explain --kubeconfig kubeconfig -f web.yaml --plain-http"
	r.want(explain, 0)
	contains(t, "stdout", r.stdout.String(), "is not made for arm64")
	r.file("web.yaml", strings.ReplaceAll(text, "amd64:1.5", "arm64:1.5\n        command: [/bin/sh]"))
	r.want(explain, 0)
	contains(t, "stdout", r.stdout.String(), "nothing keeps it off")
	r.want(explain+" --programs", 0)
	contains(t, "stdout", r.stdout.String(), "program", "container web does not run there: in "+s.Host()+"/build/app-linux-arm64:1.5, its program /bin/sh is not in the image")
	r.want(explain+" --programs --images images.json", 2)
}
