package fetch

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// A prefix that fits nothing is told, with the hosts that there are, and with what may be meant.
func TestSources_Idle(t *testing.T) {
	places := []string{"https://dl.k8s.io/release/v1.36.4/bin/linux/amd64/kubelet", "https://github.com/x/runc.amd64", "registry.k8s.io/coredns/coredns", "ghcr.io/x/flannel"}
	for from, want := range map[string]string{
		"https://dl.k8s.io": "", "https://dl.k8s.io/release/": "", "registry.k8s.io": "", "registry.k8s.io/coredns": "",
		"https://dl.k8s.org":       "https://dl.k8s.org fits no file that there is, and changes nothing: files come from dl.k8s.io, github.com",
		"https://dl.k8s.io/releas": "https://dl.k8s.io/releas fits no file that there is, and changes nothing: files come from dl.k8s.io, github.com",
		"k8s.gcr.io":               "k8s.gcr.io fits no image that there is, and changes nothing: images come from ghcr.io, registry.k8s.io",
		"dl.k8s.io":                "dl.k8s.io fits no image that there is, and changes nothing: images come from ghcr.io, registry.k8s.io (is https://dl.k8s.io meant?)",
		"https://registry.k8s.io":  "https://registry.k8s.io fits no file that there is, and changes nothing: files come from dl.k8s.io, github.com (is registry.k8s.io meant?)",
	} {
		if got := strings.Join((Sources{from: "https://m.test/x"}).Idle(places), "; "); got != want {
			t.Errorf("%s:\n%s\n%s", from, got, want)
		}
	}
	if got := (Sources{"a.test": "b.test"}).Idle(nil); len(got) != 1 || !strings.HasSuffix(got[0], "images come from nowhere") {
		t.Errorf("%q", got)
	}
}

func TestSources(t *testing.T) {
	s := Sources{"https://dl.k8s.io": "https://m.test/dl.k8s.io/", "https://dl.k8s.io/release/v1": "http://other.test/x", "registry.k8s.io": "harbor.test/k8s", "registry.k8s.io/coredns": "http://c.test:5000"}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"https://dl.k8s.io/release/v2/kubelet": "https://m.test/dl.k8s.io/release/v2/kubelet",
		"https://dl.k8s.io/release/v1/kubelet": "http://other.test/x/kubelet",
		"https://dl.k8s.io.evil/kubelet":       "https://dl.k8s.io.evil/kubelet",
		"https://github.com/x":                 "https://github.com/x",
		"registry.k8s.io/pause":                "harbor.test/k8s/pause",
		"registry.k8s.io/coredns/coredns":      "http://c.test:5000/coredns",
	} {
		if got := s.of(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if got := fmt.Sprint(s.image("registry.k8s.io/coredns/coredns"), s.plainHosts()); got != "[{c.test:5000/coredns true}] [c.test:5000]" {
		t.Error(got)
	}
	for from, c := range map[string]struct{ to, want string }{
		"https://a.test":           {"https://me:secret@m.test", "holds a name or a password"},
		"https://me:secret@a.test": {"https://m.test", "holds a name or a password"},
		"https://b.test":           {"ftp://m.test", "does not begin with https:// or http://"},
		"https://c.test":           {"https://m.test/?token=secret", "holds a query"},
		"http://d.test":            {"https://m.test", "is neither an address"},
		"registry.test":            {"harbor.test/K8S", "is not the beginning of an image's name"},
		"other.test":               {"http://me:secret@harbor.test/k8s", "holds a name or a password"},
		"third.test":               {"me:secret@harbor.test/k8s", "is not the beginning of an image's name"},
		"fourth.test":              {"me:a@secret@harbor.test/k8s", "is not the beginning of an image's name"},
		"fifth.test":               {"harbor/k8s", "names the registry harbor without a dot or a port, which would be a folder of Docker Hub (write harbor:443/k8s)"},
		"sixth.test":               {"https://harbor/k8s", "names the registry harbor without a dot or a port, which would be a folder of Docker Hub (write https://harbor:443/k8s)"},
		"https://e.test":           {"https://m.test:99999/x", "https://m.test:99999/x has a port that is none: they go from 1 to 65535"},
		"eighth.test":              {"harbor.test:0/k8s", "harbor.test:0/k8s has a port that is none"},
		"ninth.test":               {"http://harbor.test:65536", "has a port that is none"},
		"seventh.test":             {"http://harbor", "names the registry harbor without a dot or a port, which would be a folder of Docker Hub (write http://harbor:80)"},
	} {
		err := Sources{from: c.to}.Check()
		if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", from, err)
		}
	}
}
