package conformance

import (
	"context"
	"errors"
	"fmt"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

// directoryTrier tries directories of the hosts in pods.
type directoryTrier struct {
	asker
	hosts *hosts
}

func (t *directoryTrier) tryPodWrites(ctx context.Context, c Cell) outcome {
	a, err := t.agents.of(ctx, t.slot(podA, c.Dst), mainContainer)
	if err != nil {
		return lost(c, err)
	}
	text := t.nonces(Cell{Check: c.Check, Name: c.Name, Dst: c.Dst, times: 1})[0]
	if _, err := a.ask(ctx, probe.Order{Op: probe.OpWrite, Path: "/host/by-pod", Text: text}); err != nil {
		return failed("the pod cannot write: %v", err)
	}
	inPod, err := a.ask(ctx, probe.Order{Op: probe.OpRead, Path: "/host/by-pod"})
	if err != nil {
		return failed("the pod cannot read what it wrote: %v", err)
	}
	path := hostDirs + t.runID + "/by-pod"
	if t.fault.is(faultByte, c.Dst) {
		if err := t.hosts.machines[c.Dst].WriteFile(ctx, path, flip(text)); err != nil {
			return faultless(err)
		}
	}
	got, id, err := t.hosts.machines[c.Dst].ReadFile(ctx, path)
	switch {
	case err != nil:
		return failed("the host does not have what the pod wrote: %v", err)
	case got == text && id != inPod.FileID:
		return failed("the host's file is another one: device and inode %s, the pod's %s", id, inPod.FileID)
	}
	return same(got, text, "the pod wrote", "the host has")
}

func (t *directoryTrier) tryHostWrites(ctx context.Context, c Cell) outcome {
	a, err := t.agents.of(ctx, t.slot(podB, c.Dst), mainContainer)
	if err != nil {
		return lost(c, err)
	}
	text := t.nonces(Cell{Check: c.Check, Name: c.Name, Dst: c.Dst, times: 1})[0]
	if err := t.hosts.machines[c.Dst].WriteFile(ctx, hostDirs+t.runID+"/by-host", text); err != nil {
		return failed("the host cannot write: %v", err)
	}
	got, err := a.ask(ctx, probe.Order{Op: probe.OpRead, Path: "/host/by-host"})
	if err != nil {
		return failed("another pod cannot read what the host wrote: %v", err)
	}
	return same(got.Text, text, "the host wrote", "the pod read")
}

func (t *directoryTrier) tryElsewhere(ctx context.Context, c Cell) outcome {
	name := fmt.Sprintf("only-on-%d", t.index(c.Dst))
	if err := t.hosts.machines[c.Dst].WriteFile(ctx, hostDirs+t.runID+"/"+name, t.runID); err != nil {
		return failed("the host cannot write: %v", err)
	}
	a, err := t.agents.of(ctx, t.slot(podA, c.Src), mainContainer)
	if err != nil {
		return lost(c, err)
	}
	if o := t.seesItsOwn(ctx, c, a); o.verdict != report.Passed {
		return o
	}
	_, err = a.ask(ctx, probe.Order{Op: probe.OpRead, Path: "/host/" + name})
	var refused *orderError
	switch {
	case err == nil:
		return failed("a pod on %s sees the file of %s: the directory is shared", c.Src, c.Dst)
	case errors.As(err, &refused) && refused.answer.NotExist:
		return passed()
	}
	return failed("a pod on %s cannot look: %v", c.Src, err)
}

// seesItsOwn shows that a pod sees what its own host writes: that it does not see the other's would prove nothing otherwise.
func (t *directoryTrier) seesItsOwn(ctx context.Context, c Cell, a *agent) outcome {
	name := fmt.Sprintf("own-of-%d-for-%d", t.index(c.Src), t.index(c.Dst))
	if err := t.hosts.machines[c.Src].WriteFile(ctx, hostDirs+t.runID+"/"+name, name); err != nil {
		return blocked("host %s cannot write: %v", c.Src, err)
	}
	got, err := a.ask(ctx, probe.Order{Op: probe.OpRead, Path: "/host/" + name})
	switch {
	case unheard(err):
		return lost(c, err)
	case err != nil:
		return blocked("a pod on %s does not see what its own host wrote, so that nothing follows from what else it does not see: %v", c.Src, err)
	case got.Text != name:
		return blocked("a pod on %s reads %q where its own host wrote %q", c.Src, got.Text, name)
	}
	return passed()
}

// noSuchDirectory is what the kubelet says of a directory that is not there (pkg/volume/hostpath: checkType). Mounts fail for other reasons too.
const noSuchDirectory = "hostPath type check failed"

func (t *directoryTrier) tryNoDirectory(ctx context.Context, c Cell) outcome {
	name := t.slot(podNoDir, c.Dst)
	return t.view.shows(ctx, func(pods map[string]kube.Pod, events []kube.Event) (string, bool) {
		switch {
		case pods[name].Ready:
			return "a pod runs although the directory it wants does not exist", true
		case saidOf(events, "Pod/"+name, "FailedMount", noSuchDirectory):
			return "", false
		}
		return "the kubelet does not say that the directory is missing; " + lastWarning(events, "Pod/"+name), false
	})
}

func (p *planner) hostPath() {
	if p.in.Quick {
		return
	}
	for _, n := range p.subjects() {
		p.on(n, "pod-writes-host-reads", kindPodWrites, needsMachine(n))
		p.on(n, "host-writes-pod-reads", kindHostWrites, needsMachine(n))
		c := needsMachine(n)
		other, ok := p.partner(func(o Node) bool { return o.Name != n.Name && o.NoMachine == "" && noPods(o) == "" })
		if !ok {
			c.Blocked = "needs a second node whose host can be asked"
		}
		c.Src = other.Name
		p.on(n, "not-seen-elsewhere", kindElsewhere, c)
		p.on(n, "missing-directory-fails", kindNoDirectory, Cell{})
	}
}
