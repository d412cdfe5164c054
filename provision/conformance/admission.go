package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

// deniedError is of an object that a policy of the cluster does not let in. What needs it cannot be tried, and nothing is wrong with the nodes.
type deniedError struct {
	what string
	err  error
}

func (e *deniedError) Error() string {
	return fmt.Sprintf("a policy of the cluster forbids %s: %v", e.what, e.err)
}

func (e *deniedError) Unwrap() error { return e.err }

// wrong is the outcome of an error: blocked when the cluster forbids what was wanted.
func wrong(err error) outcome {
	if forbids(err) {
		return blocked("%v", err)
	}
	return failed("%v", err)
}

func forbids(err error) bool {
	var denied *deniedError
	return errors.As(err, &denied) || kube.Denied(err)
}

// deny notes that an object is not there because a policy forbids it.
func (r *run) deny(name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.denied[name] = err
}

func (r *run) isDenied(name string) bool { return r.deniedPod(name) != nil }

func (r *run) deniedPod(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.denied[name]
}

// deniedTo is why a cell cannot have one of its objects.
func (r *run) deniedTo(c Cell) error {
	names := probesOf(r, c)
	if makes := kinds[c.kind].makes; makes != nil {
		for _, o := range makes(r, c) {
			names = append(names, nameOf(o))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		if err := r.denied[name]; err != nil {
			return err
		}
	}
	return nil
}

// createPod makes a pod, where policies forbid it as it is in a form that asks for less: without its directory of the host, and then without
// root. The cells that want what it does without are blocked. A pod that may not be at all is noted, and is no error.
func (r *run) createPod(ctx context.Context, o object) error {
	err := r.API.Create(ctx, manifests(o))
	if !kube.Denied(err) {
		return err
	}
	name, node := nameOf(o), nodeOf(o)
	if isProbe(o) {
		if less, had := withoutDirectory(o); had {
			r.hostFails(node, withDirectory, &deniedError{"directories of hosts in pods", err})
			if o, err = less, r.API.Create(ctx, manifests(less)); !kube.Denied(err) {
				return err
			}
		}
	}
	if less, may := withoutRoot(o); may {
		again := r.API.Create(ctx, manifests(less))
		if again == nil {
			r.Event(report.Event{Kind: report.Progress, Host: node, Step: "set up", Message: "pod " + name + " runs without root, as a policy of the cluster wants it"})
		}
		if !kube.Denied(again) {
			return again
		}
	}
	r.deny(name, &deniedError{"pod " + name, err})
	return nil
}

// createService makes a Service, without a node port where policies forbid that: the cells that dial it from outside are blocked.
func (r *run) createService(ctx context.Context, o object) error {
	err := r.API.Create(ctx, manifests(o))
	if kube.Denied(err) {
		r.deny(nodePortsOf(nameOf(o)), &deniedError{"node ports", err})
		err = r.API.Create(ctx, manifests(withoutNodePort(o)))
	}
	if kube.Denied(err) {
		r.deny(nameOf(o), &deniedError{"service " + nameOf(o), err})
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made[nameOf(o)] = r.Now()
	return err
}

// nodePortsOf is what a Service's node ports are noted as.
func nodePortsOf(service string) string { return service + "'s node ports" }

func nameOf(o object) string {
	name, _ := o["metadata"].(object)["name"].(string)
	return name
}

func nodeOf(o object) string {
	node, _ := o["spec"].(object)["nodeName"].(string)
	return node
}

// isProbe tells whether a pod is one of those that several kinds of cells use.
func isProbe(o object) bool {
	labels, _ := o["metadata"].(object)["labels"].(object)
	return labels[slotLabel] != nil
}

// with is a copy of an object with another spec.
func with(o object, change func(spec object)) object {
	out := maps.Clone(o)
	spec := maps.Clone(o["spec"].(object))
	change(spec)
	out["spec"] = spec
	return out
}

func withoutDirectory(o object) (less object, had bool) {
	less = with(o, func(spec object) {
		volumes, _ := spec["volumes"].([]object)
		kept := slices.DeleteFunc(slices.Clone(volumes), func(v object) bool { return v["hostPath"] != nil })
		had = len(kept) < len(volumes)
		spec["volumes"] = kept
		eachContainer(spec, func(c object) {
			mounts, _ := c["volumeMounts"].([]object)
			c["volumeMounts"] = slices.DeleteFunc(slices.Clone(mounts), func(m object) bool { return m["name"] == hostVolume })
		})
	})
	return less, had
}

// nobody is whom pods run as that may not be root.
const nobody = 65534

// withoutRoot is a pod as Pod Security's level "restricted" wants it; one with a device or a directory of the host can never be so.
func withoutRoot(o object) (less object, may bool) {
	may = true
	less = with(o, func(spec object) {
		spec["securityContext"] = object{
			"runAsNonRoot": true, "runAsUser": nobody, "runAsGroup": nobody, "fsGroup": nobody, "seccompProfile": object{"type": "RuntimeDefault"},
		}
		volumes, _ := spec["volumes"].([]object)
		may = !slices.ContainsFunc(volumes, func(v object) bool { return v["hostPath"] != nil })
		eachContainer(spec, func(c object) {
			context := maps.Clone(c["securityContext"].(object))
			context["runAsUser"], context["runAsNonRoot"] = nobody, true
			c["securityContext"] = context
			may = may && c["volumeDevices"] == nil
		})
	})
	return less, may
}

func withoutNodePort(o object) object {
	return with(o, func(spec object) {
		delete(spec, "externalTrafficPolicy")
		spec["type"] = "ClusterIP"
	})
}

// eachContainer changes copies of a pod's containers.
func eachContainer(spec object, change func(c object)) {
	containers, _ := spec["containers"].([]object)
	containers = slices.Clone(containers)
	for i := range containers {
		containers[i] = maps.Clone(containers[i])
		change(containers[i])
	}
	spec["containers"] = containers
}
