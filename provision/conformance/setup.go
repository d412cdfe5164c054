package conformance

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

// The names of pods and Services, before the node's place.
const (
	podA      = "a"       // serves, and has a second container
	podB      = "b"       // another pod of the same node
	podOwn    = "own"     // of an image that never was
	podWrong  = "foreign" // of an image with another architecture's program
	podNoDir  = "nodir"   // whose directory is missing
	podPull   = "pull"    // from the private registry
	podNoPull = "nopull"
	svcTo     = "to"    // a NodePort Service to a
	svcLocal  = "local" // the same, for backends on the dialled node alone
	svcStay   = "stay"  // whose endpoint goes
	svcGone   = "gone"  // which goes itself
)

// setUp makes what the cells need: directories and images on the hosts, objects in the cluster. Everything starts at once, and cells
// wait for what they use.
func (r *run) setUp(ctx context.Context) error {
	r.Event(report.Event{Kind: report.Started, Step: "set up"})
	if _, err := r.API.Apply(ctx, manifests(r.objects.space()), kube.ApplyOptions{}); err != nil {
		return err
	}
	r.follow()
	r.makeDirs(ctx)
	if err := r.makeSecret(ctx); err != nil {
		return err
	}
	g, making := errgroup.WithContext(ctx)
	g.Go(func() error { return r.makeObjects(making, r.wantedObjects()) })
	g.Go(func() error { return r.makeImagePods(making) })
	if err := g.Wait(); err != nil {
		return err
	}
	services, err := r.API.Services(ctx, r.objects.namespace)
	if err != nil {
		return err
	}
	r.svc = map[string]kube.Service{}
	for _, s := range services {
		r.svc[s.Name] = s
	}
	return r.sabotage(ctx, svcTo)
}

// objectsAtOnce bounds how many objects are made at the same time, and startsAtOnce how many pods start on a node: that costs a small machine
// far more than to run them, and on a control plane the API server pays.
const (
	objectsAtOnce = 2
	startsAtOnce  = 3
)

func (r *run) makeObjects(ctx context.Context, all []object) error {
	g, ctx := errgroup.WithContext(ctx)
	pods := map[string][]object{}
	places := make(chan struct{}, objectsAtOnce)
	for _, o := range all {
		if o["kind"] == "Pod" {
			node, _ := o["spec"].(object)["nodeName"].(string)
			pods[node] = append(pods[node], o)
			continue
		}
		g.Go(func() error {
			places <- struct{}{}
			defer func() { <-places }()
			return r.API.Create(ctx, manifests(o))
		})
	}
	for node, all := range pods {
		g.Go(func() error { return r.startPods(ctx, node, all) })
	}
	return g.Wait()
}

// startPods makes a node's pods, in their order, each when few enough others are on their way. It does not wait for the last ones.
func (r *run) startPods(ctx context.Context, node string, pods []object) error {
	places := r.starting[node]
	for _, o := range pods {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := r.API.Create(ctx, manifests(o)); err != nil {
			<-places
			return err
		}
		name, _ := o["metadata"].(object)["name"].(string)
		go func() { // ends with the run, or its time
			defer func() { <-places }()
			ctx, cancel := context.WithTimeout(r.life, r.pace.launch)
			defer cancel()
			_, _ = r.view.ready(ctx, name) // some are there to fail, which their cells look at
		}()
	}
	return nil
}

// makeSecret gives the run's namespace the registry's credentials, where the inventory names a registry.
func (r *run) makeSecret(ctx context.Context) error {
	if r.Registry == nil || !slices.ContainsFunc(r.matrix.Cells, func(c Cell) bool { return c.kind == kindPull && c.Blocked == "" }) {
		return nil
	}
	password, err := r.Registry.Password()
	if err != nil {
		return err
	}
	registry, _, _ := strings.Cut(r.Registry.Image, "/")
	_, err = r.API.Apply(ctx, manifests(r.objects.pullSecret("registry", registry, r.Registry.Username, password)), kube.ApplyOptions{})
	return err
}

