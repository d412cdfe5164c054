package inventory

import (
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// How images come to the hosts.
const (
	ImagesSent     = "sent"     // hybridctl brings them, out of the bundle
	ImagesRegistry = "registry" // the hosts pull them
)

// AnyRegistry stands for every registry that has no entry of its own.
const AnyRegistry = "*"

// Registry says how the hosts reach one container registry.
type Registry struct {
	Host    string   `yaml:"host" json:"host"`                           // as images name it: registry.k8s.io, docker.io, harbor.example:8443; "*" stands for all that have no entry of their own
	Mirrors []string `yaml:"mirrors,omitempty" json:"mirrors,omitempty"` // asked before it, in this order: harbor.example/k8s; with http:// before it where there is no TLS
	Only    bool     `yaml:"only,omitempty" json:"only,omitempty"`       // nothing but the mirrors is asked: there is no way round them
	CAFile  string   `yaml:"caFile,omitempty" json:"caFile,omitempty"`   // certificates of the authorities of this registry and its mirrors (PEM), besides those that the hosts trust; relative to this document's folder

	Username        string   `yaml:"username,omitempty" json:"username,omitempty"`               // of the registry at host; those of a mirror stand at the mirror's own entry
	PasswordFile    string   `yaml:"passwordFile,omitempty" json:"passwordFile,omitempty"`       // first line is the password; relative to this document's folder
	PasswordEnv     string   `yaml:"passwordEnv,omitempty" json:"passwordEnv,omitempty"`         // name of an environment variable that holds the password
	PasswordCommand []string `yaml:"passwordCommand,omitempty" json:"passwordCommand,omitempty"` // program and arguments, run here without a shell, that print the password
}

const registriesPath = "spec.registries"

// The rules of registries. A name with upper case is refused, as image names are.
var (
	registryRule       = newRule(`^(\*|[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?)$`, 260)
	registryMirrorRule = newRule(`^(https?://)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]([-a-z0-9._]*[a-z0-9])?)*$`, 0)
)

// Private reports whether the registry wants a login that the hosts are given.
func (r Registry) Private() bool { return r.Username != "" }

// Place is where an image can be pulled from.
type Place struct {
	Plain bool   // by HTTP
	Host  string // with its port; Docker Hub's is docker.io
	Path  string // before the image's own path; "" or with a slash before it and none after it
	Image string // the image's own name there

	Entry int // in spec.registries, with the certificates that are good there; -1 = none
	Login int // in spec.registries, with the credentials for Host; -1 = none
}

// PlacesOf lists where the hosts look for an image, in their order: the mirrors of its registry, and the registry itself unless there is no way
// round the mirrors.
func (c *Cluster) PlacesOf(image string) []Place {
	registry, rest := splitImage(image)
	entry := c.entryOf(registry)
	var out []Place
	only := false
	if entry >= 0 {
		only = c.Spec.Registries[entry].Only
		for _, mirror := range c.Spec.Registries[entry].Mirrors {
			p := c.Mirror(mirror)
			p.Entry, p.Image = entry, p.Host+p.Path+"/"+rest
			out = append(out, p)
		}
	}
	if !only {
		out = append(out, Place{Host: registry, Image: registry + "/" + rest, Entry: entry, Login: c.loginFor(registry)})
	}
	return out
}

// Mirror reads one of Registry's mirrors.
func (c *Cluster) Mirror(text string) Place {
	p := Place{Entry: -1}
	text, p.Plain = strings.CutPrefix(text, "http://")
	text = strings.TrimPrefix(text, "https://")
	host, path, found := strings.Cut(text, "/")
	if p.Host = host; found {
		p.Path = "/" + path
	}
	p.Login = c.loginFor(host)
	return p
}

// NamedRegistries are the registries that the document names: in spec.registries, with the mirrors, and in images.
func NamedRegistries(c *Cluster) []string {
	var out []string
	for _, r := range c.Spec.Registries {
		if r.Host != AnyRegistry {
			out = append(out, r.Host)
		}
		for _, mirror := range r.Mirrors {
			out = append(out, c.Mirror(mirror).Host)
		}
	}
	images := []string{c.Spec.Conformance.Registry.Image}
	for _, i := range c.Spec.Storage.WantedImages() {
		images = append(images, i.Ref)
	}
	for _, i := range images {
		if i != "" {
			host, _ := splitImage(i)
			out = append(out, host)
		}
	}
	return out
}

// CAsFor are the entries of spec.registries whose certificates are good at a place: the registry's, whose mirror it may be, and its own.
func (c *Cluster) CAsFor(p Place) []int {
	var out []int
	for i, r := range c.Spec.Registries {
		if r.CAFile != "" && (i == p.Entry || r.Host == p.Host) {
			out = append(out, i)
		}
	}
	return out
}

// entryOf is the entry that decides about a registry; -1 = none.
func (c *Cluster) entryOf(registry string) int {
	if i := slices.IndexFunc(c.Spec.Registries, func(r Registry) bool { return r.Host == registry }); i >= 0 {
		return i
	}
	return slices.IndexFunc(c.Spec.Registries, func(r Registry) bool { return r.Host == AnyRegistry })
}

// loginFor is the entry with the credentials for a registry; -1 = none.
func (c *Cluster) loginFor(registry string) int {
	return slices.IndexFunc(c.Spec.Registries, func(r Registry) bool { return r.Host == registry && r.Private() })
}

// credentialsOf reports whether spec.registries has credentials for the registry that an image names, and at which entry.
func (c *Cluster) credentialsOf(image string) (known bool, entry int) {
	if image == "" {
		return false, -1
	}
	registry, _ := splitImage(image)
	i := c.loginFor(registry)
	return i >= 0, i
}

// LoginOf returns the entry of spec.registries with the credentials for the registry that an image names; false when there is none.
func (c *Cluster) LoginOf(image string) (Registry, bool) {
	known, i := c.credentialsOf(image)
	if !known {
		return Registry{}, false
	}
	return c.Spec.Registries[i], true
}

// dockerHub is what container runtimes call the registry of images that name none.
const dockerHub = "docker.io"

// splitImage parts an image's name as container runtimes do: the registry, and the rest.
func splitImage(image string) (registry, rest string) {
	rest = withoutRegistry(image)
	if rest != image {
		return strings.TrimSuffix(image, "/"+rest), rest
	}
	if !strings.Contains(rest, "/") {
		rest = "library/" + rest
	}
	return dockerHub, rest
}

func (v *validator) registries() {
	v.oneOf("spec.images", v.c.Spec.Images, "", ImagesSent, ImagesRegistry)
	hosts := seen{}
	for i, r := range v.c.Spec.Registries {
		path := item(registriesPath, i)
		v.registryHost(field(path, "host"), r.Host)
		v.once(hosts, field(path, "host"), r.Host, r.Host)
		v.mirrors(field(path, "mirrors"), r.Mirrors)
		if r.CAFile != "" {
			v.certificates(field(path, "caFile"), r.CAFile)
		}
		v.registryLogin(path, r)
		switch {
		case r.Only && len(r.Mirrors) == 0:
			v.fail(field(path, "only"), "mirrors: [harbor.example/k8s]", "leaves no way to %s: there is no mirror", printable(r.Host))
		case r.Host == AnyRegistry && len(r.Mirrors) == 0:
			v.fail(path, "mirrors: [harbor.example/all]", `has no mirror, and "*" is for registries that are reached through one`)
		case len(r.Mirrors) == 0 && r.CAFile == "" && !r.Private() && !v.spoken(path):
			v.fail(path, "mirrors, caFile, or username with a password", "says nothing about %s", printable(r.Host))
		}
	}
}

// spoken reports whether the entry has a field of a login, or one that is wrong: enough was said of it.
func (v *validator) spoken(path string) bool {
	for bad := range v.bad {
		if strings.HasPrefix(bad, path+".") {
			return true
		}
	}
	return slices.ContainsFunc([]string{"username", "passwordFile", "passwordEnv", "passwordCommand"}, func(name string) bool {
		return v.c.given(field(path, name))
	})
}

func (v *validator) registryHost(path, host string) {
	if host == "" || registryRule.ok(host) && validRegistryPort(host) {
		return
	}
	bare := strings.TrimPrefix(strings.TrimPrefix(host, "https://"), "http://")
	hint := "a registry's name and port, as images have it: harbor.example or harbor.example:8443"
	if name, _, found := strings.Cut(bare, "/"); found && registryRule.ok(name) {
		hint = "write " + name + "; a path belongs to mirrors"
	} else if bare != host && registryRule.ok(bare) {
		hint = "write " + bare
	}
	if strings.Contains(host, "@") { // a login may stand before it
		v.fail(path, "write it as username and passwordFile", "holds a login, which does not belong into an address")
		return
	}
	v.fail(path, hint, "%q is not the name of a registry", host)
}

// validRegistryPort reports whether the port, if there is one, is a port.
func validRegistryPort(host string) bool {
	if !strings.Contains(host, ":") {
		return true
	}
	_, text, err := net.SplitHostPort(host)
	port, err2 := strconv.Atoi(text)
	return err == nil && err2 == nil && validPort(port)
}

func (v *validator) mirrors(path string, mirrors []string) {
	v.distinct(path, mirrors)
	for i, m := range mirrors {
		p := item(path, i)
		bare := strings.TrimPrefix(strings.TrimPrefix(m, "https://"), "http://")
		host, _, _ := strings.Cut(bare, "/")
		switch {
		case m == "":
		case strings.Contains(m, "@"): // what stands before it may be a password
			v.fail(p, "give the mirror an entry of its own, with username and passwordFile", "holds a login, which does not belong into an address")
		case strings.HasSuffix(m, "/") && registryMirrorRule.ok(strings.TrimRight(m, "/")):
			v.fail(p, "write "+strings.TrimRight(m, "/"), "%q ends with a slash", m)
		case !registryMirrorRule.ok(m) || !validRegistryPort(host):
			v.fail(p, "harbor.example, harbor.example:8443/k8s, or http://10.0.0.5:5000", "%q is not the address of a registry", m)
		}
	}
}

// registryLogin checks that there is a name with one way to its password, or neither.
func (v *validator) registryLogin(path string, r Registry) {
	if p := field(path, "passwordEnv"); r.PasswordEnv != "" && !envRule.ok(r.PasswordEnv) {
		// What stands here may be the password itself, so it is not repeated.
		v.fail(p, "its name without the $; the password does not belong in this file", "is not the name of an environment variable")
	}
	if p := field(path, "passwordCommand"); v.c.given(p) && (len(r.PasswordCommand) == 0 || slices.Contains(r.PasswordCommand, "")) {
		v.fail(p, "for instance [pass, show, registry]", "is not a program with its arguments")
	}
	given := 0
	for _, name := range []string{"passwordFile", "passwordEnv", "passwordCommand"} {
		if v.c.given(field(path, name)) {
			given++
		}
	}
	switch {
	case r.Username != "" && given != 1:
		v.fail(path, "the password does not belong in this file", "needs exactly one of passwordFile, passwordEnv and passwordCommand")
	case r.Username == "" && given > 0 && !v.failed(field(path, "username")):
		v.fail(path, "username: …", "has a password and no username")
	case r.Username != "" && strings.Contains(r.Username, ":"):
		v.fail(field(path, "username"), "", "has a colon, which parts name and password for registries")
	case r.Host == AnyRegistry && r.Username != "":
		v.fail(field(path, "username"), "give each registry with a login an entry of its own", "would be shown to every registry")
	}
}

// certificates checks that a file holds certificates, and nothing that cannot be read as one.
func (v *validator) certificates(path, name string) {
	v.exists(path, name, false)
	if v.failed(path) {
		return
	}
	data, err := os.ReadFile(name)
	if err != nil {
		v.fail(path, "", "%s cannot be read", printable(name))
		return
	}
	found := 0
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			v.fail(path, "certificates alone: this file goes to every host", "%s holds a %s", printable(name), printable(strings.ToLower(block.Type)))
			return
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			v.fail(path, "", "%s: certificate %d: %v", printable(name), found+1, err)
			return
		}
		found++
	}
	if found == 0 {
		v.fail(path, "-----BEGIN CERTIFICATE----- …", "%s holds no certificate in PEM", printable(name))
	}
}
