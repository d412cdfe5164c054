package plan

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/render"
)

// Site is what was read for spec.registries, by the host of the entry.
type Site struct {
	CAs       map[string][]byte           // of caFile
	Passwords map[string]inventory.Secret // those of programs are missing where no one has said yes to the plan
}

// Where containerd and the kubelet look for what they are told of registries.
const (
	certsDir      = "/etc/containerd/certs.d"
	loginsFile    = "/etc/containerd/conf.d/hybridctl-registries.toml"
	loginsImport  = "/etc/containerd/conf.d/hybridctl-*.toml" // no match is no error for containerd
	kubeletLogins = "/var/lib/kubelet/config.json"

	containerdUnit = "containerd.service"
	anyDirectory   = "_default" // what containerd takes where a registry has no directory of its own
)

// registriesStep plans what the host's containerd and kubelet are told of registries; false when there is nothing to tell or to take back.
func (b *builder) registriesStep(h inventory.Host) (Step, bool) {
	f := b.facts[h.Name]
	wanted := b.tellsRegistries()
	if !wanted && !f.Marked(string(Registries)) {
		return Step{}, false
	}
	key := fileKey{kind: Registries}
	inputs, ok := b.files[key]
	if !ok {
		inputs = b.registriesFiles()
		b.files[key], b.hash[key] = inputs, Digest(inputs)
	}
	s := Step{ID: HostID(h.Name, Registries), Kind: Registries, Host: h.Name, DependsOn: []ID{HostID(h.Name, Runtime)}, Inputs: inputs, Digest: b.hash[key]}
	b.judge(&s, f)
	switch program := b.unreadPassword(); {
	case f.Err != nil:
	case !wanted:
		s.Action, s.Reason, s.Details = Update, "spec.registries is not in the inventory any more", []string{"what the host was told of registries is deleted"}
	case program != "":
		s.Action, s.Reason = Unknown, fmt.Sprintf("the password for %s comes from a program (passwordCommand), which is run by up and not by plan", program)
	case s.pending():
		s.Details = fileDetails(inputs)
	}
	return s, true
}

// tellsRegistries reports whether hosts are told of any registry.
func (b *builder) tellsRegistries() bool { return len(b.in.Cluster.Spec.Registries) > 0 }

// unreadPassword is a registry whose password a program prints that was not run; "" = none.
func (b *builder) unreadPassword() string {
	for _, r := range b.in.Cluster.Spec.Registries {
		if _, read := b.in.Site.Passwords[r.Host]; !read && len(r.PasswordCommand) > 0 {
			return r.Host
		}
	}
	return ""
}

// hasLogins reports whether any registry wants a login.
func (b *builder) hasLogins() bool {
	for _, r := range b.in.Cluster.Spec.Registries {
		if r.Private() {
			return true
		}
	}
	return false
}

// registriesFiles are the files of all registries. containerd reads certs.d at every pull and the kubelet its file within minutes; containerd's own
// configuration it reads when it starts.
func (b *builder) registriesFiles() FilesInputs {
	in := FilesInputs{Prune: true}
	for _, r := range b.in.Cluster.Spec.Registries {
		if len(r.Mirrors) == 0 && r.CAFile == "" {
			continue
		}
		dir := path.Join(certsDir, certsDirectory(r.Host))
		in.Texts = append(in.Texts, text(path.Join(dir, "hosts.toml"), render.ContainerdHosts(b.hostsFile(r, false))))
		if r.CAFile != "" {
			in.Texts = append(in.Texts, text(path.Join(dir, "ca.crt"), b.in.Site.CAs[r.Host]))
		}
	}
	if b.hasLogins() {
		pause, _ := imageOf(b.in.Bundle, bundle.Pause)
		in.Texts = append(in.Texts,
			b.secretText(loginsFile, render.ContainerdLogins(pause.Ref, b.logins(dockerHubAPI))),
			b.secretText(kubeletLogins, render.KubeletLogins(b.logins(dockerHubKubelet))))
	}
	in.Restart = []Restart{{Unit: containerdUnit, Path: loginsFile}}
	return in
}

