// Package proof is what an inventory and its hosts give a conformance run: images, machines, storage classes, places outside; the taint
// that keeps pods off nodes until they are proven; and which hosts are still to be proven. What is proven, and how, is conformance's.
package proof

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/ready"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/secret"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// API is what a proof asks of the API server; *kube.Client is it.
type API interface {
	conformance.API
	NodeImages(ctx context.Context) (map[string][][]string, error)
	Untaint(ctx context.Context, node, key string) error
}

// Wish is how the user wants it proven.
type Wish struct {
	Scenario      string   // "new-deployment" (default) or "scale-out"
	Checks        []string // IDs; nil = all
	Nodes         []string // of scale-out: the nodes that were added
	Quick         bool
	MaxPairs      int    // 0 = the default
	Seed          uint64 // 0 = a new one
	Keep          bool
	KeepOnFailure bool
	Tool          string // hybridctl's version
	// Planned is called with the matrix before anything runs.
	Planned func(cells []conformance.Cell)
}

// Known reports, with ErrUsage, a scenario that there is none of, a check that it does not have, and nodes that it does not ask for or lacks.
// Nothing is asked.
func (w Wish) Known() error {
	scenario := cmp.Or(conformance.Scenario(w.Scenario), conformance.NewDeployment)
	if err := conformance.Known(scenario, w.Checks); err != nil {
		return err
	}
	return conformance.KnownNodes(scenario, w.Nodes)
}

// Lacks is what a bundle has not, without which nothing is proven; "" = it has what it takes.
func Lacks(b *bundle.Bundle) string {
	if _, ok := b.Image(bundle.Probe); ok {
		return ""
	}
	return "the bundle has no image of the probe (component \"probe\")"
}

// PodsBefore are the pods of the cluster before anything joins; none is not the same as not known. Errors: the API server's.
func PodsBefore(ctx context.Context, api API) ([]kube.Pod, error) {
	pods, err := api.Pods(ctx, "", "")
	return append([]kube.Pod{}, pods...), err
}

// Options are what a proof is made with.
type Options struct {
	Wish
	API     API
	Cluster *inventory.Cluster
	Bundle  *bundle.Bundle
	Fleet   *fleet.Fleet
	Hosts   survey.Hosts
	Event   func(report.Event)

	PodsBefore  []kube.Pod  // of scale-out: the pods before the nodes were added; nil = as they are now
	NodesBefore []kube.Node // the same of nodes
}

// ErrFailed: a cell failed. The report says which, and why.
var ErrFailed = conformance.ErrFailed

// Run proves the scenario and writes the report, also of a run that could not begin. The run is complete also when there is an error:
// ErrFailed, or conformance's own.
func Run(ctx context.Context, o Options, dir *report.Dir) (report.ConformanceRun, error) {
	c := o.Conformance(ctx)
	c.Evidence = dir.Evidence
	run, err := conformance.Run(ctx, c)
	if !errors.Is(err, conformance.ErrUsage) {
		if werr := dir.Write(run); werr != nil {
			err = errors.Join(err, werr)
		}
	}
	if err == nil {
		err = conformance.Verdict(run)
	}
	return run, err
}

// Ended reports whether a run came to its end, whatever it found: err is Run's.
func Ended(err error) bool {
	return err == nil || errors.Is(err, ErrFailed) || errors.Is(err, conformance.ErrFlaky)
}

// TestSelf makes faults and reports whether exactly the right cells turned red. ErrFailed when not.
func TestSelf(ctx context.Context, o Options, done func(conformance.SelfTest)) (all []conformance.SelfTest, err error) {
	err = conformance.TestSelf(ctx, o.Conformance(ctx), func(t conformance.SelfTest, _ report.ConformanceRun) {
		all = append(all, t)
		done(t)
	})
	if err == nil && slices.ContainsFunc(all, func(t conformance.SelfTest) bool { return !t.OK() }) {
		err = ErrFailed
	}
	return all, err
}

// Clean removes what earlier runs left in the cluster and on the hosts, and returns their IDs. The error is also of hosts that were not looked at,
// and of runs that are at work, which are left alone unless breaks.
func Clean(ctx context.Context, o Options, breaks bool) ([]string, error) {
	machines, not := o.machines()
	ids, err := conformance.CleanAll(ctx, o.API, machines, breaks, o.Event)
	errs := []error{err}
	for _, h := range o.Cluster.Managed() {
		if why := not[h.Name]; why != "" {
			errs = append(errs, fmt.Errorf("%s was not looked at, and may have something of a run: %s", h.Name, why))
		}
	}
	return ids, errors.Join(errs...)
}

