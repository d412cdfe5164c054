package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/report"
)

type imageInspectFlags struct {
	registryFlags
	failOn failOn
}

func newImageInspect(a *app) *cobra.Command {
	var f imageInspectFlags
	cmd := &cobra.Command{
		Use:   "inspect REF...",
		Short: "Look into images down to the ELF header of what they start",
		Long: `inspect looks into every image that a reference leads to: the name of an image in a registry, an OCI layout, an OCI archive or an archive of
docker save (PATH:NAME or PATH@sha256:... picks one of its images). Of each platform it says what the image starts, for which machine that is,
through which loader, and on which sizes of memory pages it starts; and it finds programs and libraries of another machine wherever they lie.

An error is what keeps an image from running on the platform that it says it is for. The exit code is 6 when one is
found (--fail-on), and 2 when a reference is none, or a file or folder that it names holds no such image.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("%s needs a reference: the name of an image, a layout or an archive", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.untilStopDo(cmd.Context(), func(ctx context.Context) error { return a.imageInspect(ctx, f, args) })
		},
	}
	f.register(cmd)
	f.failOn.register(cmd)
	return cmd
}

func (a *app) imageInspect(ctx context.Context, f imageInspectFlags, refs []string) error {
	places, err := f.places()
	if err != nil {
		return err
	}
	defer places.Close()
	defer a.waits("images", "the contents of "+report.Some(refs, 3))()
	reports := []image.Report{}
	in := &image.Inspector{}
	for _, ref := range refs {
		sets, err := places.Open(ctx, ref, nil)
		if err != nil {
			return asRefused(withHint(err))
		}
		for _, s := range sets {
			r, err := in.Inspect(ctx, s)
			if err != nil {
				return err
			}
			reports = append(reports, r)
		}
	}
	if err := a.write(reports, func(w io.Writer) error { return writeInspections(w, reports, a.color(w)) }); err != nil {
		return err
	}
	errs, warnings := 0, 0
	for _, r := range reports {
		e, w := r.Count()
		errs, warnings = errs+e, warnings+w
	}
	return f.failOn.check(errs, warnings, fmt.Sprintf("%s and %s found", report.Count(errs, "error"), report.Count(warnings, "warning")))
}

func writeInspections(w io.Writer, reports []image.Report, color bool) error {
	var b bytes.Buffer
	for i, r := range reports {
		if i > 0 {
			b.WriteByte('\n')
		}
		name := r.Ref
		if r.Name != "" {
			name += " (" + r.Name + ")"
		}
		fmt.Fprintf(&b, "%s: %s\n", report.OneLine(name), r.Digest)
		for _, f := range r.Findings {
			fmt.Fprintf(&b, "%s: %s\n", f.Level, f.Message)
		}
		t := report.NewTable("PLATFORM", "DIGEST", "SIZE", "STARTS", "MACHINE", "LINKED", "PAGES", "RESULT")
		for _, p := range r.Platforms {
			starts, machine, linked, pages := programCells(p.Program)
			t.Row(report.C(p.Platform), report.C(shortDigest(p.Digest)), report.C(report.Bytes(p.Bytes)), report.C(starts), report.C(machine), report.C(linked),
				report.C(pages), resultCell(p))
			for _, f := range p.Findings {
				at := ""
				if f.Path != "" && !strings.Contains(f.Message, f.Path) {
					at = f.Path + ": "
				}
				t.Note(fmt.Sprintf("%s: %s%s", f.Level, at, f.Message))
			}
		}
		if err := t.Write(&b, color); err != nil {
			return err
		}
		for _, o := range r.Others {
			fmt.Fprintf(&b, "besides: %s %s\n", o.What, shortDigest(o.Digest))
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

func programCells(p *image.Program) (starts, machine, linked, pages string) {
	if p == nil {
		return "nothing", "-", "-", "-"
	}
	starts = p.Name
	if p.Path != "" && p.Path != p.Name {
		starts += " → " + p.Path
	}
	var sizes []string
	for _, s := range p.Pages {
		sizes = append(sizes, fmt.Sprintf("%dK", s>>10))
	}
	orDash := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	return starts, orDash(p.Machine), p.Linked, orDash(strings.Join(sizes, ","))
}

func resultCell(p image.PlatformReport) report.Cell {
	worst := image.Report{Platforms: []image.PlatformReport{p}}.Worst()
	switch {
	case worst == image.LevelError:
		return report.Cell{Text: "wrong", Style: report.Bad}
	case worst == image.LevelWarning:
		return report.Cell{Text: "warning", Style: report.Notice}
	case p.Program == nil && len(p.Findings) > 0 && p.Findings[0].Rule == image.RuleUnlooked:
		return report.C("not looked into")
	case len(p.Findings) > 0 && p.Findings[0].Rule == image.RuleAbsent:
		return report.C("not here")
	}
	return report.Cell{Text: "good", Style: report.Good}
}

// shortDigest is enough of a digest to tell it from others.
func shortDigest(d string) string {
	if algorithm, hex, ok := strings.Cut(d, ":"); ok && len(hex) > 12 {
		return algorithm + ":" + hex[:12]
	}
	return d
}
