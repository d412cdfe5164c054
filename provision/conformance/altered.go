package conformance

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/kube"
)

// alteredError is of a pod that is not the one that was asked for: an admission webhook may make another of it. What it shows is not what cells look
// for, neither good nor bad.
type alteredError struct {
	pod  string
	what []string
}

func (e *alteredError) Error() string {
	return fmt.Sprintf("pod %s is not as it was asked for, which an admission webhook may be the reason of: %s", e.pod, strings.Join(e.what, ", "))
}

// expects notes what a pod is asked to be.
func (v *view) expects(o object) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked[nameOf(o)] = o
}

// compare notes what is another than was asked for; v.mu is held.
func (v *view) compare(p kube.Pod) {
	if o := v.asked[p.Name]; o != nil && v.altered[p.Name] == nil {
		if what := alterations(o, p); len(what) > 0 {
			v.altered[p.Name] = &alteredError{p.Name, what}
		}
	}
}

// alteration is what became of the first of the pods that are not as they were asked for; nil when all are.
func (v *view) alteration(names ...string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, name := range names {
		if err := v.altered[name]; err != nil {
			return err
		}
	}
	return nil
}

// alterations are what a pod has otherwise than was asked for, of what cells rely on: its network, its node, what Services find it by, and what runs
// in it.
func alterations(o object, p kube.Pod) (what []string) {
	say := func(format string, args ...any) { what = append(what, fmt.Sprintf(format, args...)) }
	if p.HostNetwork {
		say("hostNetwork is set")
	}
	if node := nodeOf(o); node != "" && p.Node != node {
		say("its node is %s instead of %s", cmp.Or(p.Node, "not named"), node)
	}
	labels, _ := o["metadata"].(object)["labels"].(object)
	if want, _ := labels[slotLabel].(string); p.Labels[slotLabel] != want {
		say("its label %s is %q instead of %q", slotLabel, p.Labels[slotLabel], want)
	}
	images := map[string]string{}
	containers, _ := o["spec"].(object)["containers"].([]object)
	for _, c := range containers {
		images[c["name"].(string)] = c["image"].(string)
	}
	for _, name := range slices.Sorted(maps.Keys(images)) {
		switch image, there := p.Images[name]; {
		case !there:
			say("container %s is missing", name)
		case image != images[name]:
			say("container %s has the image %s instead of %s", name, image, images[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Images)) {
		if _, asked := images[name]; !asked {
			say("container %s was added", name)
		}
	}
	return what
}
