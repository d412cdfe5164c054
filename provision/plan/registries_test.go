package plan

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/golden"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

const sitePassword = "correct horse"

// withSite is an input whose cluster has a registry of the site, a mirror in it, and images from there.
func withSite(in Input) Input {
	c := *in.Cluster
	c.Spec.Registries = []inventory.Registry{
		{Host: "registry.example", Mirrors: []string{"harbor.example:8443/k8s"}, Only: true},
		{Host: "docker.io", Mirrors: []string{"harbor.example:8443", "http://10.0.0.5:5000"}, CAFile: "/hub.crt", Username: "hub", PasswordFile: "/hub"},
		{Host: "harbor.example:8443", CAFile: "/ca.crt", Username: "robot", PasswordFile: "/pw"},
		{Host: inventory.AnyRegistry, Mirrors: []string{"harbor.example:8443/all"}},
	}
	in.Cluster = &c
	in.Site = Site{CAs: map[string][]byte{"harbor.example:8443": []byte("CA\n"), "docker.io": []byte("HUB\n")},
		Passwords: map[string]inventory.Secret{"harbor.example:8443": sitePassword, "docker.io": "x"}}
	return in
}

func TestBuild_Registries(t *testing.T) {
	p := mustBuild(t, withSite(fresh()))
	golden.Check(t, "registries.txt", planText(p))
	step, _ := p.Step("arm-1/registries")
	var files strings.Builder
	for _, f := range step.Inputs.(FilesInputs).Texts {
		files.WriteString("==== " + f.Mode + " " + f.Path + "\n" + string(f.Body))
	}
	golden.Check(t, "registries-files.txt", []byte(files.String()))
}

// What is written of a plan anywhere is its JSON form.
func TestBuild_RegistriesKeepNoSecret(t *testing.T) {
	in := withSite(fresh())
	in.Cluster.Spec.Images = inventory.ImagesRegistry
	p := mustBuild(t, in)
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{sitePassword, "Basic ", "cm9ib3Q6"} {
		if strings.Contains(string(raw), secret) {
			t.Errorf("the plan holds %q", secret)
		}
	}
	images, _ := p.Step("x86-1/images")
	private := images.Inputs.(ImagesInputs).Hosts
	if len(private) != 4 || !strings.Contains(string(private[0].Body), "Basic cm9ib3Q6") || private[0].Mode != "0600" {
		t.Errorf("the pulls' hosts are %+v", private)
	}
}

func TestBuild_ChangesOfRegistries(t *testing.T) {
	done := func(change func(*Input)) Input { // every step is done, and then the inventory is changed
		in := withSite(finished(t))
		p := mustBuild(t, in)
		for i := range in.Hosts {
			for _, s := range p.Steps {
				if s.Host == in.Hosts[i].Name && s.Kind != Node {
					in.Hosts[i].Markers[string(s.Kind)] = facts.Marker{Marker: host.Marker{Step: string(s.Kind), State: host.MarkerDone, Digest: s.Digest}}
				}
			}
		}
		change(&in)
		return in
	}
	registry := func(in *Input, i int) *inventory.Registry {
		in.Cluster.Spec.Registries = slices.Clone(in.Cluster.Spec.Registries)
		return &in.Cluster.Spec.Registries[i]
	}
	for name, test := range map[string]struct {
		change func(*Input)
		want   string // "action kind" of the steps of x86-1 that change
	}{
		"nothing":        {func(*Input) {}, ""},
		"another mirror": {func(in *Input) { registry(in, 0).Mirrors = []string{"other.example"} }, "update registries"},
		"another password": {func(in *Input) {
			in.Site.Passwords = map[string]inventory.Secret{"harbor.example:8443": "new", "docker.io": "x"}
		}, "update registries"},
		"another certificate":    {func(in *Input) { in.Site.CAs = map[string][]byte{"harbor.example:8443": []byte("NEW\n")} }, "update registries"},
		"no credentials":         {func(in *Input) { in.Cluster.Spec.Registries = in.Cluster.Spec.Registries[:1] }, "update runtime, update registries"},
		"no registries":          {func(in *Input) { in.Cluster.Spec.Registries = nil }, "update runtime, update registries"},
		"images from a registry": {func(in *Input) { in.Cluster.Spec.Images = inventory.ImagesRegistry }, ""},
		"a program's password, not run": {func(in *Input) {
			r := registry(in, 2)
			r.PasswordFile, r.PasswordCommand = "", []string{"pass"}
			in.Site.Passwords = map[string]inventory.Secret{"docker.io": "x"}
		}, "unknown registries"},
	} {
		var got []string
		for _, s := range mustBuild(t, done(test.change)).Steps {
			if s.Host == "x86-1" && s.Action != Unchanged {
				got = append(got, string(s.Action)+" "+string(s.Kind))
			}
		}
		if s := strings.Join(got, ", "); s != test.want {
			t.Errorf("%s: got %q, want %q", name, s, test.want)
		}
	}
}

