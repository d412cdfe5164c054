package render

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/golden"
)

func TestRegistries_Golden(t *testing.T) {
	logins := []Login{{"harbor.example:8443", "robot$k8s", "a \"b\" \\c é"}, {"registry-1.docker.io", "me", "x"}}
	for name, body := range map[string][]byte{
		"config-imports.toml": ContainerdConfig("registry.example/pause:3.10.2", "/etc/containerd/conf.d/hybridctl-*.toml"),
		"registries.toml":     ContainerdLogins("registry.example/pause:3.10.2", logins),
		"config.json":         KubeletLogins(logins),
		"hosts-mirrors.toml": ContainerdHosts(HostsFile{
			Server: RegistryHost{CAs: []string{"/etc/containerd/certs.d/registry.k8s.io/ca.crt"}},
			Hosts: []RegistryHost{
				{URL: "https://harbor.example:8443/v2/k8s", Mirror: true, Override: true, CAs: []string{"/a/ca.crt", "/b/ca.crt"}, Login: logins[0].Basic()},
				{URL: "http://10.0.0.5:5000", Mirror: true},
			}}),
		"hosts-only.toml":  ContainerdHosts(HostsFile{Server: RegistryHost{URL: "https://harbor.example:8443/v2/k8s", Mirror: true, Override: true}}),
		"hosts-login.toml": ContainerdHosts(HostsFile{Server: RegistryHost{Login: logins[1].Basic()}}),
	} {
		t.Run(name, func(t *testing.T) { golden.Check(t, name, body) })
	}
}

// What the drop-in says of images besides the logins is what the main file says: some containerd take it instead.
func TestContainerdLogins_HoldsTheWholeSection(t *testing.T) {
	section := func(text string) string {
		_, rest, _ := strings.Cut(text, "[plugins.\"io.containerd.cri.v1.images\"]\n")
		rest, _, _ = strings.Cut(rest, "config_path")
		return rest
	}
	whole, dropIn := section(string(ContainerdConfig("p", "x"))), section(string(ContainerdLogins("p", []Login{{"h", "u", "p"}})))
	if whole == "" || whole != dropIn {
		t.Errorf("the main file has\n%s\nthe drop-in\n%s", whole, dropIn)
	}
}

func TestLogin_Basic(t *testing.T) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(Login{"h", "u", "p:w"}.Basic(), "Basic "))
	if err != nil || string(raw) != "u:p:w" {
		t.Errorf("%q, %v", raw, err)
	}
}
