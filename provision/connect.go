package provision

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/remote"
)

// newDialer says where keys are known from. New host keys are kept beside the state, never in the user's own file.
func newDialer(o Options) (*remote.Dialer, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/nonexistent" // no home, no ~/.ssh
	}
	c := remote.UserConfig(home)
	c.ClusterKnownHosts = filepath.Join(o.StateDir, knownHostsFile)
	c.Prompt = o.Prompt
	c.Log = slog.Default()
	return remote.NewDialer(c)
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
	return secret("sudo password", file, env)
}

// secret reads a secret when it is used: the first line of a file, or an environment variable.
func secret(what, file, env string) func() (string, error) {
	return func() (string, error) {
		if file != "" {
			b, err := os.ReadFile(file)
			if err != nil {
				return "", fmt.Errorf("the %s's file: %w", what, err)
			}
			line, _, _ := strings.Cut(string(b), "\n")
			return strings.TrimSuffix(line, "\r"), nil
		}
		v, ok := os.LookupEnv(env)
		if !ok {
			return "", fmt.Errorf("the environment variable %s, which is to hold the %s, is not set", env, what)
		}
		return v, nil
	}
}

// errNoWay is the last word when no control plane carries a connection, also when none is known.
var errNoWay = errors.New("there is no control plane to go through")

// tunnel dials from a control-plane host, over the connection that is there already.
func (s *session) tunnel(ctx context.Context, network, addr string) (net.Conn, error) {
	if s.joining != nil {
		return s.tunnelThroughOne(ctx, network, addr)
	}
	var errs []error
	for _, h := range s.controlPlanes() {
		c, err := s.way(ctx, h)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", h.Name, err))
			continue
		}
		conn, err := c.Runner().DialContext(ctx, network, addr)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", h.Name, err))
	}
	return nil, errors.Join(append(errs, errNoWay)...)
}
