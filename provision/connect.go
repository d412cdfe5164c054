package provision

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
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
	c.ClusterKnownHosts = filepath.Join(o.StateDir, "known_hosts")
	c.Prompt = o.Prompt
	return remote.NewDialer(c)
}

// hostConfig says how a host of the inventory is reached.
func hostConfig(c *inventory.Cluster, h inventory.Host) remote.HostConfig {
	ssh := c.Spec.SSH
	r := remote.HostConfig{
		Name: h.Name, Address: h.Address,
		Port: first(h.Port, ssh.Port), User: first(h.User, ssh.User),
		IdentityFiles: h.IdentityFiles, HostKey: h.HostKey, HostKeyPolicy: ssh.HostKeys,
		ConnectTimeout: ssh.ConnectTimeout.Std(), CommandTimeout: ssh.CommandTimeout.Std(), KeepAlive: ssh.KeepAlive.Std(),
		SudoPassword: sudoPassword(first(h.SudoPasswordFile, ssh.SudoPasswordFile), first(h.SudoPasswordEnv, ssh.SudoPasswordEnv)),
	}
	if len(r.IdentityFiles) == 0 {
		r.IdentityFiles = ssh.IdentityFiles
	}
	for _, hop := range hops(c, first(h.Jump, ssh.Jump), h.Name) {
		r.Jump = append(r.Jump, hop)
	}
	return r
}

// hops turns "a,b" into the chain of jump hosts. A name of the inventory brings that host's own settings and its own jump hosts.
func hops(c *inventory.Cluster, jump, from string) []remote.HostConfig {
	var out []remote.HostConfig
	for _, word := range strings.Split(jump, ",") {
		if word == "" || word == from {
			continue
		}
		if h, ok := c.Host(word); ok {
			via := hostConfig(c, h)
			out = append(out, via.Jump...)
			via.Jump = nil
			out = append(out, via)
			continue
		}
		out = append(out, stranger(c, word))
	}
	return out
}

// stranger is a jump host outside the inventory: [user@]address[:port].
func stranger(c *inventory.Cluster, word string) remote.HostConfig {
	r := remote.HostConfig{Name: word, IdentityFiles: c.Spec.SSH.IdentityFiles, HostKeyPolicy: c.Spec.SSH.HostKeys,
		ConnectTimeout: c.Spec.SSH.ConnectTimeout.Std(), KeepAlive: c.Spec.SSH.KeepAlive.Std()}
	user, address, found := strings.Cut(word, "@")
	if !found {
		user, address = c.Spec.SSH.User, word
	}
	r.User, r.Address = user, address
	if host, port, err := net.SplitHostPort(address); err == nil {
		r.Address = host
		r.Port, _ = strconv.Atoi(port) // the inventory's validation has checked it
	}
	return r
}

// sudoPassword reads the password when sudo asks for it, and not before.
func sudoPassword(file, env string) func() (string, error) {
	if file == "" && env == "" {
		return nil
	}
	return func() (string, error) {
		if file != "" {
			b, err := os.ReadFile(file)
			if err != nil {
				return "", fmt.Errorf("the sudo password's file: %w", err)
			}
			line, _, _ := strings.Cut(string(b), "\n")
			return strings.TrimSuffix(line, "\r"), nil
		}
		v, ok := os.LookupEnv(env)
		if !ok {
			return "", fmt.Errorf("the environment variable %s, which is to hold the sudo password, is not set", env)
		}
		return v, nil
	}
}

// tunnel dials from a control-plane host, over the connection that is there already.
func (s *session) tunnel(ctx context.Context, network, addr string) (net.Conn, error) {
	var errs []error
	for _, h := range s.controlPlanes() {
		c, err := s.host(h.Name)
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
	return nil, errors.Join(errs...)
}

// first returns the first value that is not zero.
func first[T comparable](values ...T) T {
	var zero T
	for _, v := range values {
		if v != zero {
			return v
		}
	}
	return zero
}
