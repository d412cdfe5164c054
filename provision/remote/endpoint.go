package remote

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh/knownhosts"
)

// endpoint is one SSH server with every question answered: what the inventory, ~/.ssh/config and the defaults say together.
type endpoint struct {
	name    string
	network string // tcp, or tcp4 or tcp6 alone
	host    string
	port    int
	user    string

	identities   []string // keys that are asked for: missing ones are worth a word
	certificates []string // beside those that stand by their keys
	fallbacks    []string // the user's usual keys
	unspelled    []string // keys whose paths cannot be spelled out, and why
	noKeys       bool     // PubkeyAuthentication no: none of all these is shown
	accepted     []string // PubkeyAcceptedAlgorithms: the keys and signatures that are shown; nil: all
	mend         []string // what to do about keys that are never shown
	noAgent      bool     // IdentitiesOnly: of the agent's keys only those in identities
	agent        string   // the agent's socket; "": none

	pin      *pin
	strict   bool
	strictBy string   // the setting that makes it so, for the message
	keyAlias string   // HostKeyAlias: the name in known_hosts
	known    []string // the known_hosts files; nil: the dialer's
	revoked  []string // files of keys that no host may show
	algos    []string // the host key algorithms that are allowed; nil: ours
	signing  []string // what an authority may sign host certificates with; nil: all that ssh takes
	rsaBits  int      // RSA keys with fewer are not taken, the host's and ours; 0: whatever they have
	from     string   // BindAddress: the address of this machine that is dialled from
	device   string   // BindInterface: the interface of this machine whose address that is

	timeout   time.Duration
	keepAlive time.Duration
	via       *endpoint
}

func (e *endpoint) addr() string { return net.JoinHostPort(e.host, strconv.Itoa(e.port)) }

// key is equal for two endpoints that can share one connection. The keys to log in with are no part of it: who is let in as
// the same user at the same place is the same.
func (e *endpoint) key() string {
	k := fmt.Sprintf("%s@%s %s strict=%t pin=%s as=%s known=%q %q %q %q rsa=%d from=%s%%%s", e.user, e.addr(), e.network, e.strict, e.pin, e.keyAlias, e.known, e.revoked, e.algos, e.signing, e.rsaBits, e.from, e.device)
	if e.via != nil {
		k += " via " + e.via.key()
	}
	return k
}

func (e *endpoint) sameLogin(o *endpoint) bool {
	if (e.via == nil) != (o.via == nil) || (e.via != nil && !e.via.sameLogin(o.via)) {
		return false
	}
	return slices.Equal(e.identities, o.identities) && slices.Equal(e.fallbacks, o.fallbacks) &&
		slices.Equal(e.certificates, o.certificates) && e.agent == o.agent && e.noAgent == o.noAgent && e.noKeys == o.noKeys && slices.Equal(e.accepted, o.accepted)
}

// plainName is what known_hosts calls the address.
func (e *endpoint) plainName() string { return knownhosts.Normalize(strings.ToLower(e.addr())) }

// behind stands in known_hosts between an address and the jump host that it is reached through.
const behind = "+via+"

// keyName is the name that the host's key is kept under. The same private address behind two jump hosts is two hosts.
func (e *endpoint) keyName() string {
	switch {
	case e.keyAlias != "":
		return strings.ToLower(e.keyAlias)
	case e.via != nil:
		return e.plainName() + behind + e.via.keyName()
	}
	return e.plainName()
}

// resolver makes endpoints of host configurations.
type resolver struct {
	conf  *sshConfig
	keys  []string // the usual identity files
	agent string   // the agent's socket
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
				return nil, fmt.Errorf("jump host %s: only the first hop of a chain may have its own jump", next.name)
			}
			next.via = ep.via
		}
		ep.via = next
	}
	return ep, nil
}

// configured returns the hops of ~/.ssh/config. A host that is its own jump host (`Host *` with ProxyJump) has none.
func (r resolver) configured(h HostConfig, ep *endpoint) ([]HostConfig, error) {
	o := r.conf.options(h.question())
	var hops []HostConfig
	var err error
	if value := o.one("proxyjump"); value != "" {
		if value, err = ep.tokens(h, r.conf).expand(value); err == nil {
			hops, err = ParseJump(value)
		}
	} else if command := o.one("proxycommand"); command != "" {
		hops, err = parseProxyCommand(command, ep.tokens(h, r.conf))
	}
	if err != nil {
		return nil, fmt.Errorf("ssh config %s: %s: %w", r.conf.path, h.alias(), err)
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

func (h HostConfig) question() question {
	return question{alias: h.alias(), user: h.User, port: h.Port}
}

// endpoint answers for one server, its hops left out.
func (r resolver) endpoint(h HostConfig) (*endpoint, error) {
	alias := h.alias()
	if alias == "" {
		return nil, fmt.Errorf("host without an address")
	}
	ep := &endpoint{name: h.Name, network: "tcp", host: alias, port: h.Port, user: h.User, identities: h.IdentityFiles, fallbacks: r.keys,
		agent: r.agent, timeout: h.ConnectTimeout, keepAlive: h.KeepAlive}
	if ep.name == "" {
		ep.name = alias
	}
	if r.conf != nil {
		if err := r.fromConfig(ep, h); err != nil {
			return nil, fmt.Errorf("ssh config %s: %s: %w", r.conf.path, alias, err)
		}
	}
	if err := ep.policy(h); err != nil {
		return nil, fmt.Errorf("%s: %w", ep.name, err)
	}
	ep.defaults()
	return ep, nil
}

func (e *endpoint) policy(h HostConfig) error {
	switch h.HostKeyPolicy {
	case "":
	case AcceptNew:
		e.strict = false
	case Strict:
		e.strict, e.strictBy = true, "host keys are strict"
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
