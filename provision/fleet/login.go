package fleet

import (
	"os"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/secret"
)

// home is the user's home directory.
func home() string {
	dir, err := os.UserHomeDir()
	if err != nil {
		return "/nonexistent" // no home, no ~/.ssh
	}
	return dir
}

// hostConfig says how a host of the inventory is reached.
func hostConfig(c *inventory.Cluster, h inventory.Host) remote.HostConfig {
	r := station(c, h)
	for _, hop := range c.Route(h) {
		r.Jump = append(r.Jump, jumpHost(c, hop))
	}
	if h.Jump == inventory.JumpNone {
		r.Jump = []remote.HostConfig{} // directly, whatever ~/.ssh/config says
	}
	return r
}

// station is a host without the way to it.
func station(c *inventory.Cluster, h inventory.Host) remote.HostConfig {
	ssh := c.SSHFor(h)
	return remote.HostConfig{
		Name: h.Name, Address: h.Address, Port: ssh.Port, User: ssh.User,
		IdentityFiles: ssh.IdentityFiles, HostKey: h.HostKey, HostKeyPolicy: ssh.HostKeys,
		ConnectTimeout: ssh.ConnectTimeout.Std(), CommandTimeout: ssh.CommandTimeout.Std(), KeepAlive: ssh.KeepAlive.Std(),
		SudoPassword: sudoPassword(ssh.SudoPasswordFile, ssh.SudoPasswordEnv),
	}
}

// jumpHost is one station on the way: a host of the inventory, or an address outside it.
func jumpHost(c *inventory.Cluster, hop inventory.Hop) remote.HostConfig {
	if h, ok := c.Host(hop.Host); ok {
		return station(c, h)
	}
	r := station(c, inventory.Host{Name: hop.Address, Address: hop.Address, User: hop.User})
	r.Port = hop.Port // the hosts' own port is not its
	return r
}

// sudoPassword reads the password when sudo asks for it, and not before.
func sudoPassword(file, env string) func() (string, error) {
	if file == "" && env == "" {
		return nil
	}
	return secret.From("sudo password", file, env)
}
