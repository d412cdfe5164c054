package conformance

import (
	"cmp"
	"context"
	"io"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

// imageTrier tries images that never were before, of the node's architecture and of another.
type imageTrier struct {
	asker
	api API
}

func (t *imageTrier) tryOwn(ctx context.Context, c Cell) outcome {
	ctx, cancel := context.WithTimeout(ctx, t.view.patience)
	defer cancel()
	name := t.slot(podOwn, c.Dst)
	var pod kube.Pod
	err := t.view.until(ctx, func(pods map[string]kube.Pod, events []kube.Event) (string, bool) {
		pod = pods[name]
		if pod.Ready {
			return "", false
		}
		text := pod.Words + "\n" + warnings(events, "Pod/"+name)
		return "a pod of a new image does not run: " + cmp.Or(pod.Problem, "it does not exist yet") + "; " + lastWarning(events, "Pod/"+name), refusesFormat(text)
	})
	if err != nil {
		return failed("%v", err)
	}
	a, err := t.agents.of(ctx, name, mainContainer)
	if err != nil {
		return failed("%v", err)
	}
	arch, err := platform.Parse(t.node(c.Dst).Arch)
	if err != nil {
		return failed("%v", err)
	}
	o := passed()
	reply := &probe.Reply{Who: a.who()}
	o.responder(reply)
	if wrong := (wanted{podUID: pod.UID, node: c.Dst, container: mainContainer, arch: arch}).mismatch(reply); wrong != "" {
		o.fail("%s", wrong)
	}
	return o
}

// refusesFormat reports whether a text is of a kernel that refused a program of another architecture.
func refusesFormat(text string) bool {
	return strings.Contains(text, "exec format error") || strings.Contains(text, "no match for platform")
}

func (t *imageTrier) tryForeign(ctx context.Context, c Cell) outcome {
	ctx, cancel := context.WithTimeout(ctx, t.view.patience)
	defer cancel()
	name := t.slot(podWrong, c.Dst)
	var text string
	ended := func(orReady bool) func(map[string]kube.Pod, []kube.Event) (string, bool) {
		return func(pods map[string]kube.Pod, events []kube.Event) (string, bool) {
			p := pods[name]
			// What keeps a pod from being made at all, such as a program of the pod network, has not come to its image.
			text = p.Problem + "\n" + p.Words + "\n" + warnings(events, "Pod/"+name, "FailedCreatePodSandBox")
			if refusesFormat(text) || strings.Contains(p.Words, "exit code") || orReady && p.Ready {
				return "", false
			}
			return "a program of another architecture neither runs nor is refused: " + cmp.Or(p.Problem, "the pod does not exist yet"), false
		}
	}
	if err := t.view.until(ctx, ended(true)); err != nil {
		return failed("%v", err)
	}
	// A container counts as running, and its pod as Ready, before its program is loaded. Whether it runs, its own answer tells.
	if e, err := t.agents.start(ctx, name, mainContainer); err == nil {
		e.close()
		return failed("a program of another architecture runs here: an emulator hides wrong images")
	}
	if err := t.view.until(ctx, ended(false)); err != nil {
		return failed("%v", err)
	}
	if refusesFormat(text) {
		return passed()
	}
	// Some runtimes let the program's end tell: it is in the container's log.
	log, err := t.api.PodLog(ctx, t.namespace, name, mainContainer, 4<<10)
	if err != nil || !refusesFormat(string(log)) {
		return failed("the container ended, but not because of its format: %s %s", strings.Join(strings.Fields(text), " "), log)
	}
	return passed()
}

func (p *planner) images() {
	for _, n := range p.subjects() {
		own, foreign := needsMachine(n), needsMachine(n)
		own.Blocked = cmp.Or(own.Blocked, p.in.noImage(n, p.in.Fault.is(faultWrongImage, n.Name)))
		foreign.Blocked = cmp.Or(foreign.Blocked, p.in.noImage(n, true))
		p.on(n, "own-image", kindOwn, own)
		if !p.in.Quick {
			p.on(n, "foreign-image-fails", kindForeign, foreign)
		}
	}
}

// noImage is why no new image can be made for a node, or none with a program of another architecture; empty when one can.
func (in Input) noImage(n Node, foreign bool) string {
	arch, err := platform.Parse(n.Arch)
	switch {
	case err != nil:
		return "" // that there is no probe is said
	case in.Images == nil:
		return "the bundle has no image of the probe to make new ones from"
	case foreign && other(arch, in.Images) == "":
		return "the bundle has no image of the probe for another architecture than " + n.Arch
	case !foreign && !in.Images(arch):
		return "the bundle has no image of the probe for " + n.Arch
	}
	return ""
}

// imagesOf are the images that a node's cells want, with the pods that run them.
func (r *run) imagesOf(n Node) (images []MadeImage, pods []object) {
	arch, err := platform.Parse(n.Arch)
	if err != nil {
		return nil, nil // its cells say so
	}
	if r.draft.has(n.Name, kindOwn) {
		holds := arch
		if r.Fault.is(faultWrongImage, n.Name) {
			holds = other(arch, r.programs())
		}
		images = append(images, MadeImage{Ref: ownRef(r.RunID), Holds: holds, Claims: arch})
		pods = append(pods, r.draft.ownPod(Cell{Dst: n.Name})...)
	}
	if r.draft.has(n.Name, kindForeign) {
		images = append(images, MadeImage{Ref: foreignRef(r.RunID), Holds: other(arch, r.programs()), Claims: arch})
		pods = append(pods, r.draft.foreignPod(Cell{Dst: n.Name})...)
	}
	return images, pods
}

// makeImagePods sends each host the images that its cells want, and makes the pods that run them: after the images, since they are
// never pulled.
func (r *run) makeImagePods(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, n := range r.nodes {
		images, pods := r.imagesOf(n)
		if len(images) == 0 {
			continue
		}
		g.Go(func() error {
			r.Event(report.Event{Kind: report.Progress, Host: n.Name, Step: "set up", Message: "sending new images"})
			err := r.Machines[n.Name].ImportImage(ctx, func(w io.Writer) error { return r.Images.Archive(ctx, w, r.RunID+"/"+n.Name, images) })
			if err != nil {
				r.hosts.fails(n.Name, withImages, err)
				return nil
			}
			return r.maker.all(ctx, pods)
		})
	}
	return g.Wait()
}

// other is an architecture that arch is not, of those that there are programs for; empty when there is none.
func other(arch platform.Arch, has func(platform.Arch) bool) platform.Arch {
	for _, a := range platform.All() {
		if a != arch && has(a) {
			return a
		}
	}
	return ""
}
