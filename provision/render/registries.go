package render

import (
	"encoding/base64"
	"encoding/json"
)

// Login is a name and a password for a registry; a secret.
type Login struct{ Host, Username, Password string }

// Basic is what an HTTP request has as its Authorization; a secret.
func (l Login) Basic() string { return "Basic " + l.base64() }

func (l Login) base64() string {
	return base64.StdEncoding.EncodeToString([]byte(l.Username + ":" + l.Password))
}

// HostsFile is how containerd reaches a registry: the hosts in their order, and the server last.
type HostsFile struct {
	Server RegistryHost // without a URL it is the registry itself
	Hosts  []RegistryHost
}

// RegistryHost is one place that containerd asks.
type RegistryHost struct {
	URL      string
	Mirror   bool     // it is not waited for as long as for the registry itself
	Override bool     // the URL has the whole path of the API
	CAs      []string // files on the host with certificates of authorities
	Login    string   // Authorization that every request has; a secret, and not for files that stay
}

// ContainerdHosts is a registry's hosts.toml in containerd's certs.d.
func ContainerdHosts(f HostsFile) []byte { return file("containerd/hosts.toml.tmpl", f) }

// ContainerdLogins is the drop-in of containerd's configuration with the logins; a secret.
func ContainerdLogins(sandboxImage string, logins []Login) []byte {
	return file("containerd/registries.toml.tmpl", struct {
		SandboxImage string
		Logins       []Login
	}{sandboxImage, logins}, "containerd/parts.tmpl")
}

// KubeletLogins is the kubelet's config.json with the logins, in docker's format; a secret.
func KubeletLogins(logins []Login) []byte {
	type entry struct {
		Auth string `json:"auth"`
	}
	auths := map[string]entry{}
	for _, l := range logins {
		auths[l.Host] = entry{l.base64()}
	}
	b, err := json.MarshalIndent(map[string]any{"auths": auths}, "", "  ")
	if err != nil {
		panic("render: " + err.Error()) // it is text alone
	}
	return append(b, '\n')
}
