package conformance

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

// The names of pods and Services, before the node's place.
const (
	podA       = "a"       // serves, and has a second container
	podB       = "b"       // another pod of the same node
	podOwn     = "own"     // of an image that never was
	podWrong   = "foreign" // of an image with another architecture's program
	podNoDir   = "nodir"   // whose directory is missing
	podPull    = "pull"    // from the private registry
	podNoPull  = "nopull"
	podNowhere = "nowhere" // that no node can satisfy
	svcTo      = "to"      // a NodePort Service to a
	svcLocal   = "local"   // the same, for backends on the dialled node alone
	svcStay    = "stay"    // whose endpoint goes
	svcGone    = "gone"    // which goes itself
)

// setUp makes what the cells need: directories and images on the hosts, objects in the cluster. Everything starts at once, and cells
// wait for what they use.
func (r *run) setUp(ctx context.Context) error {
	r.Event(report.Event{Kind: report.Started, Step: "set up"})
	if err := r.makeSpace(ctx); err != nil {
		return err
	}
	r.follow()
	r.makeDirs(ctx)
	if r.Fault != nil && r.Fault.Name == faultDirectory {
		if err := r.Machines[r.Fault.Node].MakeDir(ctx, r.missingDir()); err != nil {
			return fmt.Errorf("%s: %w", r.Fault.Node, err)
		}
	}
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

// makeSpace makes the namespace, with what the probes want of Pod Security where that may be said, and the probes' secret in it.
func (r *run) makeSpace(ctx context.Context) error {
	space := r.objects.space()
	_, err := r.API.Apply(ctx, manifests(space), kube.ApplyOptions{})
	if kube.Denied(err) {
		space["metadata"] = r.objects.meta(r.objects.namespace, nil)
		_, err = r.API.Apply(ctx, manifests(space), kube.ApplyOptions{})
	}
	if err != nil {
		return err
	}
	_, err = r.API.Apply(ctx, manifests(r.objects.probeSecret(r.secret)), kube.ApplyOptions{})
	return err
}

// newSecret makes the secret of a run's probes.
func newSecret() probe.Secret {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails
	return probe.Secret(hex.EncodeToString(b))
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
			pods[nodeOf(o)] = append(pods[nodeOf(o)], o)
			continue
		}
		g.Go(func() error {
			places <- struct{}{}
			defer func() { <-places }()
			return r.createService(ctx, o)
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
		if err := r.createPod(ctx, o); err != nil {
			<-places
			return err
		}
		name := nameOf(o)
		if r.isDenied(name) {
			<-places
			continue
		}
		go func() { // ends with the run, or its time
			defer func() { <-places }()
			ctx, cancel := context.WithTimeout(r.life, r.pace.launch)
			defer cancel()
			_, _ = r.view.ready(ctx, name) // some are there to fail, which their cells look at
		}()
	}
	return nil
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
		if !r.prepares(n.Name, withDirectory) {
			continue
		}
		open.Go(func() {
			if err := r.Machines[n.Name].MakeDir(ctx, hostDirs+r.RunID); err != nil {
				r.hostFails(n.Name, withDirectory, err)
			}
		})
	}
	open.Wait()
}

// hostOf is a host as it is prepared.
type hostOf struct {
	node string
	with preparation
}

// prepares tells whether a node's host is prepared for a cell that will be tried.
func (r *run) prepares(node string, with preparation) bool {
	return slices.ContainsFunc(r.matrix.Cells, func(c Cell) bool {
		return c.Blocked == "" && kinds[c.kind].host == with && (c.Dst == node || c.Src == node)
	})
}

// hostFails notes that a host could not be prepared.
func (r *run) hostFails(node string, with preparation, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unprepared[hostOf{node, with}] = err
}

// hostError is what a cell's hosts could not do for it.
func (r *run) hostError(c Cell) error {
	with := kinds[c.kind].host
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, node := range []string{c.Dst, c.Src} {
		if err := r.unprepared[hostOf{node, with}]; err != nil {
			return fmt.Errorf("%s: %w", node, err)
		}
	}
	return nil
}

// hasDirectory tells whether a node's probes mount a directory of their host.
func (r *run) hasDirectory(node string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unprepared[hostOf{node, withDirectory}] == nil && r.prepares(node, withDirectory)
}

// wantedObjects are the objects that need nothing but the namespace and the directories: the probes of the nodes, and what cells make.
func (r *run) wantedObjects() []object {
	var out []object
	for _, n := range r.nodes {
		if r.usesProbes(n.Name) {
			out = append(out, r.probes(n.Name)...)
		}
	}
	made := map[any]bool{}
	for _, c := range r.matrix.Cells {
		makes := kinds[c.kind].makes
		if c.Blocked != "" || makes == nil || kinds[c.kind].host == withImages { // those come after their images
			continue
		}
		for _, o := range makes(r, c) {
			if key := [2]any{o["kind"], o["metadata"].(object)["name"]}; !made[key] {
				made[key] = true
				out = append(out, o)
			}
		}
	}
	return out
}

// probes are a node's two probe pods, and the Service of the first.
func (r *run) probes(node string) []object {
	name := r.slot(podA, node)
	a := podSpec{name: name, labels: map[string]string{slotLabel: name}, node: node, peer: true, reserves: true}
	b := podSpec{name: r.slot(podB, node), labels: map[string]string{slotLabel: r.slot(podB, node)}, node: node, reserves: true}
	if r.hasDirectory(node) {
		a.hostDir, a.hostType = hostDirs+r.RunID, "Directory"
		b.hostDir, b.hostType = a.hostDir, a.hostType
	}
	return []object{r.objects.pod(a), r.objects.pod(b), r.serviceTo(svcTo, node, "Cluster")}
}

// serviceTo is a Service that leads to a node's first probe.
func (r *run) serviceTo(which, node, policy string) object {
	return r.objects.service(r.slot(which, node), map[string]string{slotLabel: r.slot(podA, node)}, policy, 0)
}

// usesProbes tells whether any cell needs the node's probes.
func (r *run) usesProbes(node string) bool {
	return slices.ContainsFunc(r.matrix.Cells, func(c Cell) bool {
		return c.Blocked == "" && (c.Src == node || c.Dst == node) && kinds[c.kind].probes != nil
	})
}
