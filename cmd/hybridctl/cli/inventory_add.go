package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/inventory/edit"
	"github.com/hybridctl/hybridctl/provision/report"
)

func newInventoryAdd(a *app) *cobra.Command {
	var f editFlags
	var probe bool
	cmd := &cobra.Command{
		Use:   "add NAME=ADDRESS[,WORD=VALUE]...",
		Short: "Add hosts to an inventory",
		Long: `add writes hosts behind the last one, in the manner of that one, and does nothing to the cluster: up joins them. The words are role, arch,
user, port, jump, nodeIP, hostKey, identityFile, sudoPasswordFile, sudoPasswordEnv, label (label=KEY=VALUE) and taint; the last two and
identityFile may come more than once.

With --probe, add connects to the hosts and asks them for their architecture, and for their name where only an address is given.`,
		Example: `  hybridctl inventory add arm-2=192.0.2.22,role=worker,label=rack=a2
  hybridctl inventory add --probe 192.0.2.23`,
		Args: someArgs("NAME=ADDRESS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			hosts, err := parseHosts(args, probe)
			if err == nil && probe {
				err = a.probe(cmd.Context(), f, hosts)
			}
			if err != nil {
				return err
			}
			return a.editInventory(f, addEdits(hosts)...)
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&probe, "probe", false, "ask the hosts for name and architecture")
	cmd.Flags().StringVar(&f.stateDir, "state-dir", "", "where host keys are kept (default .hybridctl/<cluster> beside the inventory)")
	return cmd
}

func parseHosts(args []string, mayLackName bool) ([]inventory.Host, error) {
	hosts := make([]inventory.Host, len(args))
	for i, arg := range args {
		h, err := edit.ParseHost(arg)
		if err != nil {
			return nil, asUsageError(err)
		}
		if h.Name == "" && !mayLackName {
			return nil, hint.With(usagef("%q has no name", h.Address), "write NAME=%s, or ask the host with --probe", h.Address)
		}
		hosts[i] = h
	}
	return hosts, nil
}

func addEdits(hosts []inventory.Host) []edit.Edit {
	edits := make([]edit.Edit, len(hosts))
	for i, h := range hosts {
		edits[i] = edit.AddHost(h)
	}
	return edits
}

// probe asks new hosts what they are, and fills in what was not given.
func (a *app) probe(ctx context.Context, f editFlags, hosts []inventory.Host) error {
	file, err := openInventory(f.inventory)
	if err != nil {
		return err
	}
	known, names := named(hosts)
	c, err := file.Apply(addEdits(known)...)
	if err != nil {
		return asEditError(err)
	}
	return a.identify(ctx, f.clusterFlags, c, hosts, names)
}

// named gives hosts that have no name yet a provisional one.
func named(hosts []inventory.Host) (known []inventory.Host, names []string) {
	for _, h := range hosts {
		if h.Name == "" {
			h.Name = inventory.NodeName(h.Address) // until it is known
		}
		known, names = append(known, h), append(names, h.Name)
	}
	return known, names
}

// identify asks the hosts of c that have those names what they are, and fills in what hosts do not say.
func (a *app) identify(ctx context.Context, f clusterFlags, c *inventory.Cluster, hosts []inventory.Host, names []string) error {
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	s := a.openCluster(ctx, f, c)
	defer s.close()
	identities, err := a.Front.Identify(ctx, s.options, names)
	s.close()
	if err != nil {
		return err
	}
	var problems []error
	reached := true
	for i, id := range identities {
		reached = reached && id.Err == nil
		if err := identify(&hosts[i], id); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", id.Host, err))
			continue
		}
		fmt.Fprintf(a.Stderr, "%s is %s, %s, %s\n", hosts[i].Address, report.OneLine(id.Hostname), id.Arch, report.OneLine(id.OS))
	}
	if len(problems) > 0 {
		err := fmt.Errorf("nothing was written: %w", errors.Join(problems...))
		if !reached {
			err = hint.With(err, "without --probe no host is asked; hybridctl preflight looks at them later")
		}
		return err
	}
	return nil
}

// identify fills in what a host says of itself. What was given stands, and must be true.
func identify(h *inventory.Host, id provision.Identity) error {
	switch {
	case id.Err != nil:
		return id.Err
	case id.Arch == "":
		return fmt.Errorf("its architecture %q is not supported", id.Machine)
	case h.Arch != "" && h.Arch != id.Arch:
		return fmt.Errorf("it is %s, and not %s as given", id.Arch, h.Arch)
	case h.Name == "" && id.Hostname == "":
		return hint.With(errors.New("it has no name"), "NAME=%s gives it one", h.Address)
	}
	h.Arch = id.Arch
	if h.Name == "" {
		short, _, _ := strings.Cut(id.Hostname, ".")
		if h.Name = inventory.NodeName(short); h.Name == "" {
			return hint.With(fmt.Errorf("no node can have its hostname %s", report.OneLine(id.Hostname)), "NAME=%s gives it a name", h.Address)
		}
	}
	return nil
}
