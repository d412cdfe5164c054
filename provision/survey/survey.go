// Package survey reads: hosts, the API server, etcd, Ceph, registries, and the files that the inventory names, into one value, Seen. It
// writes nothing but known_hosts, judges nothing, and never takes what it could not read for something that is not there.
package survey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/secret"
)

// API is what a survey asks of the API server; *kube.Client is it.
type API interface {
	CAHashes() []string
	Nodes(ctx context.Context) ([]kube.Node, error)
	Version(ctx context.Context) (string, error)
	ClusterConfiguration(ctx context.Context) (kube.ClusterConfiguration, error)
	EtcdMembers(ctx context.Context, node string) ([]kube.EtcdMember, error)
	Diff(ctx context.Context, manifests []byte) ([]kube.ObjectChange, error)
	HasKind(ctx context.Context, apiVersion, kind string) (bool, error)
	Owned(ctx context.Context, kinds []kube.Kind, selector string) (owned, others []kube.Object, err error)
	StoredBy(ctx context.Context, drivers []string) ([]kube.Volume, error)
	PodTemplates(ctx context.Context) ([]kube.PodTemplate, error)
	SeenPods(ctx context.Context) (kube.SeenPods, error)
}

// Reader is what a run reads with. Bundle may be nil where a verb needs none.
type Reader struct {
	Cluster  *inventory.Cluster
	Bundle   *bundle.Bundle
	Fleet    *fleet.Fleet
	Parallel int
	Event    func(report.Event)
	Stderr   io.Writer                       // of the program that prints a key; nil = no one sees it
	Waiting  func(what string) (over func()) // is told what is waited for; nil = no one is

	// NoPrograms leaves keys alone that a program of the inventory prints: whoever looks at a plan has not said yes to it.
	NoPrograms bool

	// OtherRegistries are asked besides the well-known ones and those of the inventory and the bundle.
	OtherRegistries []string
	// AskRegistry returns for which architectures an image is made; nil = the registries that may be asked say so. Patience bounds what
	// they may take for all images together.
	AskRegistry func(ctx context.Context, image string) ([]platform.Arch, error)
	Patience    time.Duration
}

// Seen is everything that a run has read, as it was before the run changed anything.
type Seen struct {
	Cluster *inventory.Cluster
	Bundle  *bundle.Manifest
	Fetch   preflight.Fetch // what there is to fetch, where the inventory names no bundle
	Files   Files
	Hosts   Hosts
	Ceph    preflight.CephSeen
	// Registries is what was found out about spec.registries, and about the images that hosts pull.
	Registries preflight.RegistriesSeen
	Keys       map[string]inventory.Secret // of Ceph's users, by ID
	Site       plan.Site                   // what spec.registries names
	Nodes      []kube.Node
	Version    string // of the API server
	API        Known[facts.Cluster]
	// Kept is the certificate of the kubeconfig in the state directory, and At when it was read.
	Kept Known[facts.Certificate]
	At   time.Time
	// Authority is the cluster's own certificate authorities as pins, by the word of its kubeconfig.
	Authority Known[[]string]
}

// Input is what a plan is made of.
func (s Seen) Input() plan.Input {
	in := plan.Input{Cluster: s.Cluster, Bundle: s.Bundle, Hosts: s.Hosts.List(), CNIManifest: s.Files.CNIManifest, Patches: s.Files.Patches, CephKeys: s.Keys,
		Files: s.Files.Planes, Site: s.Site, Missing: s.Fetch.Missing}
	in.API = Told(s.API)
	return in
}

// KeptCertificate reads of the kubeconfig that is kept when its certificate ends.
func (s *Seen) KeptCertificate(f *fleet.Fleet) {
	s.At = time.Now()
	kubeconfig, err := f.Kept()
	if errors.Is(err, fleet.ErrNoKubeconfig) {
		s.Kept = None[facts.Certificate]()
		return
	}
	c := facts.Certificate{Name: fleet.KubeconfigFile}
	if err == nil {
		c.NotBefore, c.NotAfter, err = kube.ClientCertificate(kubeconfig)
	}
	if s.Kept = Found(c); err != nil {
		s.Kept = Unknown[facts.Certificate](err)
	}
}