// has tells whether a cell of such a kind will be tried on a node, as the server or as the client.
func (r *run) has(node string, kinds ...kind) bool {
	return slices.ContainsFunc(r.matrix.Cells, func(c Cell) bool {
		return c.Blocked == "" && slices.Contains(kinds, c.kind) && (c.Dst == node || c.Src == node)
	})
}

// makeDirs makes the directories that probes mount, on all hosts at once. A host that cannot make one fails in its own cells.
func (r *run) makeDirs(ctx context.Context) {
	var open sync.WaitGroup
	for _, n := range r.nodes {
		if !n.Ready || !r.hasHostDir(n) {
			continue
		}
		open.Go(func() {
			if err := r.Machines[n.Name].MakeDir(ctx, hostDirs+r.RunID); err != nil {
				r.hostFails(n.Name, err, kindPodWrites, kindHostWrites, kindElsewhere)
			}
		})
	}
	open.Wait()
}

// hostFails notes what a host could not do for the cells of these kinds.
func (r *run) hostFails(node string, err error, kinds ...kind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range kinds {
		r.hostErr[hostCell{node, k}] = err
	}
}

// hostCell is a kind of cell at a node.
type hostCell struct {
	node string
	kind kind
}

// hostError is what a cell's hosts could not do for it.
func (r *run) hostError(c Cell) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.hostErr[hostCell{c.Dst, c.kind}]; err != nil {
		return fmt.Errorf("%s: %w", c.Dst, err)
	}
	if err := r.hostErr[hostCell{c.Src, c.kind}]; err != nil {
		return fmt.Errorf("%s: %w", c.Src, err)
	}
	return nil
}

// makeImagePods sends each host the images that its cells want, and makes the pods that run them: after the images, since they are
// never pulled.
func (r *run) makeImagePods(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for i, n := range r.nodes {
		var pods []object
		var images []MadeImage
		arch, err := platform.Parse(n.Arch)
		if err != nil {
			continue // its cells say so
		}
		if r.has(n.Name, kindOwn) {
			holds := arch
			if r.Fault.is(faultWrongImage, n.Name) {
				holds = other(arch)
			}
			images = append(images, MadeImage{Ref: ownRef(r.RunID), Holds: holds, Claims: arch})
			pods = append(pods, r.objects.pod(podSpec{name: slot(podOwn, i), node: n.Name, image: ownRef(r.RunID), pull: "Never"}))
		}
		if r.has(n.Name, kindForeign) {
			images = append(images, MadeImage{Ref: foreignRef(r.RunID), Holds: other(arch), Claims: arch})
			pods = append(pods, r.objects.pod(podSpec{name: slot(podWrong, i), node: n.Name, image: foreignRef(r.RunID), pull: "Never", restart: "Never"}))
		}
		if len(images) == 0 {
			continue
		}
		g.Go(func() error {
			r.Event(report.Event{Kind: report.Progress, Host: n.Name, Step: "set up", Message: "sending new images"})
			err := r.Machines[n.Name].ImportImage(ctx, func(w io.Writer) error { return r.Images.Archive(ctx, w, r.RunID+"/"+n.Name, images) })
			if err != nil {
				r.hostFails(n.Name, err, kindOwn, kindForeign)
				return nil
			}
			return r.makeObjects(ctx, pods)
		})
	}
	return g.Wait()
}

// other is an architecture that arch is not.
func other(arch platform.Arch) platform.Arch {
	for _, a := range platform.All() {
		if a != arch {
			return a
		}
	}
	return arch
}

// hasHostDir tells whether a node's probes mount a directory of its host.
func (r *run) hasHostDir(n Node) bool {
	return n.NoMachine == "" && r.has(n.Name, kindPodWrites, kindHostWrites, kindElsewhere) && r.hostError(Cell{Dst: n.Name, kind: kindPodWrites}) == nil
}

