package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/cmd/hybridctl/progress"
	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/publish"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/report"
)

type bundlePushFlags struct {
	registryFlags
	clusterFlags
	bundle string
	reduce bool
}

func newBundlePush(a *app) *cobra.Command {
	var f bundlePushFlags
	cmd := &cobra.Command{
		Use:   "push REGISTRY[/PREFIX]",
		Short: "Put the images of a bundle, the inventory's by default, into a registry of yours",
		Long: `push puts every image of a bundle into a registry: registry.k8s.io/kube-proxy becomes REGISTRY/PREFIX/kube-proxy with the same tag and the same
digest; CoreDNS lies there under both of its names. What is there is not sent again, so that a run that was ended goes on where it was.
An index may name platforms that the bundle has no image for: they are left out, and told. Some registries refuse such an index; with
--reduce-indexes a smaller one is written, which has another digest. Logins are those of docker or podman.`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return usagef("%s takes the registry, as in %s harbor.example/k8s", cmd.CommandPath(), cmd.CommandPath())
			case len(args) > 1:
				return hint.With(usagef("%s takes one registry, but %q was given, too", cmd.CommandPath(), args[1]), "the value of --plain-http stands behind =: --plain-http=HOST:PORT")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.bundlePush(cmd.Context(), f, args[0]) },
	}
	f.registryFlags.register(cmd)
	f.registerInventory(cmd)
	cmd.Flags().StringVar(&f.bundle, "bundle", "", "the bundle in place of the inventory's: `DIR` or a file of bundle export")
	cmd.Flags().BoolVar(&f.reduce, "reduce-indexes", false, "write indexes of what the bundle has, under digests of their own, where it does not have all")
	return cmd
}

// pushed is what bundle push writes as JSON and YAML.
type pushed struct {
	Bundle string           `json:"bundle"`
	Images []publish.Result `json:"images"`
	Stats  registry.Stats   `json:"stats"`
}

func (a *app) bundlePush(ctx context.Context, f bundlePushFlags, to string) error {
	dir := f.bundle
	if dir == "" {
		var err error
		if dir, err = bundleDir(nil, f.inventory); err != nil {
			return err
		}
	}
	b, err := bundle.Open(dir)
	if err != nil {
		return err
	}
	c, err := registry.New(f.options())
	if err != nil {
		return usagef("--ca-file: %v", withoutOpen(err))
	}
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	view := progress.New(progress.Options{
		Out: a.Stderr, Live: a.canDraw(a.Stderr), JSON: a.global.logFormat == logJSON, Color: a.color(a.Stderr),
	})
	sink, over := a.silence(view, "all", "the registry of "+to)
	var mu sync.Mutex
	sent := map[string]int64{}
	results, err := publish.Push(ctx, b, to, publish.Options{
		Registry: c, Reduce: f.reduce,
		Done: func(r publish.Result) {
			sink.Event(report.Event{Kind: report.Done, Host: shortRef(r.Ref), Step: "push", Action: actionOf(r), Message: r.To})
		},
		Sending: func(ref string, n int64) {
			mu.Lock()
			defer mu.Unlock()
			sent[ref] += n
			sink.Event(report.Event{Kind: report.Progress, Host: shortRef(ref), Step: "push", Message: report.Bytes(sent[ref])})
		},
	})
	over()
	view.Close()
	if err != nil {
		if len(results) > 0 {
			fmt.Fprintf(a.Stderr, "%s of %d in place; run it again, and it goes on from there\n", report.Count(len(results), "image"), len(b.Manifest.Images))
		}
		return err
	}
	doc := pushed{Bundle: dir, Images: results, Stats: c.Stats()}
	return a.write(doc, func(w io.Writer) error { return doc.text(w, a.color(w)) })
}

func actionOf(r publish.Result) report.Action {
	if r.Unchanged {
		return report.Unchanged
	}
	return report.Created
}

// shortRef is an image's name without its registry and folders.
func shortRef(ref string) string { return ref[strings.LastIndex(ref, "/")+1:] }

func (p pushed) text(w io.Writer, color bool) error {
	t := report.NewTable("IMAGE", "DIGEST", "BLOBS", "LEFT OUT")
	for _, r := range p.Images {
		blobs := "unchanged"
		if !r.Unchanged {
			blobs = fmt.Sprintf("%d sent, %d mounted", r.Sent, r.Mounted)
		}
		left := strings.Join(r.LeftOut, ", ")
		if r.Reduced {
			left += " (reduced: the digest is another than upstream's)"
		}
		t.Row(report.C(r.To), report.C(shortDigest(r.Digest)), report.C(blobs), report.C(left))
	}
	if err := t.Write(w, color); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s in place, %s sent in %d requests\n", report.Count(len(p.Images), "image"), report.Bytes(p.Stats.Up), p.Stats.Requests)
	return err
}
