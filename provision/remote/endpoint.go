package remote

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// endpoint is one SSH server with every question answered: what the inventory, ~/.ssh/config and the defaults say together.
type endpoint struct {
	name       string
	host       string
	port       int
	user       string
	identities []string // keys that are asked for: missing ones are worth a word
	fallbacks  []string // the user's usual keys
	noAgent    bool     // IdentitiesOnly: of the agent's keys only those in identities
	pin        *pin
	strict     bool
	timeout    time.Duration
	keepAlive  time.Duration
	via        *endpoint
}

func (e *endpoint) addr() string { return net.JoinHostPort(e.host, strconv.Itoa(e.port)) }

// key is equal for two endpoints that can share one connection. The keys to log in with are no part of it: who is let in as
// the same user at the same place is the same.
func (e *endpoint) key() string {
	k := fmt.Sprintf("%s@%s strict=%t pin=%s", e.user, e.addr(), e.strict, e.pin)
	if e.via != nil {
		k += " via " + e.via.key()
	}
	return k
}

func (e *endpoint) sameLogin(o *endpoint) bool {
	if (e.via == nil) != (o.via == nil) || (e.via != nil && !e.via.sameLogin(o.via)) {
		return false
	}
	return slices.Equal(e.identities, o.identities) && slices.Equal(e.fallbacks, o.fallbacks)
}

// resolver makes endpoints of host configurations.
type resolver struct {
	conf *sshConfig
	keys []string // the usual identity files
}

// resolve answers for the host and every hop before it.
func (r resolver) resolve(h HostConfig) (*endpoint, error) { return r.chain(h, nil) }

// chain resolves h behind its hops. The first hop may have hops of its own; seen holds the addresses on the way, against loops.
func (r resolver) chain(h HostConfig, seen []string) (*endpoint, error) {
	ep, err := r.endpoint(h)
	if err != nil {
		return nil, err
	}
	place := ep.user + "@" + ep.addr()
	if slices.Contains(seen, place) {
		return nil, fmt.Errorf("the jump hosts go round in a circle: %s", strings.Join(append(seen, place), " behind "))
	}
	hops := h.Jump
	if hops == nil {
		if hops, err = r.configured(h, ep); err != nil {
			return nil, err
		}
	}
	for i, hop := range hops {
		hop = hop.inherit(h)
		next, err := r.endpoint(hop)
		if i == 0 && err == nil {
			next, err = r.chain(hop, append(seen, place))
		}
		if err != nil {
			return nil, err
		}
		if i > 0 {
			if len(hop.Jump) > 0 {
				return nil, fmt.Errorf("jump host %s: only the first hop of a chain may have a jump of its own", next.name)
			}
			next.via = ep.via
		}
		ep.via = next
	}
	return ep, nil
}

// configured returns the hops of ~/.ssh/config. A host that is its own jump host (`Host *` with ProxyJump) has none.
func (r resolver) configured(h HostConfig, ep *endpoint) ([]HostConfig, error) {
	value, err := r.conf.get(h.alias(), "ProxyJump")
	if err != nil {
		return nil, err
	}
	hops, err := ParseJump(value)
	if err != nil {
		return nil, fmt.Errorf("ssh config %s: %w", r.conf.path, err)
	}
	if len(hops) == 0 && value == "" {
		command, err := r.conf.get(h.alias(), "ProxyCommand")
		if err != nil {
			return nil, err
		}
		if command != "" && !strings.EqualFold(command, "none") {
			return nil, fmt.Errorf("ssh config %s: ProxyCommand for %s is not supported: use ProxyJump", r.conf.path, h.alias())
		}
	}
	if len(hops) > 0 {
		last, err := r.endpoint(hops[len(hops)-1])
		if err != nil {
			return nil, err
		}
		if last.addr() == ep.addr() {
			return nil, nil
		}
	}
	return hops, nil
}

func (h HostConfig) alias() string {
	if h.Address != "" {
		return h.Address
	}
	return h.Name
}

// endpoint answers for one server, its hops left out.
func (r resolver) endpoint(h HostConfig) (*endpoint, error) {
	alias := h.alias()
	if alias == "" {
		return nil, fmt.Errorf("host without an address")
	}
	ep := &endpoint{name: h.Name, host: alias, port: h.Port, user: h.User, identities: h.IdentityFiles, fallbacks: r.keys,
		timeout: h.ConnectTimeout, keepAlive: h.KeepAlive}
	if ep.name == "" {
		ep.name = alias
	}
	if err := r.fromConfig(ep, alias); err != nil {
		return nil, err
	}
	if err := ep.policy(h); err != nil {
		return nil, fmt.Errorf("%s: %w", ep.name, err)
	}
	ep.defaults()
	return ep, nil
}

// fromConfig fills from ~/.ssh/config what the inventory left open.
func (r resolver) fromConfig(ep *endpoint, alias string) error {
	values := map[string]string{}
	for _, key := range []string{"HostName", "User", "Port", "IdentitiesOnly"} {
		v, err := r.conf.get(alias, key)
		if err != nil {
			return err
		}
		values[key] = v
	}
	if v := values["HostName"]; v != "" {
		ep.host = strings.ReplaceAll(v, "%h", alias)
	}
	if ep.user == "" {
		ep.user = values["User"]
	}
	if v := values["Port"]; ep.port == 0 && v != "" {
		port, err := parsePort(v)
		if err != nil {
			return fmt.Errorf("ssh config %s: %s: %w", r.conf.path, alias, err)
		}
		ep.port = port
	}
	ep.noAgent = strings.EqualFold(values["IdentitiesOnly"], "yes")
	if len(ep.identities) == 0 {
		files, err := r.conf.identities(alias, ep.host, ep.user)
		if err != nil {
			return err
		}
		ep.identities = files
	}
	return nil
}

func (e *endpoint) policy(h HostConfig) error {
	switch h.HostKeyPolicy {
	case "", AcceptNew:
	case Strict:
		e.strict = true
	default:
		return fmt.Errorf("host key policy %q: want %s or %s", h.HostKeyPolicy, AcceptNew, Strict)
	}
	if h.Port < 0 || h.Port > 65535 {
		return fmt.Errorf("port %d is not a number from 1 to 65535", h.Port)
	}
	if h.HostKey == "" {
		return nil
	}
	var err error
	e.pin, err = parsePin(h.HostKey)
	return err
}

func (e *endpoint) defaults() {
	if e.user == "" {
		e.user = defaultUser
	}
	if e.port == 0 {
		e.port = defaultPort
	}
	if e.timeout <= 0 {
		e.timeout = defaultConnectTimeout
	}
	if e.keepAlive == 0 {
		e.keepAlive = defaultKeepAlive
	}
	if len(e.identities) > 0 {
		e.fallbacks = nil
	}
}
