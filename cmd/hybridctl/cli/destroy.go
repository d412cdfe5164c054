package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/report"
)

type destroyFlags struct {
	clusterFlags
	yes   bool
	force forceFlag
}

func newDestroy(a *app) *cobra.Command {
	var f destroyFlags
	cmd := &cobra.Command{
		Use:   "destroy",
		Short: "Take the cluster away; the hosts end as clean as before",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && cmd.Flags().Changed("force") {
				return usagef("destroy takes the whole cluster away, and no %q: for --force of a host write --force=%s", args[0], args[0])
			}
			return noArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return a.destroy(cmd.Context(), f) },
	}
	f.register(cmd)
	f.registerBreakLock(cmd)
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	f.force.register(cmd, "also when volumes of the cluster would stay in Ceph; --force=`HOST,...` also resets these hosts although they are not known to be of this cluster, or their markers cannot be read")
	return cmd
}

func (a *app) destroy(ctx context.Context, f destroyFlags) error {
	if err := mayConfirm(a.Terminal, f.clusterFlags, f.yes, "the deletion of the cluster on", "--yes agrees beforehand"); err != nil {
		return err
	}
	s, err := a.open(ctx, f.clusterFlags)
	if err != nil {
		return err
	}
	defer s.close()
	if !f.yes {
		if err := s.confirmDestroy(ctx); err != nil {
			return err
		}
	}
	done := s.announceStop()
	result, err := a.Front.Destroy(ctx, provision.DestroyOptions{Options: s.options, Force: f.force.alone, ForceHosts: f.force.hosts})
	done()
	s.close()
	return a.writeResult(result, err, func(w io.Writer) error { return writeDestroy(w, result, err == nil, a.color(w)) })
}

// confirmDestroy wants the cluster's name typed: a "y" is given too easily.
func (s *session) confirmDestroy(ctx context.Context) error {
	name := s.cluster.Metadata.Name
	show := func(w io.Writer) error {
		names := hostNames(s.cluster)
		const most = 10
		more := ""
		if len(names) > most {
			more = fmt.Sprintf(" and %d more", len(names)-most)
			names = names[:most]
		}
		_, err := fmt.Fprintf(w, "This takes cluster %s away from %s: %s%s. All that runs there is lost.\n",
			name, report.Count(len(s.cluster.Spec.Hosts), "host"), strings.Join(names, ", "), more)
		return err
	}
	answer, err := s.ask(ctx, show, "Type the cluster's name to go on: ")
	if err != nil {
		return err
	}
	if answer != name {
		return fmt.Errorf("%w: that is not the cluster's name", provision.ErrDeclined)
	}
	return nil
}