// Conformance is what the run is told.
func (o Options) Conformance(ctx context.Context) (c conformance.Options) {
	c = conformance.Options{
		API: o.API, Cluster: o.Cluster.Metadata.Name, Tool: o.Tool, Scenario: conformance.Scenario(o.Scenario),
		Checks: o.Checks, Quick: o.Quick, NewNodes: o.Nodes, Before: o.PodsBefore, NodesBefore: o.NodesBefore, MaxPairs: o.MaxPairs, Seed: o.Seed,
		Facts:     map[string]conformance.NodeFacts{},
		DNSDomain: o.Cluster.Spec.Kubernetes.DNSDomain, NodeRanges: o.Cluster.Spec.CNI.Provider == inventory.CNIFlannel, OverlayPort: o.Cluster.Spec.CNI.Overlay().Port, Window: ready.StableFor, Patience: o.Cluster.Spec.Timeouts.Ready.Std(),
		RunID: conformance.NewRunID(), DaemonSets: daemonSets(o.Cluster), Keep: o.Keep, KeepOnFailure: o.KeepOnFailure, Planned: o.Planned, Event: o.Event, Now: time.Now,
	}
	if c.Scenario == "" {
		c.Scenario = conformance.NewDeployment
	}
	if c.Seed == 0 {
		c.Seed = mathrand.Uint64()
	}
	if i, ok := o.Bundle.Image(bundle.Probe); ok {
		c.Image, c.Images = i.Ref, imageMaker{o.Bundle}
	}
	c.Storage, c.NoStorage = storageClasses(o.Cluster, o.Bundle)
	c.Machines, c.NoMachine = o.machines()
	c.NoProbe = o.withoutProbe(ctx, c.Image)
	for _, h := range o.Cluster.Spec.Hosts {
		known := conformance.NodeFacts{Address: h.Address, SSHPort: o.Cluster.SSHFor(h).Port}
		if _, ok := c.Machines[h.Name]; ok {
			f := o.Hosts[h.Name]
			known.PageKiB, known.CPU = f.PageSize>>10, f.CPUModel
		}
		c.Facts[h.Name] = known
	}
	c.Vantages = o.vantages(ctx)
	c.Registry = o.registry()
	return c
}

// registry is what check R pulls from; nil = the inventory names nothing.
func (o Options) registry() *conformance.Registry {
	r := o.Cluster.Spec.Conformance.Registry
	if r.Image == "" {
		return nil
	}
	if _, known := o.Cluster.LoginOf(r.Image); !known {
		return &conformance.Registry{Image: r.Image, Username: r.Username, Password: secret.From("registry's password", r.PasswordFile, r.PasswordEnv)}
	}
	return &conformance.Registry{Image: r.Image, NodesKnow: true, Refuses: func(ctx context.Context) (bool, error) {
		given, err := survey.GivenToAnyone(ctx, o.Cluster, r.Image)
		return !given, err
	}}
}

// maxReportedImages is the kubelet's nodeStatusMaxImages.
const maxReportedImages = 50

// withoutProbe are the nodes that cannot run a probe, with the reason: those that hybridctl does not manage or know, where it brings no image to,
// unless the node tells that it has the image, or has so many that it does not tell of all.
func (o Options) withoutProbe(ctx context.Context, image string) map[string]string {
	if image == "" {
		return nil
	}
	has, err := o.API.NodeImages(ctx)
	if err != nil {
		return nil // then the run finds out
	}
	out := map[string]string{}
	for name, images := range has {
		h, ours := o.Cluster.Host(name)
		switch {
		case ours && h.IsManaged(), len(images) >= maxReportedImages, slices.Contains(slices.Concat(images...), image):
		case ours:
			out[name] = fmt.Sprintf("%s has no image of the probe, and hybridctl does not manage it (managed: false): load %s there", name, image)
		default:
			out[name] = fmt.Sprintf("%s has no image of the probe, and is not in the inventory: load %s there", name, image)
		}
	}
	return out
}

// machines are the hosts that are connected, and why the others are not.
func (o Options) machines() (connected map[string]conformance.Machine, not map[string]string) {
	connected, not = map[string]conformance.Machine{}, map[string]string{}
	for _, h := range o.Cluster.Spec.Hosts {
		if m, err := o.Fleet.Machine(h, conformance.Away); err != nil {
			not[h.Name] = report.OneLine(err.Error())
		} else if h.IsManaged() {
			connected[h.Name] = m
		}
	}
	return connected, not
}

// daemonSets are those that every node has to have, as far as hybridctl made the cluster: kubeadm's, and that of its own pod network.
func daemonSets(c *inventory.Cluster) []string {
	if c.Adopted() {
		return nil
	}
	out := []string{"kube-system/kube-proxy"}
	if c.Spec.CNI.Provider == inventory.CNIFlannel {
		out = append(out, "kube-flannel/kube-flannel-ds")
	}
	return out
}

// imageMaker makes images out of the bundle's.
type imageMaker struct{ bundle *bundle.Bundle }

// saltLabel makes an image's digest new.
const saltLabel = "dev.hybridctl.conformance.run"

func (m imageMaker) Can(made conformance.MadeImage) bool {
	i, ok := m.bundle.Image(bundle.Probe)
	return ok && i.Manifests[made.Holds] != ""
}

func (m imageMaker) Archive(ctx context.Context, w io.Writer, salt string, images []conformance.MadeImage) error {
	var variants []bundle.Variant
	for _, i := range images {
		variants = append(variants, bundle.Variant{Ref: i.Ref, Component: bundle.Probe, Holds: i.Holds, Claims: i.Claims, Labels: map[string]string{saltLabel: salt}})
	}
	return m.bundle.WriteVariants(ctx, w, variants)
}
