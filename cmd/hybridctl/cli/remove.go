package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/inventory/edit"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

type removeFlags struct {
	clusterFlags
	yes, offline, dryRun bool
	force                forceFlag
	timeout              time.Duration
}

func newRemove(a *app) *cobra.Command {
	var f removeFlags
	cmd := &cobra.Command{
		Use:   "remove HOST…",
		Short: "Take hosts out of the running cluster; they end as clean as before",
		Long: `remove takes hosts out of the cluster, one after another. It cordons and drains each node, as PodDisruptionBudgets allow, waits for its
volumes to detach, removes its etcd member where etcd can do without it, resets the host, deletes the node, and takes the host out of the
inventory. --dry-run shows these steps. A removal that was interrupted goes on when it is run again.
All hosts are checked before anything is done: the last control plane stays, a host that does not answer is not taken for a dead one, and pods
that would be lost for good are named.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("%s wants the names of hosts", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.remove(cmd.Context(), f, args) },
	}
	f.register(cmd)
	f.registerBreakLock(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.yes, "yes", false, "do not ask")
	flags.BoolVar(&f.dryRun, "dry-run", false, "show the steps, and do none of them")
	f.force.register(cmd, "evict pods that no controller recreates, and pods with local data (emptyDir); when --timeout is over, go on although volumes are still attached; "+
		"--force=`HOST,...` also takes these hosts although they are not known to be of this cluster, their markers cannot be read, or etcd does not say whether it has a member there")
	f.timeout = 5 * time.Minute
	flags.Var((*lasting)(&f.timeout), "timeout", "how long the drain of one node may take, with its volumes")
	flags.BoolVar(&f.offline, "offline", false, "do not connect to the hosts: take their nodes out of the cluster, and list what is left on them")
	return cmd
}

func (a *app) remove(ctx context.Context, f removeFlags, hosts []string) error {
	if f.timeout <= 0 {
		return usagef("--timeout must be longer than nothing")
	}
	if err := mayConfirm(a.Terminal, f.clusterFlags, f.yes || f.dryRun, "the removal of hosts on", "--yes agrees beforehand; --dry-run shows what would be done"); err != nil {
		return err
	}
	s, err := a.open(ctx, f.clusterFlags)
	if err != nil {
		return err
	}
	defer s.close()
	o := provision.RemoveOptions{Options: s.options, Hosts: hosts, DryRun: f.dryRun, Force: f.force.alone, ForceHosts: f.force.hosts, Timeout: f.timeout, Offline: f.offline}
	o.MayTakeOut = func(hosts []string) error { return mayTakeOut(f.inventory, hosts) }
	o.TakeOut = func(host string) error { return takeOut(f.inventory, host) }
	o.Ask = func(p plan.Plan) bool { return s.confirmRemoval(ctx, p, f.yes) }
	done := s.announceStop()
	result, err := a.Front.Remove(ctx, o)
	done()
	s.close()
	return a.writeResult(result, err, func(w io.Writer) error {
		if f.dryRun {
			return writeRemovalPlan(w, result.Plan, err == nil, a.color(w))
		}
		return writeRemove(w, result, err == nil, a.color(w))
	})
}

// writeRemovalPlan writes what a removal would do; found says that this is known.
func writeRemovalPlan(w io.Writer, p plan.Plan, found, color bool) error {
	switch {
	case !found:
		return nil
	case len(p.Steps) == 0:
		_, err := fmt.Fprintf(w, "cluster %s: nothing is left to do\n", p.Cluster)
		return err
	}
	return writePlan(w, p, color)
}

// mayTakeOut finds out whether the inventory can be had without the hosts, and without each of them in turn.
func mayTakeOut(inventory string, hosts []string) error {
	file, err := openInventory(inventory)
	if err != nil {
		return err
	}
	for _, host := range hosts {
		if _, err := file.Apply(edit.RemoveHost(host)); err != nil {
			return fmt.Errorf("%s could not be taken out of %s, which has to be mended first, with the host left in: %w", host, inventory, asEditError(err))
		}
	}
	return file.Writable()
}

// takeOut takes a host that has left the cluster out of the inventory. One that an interrupted run took out is no error.
func takeOut(inventory, host string) error {
	file, err := openInventory(inventory)
	if err != nil {
		return err
	}
	if c, err := loadInventory(inventory); err == nil && !slices.Contains(hostNames(c), host) {
		return nil
	}
	if _, err := file.Apply(edit.RemoveHost(host)); err != nil {
		return fmt.Errorf("the host has left the cluster, but stands in %s still: %w", inventory, asEditError(err))
	}
	return file.Write()
}

// confirmRemoval shows what is going to happen to each host and asks, unless the user has agreed beforehand.
func (s *session) confirmRemoval(ctx context.Context, p plan.Plan, yes bool) bool {
	text := strings.Join(p.Notes, "\n") + "\n"
	if yes {
		if s.app.global.logFormat == logText {
			_, _ = io.WriteString(s.view, text) // what cannot be shown is done anyway: the user has agreed
		}
		return true
	}
	show := func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
	answer, err := s.ask(ctx, show, "Do this? [y/N] ")
	return err == nil && slices.Contains([]string{"y", "yes"}, strings.ToLower(answer))
}

// writeRemove writes the end of remove for people; done says that nothing is left to do.
func writeRemove(w io.Writer, r provision.Result, done bool, color bool) error {
	var b bytes.Buffer
	writeHosts(&b, r, color)
	if done {
		fmt.Fprintf(&b, "\n%s left cluster %s\n", report.Count(len(r.Hosts), "host"), r.Cluster)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	_, err := w.Write(b.Bytes())
	return err
}
