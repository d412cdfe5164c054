package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/workload"
)

// patchFlags are those of workload patch.
type patchFlags struct {
	workloadFlags
	require      []string
	nodeSelector bool
	write        bool
	kustomize    bool
	diff         bool
}

func newWorkloadPatch(a *app) *cobra.Command {
	var f patchFlags
	cmd := &cobra.Command{
		Use:   "patch",
		Short: "Keep workloads off architectures that their images are not made for",
		Long: `patch adds to pod templates what keeps them off architectures that their images are not made for: a requirement in every term of the
required node affinity, which is made where there is none. Labels from before Kubernetes 1.14 get their new names. It only ever narrows, and
every other byte of the text stays.

By default it shows a diff. --write changes the files in place; --kustomize writes a patch for kustomize, which restates all terms, as the list
is atomic there. From standard input (-f -) the whole text goes to standard output: a post-renderer for Helm, to which Helm 3 gives no hooks.`,
		Example: `  hybridctl workload patch -f deploy/
  hybridctl workload patch -f deploy/ --write
  hybridctl workload patch -f x86-only.yaml --node-selector --write
  helm template ./chart | hybridctl workload patch -f - | kubectl apply -f -`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.patch(cmd.Context(), f) },
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringSliceVar(&f.require, "require", nil, "require these architectures, whatever the images are made for: `ARCH,...`")
	flags.BoolVar(&f.nodeSelector, "node-selector", false, "write a nodeSelector where one architecture remains and no affinity is there")
	flags.BoolVarP(&f.write, "write", "w", false, "write the files")
	flags.BoolVar(&f.kustomize, "kustomize", false, "write a patch for kustomize to standard output")
	flags.BoolVar(&f.diff, "diff", false, "show a diff also of standard input")
	return cmd
}

// patchDocument is what workload patch writes as JSON and YAML.
type patchDocument struct {
	Changed []patchedFile  `json:"changed"`
	Left    []leftTemplate `json:"left"` // what wants a change and got none
	Written bool           `json:"written"`
}

type patchedFile struct {
	File    string        `json:"file"`
	Changes []patchChange `json:"changes"`
	Diff    string        `json:"diff"`
}

type patchChange struct {
	Object workload.Named `json:"object"`
	Path   string         `json:"path"`
	Change string         `json:"change"`
	Note   string         `json:"note,omitempty"`
}

type leftTemplate struct {
	Object  workload.Named `json:"object"`
	File    string         `json:"file"`
	Line    int            `json:"line"`
	Message string         `json:"message"`
}

func (a *app) patch(ctx context.Context, f patchFlags) error {
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	if f.kubeconfig != "" {
		return hint.With(usagef("patch changes files and no running cluster"), "give -f, and apply the result with kubectl")
	}
	fromStdin := len(f.files) == 1 && f.files[0] == "-"
	if f.write && fromStdin {
		return usagef("--write has no file to write: standard input goes to standard output")
	}
	for _, file := range f.files {
		if file == "-" && !fromStdin {
			return usagef("-f - stands alone: its text goes to standard output")
		}
		if isInventory(file) {
			return usagef("%s is an inventory: patch changes manifests", file)
		}
	}
	o := workload.PatchOptions{NodeSelector: f.nodeSelector}
	for _, word := range f.require {
		arch, err := platform.Parse(word)
		if err != nil {
			return usagef("--require: %v", err)
		}
		o.Require = append(o.Require, arch)
	}
	in, err := a.workloads(ctx, f.workloadFlags)
	if err != nil {
		return err
	}
	o.Archs, o.Known = in.archs, in.known
	all, left, err := workload.Patch(in.set, o)
	if err != nil {
		return asUsageError(err)
	}
	if f.write {
		if err := writeFiles(all); err != nil {
			return err
		}
	}
	doc := patchDocument{Changed: []patchedFile{}, Left: []leftTemplate{}, Written: f.write}
	for _, p := range all {
		if len(p.Changes) == 0 {
			continue
		}
		file := patchedFile{File: p.Name, Diff: p.Diff()}
		for _, c := range p.Changes {
			file.Changes = append(file.Changes, patchChange{c.Object, c.Path, c.Message, c.Note})
			if c.Note != "" {
				fmt.Fprintln(a.Stderr, report.OneLine(c.Object.String()+": "+c.Note))
			}
		}
		doc.Changed = append(doc.Changed, file)
	}
	for _, l := range left {
		doc.Left = append(doc.Left, leftTemplate(l))
		fmt.Fprintln(a.Stderr, report.OneLine(fmt.Sprintf("%s:%d: %s is left as it is: %s", l.File, l.Line, l.Object, l.Message)))
	}
	switch {
	case f.kustomize:
		return workload.Kustomize(a.Stdout, all)
	case fromStdin && !f.diff && a.global.output == report.Text:
		_, err := a.Stdout.Write(all[0].After)
		return err
	}
	return a.write(doc, doc.text)
}

func (d patchDocument) text(w io.Writer) error {
	var b bytes.Buffer
	for _, f := range d.Changed {
		if d.Written {
			fmt.Fprintf(&b, "%s: written, %s\n", f.File, report.Count(len(f.Changes), "change"))
			continue
		}
		b.WriteString(f.Diff)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// writeFiles writes what has changed, each file whole: under another name, then renamed.
func writeFiles(all []workload.Patched) error {
	for _, p := range all {
		if bytes.Equal(p.Before, p.After) {
			continue
		}
		if err := replaceFile(p.Name, p.After); err != nil {
			return err
		}
	}
	return nil
}

func replaceFile(path string, text []byte) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // gone already when all went well
	_, err = temp.Write(text)
	if err == nil {
		err = temp.Chmod(info.Mode().Perm())
	}
	if err == nil {
		err = temp.Sync()
	}
	if cerr := temp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
