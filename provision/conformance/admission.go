package conformance

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/hybridctl/hybridctl/provision/kube"
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

// wrong is the outcome of an error: blocked when the cluster forbids what was wanted, or makes another thing of it.
func wrong(err error) outcome {
	if forbids(err) {
		return blocked("%v", err)
	}
	return failed("%v", err)
}

func forbids(err error) bool {
	return errors.As(err, new(*deniedError)) || errors.As(err, new(*alteredError)) || kube.Denied(err)
}

// policies are what the cluster does not let in, by the name of an object.
type policies struct {
	mu     sync.Mutex
	denied map[string]error
}

func newPolicies() *policies { return &policies{denied: map[string]error{}} }

// deny notes that an object is not there because a policy forbids it.
func (p *policies) deny(name string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.denied[name] = err
}

// forbid is why the first of the objects that is not there is not; nil when none is forbidden.
func (p *policies) forbid(names ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range names {
		if err := p.denied[name]; err != nil {
			return err
		}
	}
	return nil
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

// isProbe reports whether a pod is one of those that several kinds of cells use.
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

// unprivileged is the user (nobody) that pods run as where they may not be root.
const unprivileged = 65534

// withoutRoot is a pod as Pod Security's level "restricted" wants it; one with a device or a directory of the host can never be so.
func withoutRoot(o object) (less object, may bool) {
	may = true
	less = with(o, func(spec object) {
		spec["securityContext"] = object{
			"runAsNonRoot": true, "runAsUser": unprivileged, "runAsGroup": unprivileged, "fsGroup": unprivileged, "seccompProfile": object{"type": "RuntimeDefault"},
		}
		volumes, _ := spec["volumes"].([]object)
		may = !slices.ContainsFunc(volumes, func(v object) bool { return v["hostPath"] != nil })
		eachContainer(spec, func(c object) {
			context := maps.Clone(c["securityContext"].(object))
			context["runAsUser"], context["runAsNonRoot"] = unprivileged, true
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
