package survey

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry/registrytest"
)

// siteCluster is an x86 control plane and an Arm worker that pull from the registries given.
func siteCluster(registries ...inventory.Registry) *inventory.Cluster {
	c := &inventory.Cluster{Path: "/lab.yaml"}
	c.Spec.Images, c.Spec.Registries = inventory.ImagesRegistry, registries
	c.Spec.Hosts = []inventory.Host{{Name: "x86-1", Role: inventory.ControlPlane}, {Name: "arm-1", Role: inventory.Worker}}
	return c
}

func siteSeen(c *inventory.Cluster, manifests map[platform.Arch]string) Seen {
	return Seen{Cluster: c, Bundle: &bundle.Manifest{Images: []bundle.Image{
		{Component: bundle.Pause, Ref: "registry.example/pause:3", Archs: platform.All(), Manifests: manifests},
		{Component: bundle.Probe, Ref: "hybridctl.dev/probe:1", Archs: platform.All(), Manifests: manifests},
	}}, Hosts: Hosts{"x86-1": {Name: "x86-1", Arch: platform.AMD64}, "arm-1": {Name: "arm-1", Arch: platform.ARM64}}}
}

func TestSite(t *testing.T) {
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("first line\nsecond\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SITE_EMPTY", "")
	t.Setenv("SITE_BAD", "a\x01b")
	t.Setenv("SITE_GOOD", "good")
	c := siteCluster(
		inventory.Registry{Host: "file", Username: "u", PasswordFile: password, CAFile: password},
		inventory.Registry{Host: "env", Username: "u", PasswordEnv: "SITE_GOOD"},
		inventory.Registry{Host: "unset", Username: "u", PasswordEnv: "SITE_UNSET"},
		inventory.Registry{Host: "empty", Username: "u", PasswordEnv: "SITE_EMPTY"},
		inventory.Registry{Host: "bad", Username: "u", PasswordEnv: "SITE_BAD"},
		inventory.Registry{Host: "gone", Mirrors: []string{"m"}, CAFile: filepath.Join(dir, "none")},
		inventory.Registry{Host: "program", Username: "u", PasswordCommand: []string{"printf", "from a program\n"}},
		inventory.Registry{Host: "silent", Username: "u", PasswordCommand: []string{"true"}},
		inventory.Registry{Host: "failing", Username: "u", PasswordCommand: []string{"false"}},
		inventory.Registry{Host: "none", Username: "u", PasswordCommand: []string{"no-such-program"}},
	)
	for _, runs := range []bool{true, false} {
		s := Seen{Cluster: c}
		Reader{Cluster: c, NoPrograms: !runs}.Site(t.Context(), &s)
		want := map[string]string{"file": "first line", "env": "good"}
		if runs {
			want["program"] = "from a program"
		}
		for host, p := range want {
			if got, err := s.Site.Passwords[host], s.Registries.Logins[host]; string(got) != p || err != nil {
				t.Errorf("%s: %q, %v", host, string(got), err)
			}
		}
		if len(s.Site.Passwords) != len(want) || string(s.Site.CAs["file"]) != "first line\nsecond\n" {
			t.Errorf("passwords of %d registries, want %d", len(s.Site.Passwords), len(want))
		}
		says := map[string]string{"unset": "is not set", "empty": "is empty", "bad": "control character"}
		if runs {
			says["silent"], says["failing"] = "passwordCommand true prints nothing", "passwordCommand false: exit status 1"
			says["none"] = "passwordCommand no-such-program: no such program in PATH"
		}
		for host, words := range says {
			if err := s.Registries.Logins[host]; err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "\x01") {
				t.Errorf("%s: %v", host, err)
			}
		}
		if err := s.Registries.Files["gone"]; !errors.Is(err, os.ErrNotExist) {
			t.Errorf("gone: %v", err)
		}
		if _, looked := s.Registries.Logins["program"]; looked != runs {
			t.Errorf("the program was run: %v, want %v", looked, runs)
		}
	}
}

func TestPulls(t *testing.T) {
	s := registrytest.New(t)
	x86 := s.Raw("k8s/pause", "", "application/vnd.oci.image.manifest.v1+json", []byte(`{"schemaVersion":2}`))
	both := map[platform.Arch]string{platform.AMD64: x86, platform.ARM64: "sha256:" + strings.Repeat("a", 64)}
	mirror := "http://" + s.Host() + "/k8s"
	for name, test := range map[string]struct {
		mirrors []string
		with    func(*Seen)
		want    string // "arch: what it lacks"
	}{
		"one architecture is not there": {[]string{mirror}, func(*Seen) {}, "amd64: ; arm64: " + s.Host() + "/k8s/pause:3 is not there"},
		"the second mirror has it":      {[]string{"http://" + s.Host() + "/none", mirror}, func(seen *Seen) { delete(seen.Hosts, "arm-1") }, "amd64: "},
		"what hosts have is not asked": {[]string{mirror}, func(seen *Seen) {
			seen.Hosts["arm-1"] = facts.Host{Arch: platform.ARM64, Images: []string{"registry.example/pause:3"}}
		}, "amd64: "},
		"a host was not reached": {[]string{mirror}, func(seen *Seen) { seen.Hosts["arm-1"] = facts.Host{Err: errors.New("down")} }, "amd64: "},
	} {
		c := siteCluster(inventory.Registry{Host: "registry.example", Mirrors: test.mirrors, Only: true})
		seen := siteSeen(c, both)
		test.with(&seen)
		Reader{Cluster: c, Patience: 10 * time.Second}.Pulls(t.Context(), &seen, c.Spec.Hosts)
		var got []string
		for _, p := range seen.Registries.Pulls {
			got = append(got, p.Arch.String()+": "+strings.Join(p.Lacks, " + "))
		}
		if text := strings.Join(got, "; "); text != test.want {
			t.Errorf("%s:\n got %s\nwant %s", name, text, test.want)
		}
	}
	c := siteCluster()
	c.Spec.Images = inventory.ImagesSent
	seen := siteSeen(c, both)
	s.Forget()
	Reader{Cluster: c, Patience: time.Second}.Pulls(t.Context(), &seen, c.Spec.Hosts)
	if asked := s.Asked(); len(asked) > 0 || seen.Registries.Pulls != nil {
		t.Errorf("images are sent, and registries were asked: %q", asked)
	}
}
