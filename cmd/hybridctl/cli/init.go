package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/inventory/edit"
	"github.com/hybridctl/hybridctl/provision/report"
)

type initFlags struct {
	out, version, bundle, endpoint, stateDir string
	hosts                                    []string
	ha, probe                                bool
}

// initDocument is what init writes as JSON and YAML.
type initDocument struct {
	File      string `json:"file"` // what was written
	Cluster   string `json:"cluster"`
	Hosts     int    `json:"hosts"`
	Inventory string `json:"inventory"`
}

func newInit(a *app) *cobra.Command {
	var f initFlags
	cmd := &cobra.Command{
		Use:   "init [NAME]",
		Short: "Write an inventory to begin with",
		Long: `init writes a commented inventory of the cluster NAME (by default the folder's name). --host names its hosts, in the words of
"hybridctl inventory add"; the first becomes the control plane, with --ha the first three, unless hosts say their role themselves. Without
--host the file has examples to fill in. A file that is there is left alone.

With --probe, init connects to the hosts and asks them for their architecture and system, and for their name where only an address is given.`,
		Example: `  hybridctl init lab --host x86-1=192.0.2.11 --host arm-1=192.0.2.21,user=ops
  hybridctl init --probe --host 192.0.2.11 --host 192.0.2.21
  hybridctl init --ha --endpoint api.example.com:6443`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("%s takes one name at most, but %d were given", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.init(cmd.Context(), append(args, "")[0], f)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.hosts, "host", nil, "a host, `NAME=ADDRESS[,WORD=VALUE]...`; the flag may be repeated")
	flags.BoolVar(&f.ha, "ha", false, "three control planes")
	flags.BoolVar(&f.probe, "probe", false, "ask the hosts for name and architecture")
	flags.StringVar(&f.endpoint, "endpoint", "", "`HOST:PORT` of the API server, needed with several control planes")
	flags.StringVar(&f.version, "kubernetes", "", "the version of Kubernetes (default the newest of hybridctl's catalogue)")
	flags.StringVar(&f.bundle, "bundle", "", "the bundle, relative to the new inventory's folder (default none: hybridctl fetches what it needs)")
	flags.StringVar(&f.out, "out", "inventory.yaml", "the file to write, which must not be there yet")
	flags.StringVar(&f.stateDir, "state-dir", "", "where host keys are kept with --probe (default .hybridctl/<cluster> beside the inventory)")
	return cmd
}

func (a *app) init(ctx context.Context, name string, f initFlags) error {
	if _, err := os.Lstat(f.out); err == nil {
		return isThere(f.out)
	}
	d, err := f.draft(name)
	if err != nil {
		return err
	}
	if f.probe {
		if err := a.probeDraft(ctx, f, &d); err != nil {
			return err
		}
	}
	text, err := d.Text(f.out)
	if err != nil {
		return fmt.Errorf("nothing was written, as the inventory would have these problems:\n%w", err)
	}
	if err := create(f.out, text); err != nil {
		return err
	}
	doc := initDocument{File: f.out, Cluster: d.Name, Hosts: len(d.Hosts), Inventory: string(text)}
	return a.write(doc, doc.text)
}

// draft is the inventory that the command line asks for.
func (f initFlags) draft(name string) (edit.Draft, error) {
	d := edit.Draft{Name: name, Kubernetes: f.version, Bundle: f.bundle, Endpoint: f.endpoint, HA: f.ha}
	if name == "" {
		d.Name = folderName(f.out)
	}
	if f.version == "" {
		d.Kubernetes = catalogue.Embedded().Versions()[0]
	}
	if f.probe && len(f.hosts) == 0 {
		return d, hint.With(usagef("--probe asks hosts, and none is named"), "name one at least with --host [NAME=]ADDRESS")
	}
	var err error
	if d.Hosts, err = parseHosts(f.hosts, f.probe); err != nil {
		return d, err
	}
	if d, err = d.Roles(); err != nil {
		return d, asUsageError(err)
	}
	planes := 0
	for _, h := range d.Hosts {
		if h.Role == inventory.ControlPlane {
			planes++
		}
	}
	if planes > 1 && f.endpoint == "" {
		return d, hint.With(usagef("%d control planes need one address that leads to all of them", planes),
			"give it with --endpoint HOST:PORT: a load balancer, or an address that moves")
	}
	return d, nil
}

// folderName is the name of the folder that the file comes into, as a cluster may be called.
func folderName(file string) string {
	if abs, err := filepath.Abs(file); err == nil {
		if name := inventory.NodeName(filepath.Base(filepath.Dir(abs))); name != "" {
			return name
		}
	}
	return "cluster"
}

// probeDraft asks the draft's hosts what they are, and fills in what was not given.
func (a *app) probeDraft(ctx context.Context, f initFlags, d *edit.Draft) error {
	known, names := named(d.Hosts)
	trial := *d
	trial.Hosts = known
	text, err := trial.Text(f.out)
	if err != nil {
		return fmt.Errorf("nothing was written, as the inventory would have these problems:\n%w", err)
	}
	c, err := inventory.Parse(f.out, text)
	if err != nil {
		return err
	}
	return a.identify(ctx, clusterFlags{inventory: f.out, stateDir: f.stateDir}, c, d.Hosts, names)
}

func (d initDocument) text(w io.Writer) error {
	if d.Hosts == 0 {
		_, err := fmt.Fprintf(w, "%s: written, without hosts yet; put them in, or add the first with hybridctl inventory add -f %s NAME=ADDRESS,role=control-plane\n", d.File, d.File)
		return err
	}
	_, err := fmt.Fprintf(w, "%s: written, %s; hybridctl preflight -f %s looks at them\n", d.File, report.Count(d.Hosts, "host"), d.File)
	return err
}
