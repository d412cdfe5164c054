package preflight

import (
	"errors"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

// withSite gives the fixture a registry of the site with a login, from which the hosts pull.
func (f *fixture) withSite() *fixture {
	f.cluster.Spec.Images = inventory.ImagesRegistry
	f.cluster.Spec.Sources = map[string]string{"https://dl.k8s.io": "https://mirror.example/dl.k8s.io"}
	f.cluster.Spec.Registries = []inventory.Registry{{Host: "harbor.example", Username: "u", PasswordFile: "/p"}}
	f.registries = RegistriesSeen{Files: map[string]error{}, Logins: map[string]error{"harbor.example": nil}, Asked: true,
		Pulls: []Pull{{Image: "registry.k8s.io/pause:3", Arch: platform.ARM64}}}
	return f
}

// absentImage is an image that no place has for Arm.
var absentImage = Pull{Image: "registry.k8s.io/etcd:3", Component: "etcd", Arch: platform.ARM64, Lacks: []string{"harbor.example/k8s/etcd:3 is not there: it is for linux/amd64"}}

func pulled(pulls ...Pull) func(*fixture) {
	return func(f *fixture) { f.registries.Pulls = append(f.registries.Pulls, pulls...) }
}

var registryCases = []one{
	{name: "no password", change: func(f *fixture) { f.registries.Logins["harbor.example"] = errors.New("it is empty") }, check: "registry-logins", status: report.Fail,
		message: "the password for harbor.example: it is empty", hint: "spec.registries"},
	{name: "no certificate", change: func(f *fixture) { f.registries.Files["harbor.example"] = errors.New("no such file") }, check: "registry-logins", status: report.Fail,
		message: "the caFile for harbor.example: no such file", hint: "spec.registries"},
	{name: "program not run", change: func(f *fixture) { delete(f.registries.Logins, "harbor.example") }, check: "registry-logins", status: report.Unknown, message: "from a program"},
	{name: "read", change: func(*fixture) {}, check: "registry-logins", status: report.Pass, message: "1 registries with a login"},
	{name: "program not run, and no certificate of another", change: func(f *fixture) {
		delete(f.registries.Logins, "harbor.example")
		f.cluster.Spec.Registries = append(f.cluster.Spec.Registries, inventory.Registry{Host: "other.example", CAFile: "/c"})
		f.registries.Files["other.example"] = errors.New("no such file")
	}, check: "registry-logins", status: report.Fail, message: "the caFile for other.example: no such file"},
	{name: "certificate not read", change: func(f *fixture) { f.cluster.Spec.Registries[0].CAFile = "/c" }, check: "registry-logins", status: report.Unknown, message: "the caFile for harbor.example was not read"},
	{name: "there", change: func(*fixture) {}, check: "registry-images", status: report.Pass, message: "1 images are there"},
	{name: "on every host", change: func(f *fixture) { f.registries.Pulls = nil }, check: "registry-images", status: report.Pass, message: "have every image"},
	{name: "not asked, as the bundle is to be fetched", change: func(f *fixture) {
		f.registries.Asked, f.registries.Pulls, f.fetch = false, nil, Fetch{Set: true, Missing: "26 files"}
	}, check: "registry-images", status: report.Unknown, message: "not asked: which manifests hosts pull"},
	{name: "not asked, as the run ended", change: func(f *fixture) { f.registries.Asked, f.registries.Pulls = false, nil }, check: "registry-images",
		status: report.Unknown, message: "not asked: the run ended"},
	{name: "sent", change: func(f *fixture) { f.cluster.Spec.Images = inventory.ImagesSent }, check: "registry-images", status: report.Pass, message: "hybridctl sends the images"},
	{name: "one is wrong", change: pulled(absentImage), check: "registry-images", status: report.Fail,
		message: "hosts would not get etcd (registry.k8s.io/etcd:3) for arm64: harbor.example/k8s/etcd:3 is not there: it is for linux/amd64", hint: "hybridctl bundle push"},
	{name: "many are wrong", change: pulled(absentImage, absentImage, absentImage, absentImage, absentImage), check: "registry-images", status: report.Fail, message: "; and 2 more", hint: "spec.preflight.ignore"},
	{name: "a source for nothing", change: func(f *fixture) { f.fetch.Idle = []string{"a.example fits no image that there is"} }, check: "sources", status: report.Warn,
		message: "a.example fits no image that there is", hint: "correct spec.sources: hybridctl bundle catalogue --kubernetes v1.36.3 shows every address"},
	{name: "ignored", change: and(pulled(absentImage), func(f *fixture) { f.cluster.Spec.Preflight.Ignore = []string{"registry-images"} }), check: "registry-images",
		status: report.Ignored, message: "etcd"},
}

func TestRun_Registries(t *testing.T) {
	for _, c := range registryCases {
		t.Run(c.check+"/"+c.name, func(t *testing.T) {
			f := fit().withSite()
			c.change(f)
			c.wantIn(t, f)
		})
	}
	for _, c := range fit().run() {
		if strings.HasPrefix(c.Name, "registry-") {
			t.Errorf("without registries: %+v", c)
		}
	}
}

// An entry of spec.sources that changes nothing is told; who names a bundle, or no sources, hears nothing of them.
func TestRun_SourcesThatChangeNothing(t *testing.T) {
	const idle = "https://dl.k8s.org fits no file that there is"
	for name, test := range map[string]struct {
		bundle  string
		sources map[string]string
		idle    []string
		want    report.Status // "" = nothing is said
	}{
		"all fit":          {"", map[string]string{"https://dl.k8s.io": "https://m.example"}, nil, report.Pass},
		"one does not":     {"", map[string]string{"https://dl.k8s.org": "https://m.example"}, []string{idle}, report.Warn},
		"a bundle":         {"b.tar", map[string]string{"https://dl.k8s.org": "https://m.example"}, []string{idle}, ""},
		"certificate only": {"", map[string]string{"caFile": "ca.pem"}, nil, ""},
	} {
		f := fit()
		f.cluster.Spec.Bundle, f.cluster.Spec.Sources, f.fetch = test.bundle, test.sources, Fetch{Set: true, Idle: test.idle}
		var got report.Status
		for _, c := range f.run() {
			if c.Name == "sources" {
				got = c.Status
				if c.Status == report.Warn && (c.Message != idle || !strings.Contains(c.Hint, "hybridctl bundle catalogue --kubernetes v1.36.3")) {
					t.Errorf("%s: %+v", name, c)
				}
			}
		}
		if got != test.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// Without a bundle the catalogue's set takes its place.
func TestRun_ArtefactsOfTheCatalogue(t *testing.T) {
	unknown := hint.With(errors.New(`the catalogue has no Kubernetes "v1.99.0"`), "name one that it has")
	for name, test := range map[string]struct {
		fetch  Fetch
		status report.Status
		says   string
	}{
		"to be fetched": {Fetch{Set: true, Missing: "26 files and 9 images from dl.k8s.io"}, report.Pass, "26 files and 9 images from dl.k8s.io would be fetched"},
		"in the cache":  {Fetch{Set: true}, report.Pass, "in the cache"},
		"no probe":      {Fetch{Set: true, Missing: "26 files", Own: hint.With(errors.New("hybridctl's own program probe is not there"), "name one that it has")}, report.Fail, "hybridctl's own program probe is not there"},
		"no set":        {Fetch{Err: unknown}, report.Fail, `the inventory names no bundle, and the catalogue has no Kubernetes "v1.99.0"`},
	} {
		f := fit()
		f.fetch = test.fetch
		if test.fetch.Err != nil {
			f.bundle = nil
		}
		for _, c := range f.run() {
			switch {
			case c.Name == "bundle-version" && (c.Status != test.status || !strings.Contains(c.Message, test.says) || c.Status == report.Fail && c.Hint != "name one that it has"):
				t.Errorf("%s: %+v", name, c)
			case c.Name == "bundle-arch" && c.Status == report.Fail:
				t.Errorf("%s: %+v", name, c)
			}
		}
	}
}
