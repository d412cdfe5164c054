package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
)

// Start is what a pod's container starts, as far as the pod says so. The zero value leaves all of it to the image.
type Start struct {
	Command, Args []string
	Dir           string   // its working directory; "" = the image's
	Path          string   // its PATH; "" = the image's
	Mounts        []string // where its volumes lie: what is there the image does not tell
	Unknown       string   // why what it starts cannot be told from the pod alone; "" = it can
}

// Started is what came of looking at what a container starts. All fields empty: it starts.
type Started struct {
	Wrong   string // a sentence: why it does not start
	Missing bool   // as the image does not have the program at all
	Unknown string // why no one can tell
	Unread  bool   // as the image could not be read
}

// Starter looks into images of registries for what containers start in them. Its methods may be called at once; one image is read at a time,
// so that memory is bounded.
type Starter struct {
	Registry *registry.Client

	mu sync.Mutex
	in Inspector
}

// Look reads the image that a reference has for an architecture, and judges each start in it. What could not be read makes all of them unknown.
func (s *Starter) Look(ctx context.Context, ref string, keys []registry.Credential, arch platform.Arch, starts []Start) []Started {
	out := make([]Started, len(starts))
	s.mu.Lock()
	defer s.mu.Unlock()
	t, config, err := s.read(ctx, ref, keys, arch)
	for i, one := range starts {
		if err != nil {
			out[i] = Started{Unknown: "it could not be looked into: " + err.Error(), Unread: true}
			continue
		}
		out[i] = t.judge(config, one, arch)
	}
	return out
}

func (s *Starter) read(ctx context.Context, ref string, keys []registry.Credential, arch platform.Arch) (*tree, *v1.ConfigFile, error) {
	named, err := ParseName(ref)
	if err != nil {
		return nil, nil, err
	}
	sets, err := (&Places{Registry: s.Registry}).remote(ctx, ref, named, keys, func(p *v1.Platform) bool { return sameArch(*p, PartFor(arch, "").Platform) })
	if err != nil {
		return nil, nil, err
	}
	for _, e := range sets.Images {
		if e.Err != nil {
			err = e.Err
			continue
		}
		is := e.Platform()
		if of, ok := platform.OfImage(is.Architecture, is.Variant); !ok || of != arch || is.OS != "linux" {
			continue
		}
		t, err := s.in.files(ctx, e.config.RootFS.DiffIDs, e.packed(ctx))
		return t, e.config, err
	}
	return nil, nil, cmp.Or(err, errors.New("it holds no image whose config says linux/"+arch.String()))
}

// argvWith is what a container runs: a pod's command takes the place of the entrypoint, and of the image's command as well (kubelet, as
// kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container has it).
func argvWith(c *v1.ConfigFile, s Start) []string {
	switch {
	case len(s.Command) > 0:
		return append(append([]string{}, s.Command...), s.Args...)
	case len(s.Args) > 0:
		return append(append([]string{}, c.Config.Entrypoint...), s.Args...)
	}
	return argvOf(c)
}

// judge looks at what a container starts in these files.
func (t *tree) judge(c *v1.ConfigFile, s Start, arch platform.Arch) Started {
	if s.Unknown != "" {
		return Started{Unknown: s.Unknown}
	}
	argv := argvWith(c, s)
	if len(argv) == 0 {
		return Started{Wrong: "neither the pod nor the image says what is to be started", Missing: true}
	}
	e := environmentOf(c)
	e.dir, e.path = cmp.Or(s.Dir, e.dir), cmp.Or(s.Path, e.path)
	r := t.start(e, argv[0])
	_, fault := r.fault(arch)
	if fault == "" {
		r.tried = nil // it was found
	}
	if mount := t.mountOn(r, s.Mounts); mount != "" {
		return Started{Unknown: fmt.Sprintf("what it starts (%s) may lie in the volume at %s", argv[0], mount)}
	}
	if fault == "" {
		return Started{}
	}
	return Started{Wrong: fault, Missing: len(r.files) == 0 && errors.Is(r.err, errNotThere)}
}

// mountOn is where a volume lies over what a run looked for; "" = nowhere.
func (t *tree) mountOn(r run, mounts []string) string {
	names := append([]string{}, r.tried...)
	for _, f := range r.files {
		names = append(names, f.at)
	}
	for _, mount := range mounts {
		at := []string{path.Clean("/" + mount)}
		if behind, _, err := t.lookup(mount); err == nil { // through links
			at = append(at, path.Clean("/"+behind))
		}
		for _, m := range at {
			for _, name := range names {
				if name = path.Clean("/" + name); m == "/" || name == m || strings.HasPrefix(name, m+"/") {
					return mount
				}
			}
		}
	}
	return ""
}
