package artefacts

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/fetch"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// newSource is that of an inventory without a bundle, with an empty cache; it must ask no one.
func newSource(t *testing.T) *Source {
	t.Helper()
	c := &inventory.Cluster{}
	c.Spec.Kubernetes.Version = catalogue.Embedded().Versions()[0]
	return &Source{Cluster: c, Cache: t.TempDir(), Program: func(string) (string, error) { return "", errors.New("no program is beside a test") },
		Event: func(e report.Event) { t.Errorf("event %+v", e) }}
}

// asked are hosts with these architectures, and one that was not reached.
func asked(archs ...platform.Arch) survey.Hosts {
	out := survey.Hosts{"away": {Name: "away", Arch: platform.All()[0], Err: errors.New("no route")}}
	for i, a := range archs {
		name := string(rune('a' + i))
		out[name] = facts.Host{Name: name, Arch: a}
	}
	return out
}

func TestOpen(t *testing.T) {
	whole := bundletest.Make(t, platform.AMD64, platform.ARM64)
	broken := filepath.Join(t.TempDir(), "catalogue.yaml")
	if err := os.WriteFile(broken, []byte("kind: Other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		bundle, catalogue string
		want              error
		hint              string
	}{
		"a bundle":                    {bundle: whole.Dir},
		"a directory that is none":    {bundle: t.TempDir(), want: ending.ErrBundle, hint: "an inventory without spec.bundle"},
		"hybridctl's own catalogue":   {},
		"a catalogue that is not one": {catalogue: broken, want: ending.ErrBundle},
		"a catalogue that is not":     {catalogue: filepath.Join(t.TempDir(), "none"), want: ending.ErrBundle},
		"a bundle needs no catalogue": {bundle: whole.Dir, catalogue: broken},
	} {
		s := newSource(t)
		s.Cluster.Spec.Bundle, s.Catalogue = c.bundle, c.catalogue
		err := s.Open()
		if !errors.Is(err, c.want) || c.want == nil && err != nil || !strings.HasPrefix(hint.Text(err), c.hint) {
			t.Errorf("%s: %v, hint %q", name, err, hint.Text(err))
		}
		if err == nil && (s.Bundle != nil) != (c.bundle != "") {
			t.Errorf("%s: bundle %v", name, s.Bundle)
		}
	}
}

func TestFind_WhatTheBundleHas(t *testing.T) {
	s := newSource(t)
	s.Bundle = bundletest.Make(t, platform.AMD64)
	seen := survey.Seen{Hosts: asked(platform.ARM64)}
	if err := s.Find(t.Context(), &seen); err != nil || seen.Bundle != &s.Bundle.Manifest || seen.Fetch.Set || seen.Fetch.Missing != "" {
		t.Errorf("%v, %+v", err, seen.Fetch)
	}
}

func TestFind_WhatTheCatalogueTells(t *testing.T) {
	for name, archs := range map[string][]platform.Arch{"one architecture": {platform.ARM64, platform.ARM64}, "two": {platform.ARM64, platform.AMD64}} {
		s := newSource(t)
		if err := s.Open(); err != nil {
			t.Fatal(err)
		}
		seen := survey.Seen{Hosts: asked(archs...)}
		if err := s.Find(t.Context(), &seen); err != nil || !seen.Fetch.Set || seen.Fetch.Missing == "" || seen.Fetch.Err != nil {
			t.Fatalf("%s: %v, %+v", name, err, seen.Fetch)
		}
		want := slices.Compact(slices.Sorted(slices.Values(archs)))
		m := seen.Bundle
		if lacks := s.Bundle.Missing(s.Cluster.Spec.Kubernetes.Version, want); len(lacks) > 0 {
			t.Errorf("%s: what is expected lacks %q", name, lacks)
		}
		for _, b := range m.Binaries {
			if !slices.Contains(want, b.Arch) || b.SHA256 != "" {
				t.Errorf("%s: %+v", name, b)
			}
		}
		for _, i := range m.Images {
			if !slices.Equal(i.Archs, want) || len(i.Manifests) != len(want) {
				t.Errorf("%s: %+v", name, i)
			}
		}
	}
}

// A program of hybridctl's own that is not beside it stops what writes, by a check, and nothing that reads.
func TestFind_ProgramThatIsNotBesideHybridctl(t *testing.T) {
	s := newSource(t)
	here := t.TempDir()
	s.Program = func(name string) (string, error) { return filepath.Join(here, name), nil }
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	seen := survey.Seen{Hosts: asked(platform.ARM64)}
	if err := s.Find(t.Context(), &seen); err != nil || !errors.Is(seen.Fetch.Own, fetch.ErrProgram) || !seen.Fetch.Set || seen.Fetch.Missing == "" || len(seen.Bundle.Images) == 0 {
		t.Errorf("%v, %+v", err, seen.Fetch)
	}
}

// A version that the catalogue does not have is no error yet: the checks say so, with all else that is wrong.
func TestFind_VersionThatIsNotInTheCatalogue(t *testing.T) {
	s := newSource(t)
	s.Cluster.Spec.Kubernetes.Version = "v1.2.3"
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	seen := survey.Seen{Hosts: asked(platform.ARM64)}
	if err := s.Find(t.Context(), &seen); err != nil || seen.Fetch.Err == nil || seen.Fetch.Set || seen.Bundle == nil || seen.Fetch.Missing != "" {
		t.Errorf("%v, %+v", err, seen.Fetch)
	}
}

func TestFetch_OnlyWhatIsMissingForHostsThatAnswered(t *testing.T) {
	for name, seen := range map[string]survey.Seen{
		"nothing is missing": {Hosts: asked(platform.ARM64)},
		"no host answered":   {Hosts: asked()},
	} {
		s := newSource(t)
		if name == "no host answered" {
			seen.Fetch.Missing = "28 files"
		}
		if err := s.Fetch(t.Context(), &seen); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := newSource(t)
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	seen := survey.Seen{Hosts: asked(platform.ARM64)}
	if err := s.Find(t.Context(), &seen); err != nil {
		t.Fatal(err)
	}
	var told []report.Event
	s.Event = func(e report.Event) { told = append(told, e) }
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Fetch(ended, &seen)
	if err == nil || len(told) < 2 || told[0].Kind != report.Started || told[len(told)-1].Action != report.Failed || told[len(told)-1].Err == nil || seen.Fetch.Missing == "" {
		t.Errorf("one that fails: %v, told %+v", err, told)
	}
}

func TestKeys_OfTheInventoryFirst(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	s := newSource(t)
	s.Cluster.Spec.Registries = []inventory.Registry{{Host: "harbor.example", Username: "robot"}}
	s.Password = func(context.Context, inventory.Registry) (string, error) { return "a password", nil }
	if k, err := s.keys(t.Context(), "harbor.example/team/app"); err != nil || len(k) != 1 || k[0].Username != "robot" || k[0].Password != "a password" {
		t.Errorf("%d keys, %v", len(k), err)
	}
	if k, err := s.keys(t.Context(), "other.example/team/app"); err != nil || len(k) != 0 {
		t.Errorf("another registry: %d keys, %v", len(k), err)
	}
	if _, err := s.keys(t.Context(), "Not A Name"); err == nil {
		t.Error("what is no name has keys")
	}
	s.Password = func(context.Context, inventory.Registry) (string, error) { return "", errors.New("the file is gone") }
	if _, err := s.keys(t.Context(), "harbor.example/team/app"); err == nil || err.Error() != "spec.registries: the password for harbor.example: the file is gone" {
		t.Errorf("error %v", err)
	}
}

func TestComponents_ThoseThatTheInventoryDoesNotName(t *testing.T) {
	s := newSource(t)
	if got := s.components(); len(got) > 0 {
		t.Errorf("without Ceph: %q", got)
	}
	s.Cluster.Spec.Storage.Ceph = []inventory.Ceph{{RBD: inventory.CephRBD{Pool: "kube"}}}
	s.Cluster.Spec.Storage.CSI.Images.Provisioner = "harbor.example/provisioner:1"
	got := s.components()
	if !slices.Contains(got, "ceph-csi") || slices.Contains(got, "csi-provisioner") {
		t.Errorf("%q", got)
	}
}

func TestArchsOfHosts_ByFact(t *testing.T) {
	if got := archsOfHosts(asked(platform.ARM64, platform.AMD64, platform.ARM64, "")); !slices.Equal(got, []platform.Arch{platform.AMD64, platform.ARM64}) {
		t.Errorf("%q", got)
	}
	if got := archsOfHosts(asked()); len(got) > 0 {
		t.Errorf("of one that was not reached: %q", got)
	}
}

// Of an archive whose every program is taken out, those are expected that a node cannot do without.
func TestExpected_AllPrograms(t *testing.T) {
	set := catalogue.Set{Kubernetes: "v1.2.3", Files: []catalogue.File{
		{Component: bundle.CNIPlugins, Name: "cni", Version: "v1", Arch: platform.ARM64, AllPrograms: true},
		{Component: bundle.Runc, Name: "runc", Version: "v2", Arch: platform.ARM64, Programs: []catalogue.Program{{Name: "runc"}}},
	}}
	var got []string
	for _, b := range expected(set).Binaries {
		got = append(got, b.Component+"/"+b.Name)
	}
	if !slices.Contains(got, bundle.CNIPlugins+"/portmap") || !slices.Contains(got, bundle.Runc+"/runc") || slices.Contains(got, bundle.Runc+"/portmap") || slices.Contains(got, bundle.CNIPlugins+"/kubelet") {
		t.Errorf("%q", got)
	}
}

func TestSaid(t *testing.T) {
	for want, e := range map[string]fetch.Event{"kubelet: is here": {Item: "kubelet", Message: "is here"}, "kubelet": {Item: "kubelet"}, "asking": {Message: "asking"}} {
		if got := said(e); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
