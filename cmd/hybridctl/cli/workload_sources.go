package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/workload"
)

// maxManifests bounds what is read from one file or stream.
const maxManifests = 256 << 20

// given is what the flags name.
type given struct {
	files      []string // of manifests
	kubeconfig []byte   // of a running cluster; nil = none is named
	registries []string // that its inventory names
}

// clusterOf tells manifests from what stands for a running cluster: --kubeconfig, or an inventory among the files.
func (a *app) clusterOf(ctx context.Context, f workloadFlags) (n given, err error) {
	if f.kubeconfig != "" {
		if n.kubeconfig, err = os.ReadFile(f.kubeconfig); err != nil {
			return given{}, usagef("--kubeconfig: %v", withoutOpen(err))
		}
	}
	for _, file := range f.files {
		if !isInventory(file) {
			n.files = append(n.files, file)
			continue
		}
		if n.kubeconfig != nil {
			return given{}, hint.With(usagef("%s: a second cluster", file), "name one, by --kubeconfig or by its inventory")
		}
		s, err := a.open(ctx, clusterFlags{inventory: file})
		if err != nil {
			return given{}, err
		}
		n.registries = inventory.NamedRegistries(s.cluster)
		n.kubeconfig, err = a.Front.Kubeconfig(ctx, s.options)
		s.close()
		if err != nil {
			return given{}, err
		}
	}
	return n, nil
}

// isInventory reports whether a file says that it is an inventory.
func isInventory(file string) bool {
	if file == "-" {
		return false
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), inventory.APIVersion) {
		return false
	}
	root, err := inventory.Root(file, text)
	if err != nil {
		return false
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "apiVersion" && root.Content[i+1].Value == inventory.APIVersion {
			return true
		}
	}
	return false
}

// sources reads the files, and those in directories: .yaml, .yml and .json, in the order of their names.
func (a *app) sources(files []string) ([]workload.Source, error) {
	var out []workload.Source
	for _, file := range files {
		if file == "-" {
			over := a.waits("input", "standard input to end")
			text, err := readAll(a.Stdin, "standard input")
			over()
			if err != nil {
				return nil, err
			}
			out = append(out, workload.Source{Name: "-", Text: text})
			continue
		}
		names, err := manifestsIn(file)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			in, err := os.Open(name)
			if err != nil {
				return nil, usagef("%v", err)
			}
			text, err := readAll(in, name)
			in.Close()
			if err != nil {
				return nil, err
			}
			if base := strings.TrimSuffix(filepath.Base(name), filepath.Ext(name)); strings.EqualFold(base, "kustomization") {
				fmt.Fprintf(a.Stderr, "note: %s is not carried out, only the files beside it are read; what it makes of them: kubectl kustomize %s | hybridctl … -f -\n", relative(name), filepath.Dir(relative(name)))
			}
			out = append(out, workload.Source{Name: relative(name), Text: text})
		}
	}
	return out, nil
}

func readAll(in io.Reader, name string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(in, maxManifests+1))
	switch {
	case err != nil:
		return nil, usagef("%s: %v", name, err)
	case len(text) > maxManifests:
		return nil, usagef("%s has more than %d MiB: split it", name, maxManifests>>20)
	}
	return text, nil
}

// manifestsIn lists a file, or what a directory holds.
func manifestsIn(path string) ([]string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usagef("%s: no such file or directory", path)
	case err != nil:
		return nil, usagef("%v", err)
	case !info.IsDir():
		return []string{path}, nil
	}
	var names []string
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != path && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case !d.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(name))):
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		return nil, usagef("%v", err)
	}
	if len(names) == 0 {
		return nil, usagef("%s holds no .yaml, .yml or .json file", path)
	}
	return names, nil
}

// relative is a path from the working directory, where it is beneath it: what code hosts want in SARIF.
func relative(path string) string {
	if path == "" || path == "-" {
		return path
	}
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	whole, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if short, err := filepath.Rel(here, whole); err == nil && short != ".." && !strings.HasPrefix(short, "../") {
		return short
	}
	return path
}
