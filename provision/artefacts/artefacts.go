// Package artefacts settles what hosts get: the bundle that the inventory names, or the catalogue's set for their architectures, which it fetches
// into the cache of this machine when a verb writes. It touches no host.
package artefacts

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/fetch"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// Source is where a run's artefacts come from.
type Source struct {
	Cluster   *inventory.Cluster
	Catalogue string                            // a file of the user's; "" = hybridctl's own
	Cache     string                            // as fetch.Options has it
	Program   func(name string) (string, error) // as fetch.Options has it
	Event     func(report.Event)
	Password  func(ctx context.Context, e inventory.Registry) (string, error)
	Waiting   func(what string) (over func()) // tells whom it concerns that something is waited for; nil = no one

	// Bundle is nil until Find; of what is not fetched yet it has the manifest alone, without digests.
	Bundle *bundle.Bundle

	catalogue *catalogue.Catalogue // where the inventory names no bundle
	set       catalogue.Set        // of it, for the hosts' architectures
}

// Open opens the bundle that the inventory names, or the catalogue that tells what there is to fetch instead. Every way it can be wrong
// is an ErrBundle.
func (r *Source) Open() error {
	if r.Cluster.Spec.Bundle != "" {
		b, err := bundle.Open(r.Cluster.Spec.Bundle)
		if errors.Is(err, bundle.ErrNotBundle) {
			err = hint.With(err, `an inventory without spec.bundle, as "hybridctl init" writes it, needs none: what is missing is fetched`)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ending.ErrBundle, err)
		}
		r.Bundle = b
		return nil
	}
	r.catalogue = catalogue.Embedded()
	if r.Catalogue == "" {
		return nil
	}
	var err error
	if r.catalogue, err = catalogue.Read(r.Catalogue); err != nil {
		return fmt.Errorf("%w: %w", ending.ErrBundle, err)
	}
	return nil
}

// Find settles what hosts get: the inventory's bundle, or the catalogue's set for the architectures that the hosts have
// by fact. It asks no one: of a set that is not complete in the cache, seen says what would be fetched, and knows of it
// what the catalogue tells.
func (r *Source) Find(ctx context.Context, seen *survey.Seen) error {
	if r.Bundle == nil {
		if err := r.findSet(ctx, seen); err != nil {
			return err
		}
	}
	seen.Bundle = &r.Bundle.Manifest
	return nil
}

func (r *Source) findSet(ctx context.Context, seen *survey.Seen) error {
	r.Bundle = &bundle.Bundle{}
	seen.Fetch.Idle = fetch.Sources(r.Cluster.SourcePrefixes()).Idle(r.catalogue.Places())
	set, err := r.catalogue.Set(r.Cluster.Spec.Kubernetes.Version, archsOfHosts(seen.Hosts), r.components()...)
	if err != nil {
		seen.Fetch.Err = err // the checks say so, with all else that is wrong
		return nil
	}
	missing, err := fetch.Plan(set, r.fetchOptions())
	if errors.Is(err, fetch.ErrProgram) {
		seen.Fetch.Own = err // the checks say so: what only reads goes on
	} else if err != nil {
		return err
	}
	r.set, seen.Fetch.Set = set, true
	if missing.None() && seen.Fetch.Own == nil {
		o := r.fetchOptions()
		o.Offline = true
		if r.Waiting != nil {
			defer r.Waiting("the bundle of what was fetched to be made or read")()
		}
		return r.useFetched(ctx, seen, o)
	}
	seen.Fetch.Missing = missing.String()
	r.Bundle.Manifest = expected(set)
	return nil
}

// Fetch brings what Find did not find onto this machine. Errors: package fetch's, which say what was asked and what may help.
func (r *Source) Fetch(ctx context.Context, seen *survey.Seen) error {
	if seen.Fetch.Missing == "" || len(archsOfHosts(seen.Hosts)) == 0 { // no host was reached: nothing is brought to any
		return nil
	}
	r.Event(report.Event{Kind: report.Started, Step: "fetch"})
	err := r.useFetched(ctx, seen, r.fetchOptions())
	done := report.Event{Kind: report.Done, Step: "fetch", Action: report.Created}
	if err != nil {
		done.Action, done.Err = report.Failed, err
	}
	r.Event(done)
	return err
}

