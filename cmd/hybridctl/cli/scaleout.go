package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/inventory/edit"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/platform"
)

type scaleOutFlags struct {
	clusterFlags
	yes, guard bool
	hosts, add []string
	replace    []string
	force      forceFlag
	arch       string
	audit      string

	auditRegistries []string

	conformance string
	asked       bool // --conformance is given
	reportDir   string
}

func newScaleOut(a *app) *cobra.Command {
	f := scaleOutFlags{force: forceFlag{hostsOnly: true}}
	cmd := &cobra.Command{
		Use:   "scale-out",
		Short: "Join the inventory's new hosts to the running cluster",
		Long: `scale-out joins every host of the inventory that is no node yet, and connects to those hosts alone. What it must know of the others
comes from the API server, directly or, where its endpoint does not answer, through one control-plane host.
An image that a DaemonSet would run on the new nodes and that is not made for their architecture stops it (--audit). It warns of other
workloads' images, and of those that neither their registry nor a pod vouches for. It shows the plan, asks, does it, and ends with the scale-out
scenario of "hybridctl conformance" on the new nodes: the pods on the old ones have to be what they were. A bundle without the probe proves
nothing: the plan says so, the next scale-out goes on with these hosts, and where --conformance asks for a proof, nothing is done.
When some hosts fail, the others are joined anyway; running it again finishes them.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.asked = cmd.Flags().Changed("conformance")
			return a.scaleOut(cmd.Context(), f)
		},
	}
	f.register(cmd)
	f.registerCatalogue(cmd)
	f.registerBreakLock(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.yes, "yes", false, "do not ask")
	flags.BoolVar(&f.guard, "guard", false, "keep ordinary pods off the new nodes with a taint until the proof has passed")
	flags.StringArrayVar(&f.add, "add", nil, "write this host into the inventory first, as inventory add does: `NAME=ADDRESS[,WORD=VALUE]...`; the flag may be repeated")
	flags.StringSliceVar(&f.hosts, "host", nil, "only these hosts: `NAME,NAME...`; the flag may be repeated")
	flags.StringSliceVar(&f.replace, "replace", nil, "the hosts of these nodes were reinstalled: delete the old nodes and join the hosts again, and no others: `NAME,NAME...`")
	f.force.register(cmd, "these hosts are reset and join although they are not known to be of this cluster or of none, and what runs there is lost: `HOST,...`")
	flags.StringVar(&f.arch, "arch", "", "only hosts of this architecture, as they say themselves: `ARCH`")
	flags.StringSliceVar(&f.auditRegistries, "audit-registry", nil, "a further registry that the audit asks, beside the well-known ones and those of the inventory: `HOST[:PORT]`")
	flags.StringVar(&f.audit, "audit", string(provision.AuditBlock), "what happens when a DaemonSet would run an image on the new nodes that is not made for their architecture: `MODE` is block, warn or off")
	flags.StringVar(&f.conformance, "conformance", string(provision.ConformanceFull), "what is proven of the new nodes: `MODE` is full, quick or off")
	flags.StringVar(&f.reportDir, "report-dir", "", "where the conformance report goes: `DIR` (default: conformance in the state directory)")
	complete(cmd, "audit", "block", "warn", "off")
	complete(cmd, "conformance", "full", "quick", "off")
	complete(cmd, "arch", archNames()...)
	return cmd
}

func archNames() []string {
	var out []string
	for _, a := range platform.All() {
		out = append(out, a.String())
	}
	return out
}

func (a *app) scaleOut(ctx context.Context, f scaleOutFlags) error {
	if !slices.Contains(provision.ConformanceModes(), provision.ConformanceMode(f.conformance)) {
		return usagef("--conformance must be full, quick or off, not %q", f.conformance)
	}
	if !slices.Contains(provision.AuditModes(), provision.AuditMode(f.audit)) {
		return usagef("--audit must be block, warn or off, not %q", f.audit)
	}
	o := provision.ScaleOutOptions{Guard: f.guard, Audit: provision.AuditMode(f.audit), Hosts: f.hosts, Replace: f.replace, Force: f.force.hosts, Conformance: provision.ConformanceMode(f.conformance)}
	if f.arch != "" {
		arch, err := platform.Parse(f.arch)
		if err != nil {
			return usagef("--arch: %v", err)
		}
		o.Arch = arch
	}
	if err := mayConfirm(a.Terminal, f.clusterFlags, f.yes, "the plan on", "--yes agrees beforehand"); err != nil {
		return err
	}
	added, err := addFirst(a.Stderr, f.inventory, f.add)
	if err != nil {
		return err
	}
	begun := false
	defer func() {
		if added && !begun {
			fmt.Fprintf(a.Stderr, "%s has what was added: the same command goes on, hybridctl inventory rm takes it out\n", f.inventory)
		}
	}()
	s, err := a.open(ctx, f.clusterFlags)
	if err != nil {
		return err
	}
	defer s.close()
	o.Options = s.options
	o.AuditRegistries = f.auditRegistries
	o.Proof = provision.ProofOptions{ReportDir: f.reportDir, Tool: a.Version.Version, Asked: f.asked, Planned: s.planned}
	o.Ask = func(p plan.Plan) bool { return s.confirm(ctx, p, f.yes) }
	done := s.announceStop()
	result, err := a.Front.ScaleOut(ctx, o)
	done()
	s.close()
	begun = err == nil || len(result.Changes) > 0
	return a.writeResult(result, err, func(w io.Writer) error { return writeScaleOut(w, result, err == nil, a.color(w)) })
}

// addFirst writes the hosts of --add into the inventory; added says that there were some. One that stands there as it is given is no mistake:
// the command was run before, and is run again.
func addFirst(told io.Writer, path string, args []string) (added bool, err error) {
	if len(args) == 0 {
		return false, nil
	}
	hosts, err := parseHosts(args, false)
	if err != nil {
		return false, err
	}
	file, err := openInventory(path)
	if err != nil {
		return false, err
	}
	c, err := file.Apply()
	if err != nil {
		return false, asEditError(err)
	}
	for _, h := range hosts {
		if known, ok := c.Host(h.Name); ok && known.Address == h.Address {
			if words := otherWords(h, known); len(words) > 0 {
				return false, hint.With(usagef("%s stands in %s already, with another %s", h.Name, path, strings.Join(words, ", ")),
					`"hybridctl inventory set -f %s 'spec.hosts[%s].…=…'" changes it; without --add it joins as it stands there`, path, h.Name)
			}
			continue
		}
		if _, err := file.Apply(edit.AddHost(h)); err != nil {
			return false, asEditError(err)
		}
	}
	if !file.Changed() {
		return false, nil
	}
	if err := file.Write(); err != nil {
		return false, err
	}
	_, err = fmt.Fprintf(told, "%s%s: written\n", file.Diff(), file.Name)
	return true, err
}

// otherWords are those of --add which the inventory has otherwise. What is not given may be anything there.
func otherWords(h, known inventory.Host) []string {
	var out []string
	for _, w := range []struct {
		word        string
		given, have any
	}{
		{"role", h.Role, known.Role}, {"arch", h.Arch, known.Arch}, {"user", h.User, known.User}, {"port", h.Port, known.Port},
		{"jump", h.Jump, known.Jump}, {"nodeIP", h.NodeIP, known.NodeIP}, {"hostKey", h.HostKey, known.HostKey},
		{"sudoPasswordEnv", h.SudoPasswordEnv, known.SudoPasswordEnv},
	} {
		if !reflect.ValueOf(w.given).IsZero() && w.given != w.have {
			out = append(out, w.word)
		}
	}
	for key, value := range h.Labels {
		if known.Labels[key] != value {
			out = append(out, "label "+key)
		}
	}
	for _, t := range h.Taints {
		if !slices.Contains(known.Taints, t) {
			out = append(out, "taint "+t)
		}
	}
	for _, path := range h.IdentityFiles {
		if !slices.ContainsFunc(known.IdentityFiles, func(have string) bool { return samePath(path, have) }) {
			out = append(out, "identityFile")
		}
	}
	if h.SudoPasswordFile != "" && !samePath(h.SudoPasswordFile, known.SudoPasswordFile) {
		out = append(out, "sudoPasswordFile")
	}
	slices.Sort(out)
	return out
}

// samePath compares a path as it is given, from the inventory's folder or the home directory, with what it became.
func samePath(given, have string) bool {
	return strings.HasSuffix(have, filepath.Clean("/"+strings.TrimPrefix(given, "~")))
}

// writeScaleOut writes the end of scale-out for people; done says that nothing is left to do.
func writeScaleOut(w io.Writer, r provision.Result, done bool, color bool) error {
	var b bytes.Buffer
	r.Kubeconfig = "" // the user has it
	if r.Nothing != "" {
		fmt.Fprintf(&b, "cluster %s: nothing to do: %s\n", r.Cluster, r.Nothing)
		writeNotes(&b, r.Notes)
	} else if err := writeUp(&b, r, done, color); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}
