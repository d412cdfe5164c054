package remote

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Config is what all hosts share. The zero value knows no keys, no ~/.ssh/config and no agent.
type Config struct {
	KnownHosts        []string // known_hosts files that are read only; those that do not exist are left out
	ClusterKnownHosts string   // read too, and where accept-new appends; its directory is made

	SSHConfig       string // a file as ~/.ssh/config; "": none, and the system's neither
	SystemSSHConfig string // as /etc/ssh/ssh_config; what the user's file says goes first
	SSHProgram      string // asked what the two come to, where that is in doubt; "": never

	AgentSocket   string   // "": no agent
	IdentityFiles []string // tried where neither the host nor SSHConfig names a key; those that do not exist are left out

	// Prompt asks the user for the passphrase of a key, without echo; nil: never ask. It is called for one key at a time, and
	// not again once a key is open.
	Prompt func(question string) (string, error)

	Log *slog.Logger // nil: silent

	// NetDial makes the first TCP connection; nil: net.Dialer.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// UserConfig is what ssh itself would use for this user: ~/.ssh/known_hosts, ~/.ssh/config, the agent and the usual keys.
// ClusterKnownHosts, Prompt and Log are the caller's to fill in.
func UserConfig(home string) Config {
	in := func(names ...string) []string {
		for i, n := range names {
			names[i] = filepath.Join(home, ".ssh", n)
		}
		return names
	}
	return Config{
		KnownHosts:      append(in("known_hosts", "known_hosts2"), "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"),
		SSHConfig:       filepath.Join(home, ".ssh", "config"),
		SystemSSHConfig: "/etc/ssh/ssh_config",
		SSHProgram:      "ssh",
		AgentSocket:     os.Getenv("SSH_AUTH_SOCK"),
		IdentityFiles:   in("id_ed25519", "id_ecdsa", "id_rsa"),
	}
}

const (
	AcceptNew = "accept-new" // the first key seen is kept, a changed one is refused
	Strict    = "strict"     // only known keys
)

// HostConfig is one host, or one hop on the way to it. What is set here beats ~/.ssh/config, which beats the defaults.
type HostConfig struct {
	Name    string // for messages; default: Address
	Address string // as after `ssh`: a name, an IP, or a Host of ~/.ssh/config
	Port    int    // default 22
	User    string // default root

	IdentityFiles []string // private keys, tried before the agent's other keys
	HostKey       string   // pins the key: "ssh-ed25519 AAAA…" or "SHA256:…"
	HostKeyPolicy string   // AcceptNew or Strict; "": what ~/.ssh/config says, or else AcceptNew

	// Jump are the hosts to go through, the nearest first. One connection to each is shared by all hosts behind it. A hop takes
	// over the host's IdentityFiles, HostKeyPolicy and timeouts where it has none. Nil: what ~/.ssh/config says.
	Jump []HostConfig

	ConnectTimeout time.Duration // TCP and handshake together; default 15s
	CommandTimeout time.Duration // of a Run whose ctx has no deadline; default 2m, negative: none
	KeepAlive      time.Duration // between two questions whether the host is there; default 15s, negative: never ask

	// SudoPassword is called when sudo asks, at most once for a connection; nil: there is no password.
	SudoPassword func() (string, error)
}

const (
	defaultConnectTimeout = 15 * time.Second
	defaultCommandTimeout = 2 * time.Minute
	defaultKeepAlive      = 15 * time.Second
	defaultUser           = "root"
	defaultPort           = 22
)

// inherit fills what a hop takes over from the host behind it.
func (h HostConfig) inherit(from HostConfig) HostConfig {
	if len(h.IdentityFiles) == 0 {
		h.IdentityFiles = from.IdentityFiles
	}
	if h.HostKeyPolicy == "" {
		h.HostKeyPolicy = from.HostKeyPolicy
	}
	if h.ConnectTimeout == 0 {
		h.ConnectTimeout = from.ConnectTimeout
	}
	if h.KeepAlive == 0 {
		h.KeepAlive = from.KeepAlive
	}
	return h
}
