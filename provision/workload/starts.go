package workload

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// Start is what a container starts, as far as its pod says so: the zero value leaves all of it to the image.
type Start struct {
	Command, Args []string
	Dir           string   // its working directory; "" = the image's
	Path          string   // its PATH; "" = the image's
	Mounts        []string // where its volumes lie
	Unknown       string   // why what it starts cannot be told from the pod alone; "" = it can
}

// Starts tells what keeps a container's program from starting on an architecture: wrong is a sentence, and unknown why
// no one can tell. Both are empty where it starts.
type Starts func(image string, s Start, arch platform.Arch) (wrong, unknown string)

// start is what the container of a use starts; nil = nothing, as in an image volume.
func (u use) start() *Start {
	if u.role == roleVolume {
		return nil
	}
	s := &Start{Command: words(value(u.item, "command")), Args: words(value(u.item, "args")), Dir: text(u.item, "workingDir")}
	for _, m := range items(value(u.item, "volumeMounts")) {
		if at := text(m, "mountPath"); at != "" {
			s.Mounts = append(s.Mounts, at)
		}
	}
	for _, e := range items(value(u.item, "env")) {
		if text(e, "name") != "PATH" {
			continue
		}
		if s.Path = text(e, "value"); value(e, "valueFrom") != nil || strings.Contains(s.Path, "$(") {
			s.Path, s.Unknown = "", "its PATH does not stand in the pod"
		}
	}
	first := append(append([]string{}, s.Command...), s.Args...)
	if len(first) > 0 && strings.Contains(first[0], "$(") {
		s.Unknown = "the name of its program has a variable: " + first[0]
	}
	return s
}

// words are the scalars of a list.
func words(n *yaml.Node) []string {
	var out []string
	for _, w := range items(n) {
		if w.Kind == yaml.ScalarNode {
			out = append(out, w.Value)
		}
	}
	return out
}
