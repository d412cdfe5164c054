package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

type imageAssembleFlags struct {
	registryFlags
	archs     map[platform.Arch]*string
	platforms []string
	format    string
	keep      bool
	rewrite   bool
	tag       bool
	dryRun    bool
	quiet     bool
}

func newImageAssemble(a *app) *cobra.Command {
	f := imageAssembleFlags{archs: map[platform.Arch]*string{}}
	cmd := &cobra.Command{
		Use:   "assemble TARGET:TAG",
		Short: "Put images of single architectures together under one name",
		Long: `assemble makes one image of images of single architectures, and pushes it: no Docker is needed, and nothing is believed that can be looked at.

Each reference is the name of an image in a registry, an OCI layout, an OCI archive or an archive of docker save (PATH:NAME or PATH@sha256:...
picks one of its images), also of buildx's indexes of one platform. Before anything is sent, its config has to say the architecture, and its
program, that program's loader and the interpreters of scripts have to be for it. The images go first, by their digests, the index last; it is read
back and compared. What is there already is not sent again; what another repository of the same registry has is mounted.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s needs one target, REGISTRY/REPOSITORY:TAG, but %d were given", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.untilStopDo(cmd.Context(), func(ctx context.Context) error { return a.imageAssemble(ctx, f, args[0]) })
		},
	}
	f.register(cmd)
	flags := cmd.Flags()
	for _, arch := range platform.All() {
		f.archs[arch] = flags.String(arch.String(), "", "the image for linux/"+arch.String()+": `REF`")
	}
	flags.StringArrayVar(&f.platforms, "platform", nil, "the image for any platform: `OS/ARCH[/VARIANT][:OS.VERSION]=REF`; the flag may be repeated")
	flags.StringVar(&f.format, "format", string(image.FormatAuto), "in which types it is written: `FORMAT` is oci, docker (for registries that take nothing else; the images are converted, too) or auto (Docker's where all images are)")
	flags.BoolVar(&f.keep, "keep-attestations", false, "take along what BuildKit attests of the images")
	flags.BoolVar(&f.rewrite, "rewrite-config", false, "where a config says another architecture than the image is given for, and its programs are right, make the config say so")
	flags.BoolVar(&f.tag, "tag-children", false, "give each image its own tag as well (TAG-ARCH), so that jobs that delete untagged images leave it alone")
	flags.BoolVar(&f.dryRun, "dry-run", false, "look into the images and print the index; nothing is sent")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print the digest alone")
	complete(cmd, "format", "auto", "oci", "docker")
	return cmd
}

func (f imageAssembleFlags) options(target string) (image.AssembleOptions, error) {
	o := image.AssembleOptions{Target: target, Format: image.Format(f.format), KeepAttestations: f.keep, RewriteConfig: f.rewrite, TagChildren: f.tag}
	switch o.Format {
	case image.FormatAuto, image.FormatOCI, image.FormatDocker:
	default:
		return o, usagef("--format must be auto, oci or docker, not %q", f.format)
	}
	for _, arch := range platform.All() {
		if ref := *f.archs[arch]; ref != "" {
			o.Parts = append(o.Parts, image.PartFor(arch, ref))
		}
	}
	for _, text := range f.platforms {
		name, ref, ok := strings.Cut(text, "=")
		if !ok || ref == "" {
			return o, hint.With(usagef("--platform %q names no image", text), "write OS/ARCH[/VARIANT][:OS.VERSION]=REF")
		}
		p, err := image.ParsePlatform(name)
		if err != nil {
			return o, usagef("--platform: %v", err)
		}
		o.Parts = append(o.Parts, image.Part{Platform: p, Ref: ref})
	}
	if len(o.Parts) == 0 {
		var names []string
		for _, arch := range platform.All() {
			names = append(names, "--"+arch.String()+" REF")
		}
		return o, hint.With(usagef("no image is named that the new one is made of"), "give %s", strings.Join(names, " and "))
	}
	return o, nil
}

// assembled is what image assemble writes as JSON and YAML.
type assembled struct {
	*image.Assembly
	Pushed *image.Pushed `json:"pushed,omitempty"` // none = a dry run
}

func (a *app) imageAssemble(ctx context.Context, f imageAssembleFlags, target string) error {
	o, err := f.options(target)
	if err != nil {
		return err
	}
	places, err := f.places()
	if err != nil {
		return err
	}
	defer places.Close()
	defer a.waits("images", "the images of "+target+" to be read and sent")()
	made, err := image.Assemble(ctx, places, &image.Inspector{}, o)
	if err != nil {
		return asRefused(withHint(err))
	}
	for _, w := range made.Warnings {
		fmt.Fprintf(a.Stderr, "warning: %s\n", report.OneLine(w))
	}
	out := assembled{Assembly: made}
	if !f.dryRun {
		pushed, err := made.Push(ctx, places)
		if err != nil {
			return withHint(err)
		}
		out.Pushed = &pushed
	}
	switch {
	case a.global.output != report.Text:
		return report.Encode(a.Stdout, a.global.output, out)
	case f.quiet:
		_, err = fmt.Fprintln(a.Stdout, made.Digest)
	case f.dryRun:
		_, err = fmt.Fprintf(a.Stdout, "%s\n", report.ShownJSON(indented(made.Index)))
	default:
		err = shown(a.Stdout, func(w io.Writer) error { return out.text(w, a.color(a.Stdout)) })
	}
	return err
}

// asRefused gives what was refused, and what is no reference, the exit code of usage: nothing was done, and the user decides.
func asRefused(err error) error {
	if errors.Is(err, image.ErrRefused) || errors.Is(err, image.ErrInput) {
		return asUsageError(err)
	}
	return err
}

func indented(raw []byte) []byte {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return raw
	}
	return b.Bytes()
}

func (o assembled) text(w io.Writer, color bool) error {
	var b bytes.Buffer
	t := report.NewTable("PLATFORM", "DIGEST", "SIZE", "FROM", "")
	for _, c := range o.Children {
		var what []string
		for _, w := range []struct {
			is   bool
			text string
		}{{c.Converted, "converted"}, {c.Rewritten, "config rewritten"}, {c.Tag != "", "tag " + c.Tag}} {
			if w.is {
				what = append(what, w.text)
			}
		}
		t.Row(report.C(c.Platform), report.C(shortDigest(c.Digest)), report.C(report.Bytes(c.Bytes)), report.C(c.From), report.C(strings.Join(what, ", ")))
	}
	if err := t.Write(&b, color); err != nil {
		return err
	}
	for _, k := range o.Kept {
		fmt.Fprintf(&b, "besides: %s %s\n", k.What, shortDigest(k.Digest))
	}
	for _, n := range o.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	p := o.Pushed
	if p.Unchanged {
		fmt.Fprintf(&b, "\n%s@%s was there already: nothing was sent\n", o.Target, o.Digest)
	} else {
		fmt.Fprintf(&b, "\n%s@%s\n%s mounted, %s sent, %s in %s\n", o.Target, o.Digest, report.Count(p.Mounted, "blob"), report.Count(p.Sent, "blob"),
			report.Bytes(p.Stats.Up), report.Count(int(p.Stats.Requests), "request"))
	}
	_, err := w.Write(b.Bytes())
	return err
}