// A host that has nothing of registries is not asked to forget any.
func TestBuild_WithoutRegistriesThereIsNoStep(t *testing.T) {
	for _, s := range mustBuild(t, finished(t)).Steps {
		if s.Kind == Registries {
			t.Errorf("%s: %s", s.ID, s.Reason)
		}
	}
}

func TestBuild_ImagesFromARegistry(t *testing.T) {
	in := withSite(fresh())
	in.Cluster.Spec.Images = inventory.ImagesRegistry
	m := *in.Bundle
	m.Images = slices.Clone(m.Images)
	m.Images = append(m.Images, m.Images[0])
	last := &m.Images[len(m.Images)-1]
	last.Component, last.Ref = "probe", "hybridctl.dev/probe:1"
	in.Bundle = &m
	step, _ := mustBuild(t, in).Step("x86-1/images")
	if !slices.Contains(step.DependsOn, "x86-1/registries") {
		t.Errorf("it depends on %v", step.DependsOn)
	}
	for _, i := range step.Inputs.(ImagesInputs).Images {
		if ours := strings.Contains(i.Ref, "probe"); i.Pull == ours {
			t.Errorf("%s: pulled %v", i.Ref, i.Pull)
		}
	}
}

// Nodes at work restart containerd one after another, which a change of credentials does.
func TestBuild_RegistriesRollThroughTheNodes(t *testing.T) {
	in := finished(t)
	for i, name := range []string{"x86-2", "x86-3"} {
		h := in.Cluster.Spec.Hosts[0]
		h.Name = name
		in.Cluster.Spec.Hosts = append(in.Cluster.Spec.Hosts, h)
		f := in.Hosts[0]
		f.Name, f.MachineID = name, "m"+string(rune('3'+i))
		in.Hosts = append(in.Hosts, f)
		in.API.Nodes = append(in.API.Nodes, facts.Node{Name: name, MachineID: f.MachineID})
	}
	step, _ := mustBuild(t, withSite(in)).Step("x86-3/registries")
	if !slices.Contains(step.Behind, "x86-2/registries") {
		t.Errorf("x86-3 waits for %v", step.Behind)
	}
}

func TestRemoval_WithRegistries(t *testing.T) {
	in := withSite(fresh())
	for i := range in.Hosts {
		in.Hosts[i].Markers = map[string]facts.Marker{}
		for _, k := range []Kind{OS, Runtime, Registries} {
			in.Hosts[i].Markers[string(k)] = facts.Marker{Marker: host.Marker{State: host.MarkerDone}}
		}
	}
	p := Removal(in.Cluster, in.Hosts)
	s, ok := p.Step("x86-1/registries")
	if !ok || s.Action != Delete || !slices.Equal(s.DependsOn, []ID{"x86-1/runtime"}) {
		t.Errorf("got %+v", s)
	}
}

func TestCertsDirectory(t *testing.T) {
	for hostname, want := range map[string]string{"registry.k8s.io": "registry.k8s.io", "10.99.0.1:5000": "10.99.0.1_5000_", "*": "_default"} {
		if got := path.Join(certsDirectory(hostname)); got != want {
			t.Errorf("%s: %s, want %s", hostname, got, want)
		}
	}
}