// What docker.io is called where its API is, and in docker's configuration, which the kubelet reads.
const (
	dockerHub        = "docker.io"
	dockerHubAPI     = "registry-1.docker.io"
	dockerHubKubelet = "https://index.docker.io/v1/"
)

// logins are those of all registries; hub is the name of docker.io for whoever reads them.
func (b *builder) logins(hub string) []render.Login {
	var out []render.Login
	for _, r := range b.in.Cluster.Spec.Registries {
		if r.Private() {
			out = append(out, b.login(r, hub))
		}
	}
	return out
}

func (b *builder) login(r inventory.Registry, hub string) render.Login {
	l := render.Login{Host: r.Host, Username: r.Username, Password: string(b.in.Site.Passwords[r.Host])}
	if r.Host == dockerHub {
		l.Host = hub
	}
	return l
}

// hostsFile is how containerd reaches one registry. With logins it is a secret.
func (b *builder) hostsFile(r inventory.Registry, logins bool) render.HostsFile {
	c := b.in.Cluster
	at := func(p inventory.Place) render.RegistryHost {
		var out render.RegistryHost
		cas := c.CAsFor(p)
		if p.Plain {
			cas = nil // with one, containerd would ask by HTTPS first
		}
		for _, i := range cas {
			out.CAs = append(out.CAs, path.Join(certsDir, certsDirectory(c.Spec.Registries[i].Host), "ca.crt"))
		}
		if logins && p.Login >= 0 {
			out.Login = b.login(c.Spec.Registries[p.Login], dockerHubAPI).Basic()
		}
		return out
	}
	entry := 0
	for i := range c.Spec.Registries {
		if c.Spec.Registries[i].Host == r.Host {
			entry = i
		}
	}
	var f render.HostsFile
	for _, text := range r.Mirrors {
		p := c.Mirror(text)
		p.Entry = entry
		host := at(p)
		host.URL, host.Mirror = "https://"+p.Host, true
		if p.Plain {
			host.URL = "http://" + p.Host
		}
		if p.Path != "" {
			host.URL, host.Override = host.URL+"/v2"+p.Path, true
		}
		f.Hosts = append(f.Hosts, host)
	}
	if last := len(f.Hosts) - 1; r.Only { // containerd asks the server whatever the hosts say
		f.Server, f.Hosts = f.Hosts[last], f.Hosts[:last]
		return f
	}
	own := inventory.Place{Host: r.Host, Entry: entry, Login: -1}
	if r.Private() {
		own.Login = entry
	}
	f.Server = at(own)
	return f
}

// pullHosts are the hosts.toml files of a pull of our own, with the logins, by the name of the registry's directory. Nothing of them stays on a host.
func (b *builder) pullHosts() []Text {
	if !b.hasLogins() {
		return nil
	}
	var out []Text
	for _, r := range b.in.Cluster.Spec.Registries {
		out = append(out, Text{Path: certsDirectory(r.Host), Mode: secretMode, Body: render.ContainerdHosts(b.hostsFile(r, true))})
	}
	return out
}

// certsDirectory is the name of a registry's directory in certs.d.
func certsDirectory(host string) string {
	if host == inventory.AnyRegistry {
		return anyDirectory
	}
	if name, port, found := strings.Cut(host, ":"); found {
		return name + "_" + port + "_"
	}
	return host
}

// secretMode is the mode of files that only root reads.
const secretMode = "0600"

// guesses is how often a guess at a secret has to be hashed to be compared with a plan's digest: passwords may be short.
const guesses = 100_000

// secretText is a file with secrets: what plan and state keep of it is a hash that is slow to compute, and another in every cluster.
func (b *builder) secretText(path string, body []byte) Text {
	if t, made := b.secret[path]; made && bytes.Equal(t.Body, body) {
		return t // the same on many hosts
	}
	sum, err := pbkdf2.Key(sha256.New, string(body), []byte(b.in.Cluster.Metadata.Name+" "+path), guesses, sha256.Size)
	if err != nil {
		panic("plan: " + err.Error()) // the sizes are ours
	}
	t := Text{Path: path, Mode: secretMode, SHA256: hex.EncodeToString(sum), Body: body}
	b.secret[path] = t
	return t
}