// Told is what the API server told, in the form that plan and preflight take.
func Told(api Known[facts.Cluster]) facts.Cluster {
	c, there, err := api.Get()
	switch {
	case err != nil:
		return facts.Cluster{Err: err}
	case !there:
		return facts.Cluster{}
	}
	c.Observed = true
	return c
}

// Hosts are the hosts that were asked, by name. One that was not reached is among them, with the reason.
type Hosts map[string]facts.Host

// List returns them sorted by nothing in particular.
func (h Hosts) List() []facts.Host {
	out := make([]facts.Host, 0, len(h))
	for _, f := range h {
		out = append(out, f)
	}
	return out
}

// Of returns those of the inventory's hosts that were asked, in its order.
func (h Hosts) Of(hosts []inventory.Host) []facts.Host {
	var out []facts.Host
	for _, x := range hosts {
		if f, asked := h[x.Name]; asked {
			out = append(out, f)
		}
	}
	return out
}

// ErrNotAsked is the Err of a host that this run did not ask.
var ErrNotAsked = errors.New("this run did not ask it")

// Fact returns what is known of a host; one that was not asked has an Err.
func (h Hosts) Fact(name string) facts.Host {
	if f, asked := h[name]; asked {
		return f
	}
	return facts.Host{Name: name, Err: ErrNotAsked}
}

// Archs are hosts with the architectures that they have, for people.
func (h Hosts) Archs(hosts []inventory.Host) []string {
	out := make([]string, len(hosts))
	for i, x := range hosts {
		is := h[x.Name].Arch.String()
		if h[x.Name].Err != nil {
			is = "not reached"
		}
		out[i] = fmt.Sprintf("%s (%s)", x.Name, is)
	}
	return out
}

// Hosts connects to hosts and learns what they are: one connection and one command each.
func (r Reader) Hosts(ctx context.Context, hosts []inventory.Host) Hosts {
	return r.ask(ctx, hosts, preflight.Ask(r.Cluster))
}

// Identities asks hosts for no more than who they are.
func (r Reader) Identities(ctx context.Context, hosts []inventory.Host) Hosts {
	return r.ask(ctx, hosts, facts.Ask{})
}

func (r Reader) ask(ctx context.Context, hosts []inventory.Host, ask facts.Ask) Hosts {
	targets := make([]facts.Target, len(hosts))
	for i, h := range hosts {
		targets[i] = facts.Target{Name: h.Name, Writes: h.Role == inventory.ControlPlane, Dial: func(ctx context.Context) (remote.Runner, error) {
			r.Event(report.Event{Kind: report.Started, Host: h.Name, Step: "facts"})
			return r.Fleet.Connect(ctx, h)
		}}
	}
	seen := Hosts{}
	for _, f := range facts.Gather(ctx, targets, ask, r.Parallel, r.told("facts")) {
		seen[f.Name] = f
	}
	return seen
}

// told sends an event when a host has answered.
func (r Reader) told(step string) func(facts.Host) {
	return func(h facts.Host) { r.done(h.Name, step, h.Err) }
}

func (r Reader) waits(what string) (over func()) {
	if r.Waiting == nil {
		return func() {}
	}
	return r.Waiting(what)
}

// printed is what a program of the user's prints, which may ask a person, or a safe far away.
func (r Reader) printed(ctx context.Context, argv []string) (string, error) {
	defer r.waits(argv[0] + ", which prints a secret")()
	return secret.Printed(ctx, argv, filepath.Dir(r.Cluster.Path), r.Stderr)
}

func (r Reader) done(host, step string, err error) {
	e := report.Event{Kind: report.Done, Host: host, Step: step, Action: report.Unchanged}
	switch {
	case errors.Is(err, context.Canceled): // its answer was no longer waited for
		e.Action, e.Message = report.Skipped, "the run was interrupted"
	case err != nil:
		e.Action, e.Err = report.Failed, err
	}
	r.Event(e)
}
