package cli

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/podimages"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/workload"
)

type heard []report.Event

func (h *heard) Event(e report.Event) { *h = append(*h, e) }

// What a verb waits for is said in its own name, and what has a name keeps it.
func TestSilence_EventsHaveAName(t *testing.T) {
	var h heard
	sink, over := Deps{}.silence(&h, "all", "the registry")
	sink.Event(report.Event{Kind: report.Progress, Host: "pause:3.10", Step: "push"})
	sink.Event(report.Event{Kind: report.Progress, Step: "wait"})
	over()
	if len(h) != 2 || h[0].Host != "pause:3.10" || h[1].Host != "all" {
		t.Errorf("%+v", h)
	}
}

// A slow disk, a credential helper that asks someone, a pipe that no one ends: each verb says what it waits for.
func TestWaits_AreSaid(t *testing.T) {
	r := withBundle(t)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	r.stdin = strings.ReplaceAll(fitting, "r/x86:1", "registry.other/a:1")
	source := arg(bundletest.Write(t, t.TempDir()))
	r.file("images.json", `{"registry.other/a:1": ["amd64"]}`)
	const files = "the bundle's files to be read and written"
	for _, c := range []struct {
		line, want string
	}{
		{"bundle export one.tar made", files},
		{"bundle import one.tar new", files},
		{"bundle create -f " + source + " created", files},
		{"bundle gc", "what no bundle uses to be found and deleted"},
		{"workload lint --images images.json -f -", "standard input to end"},
		{"image audit --cache none --arch amd64 --registry registry.test registry.other/a:1", "docker's credentials for the images"},
		{"image audit --cache none --arch amd64 --registry registry.test -f -", "docker's credentials for the images"},
	} {
		r.want(c.line, 0)
		if !slices.Contains(r.waited, c.want) {
			t.Errorf("%s waits for %q, and not for %s", c.line, r.waited, c.want)
		}
	}
}

// Layers are read only when a program of theirs is asked for.
func TestWaits_ForWhatContainersStart(t *testing.T) {
	r := workloadRun(t)
	r.front.WorkloadsOf = func(context.Context, []byte, workload.ReadOptions) (podimages.Running, error) {
		node := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "x86-1", Labels: map[string]string{"kubernetes.io/arch": platform.AMD64.String()}}}
		return podimages.Running{Set: &workload.Set{}, Archs: platform.All(), World: workload.World{Nodes: []corev1.Node{node}}}, nil
	}
	r.front.KnownImages = func(context.Context, *workload.Set, podimages.KnownOptions) (workload.Known, error) {
		return func(string) workload.ImageFacts { return workload.ImageFacts{Archs: platform.All()} }, nil
	}
	looked := false
	r.front.Programs = func(context.Context, *workload.Set, registry.Options) (workload.Starts, error) {
		if r.waits[dockersWord] != 1 {
			t.Errorf("waits for %v", r.waits)
		}
		return func(string, workload.Start, platform.Arch) (wrong, unknown string) {
			looked = true
			if r.waits["what containers start in the images"] != 1 {
				t.Errorf("waits for %v", r.waits)
			}
			return "", ""
		}, nil
	}
	r.file("kubeconfig", "kubeconfig")
	r.file("web.yaml", strings.ReplaceAll(x86Only, "# by hand", "\n        command: [/app]"))
	r.want("workload explain --kubeconfig kubeconfig -f web.yaml --programs", 0)
	if !looked {
		t.Errorf("nothing looked for a program: %s", r.stdout.String())
	}
}
