package provision

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/registry/registrytest"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
	"github.com/hybridctl/hybridctl/provision/report"
)

// changedSteps are the steps that a run changed.
func changedSteps(r Result) []string {
	var out []string
	for _, c := range r.Changes {
		if c.Action != report.Unchanged {
			out = append(out, c.Step)
		}
	}
	slices.Sort(out)
	return out
}

func TestUp_Registries(t *testing.T) {
	const first, second = "a password", "another password"
	t.Setenv("SITE_PASSWORD", first)
	s := newSim(t, 2, remotetest.Options{})
	s.c.Spec.Registries = []inventory.Registry{{Host: "harbor.example", Mirrors: []string{"mirror.example"}, Username: "robot", PasswordEnv: "SITE_PASSWORD"}}
	mustUp(t, s)
	for name, h := range s.hosts {
		if h.markers["registries"] == "" {
			t.Errorf("%s was told of no registry", name)
		}
	}
	if got := changedSteps(mustUp(t, s)); len(got) > 0 {
		t.Errorf("again: %q", got)
	}

	t.Setenv("SITE_PASSWORD", second)
	if got, want := changedSteps(mustUp(t, s)), []string{"host-1/registries", "host-2/registries"}; !slices.Equal(got, want) {
		t.Errorf("another password: %q, want %q", got, want)
	}
	t.Setenv("SITE_PASSWORD", "")
	r, err := s.up()
	if !errors.Is(err, ErrPreflight) || len(failed(r.Checks)) != 1 || failed(r.Checks)[0].Name != "registry-logins" {
		t.Errorf("an empty password: %v, %+v", err, failed(r.Checks))
	}
	t.Setenv("SITE_PASSWORD", second)

	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	left := string(raw)
	if err := filepath.WalkDir(s.state, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		left += string(b)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, h := range s.hosts {
		left += strings.Join(h.asked, "\n")
	}
	for _, secret := range []string{first, second} {
		if strings.Contains(left, secret) {
			t.Errorf("%q is in the state, a result or a command", secret)
		}
	}

	s.c.Spec.Registries = nil
	want := []string{"host-1/images", "host-1/registries", "host-1/runtime", "host-2/images", "host-2/registries", "host-2/runtime"} // images: they are looked at
	if got := changedSteps(mustUp(t, s)); !slices.Equal(got, want) {
		t.Errorf("taken out of the inventory: %q, want %q", got, want)
	}
	for name, h := range s.hosts {
		if h.markers["registries"] != "" {
			t.Errorf("%s keeps the marker", name)
		}
	}
	if got := changedSteps(mustUp(t, s)); len(got) > 0 {
		t.Errorf("then: %q", got)
	}
}

// A registry that lacks an image is found out before a host is written to, and one that has them all gives them.
func TestUp_ImagesFromARegistry(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	site := registrytest.New(t)
	s.c.Spec.Images = inventory.ImagesRegistry
	s.c.Spec.Registries = []inventory.Registry{{Host: inventory.AnyRegistry, Mirrors: []string{"http://" + site.Host() + "/site"}, Only: true}}
	r, err := s.up()
	f := failed(r.Checks)
	if !errors.Is(err, ErrPreflight) || len(f) != 1 || f[0].Name != "registry-images" || !strings.Contains(f[0].Message, site.Host()+"/site/") {
		t.Fatalf("%v, %+v", err, f)
	}
	if s.changed() != 0 {
		t.Error("a host was written to")
	}
	if p, checks, err := Plan(context.Background(), s.options()); !errors.Is(err, ErrPreflight) || len(failed(checks)) != 1 || len(p.Steps) > 0 {
		t.Errorf("plan: %v", err)
	}

	b := s.bundle.Manifest
	for _, i := range b.Images { // all that the registry is asked for are manifests
		_, path, _ := strings.Cut(i.Ref, "/")
		repository, tag, _ := strings.Cut(path, ":")
		for _, arch := range i.Archs {
			img, err := os.ReadFile(filepath.Join(s.bundle.Dir, "oci", "blobs", strings.Replace(i.Manifests[arch], ":", "/", 1)))
			if err != nil {
				t.Fatal(err)
			}
			site.Raw("site/"+repository, tag, "application/vnd.oci.image.manifest.v1+json", img)
		}
	}
	mustUp(t, s)
	for name, h := range s.hosts {
		pulls, imports := 0, 0
		for _, w := range h.writes {
			switch {
			case strings.HasPrefix(w, "pull "):
				pulls++
			case strings.HasPrefix(w, "import"):
				imports++
			}
		}
		if pulls < 5 || imports > 1 { // the probe's image is sent
			t.Errorf("%s: %d images pulled, %d imports", name, pulls, imports)
		}
	}
	p, _, err := Plan(context.Background(), s.options())
	if err != nil || p.Changes() > 0 {
		t.Errorf("then: %d changes, %v", p.Changes(), err)
	}
	if _, ok := p.Step(plan.HostID("host-2", plan.Registries)); !ok {
		t.Error("the hosts are told of no registry")
	}
}