// wantedObjects are the objects that need nothing but the namespace and the directories.
func (r *run) wantedObjects() []object {
	var out []object
	o := r.objects
	for i, n := range r.nodes {
		if !n.Ready {
			continue
		}
		if r.usesProbes(n) {
			a := podSpec{name: slot(podA, i), labels: map[string]string{slotLabel: slot(podA, i)}, node: n.Name, peer: true, reserves: true}
			b := podSpec{name: slot(podB, i), labels: map[string]string{slotLabel: slot(podB, i)}, node: n.Name, reserves: true}
			if r.hasHostDir(n) {
				a.hostDir, a.hostType = hostDirs+r.RunID, "Directory"
				b.hostDir, b.hostType = a.hostDir, a.hostType
			}
			out = append(out, o.pod(a), o.pod(b),
				o.service(slot(svcTo, i), map[string]string{slotLabel: slot(podA, i)}, "Cluster", 0))
		}
		if r.has(n.Name, kindLocal, kindNotLocal) {
			out = append(out, o.service(slot(svcLocal, i), map[string]string{slotLabel: slot(podA, i)}, "Local", 0))
		}
		if r.has(n.Name, kindRemoved) {
			out = append(out, o.service(slot(svcStay, i), map[string]string{slotLabel: slot(podA, i)}, "", 0))
		}
		if r.has(n.Name, kindNoDirectory) {
			out = append(out, o.pod(podSpec{name: slot(podNoDir, i), node: n.Name, hostDir: hostDirs + r.RunID + "-missing", hostType: "Directory"}))
		}
		if r.has(n.Name, kindPull, kindNoPull) {
			out = append(out,
				o.pod(podSpec{name: slot(podPull, i), node: n.Name, image: r.Registry.Image, pull: "Always", secret: "registry", restart: "Never"}),
				o.pod(podSpec{name: slot(podNoPull, i), node: n.Name, image: r.Registry.Image, pull: "Always", restart: "Never"}))
		}
	}
	for _, c := range r.matrix.Cells {
		switch c.kind {
		case kindSelector:
			out = append(out, o.pod(podSpec{name: "selector-" + c.Class, selector: archSelector(c.Class)}))
		case kindAffinity:
			out = append(out, o.pod(podSpec{name: "affinity-" + c.Class, affinity: archAffinity(c.Class)}))
		case kindNowhere:
			out = append(out, o.pod(podSpec{name: "nowhere", selector: archSelector("no-such-architecture")}))
		}
	}
	return out
}

// usesProbes tells whether any cell needs the node's probes.
func (r *run) usesProbes(n Node) bool {
	return slices.ContainsFunc(r.matrix.Cells, func(c Cell) bool {
		return c.Blocked == "" && (c.Src == n.Name || c.Dst == n.Name) && !slices.Contains([]kind{
			kindReady, kindArch, kindDaemons, kindOwn, kindForeign, kindNoDirectory, kindPull, kindNoPull, kindGuard,
		}, c.kind) && c.class == ""
	})
}

// lazyAgent is an agent that starts when it is first asked for.
type lazyAgent struct {
	once  sync.Once
	agent *agent
	err   error
}

// agent returns a container's agent, which lasts for the run.
func (r *run) agent(pod, container string) (*agent, error) {
	key := pod + "/" + container
	r.mu.Lock()
	l := r.agents[key]
	if l == nil {
		l = &lazyAgent{}
		r.agents[key] = l
	}
	r.mu.Unlock()
	l.once.Do(func() { l.agent, l.err = startAgent(r.life, r.API, r.objects.namespace, pod, container, r.pace) })
	return l.agent, l.err
}

func (r *run) closeAgents() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.agents {
		if l.agent != nil {
			l.agent.close()
		}
	}
}
