package conformance

import (
	"context"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/kube"
)

func (p *planner) registry() {
	switch {
	case p.in.Quick:
	case !p.in.Registry:
		p.add(Cell{Name: "pull", Class: "any", kind: kindNever, Blocked: "no private registry in the inventory (conformance.registry)"})
	default:
		for _, n := range p.subjects() {
			p.on(n, "with-secret", kindPull, Cell{})
			p.on(n, "without-secret-fails", kindNoPull, Cell{})
		}
	}
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

func (r *run) pullPod(c Cell) []object {
	return []object{r.objects.pod(podSpec{name: r.slot(podPull, c.Dst), node: c.Dst, image: r.Registry.Image, pull: "Always", secret: "registry", restart: "Never"})}
}

func (r *run) noPullPod(c Cell) []object {
	return []object{r.objects.pod(podSpec{name: r.slot(podNoPull, c.Dst), node: c.Dst, image: r.Registry.Image, pull: "Always", restart: "Never"})}
}

func (r *run) tryPull(ctx context.Context, c Cell) outcome {
	name := r.slot(podPull, c.Dst)
	return r.shows(ctx, func(_ map[string]kube.Pod, events []kube.Event) (string, bool) {
		if said(events, "Pod/"+name, "Pulled") {
			return "", false
		}
		return "the image was not pulled; " + lastWarning(events, "Pod/"+name), false
	})
}

func (r *run) tryNoPull(ctx context.Context, c Cell) outcome {
	name := r.slot(podNoPull, c.Dst)
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
