package cli

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hybridctl/hybridctl/cmd/hybridctl/progress"
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

// What takes long is told of on stderr, in its own name.
func TestWaits_ReachTheUser(t *testing.T) {
	const what = "the contents of x"
	for name, wait := range map[string]func(a *app) (over func()){
		"a verb without progress": func(a *app) func() { return a.waits("images", what) },
		"a verb with progress": func(a *app) func() {
			view := progress.New(progress.Options{Out: a.Stderr})
			_, over := a.silence(view, "images", what)
			return func() {
				over()
				view.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var stderr bytes.Buffer
				over := wait(&app{Deps: Deps{Stderr: &stderr}})
				time.Sleep(report.Patience + time.Second)
				over()
				if got := stderr.String(); !strings.Contains(got, " images wait  waiting for "+what+", 15s so far\n") {
					t.Errorf("said %q", got)
				}
			})
		})
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
		{"bundle verify new", "its files to be read"},
		{"bundle create -f " + source + " created", files},
		{"bundle gc", "what no bundle uses to be found and deleted"},
		{"workload lint --images images.json -f -", "standard input to end"},
		{"image audit --cache none --arch amd64 --registry registry.test registry.other/a:1", "docker's credentials for the images"},
		{"image audit --cache none --arch amd64 --registry registry.test -f -", "docker's credentials for the images"},
	} {
		r.want(c.line, 0)
		r.waitedFor(c.want)
	}
}

// Layers are read only when a program of theirs is asked for.
func TestWaits_ForWhatContainersStart(t *testing.T) {
	r := workloadRun(t)
	r.front.WorkloadsOf = func(context.Context, []byte, workload.ReadOptions) (podimages.Running, error) {
		if r.waits["the API server to say what runs"] != 1 {
			t.Errorf("waits for %v", r.waits)
		}
		node := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "x86-1", Labels: map[string]string{"kubernetes.io/arch": platform.AMD64.String()}}}
		return podimages.Running{Set: &workload.Set{}, Archs: platform.All(), World: workload.World{Nodes: []corev1.Node{node}}}, nil
	}
	r.front.KnownImages = func(context.Context, *workload.Set, podimages.KnownOptions) (workload.Known, error) {
		if r.waits["what images are made for"] != 1 {
			t.Errorf("waits for %v", r.waits)
		}
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