// useFetched makes the set a bundle, and the run's.
func (r *Source) useFetched(ctx context.Context, seen *survey.Seen, o fetch.Options) error {
	dir, err := fetch.Bundle(ctx, r.set, o)
	if err != nil {
		return err
	}
	b, err := bundle.Open(dir)
	if err != nil {
		return fmt.Errorf("%w: %w", ending.ErrBundle, err)
	}
	r.Bundle, seen.Bundle, seen.Fetch.Missing = b, &b.Manifest, ""
	return nil
}

func (r *Source) fetchOptions() fetch.Options {
	return fetch.Options{Cache: r.Cache, Program: r.Program, Sources: r.Cluster.SourcePrefixes(), CAFile: r.Cluster.SourcesCA(), Keychain: r.keys,
		Progress: func(e fetch.Event) {
			if e.Item != "" || e.Message != "" { // a line for each item; the whole is the sum of them
				r.Event(report.Event{Kind: report.Progress, Step: "fetch", Message: said(e), Bytes: e.Bytes, Total: e.Total})
			}
		}}
}

func said(e fetch.Event) string {
	switch {
	case e.Item == "":
		return e.Message
	case e.Message == "":
		return e.Item
	}
	return e.Item + ": " + e.Message
}

// keys are the credentials of spec.registries, and else what docker's configuration knows.
func (r *Source) keys(ctx context.Context, repository string) ([]registry.Credential, error) {
	named, err := image.ParseName(repository)
	if err != nil {
		return nil, err
	}
	if e, ok := r.Cluster.LoginOf(repository); ok {
		password, err := r.Password(ctx, e)
		if err != nil {
			return nil, fmt.Errorf("spec.registries: the password for %s: %w", e.Host, err)
		}
		return []registry.Credential{{Username: e.Username, Password: password, From: "spec.registries"}}, nil
	}
	return registry.Docker(ctx, named.Context())
}

// components are those that come only when they are asked for.
func (r *Source) components() []string {
	var out []string
	for _, w := range r.Cluster.Spec.Storage.WantedImages() {
		if w.Ref == "" {
			out = append(out, w.Component)
		}
	}
	return out
}

// archsOfHosts are the architectures of the hosts that answered.
func archsOfHosts(hosts survey.Hosts) []platform.Arch {
	var out []platform.Arch
	for _, f := range hosts {
		if f.Err == nil && f.Arch != "" && !slices.Contains(out, f.Arch) {
			out = append(out, f.Arch)
		}
	}
	slices.Sort(out)
	return out
}

// expected is what a bundle of the set will hold, as far as the catalogue tells: names and versions, and no digests of what is inside archives.
func expected(set catalogue.Set) bundle.Manifest {
	m := bundle.Manifest{APIVersion: bundle.APIVersion, Kind: bundle.Kind, KubernetesVersion: set.Kubernetes}
	for _, f := range set.Files {
		names := []string{}
		for _, p := range f.Programs {
			names = append(names, p.Name)
		}
		if f.AllPrograms {
			names = append(names, neededOf(f.Component)...)
		}
		for _, name := range names {
			m.Binaries = append(m.Binaries, bundle.Binary{Component: f.Component, Name: name, Version: f.Version, Arch: f.Arch})
		}
	}
	for _, i := range set.Images {
		m.Images = append(m.Images, expectedImage(i.Component, i.Ref, i.Digest, set.Archs))
	}
	for _, p := range set.Programs {
		m.Images = append(m.Images, expectedImage(p.Component, p.Ref, "", set.Archs))
	}
	return m
}

// neededOf are the programs of a component that a node cannot do without.
func neededOf(component string) []string {
	var names []string
	for _, n := range bundle.NeededBinaries() {
		if n.Component == component {
			names = append(names, n.Name)
		}
	}
	return names
}

func expectedImage(component, ref, digest string, archs []platform.Arch) bundle.Image {
	i := bundle.Image{Component: component, Ref: ref, Digest: digest, Archs: archs, Manifests: map[platform.Arch]string{}}
	for _, a := range archs {
		i.Manifests[a] = "" // which it is, is known when the index is here
	}
	return i
}
