package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/workload"
)

func newWorkloadExplain(a *app) *cobra.Command {
	f := workloadFlags{children: true}
	var namespace string
	cmd := &cobra.Command{
		Use:   "explain [POD|KIND/NAME]",
		Short: "Show for every node what keeps a pod off it",
		Long: `explain shows, for every node of a running cluster, the first thing that keeps a pod off it: a selector, an affinity, a taint, a cordon,
the node affinity of a volume, or an image that is not made for the node. It uses the scheduler's own predicates, and does not look at free
resources. With --programs it looks into the images, too: what each container starts (its command, else the image's) has to be there, and to be for
the node's architecture. The cluster is named by --kubeconfig, or by its inventory with -f; the pod by its name, or by a manifest with another -f.`,
		Example: `  hybridctl workload explain -f inventory.yaml web-5d9c7b-x2x4k -n shop
  hybridctl workload explain --kubeconfig admin.conf deploy/web
  hybridctl workload explain --kubeconfig admin.conf -f new-deployment.yaml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			return a.explain(cmd.Context(), f, name, namespace)
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&f.programs, "programs", false, "look into the images for what each container starts; their layers are read")
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "the namespace of the pod (default: any)")
	return cmd
}

// explanation is what workload explain writes for one template as JSON and YAML.
type explanation struct {
	Object workload.Named     `json:"object"`
	Path   string             `json:"path"`
	Nodes  []workload.Verdict `json:"nodes"`
}

func (a *app) explain(ctx context.Context, f workloadFlags, name, namespace string) error {
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	if f.programs && f.images != "" {
		return hint.With(usagef("--programs looks into images, and --images asks no registry"), "give one of them")
	}
	in, err := a.workloads(ctx, f)
	switch {
	case err != nil:
		return err
	case in.world.Nodes == nil:
		return hint.With(usagef("no cluster is named"), "give --kubeconfig FILE, or its inventory with -f")
	}
	templates := in.set.Templates()
	if name != "" {
		templates = in.set.Find(name, namespace)
	} else if !in.fromFiles {
		return hint.With(usagef("no pod is named"), "give its name, KIND/NAME, or a manifest with -f")
	}
	if len(templates) == 0 {
		return usagef("there is no pod or object with a pod template of that name: %s", name)
	}
	over := a.waits("registries", "what containers start in the images") // with --programs their layers are read now
	all, err := explainAll(templates, in.world)
	over()
	if err != nil {
		return asUsageError(err)
	}
	return a.write(all, func(w io.Writer) error {
		for i, e := range all {
			if i > 0 {
				fmt.Fprintln(w)
			}
			fmt.Fprintln(w, report.OneLine(e.Object.String()))
			t := report.NewTable("NODE", "ARCH", "FITS", "BY", "MESSAGE")
			for _, v := range e.Nodes {
				fits := "no"
				switch {
				case v.Fits:
					fits = "yes"
				case v.Unknown:
					fits = "unknown"
				}
				t.Row(report.C(v.Node), report.C(v.Arch), report.C(fits), report.C(v.By), report.C(v.Message))
			}
			if err := t.Write(w, a.color(w)); err != nil {
				return err
			}
		}
		return nil
	})
}

func explainAll(templates []*workload.Template, w workload.World) (all []explanation, err error) {
	for _, t := range templates {
		verdicts, err := workload.Explain(t, w)
		if err != nil {
			return nil, err
		}
		all = append(all, explanation{t.Object.Named(), t.Path, verdicts})
	}
	return all, nil
}
