package conformance

import (
	"context"
	"strings"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/probe"
)

func (r *run) tryOwn(ctx context.Context, c Cell) outcome {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	name := slot(podOwn, r.place(c.Dst))
	var pod kube.Pod
	err := r.view.until(ctx, func(pods map[string]kube.Pod, events []kube.Event) (string, bool) {
		pod = pods[name]
		if pod.Ready {
			return "", false
		}
		text := pod.Words + "\n" + warnings(events, "Pod/"+name)
		return "a pod of a new image does not run: " + orDefault(pod.Problem, "it does not exist yet") + "; " + lastWarning(events, "Pod/"+name), refusesFormat(text)
	})
	if err != nil {
		return failed("%v", err)
	}
	a, err := r.agent(name, mainContainer)
	if err != nil {
		return failed("%v", err)
	}
	arch, err := platform.Parse(r.node(c.Dst).Arch)
	if err != nil {
		return failed("%v", err)
	}
	o := passed()
	reply := &probe.Reply{Who: a.who}
	o.responder(reply)
	if wrong := (wanted{podUID: pod.UID, node: c.Dst, container: mainContainer, arch: arch}).mismatch(reply); wrong != "" {
		o.fail("%s", wrong)
	}
	return o
}

// refusesFormat tells whether a text is of a kernel that refused a program of another architecture.
func refusesFormat(text string) bool {
	return strings.Contains(text, "exec format error") || strings.Contains(text, "no match for platform")
}

func (r *run) tryForeign(ctx context.Context, c Cell) outcome {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	name := slot(podWrong, r.place(c.Dst))
	var text string
	ended := func(orReady bool) func(map[string]kube.Pod, []kube.Event) (string, bool) {
		return func(pods map[string]kube.Pod, events []kube.Event) (string, bool) {
			p := pods[name]
			text = p.Problem + "\n" + p.Words + "\n" + warnings(events, "Pod/"+name)
			if refusesFormat(text) || strings.Contains(p.Words, "exit code") || orReady && p.Ready {
				return "", false
			}
			return "a program of another architecture neither runs nor is refused: " + orDefault(p.Problem, "the pod does not exist yet"), false
		}
	}
	if err := r.view.until(ctx, ended(true)); err != nil {
		return failed("%v", err)
	}
	// A container counts as running, and its pod as Ready, before its program is loaded. Whether it runs, its own answer tells.
	if _, err := r.agent(name, mainContainer); err == nil {
		return failed("a program of another architecture runs here: an emulator hides wrong images")
	}
	if err := r.view.until(ctx, ended(false)); err != nil {
		return failed("%v", err)
	}
	if refusesFormat(text) {
		return passed()
	}
	// Some runtimes let the program's end tell: it is in the container's log.
	log, err := r.API.PodLog(ctx, r.objects.namespace, name, mainContainer, 4<<10)
	if err != nil || !refusesFormat(string(log)) {
		return failed("the container ended, but not because of its format: %s %s", strings.Join(strings.Fields(text), " "), log)
	}
	return passed()
}

func (r *run) tryPull(ctx context.Context, c Cell) outcome {
	name := slot(podPull, r.place(c.Dst))
	return r.shows(ctx, func(_ map[string]kube.Pod, events []kube.Event) (string, bool) {
		if said(events, "Pod/"+name, "Pulled") {
			return "", false
		}
		return "the image was not pulled; " + lastWarning(events, "Pod/"+name), false
	})
}

func (r *run) tryNoPull(ctx context.Context, c Cell) outcome {
	name := slot(podNoPull, r.place(c.Dst))
	return r.shows(ctx, func(_ map[string]kube.Pod, events []kube.Event) (string, bool) {
		text := strings.ToLower(warnings(events, "Pod/"+name))
		switch {
		case said(events, "Pod/"+name, "Pulled"):
			return "the image was pulled without the secret: the registry is not private, or the node knows it", true
		case strings.Contains(text, "401"), strings.Contains(text, "403"), strings.Contains(text, "unauthorized"), strings.Contains(text, "denied"), strings.Contains(text, "authorization failed"):
			return "", false
		}
		return "the registry does not refuse; " + lastWarning(events, "Pod/"+name), false
	})
}
