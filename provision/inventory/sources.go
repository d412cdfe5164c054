package inventory

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	sourcesPath = "spec.sources"
	sourcesCA   = "caFile" // in Sources, beside the prefixes
)

// prefixRule is the beginning of an image's name.
var prefixRule = newRule(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9][-a-z0-9._]*)*$`, 0)

// SourcePrefixes are spec.sources without the certificates.
func (c *Cluster) SourcePrefixes() map[string]string {
	out := maps.Clone(c.Spec.Sources)
	delete(out, sourcesCA)
	return out
}

// SourcesCA is the file with the certificates of the sources' authorities; "" = the system's are enough.
func (c *Cluster) SourcesCA() string { return c.Spec.Sources[sourcesCA] }

func (v *validator) sources() {
	for _, from := range slices.Sorted(maps.Keys(v.c.Spec.Sources)) {
		to, path := v.c.Spec.Sources[from], field(sourcesPath, from)
		switch {
		case from == sourcesCA:
			v.certificates(path, to)
		case holdsLogin(from) || holdsLogin(to):
			if holdsLogin(from) { // then it is not shown
				path = sourcesPath
			}
			v.fail(path, "credentials for registries stand in spec.registries, or in docker's configuration", "holds a login, which does not belong into an address")
		case strings.HasPrefix(from, "https://"):
			v.addressSource(path, from, to)
		case !prefixRule.ok(from):
			v.fail(path, "https://dl.k8s.io for files, registry.k8s.io for images", "%q is neither an address that begins with https:// nor the beginning of an image's name", from)
		case !registryMirrorRule.ok(to) || !portOf(to):
			v.fail(path, "harbor.example/k8s, or http://10.0.0.5:5000 where there is no TLS", "%q is not the address of a registry", to)
		}
	}
}

// addressSource checks an address of files and what takes its place.
func (v *validator) addressSource(path, from, to string) {
	for _, address := range []string{from, to} {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || !portOf(address) || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" {
			v.fail(path, "https://mirror.example/dl.k8s.io", "%q is not the address of a mirror", address)
			return
		}
	}
}

// portOf reports whether the port of an address or a registry, where it names one, is any.
func portOf(address string) bool {
	_, host, found := strings.Cut(address, "://")
	if !found {
		host = address
	}
	host, _, _ = strings.Cut(host, "/")
	port := (&url.URL{Host: host}).Port()
	n, err := strconv.Atoi(port)
	return port == "" || err == nil && validPort(n)
}

func holdsLogin(address string) bool { return strings.Contains(address, "@") }
