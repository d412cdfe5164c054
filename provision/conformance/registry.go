package conformance

import (
	"context"
	"regexp"
	"strings"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

func (p *planner) registry() {
	switch {
	case p.in.Quick:
	case !p.in.Registry:
		p.add(Cell{Name: "pull", Class: "any", kind: kindNever, Blocked: "no private registry in the inventory (conformance.registry)"})
	case p.in.NodesKnow:
		for _, n := range p.subjects() {
			p.on(n, "with-the-nodes-login", kindPull, Cell{})
		}
		p.add(Cell{Name: "without-login-fails", Class: "any", kind: kindRefuses})
	default:
		for _, n := range p.subjects() {
			p.on(n, "with-secret", kindPull, Cell{})
			p.on(n, "without-secret-fails", kindNoPull, Cell{})
		}
	}
}

// registrySecret is the name of the registry's credentials.
const registrySecret = "registry"

// registryTrier tries to pull from the private registry.
type registryTrier struct {
	roster
	view     *view
	registry *Registry // of Options
}

func (t *registryTrier) tryPull(ctx context.Context, c Cell) outcome {
	return t.pulls(ctx, "Pod/"+t.slot(podPull, c.Dst), "the image was not pulled; ")
}

// pulls waits for a pod's image to be pulled. Where a node says that it has the image, or pulls another, a policy has changed the pod, which then
// shows nothing of the registry.
func (t *registryTrier) pulls(ctx context.Context, pod, otherwise string) outcome {
	unasked := ""
	o := t.view.shows(ctx, func(_ map[string]kube.Pod, events []kube.Event) (string, bool) {
		pulled := ""
		if pulled, unasked = t.pulled(events, pod); pulled != "" {
			return "", false
		}
		return otherwise + lastWarning(events, pod), unasked != ""
	})
	if unasked != "" {
		return blocked("the registry was not asked for %s: %s", t.registry.Image, unasked)
	}
	return o
}

// pulled is what the kubelet says when it has pulled a pod's image (pkg/kubelet/images: EnsureImageExists); unasked is what it says of an image
// that it did not pull, or of another one.
func (t *registryTrier) pulled(events []kube.Event, pod string) (pulled, unasked string) {
	for _, e := range events {
		switch {
		case e.Object != pod || e.Reason != "Pulled":
		case strings.HasPrefix(e.Message, `Successfully pulled image "`+t.registry.Image):
			return e.Message, ""
		default:
			unasked = e.Message
		}
	}
	return "", unasked
}

// tryRefuses shows that the image is private: where nodes know the login, no pod of theirs can show it.
func (t *registryTrier) tryRefuses(ctx context.Context, _ Cell) outcome {
	switch refuses, err := t.registry.Refuses(ctx); {
	case err != nil:
		return blocked("whether the registry refuses someone without a login could not be found out from here: %v", err)
	case !refuses:
		return failed("the registry gives the image to anybody: that a node gets it proves nothing of its login")
	}
	return passed()
}

// refusals are the words of a registry that does not let someone in: a status, an error code of the distribution's specification, or
// containerd's and CRI-O's own words for them. A port, a path or a host's name may hold such words too: they count where they say a status.
var refusals = regexp.MustCompile(`(?i)` +
	`: 401 unauthorized\b|: 403 forbidden\b` +
	`|unexpected status(?: code)?(?: from [^\n]*?| \[[^\]\n]*\]| [^\s\n]+)?: (?:401|403)\b` +
	`|(?:^|: )(?:unauthorized|denied): ` +
	`|pull access denied, |insufficient_scope: |authorization failed\b|no basic auth credentials\b|authentication required\b|invalid username/password\b`)

// tryNoPull shows that an image is not pulled without the secret: that the registry says so, while the same node gets it with the secret.
func (t *registryTrier) tryNoPull(ctx context.Context, c Cell) outcome {
	with, without := "Pod/"+t.slot(podPull, c.Dst), "Pod/"+t.slot(podNoPull, c.Dst)
	unasked := ""
	o := t.view.shows(ctx, func(_ map[string]kube.Pod, events []kube.Event) (string, bool) {
		pulled := ""
		pulled, unasked = t.pulled(events, without)
		switch {
		case pulled != "":
			return "the image was pulled without the secret: the registry is not private, or the node knows it", true
		case unasked != "":
			return unasked, true
		case refusals.MatchString(warnings(events, without)):
			return "", false
		}
		return "the registry does not refuse; " + lastWarning(events, without), false
	})
	switch {
	case unasked != "":
		return blocked("the registry was not asked for %s: %s", t.registry.Image, unasked)
	case o.verdict != report.Passed:
		return o
	}
	if control := t.pulls(ctx, with, "with the secret it is not pulled either, so that the refusal proves nothing; "); control.verdict != report.Passed {
		return blocked("%s", control.reason)
	}
	return o
}
