package cli

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/report"
)

type adoptFlags struct {
	kubeconfig, sshHost, jump   string
	out, name, bundle, stateDir string
	identityFiles               []string
}

// adoptDocument is what adopt writes as JSON and YAML.
type adoptDocument struct {
	File      string   `json:"file"` // what was written
	Hosts     int      `json:"hosts"`
	Found     []string `json:"found"`
	Notes     []string `json:"notes"` // what has to be known before hosts are added
	Inventory string   `json:"inventory"`
}

func newAdopt(a *app) *cobra.Command {
	var f adoptFlags
	cmd := &cobra.Command{
		Use:   "adopt",
		Short: "Make an inventory of a running cluster that kubeadm made",
		Long: `adopt looks at a running cluster that kubeadm made, through an administrator's kubeconfig or over SSH to one of its control planes, and
writes an inventory of it. The nodes that are there are marked "managed: false": hybridctl never changes their hosts, and connects to one only
when there is no other way to the cluster. Its pod network is left alone. "hybridctl plan" then has nothing to do, and "hybridctl scale-out"
joins the hosts that are added to the inventory. The kubeconfig is kept in the cluster's state directory.`,
		Example: `  hybridctl adopt --ssh-host root@10.0.0.11 --out inventory.yaml
  hybridctl adopt --kubeconfig admin.conf --name prod`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.adopt(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "an administrator's kubeconfig: `FILE`")
	flags.StringVar(&f.sshHost, "ssh-host", "", "a control plane of the cluster, whose kubeconfig is read: `[USER@]ADDRESS[:PORT]`")
	flags.StringArrayVar(&f.identityFiles, "identity-file", nil, "a private key for SSH: `FILE`; the flag may be repeated (default: as ssh does)")
	flags.StringVar(&f.jump, "jump", "", "the way to hosts: `[USER@]ADDRESS[:PORT]` of a jump host")
	flags.StringVar(&f.out, "out", "inventory.yaml", "the file to write, which must not be there yet")
	flags.StringVar(&f.name, "name", "", "the cluster's name (default what kubeadm calls it)")
	flags.StringVar(&f.bundle, "bundle", "", bundleUsage)
	flags.StringVar(&f.stateDir, "state-dir", "", "where the cluster's state is kept (default .hybridctl/<cluster> beside the inventory)")
	_ = cmd.MarkFlagFilename("kubeconfig") // the flags are there
	_ = cmd.MarkFlagFilename("identity-file")
	_ = cmd.MarkFlagDirname("state-dir")
	return cmd
}

func (a *app) adopt(ctx context.Context, f adoptFlags) error {
	o, err := a.adoptOptions(f)
	if err != nil {
		return err
	}
	if _, err := os.Stat(f.out); err == nil {
		return isThere(f.out)
	}
	s := a.openCluster(ctx, clusterFlags{}, o.Cluster)
	defer s.close()
	o.Options = s.options
	adopted, err := a.Front.Adopt(ctx, o)
	s.close()
	if err != nil {
		return err
	}
	text, err := adoptedText(adopted)
	if err != nil {
		return err
	}
	c, err := inventory.Parse(f.out, text)
	if err != nil {
		return fmt.Errorf("nothing was written: the cluster's inventory would have these problems:\n%w", err)
	}
	if err := provision.KeepAdopted(adopted, cmp.Or(f.stateDir, provision.DefaultStateDir(c))); err != nil {
		return err
	}
	if err := create(f.out, text); err != nil {
		return err
	}
	doc := adoptDocument{File: f.out, Hosts: len(c.Spec.Hosts), Found: adopted.Found, Notes: append([]string{}, adopted.Notes...), Inventory: string(text)}
	return a.write(doc, doc.text)
}

// adoptOptions says which cluster is meant.
func (a *app) adoptOptions(f adoptFlags) (o provision.AdoptOptions, err error) {
	switch {
	case f.kubeconfig == "" && f.sshHost == "":
		return o, hint.With(usagef("no cluster is named"), "give --kubeconfig FILE, or --ssh-host [USER@]ADDRESS of a control plane")
	case f.kubeconfig != "":
		if o.Kubeconfig, err = os.ReadFile(f.kubeconfig); err != nil {
			return o, usagef("--kubeconfig: %v", withoutOpen(err))
		}
	}
	// As the inventory has them: relative paths start at its folder.
	login := inventory.SSH{Jump: f.jump}
	folder, err := filepath.Abs(filepath.Dir(f.out))
	if err != nil {
		return o, err
	}
	for _, file := range f.identityFiles {
		abs, err := filepath.Abs(file)
		if err != nil {
			return o, err
		}
		if _, err := os.Stat(abs); err != nil {
			return o, usagef("--identity-file: %v", withoutOpen(err))
		}
		login.IdentityFiles = append(login.IdentityFiles, abs)
	}
	o.Cluster = &inventory.Cluster{Spec: inventory.Spec{SSH: login}}
	inventory.Default(o.Cluster)
	if f.sshHost != "" {
		if o.Cluster, err = provision.ControlPlaneAt(f.sshHost, login); err != nil {
			return o, asUsageError(fmt.Errorf("--ssh-host: %w", err))
		}
	}
	o.Cluster.Metadata.Name = f.name
	o.Cluster.Path = filepath.Join(folder, filepath.Base(f.out))
	if o.Bundle = cmp.Or(f.bundle, bundleBeside(o.Cluster.Path)); o.Bundle != "" {
		o.BundleDir, err = bundleDirOf(o.Cluster.Path, o.Bundle)
	}
	return o, err
}

// unknownLogin stands in an inventory for which it is not known how its hosts are reached; the others in one of which it is known by half.
const (
	unknownLogin = `  # How new hosts are reached over SSH is not known; ~/.ssh/config has a say, or write:
  # ssh:
  #   user: root
  #   identityFiles: [~/.ssh/id_ed25519]
`
	unknownUser = "    # user: admin # not known: ~/.ssh/config has a say, else it is root\n"
	unknownKeys = "    # identityFiles: [~/.ssh/id_ed25519] # not known: ~/.ssh/config and the agent have a say\n"
)

// adoptedText is the inventory with what people have to know.
func adoptedText(adopted provision.Adoption) ([]byte, error) {
	text, err := inventory.Show(&adopted.Cluster, false)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString("# Made of a running cluster by hybridctl adopt. Hosts with managed: false are left as they are.\n")
	for _, line := range adopted.Found {
		fmt.Fprintf(&b, "# %s\n", report.OneLine(line))
	}
	body := string(text)
	switch ssh := adopted.Cluster.Spec.SSH; {
	case ssh.User == "" && len(ssh.IdentityFiles) == 0:
		body = strings.Replace(body, "\n  hosts:\n", "\n"+unknownLogin+"  hosts:\n", 1)
	case ssh.User == "":
		body = strings.Replace(body, "\n  ssh:\n", "\n  ssh:\n"+unknownUser, 1)
	case len(ssh.IdentityFiles) == 0:
		body = strings.Replace(body, "\n  ssh:\n", "\n  ssh:\n"+unknownKeys, 1)
	}
	b.WriteString(body)
	return b.Bytes(), nil
}

func (d adoptDocument) text(w io.Writer) error {
	var b bytes.Buffer
	for _, line := range d.Found {
		fmt.Fprintln(&b, report.OneLine(line))
	}
	for _, n := range d.Notes {
		fmt.Fprintf(&b, "note: %s\n", report.OneLine(n))
	}
	fmt.Fprintf(&b, "%s: written, %s; add new hosts there, or with hybridctl scale-out -f %s --add NAME=ADDRESS\n", d.File, report.Count(d.Hosts, "host"), d.File)
	_, err := w.Write(b.Bytes())
	return err
}
