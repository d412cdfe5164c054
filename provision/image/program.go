package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Inspector looks into images. It reads a layer that many images share only once.
type Inspector struct {
	layers map[string]layer // by digest of the compressed layer
}

// The PATH a container runtime gives to an image that sets none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Programs tells what is wrong with the programs of an image: the one it starts (entrypoint, else command) must be there and be
// for the image's architecture. With all, or when the image names none, that holds for every executable in it, and there must be
// one. Layers that are not what the config says are found on the way. Empty means good.
func (in *Inspector) Programs(ctx context.Context, i Image, all bool) ([]string, error) {
	t, err := in.files(ctx, i)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return []string{err.Error()}, nil
	}
	var problems []string
	argv := append(slices.Clone(i.config.Config.Entrypoint), i.config.Config.Cmd...)
	if len(argv) > 0 {
		if err := t.checkProgram(i, argv[0]); err != nil {
			problems = append(problems, fmt.Sprintf("its program %s %v", argv[0], err))
		}
	}
	if !all && len(argv) > 0 {
		return problems, nil
	}
	return append(problems, t.checkAll(i, all)...), nil
}

func (in *Inspector) files(ctx context.Context, i Image) (tree, error) {
	layers, err := i.img.Layers()
	if err != nil {
		return nil, err
	}
	diffs := i.config.RootFS.DiffIDs
	if len(diffs) != len(layers) {
		return nil, fmt.Errorf("it has %d layers, but its config lists %d", len(layers), len(diffs))
	}
	t := tree{}
	for n, l := range layers {
		digest, err := l.Digest()
		if err != nil {
			return nil, err
		}
		content, known := in.layers[digest.String()]
		if !known {
			if content, err = readLayer(ctx, l); err != nil {
				return nil, fmt.Errorf("its layer %s cannot be read: %w", digest, err)
			}
			if in.layers == nil {
				in.layers = map[string]layer{}
			}
			in.layers[digest.String()] = content
		}
		if content.diffID != diffs[n].String() {
			return nil, fmt.Errorf("its layer %s is not the one its config lists (%s)", digest, diffs[n])
		}
		if err := t.apply(content); err != nil {
			return nil, fmt.Errorf("its layer %s: %w", digest, err)
		}
	}
	return t, nil
}

// checkProgram finds what argv[0] starts, through PATH, symbolic links and the interpreters of scripts.
func (t tree) checkProgram(i Image, name string) error {
	for range 4 { // scripts that are run by scripts; the kernel gives up as early
		at, err := t.find(i, name)
		if err != nil {
			return err
		}
		f := t[at]
		if !f.executable {
			return errors.New("is not executable")
		}
		m, err := machine(f.head)
		if err == nil {
			return CheckMachine(m, i.Arch)
		}
		line, isScript := bytes.CutPrefix(f.head, []byte("#!"))
		line, _, _ = bytes.Cut(line, []byte("\n"))
		words := strings.Fields(string(line))
		if !isScript || len(words) == 0 {
			return errors.New("is neither an ELF executable nor a script")
		}
		name = words[0]
	}
	return errors.New("is a script run by scripts without end")
}

func (t tree) find(i Image, name string) (string, error) {
	for _, candidate := range candidates(i, name) {
		at, err := t.resolve(candidate)
		if err != nil {
			return "", err
		}
		if f, ok := t[at]; ok && !f.dir {
			return at, nil
		}
	}
	return "", errors.New("is not in the image")
}

// candidates are the absolute paths a runtime tries for a program's name.
func candidates(i Image, name string) []string {
	if strings.Contains(name, "/") {
		if !path.IsAbs(name) {
			name = "/" + i.config.Config.WorkingDir + "/" + name
		}
		return []string{name}
	}
	dirs := defaultPath
	for _, env := range i.config.Config.Env {
		if value, ok := strings.CutPrefix(env, "PATH="); ok {
			dirs = value
		}
	}
	var list []string
	for _, dir := range strings.Split(dirs, ":") {
		list = append(list, "/"+dir+"/"+name)
	}
	return list
}

// checkAll names the executables that are for another machine, and says so when there is none at all though one is needed.
func (t tree) checkAll(i Image, needed bool) []string {
	var problems []string
	found := false
	for name, f := range t {
		m, err := machine(f.head)
		if err != nil {
			continue
		}
		found = true
		if err := CheckMachine(m, i.Arch); err != nil {
			problems = append(problems, fmt.Sprintf("its file /%s %v", name, err))
		}
	}
	slices.Sort(problems)
	if needed && !found {
		problems = append(problems, "it holds no executable")
	}
	return problems
}
