package conformance

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

// setUp makes what the cells need: directories and images on the hosts, objects in the cluster. Everything starts at once, and cells
// wait for what they use.
func (r *run) setUp(ctx context.Context) (err error) {
	r.Event(report.Event{Kind: report.Started, Step: "set up"})
	defer func() {
		e := report.Event{Kind: report.Done, Step: "set up", Action: report.Created, Message: "namespace " + r.draft.namespace}
		if err != nil {
			e.Action, e.Err = report.Failed, err
		}
		r.Event(e)
	}()
	if err := r.makeSpace(ctx); err != nil {
		return err
	}
	if r.release, err = attend(ctx, r.API, r.RunID, r.pace.atWork, r.lose); err != nil {
		return err
	}
	r.follow()
	r.hosts.makeDirs(ctx, r.draft)
	fault := saboteur{draft: r.draft, api: r.API, machines: r.Machines, view: r.view, overlayPort: r.OverlayPort, rulesLag: r.pace.rulesLag}
	if err := fault.beforehand(ctx); err != nil {
		return err
	}
	if err := r.makeSecret(ctx); err != nil {
		return err
	}
	g, making := errgroup.WithContext(ctx)
	g.Go(func() error { return r.maker.all(making, r.draft.wanted(r.hosts.without(withDirectory))) })
	g.Go(func() error { return r.makeImagePods(making) })
	if err := g.Wait(); err != nil {
		return err
	}
	if err := r.services.read(ctx, r.API); err != nil {
		return err
	}
	r.undo, err = fault.sabotage(ctx)
	return err
}

// makeSpace makes the namespace, with what the probes want of Pod Security where that may be said, and in it the account of its pods and the
// probes' secret.
func (r *run) makeSpace(ctx context.Context) error {
	space := r.draft.space()
	_, err := r.API.Apply(ctx, manifests(space), kube.ApplyOptions{})
	if kube.Denied(err) {
		space["metadata"] = r.draft.meta(r.draft.namespace, nil)
		_, err = r.API.Apply(ctx, manifests(space), kube.ApplyOptions{})
	}
	if err != nil {
		return err
	}
	_, err = r.API.Apply(ctx, manifests(r.draft.account(), r.draft.probeSecret(r.secret)), kube.ApplyOptions{})
	return err
}

// makeSecret gives the run's namespace the registry's credentials, where the inventory names a registry whose login the nodes do not know.
func (r *run) makeSecret(ctx context.Context) error {
	if r.Registry == nil || r.Registry.NodesKnow || !slices.ContainsFunc(r.matrix.Cells, func(c Cell) bool { return c.kind == kindPull && c.Blocked == "" }) {
		return nil
	}
	password, err := r.Registry.Password()
	if err != nil {
		return err
	}
	registry, _, _ := strings.Cut(r.Registry.Image, "/")
	_, err = r.API.Apply(ctx, manifests(r.draft.pullSecret(registrySecret, registry, r.Registry.Username, password)), kube.ApplyOptions{})
	return err
}

// newSecret makes the secret of a run's probes.
func newSecret() probe.Secret {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails
	return probe.Secret(hex.EncodeToString(b))
}
