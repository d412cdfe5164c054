package remote

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// fromConfig fills from ~/.ssh/config what the inventory left open.
func (r resolver) fromConfig(ep *endpoint, h HostConfig) error {
	o := r.conf.options(h.question())
	if v := o.one("hostname"); v != "" {
		ep.host = v
	}
	if ep.user == "" {
		ep.user = o.one("user")
	}
	if v := o.one("port"); ep.port == 0 && v != "" {
		port, err := parsePort(v)
		if err != nil {
			return err
		}
		ep.port = port
	}
	switch o.one("addressfamily") {
	case "inet":
		ep.network = "tcp4"
	case "inet6":
		ep.network = "tcp6"
	}
	ep.from = o.one("bindaddress")
	if ep.from == "" {
		ep.device = o.one("bindinterface")
	}
	t := ep.tokens(h, r.conf)
	if v := o.one("hostkeyalias"); v != "" {
		alias, err := t.expand(v)
		if err != nil {
			return fmt.Errorf("HostKeyAlias: %w", err)
		}
		ep.keyAlias, t.keyAlias = alias, alias
	}
	if err := ep.logins(o, t); err != nil {
		return err
	}
	if !ep.noKeys {
		ep.providers(o, r.conf)
	}
	return ep.beliefs(o, t, h)
}

// tokens are what the values of ~/.ssh/config may refer to.
func (e *endpoint) tokens(h HostConfig, conf *sshConfig) tokens {
	t := tokens{alias: h.alias(), host: e.host, port: e.port, user: e.user, keyAlias: e.keyAlias, home: conf.home}
	if t.port == 0 {
		t.port = defaultPort
	}
	if t.user == "" {
		t.user = defaultUser
	}
	return t
}

// logins are the keys to log in with. What cannot be spelled out is said where the login fails.
func (e *endpoint) logins(o options, t tokens) error {
	switch v := o.one("pubkeyauthentication"); v {
	case "no":
		e.noKeys = true
	case "", "unbound", "host-bound": // two ways of yes
	default:
		return fmt.Errorf("PubkeyAuthentication %s: want yes, no, unbound or host-bound", v)
	}
	if v := o.one("pubkeyacceptedalgorithms"); v != "" {
		if e.accepted = allowedAlgos(v, loginAlgos); len(e.accepted) == 0 {
			return fmt.Errorf("PubkeyAcceptedAlgorithms %s leaves none that hybridctl logs in with (those are %s)", v, strings.Join(loginAlgos, ", "))
		}
	}
	e.noAgent = o.one("identitiesonly") == "yes"
	if v := o.one("identityagent"); v != "" {
		agent, err := t.agent(v, e.agent)
		if err != nil {
			e.unspelled = append(e.unspelled, fmt.Sprintf("agent %s (%v)", v, err))
		}
		e.agent = agent
	}
	e.certificates = e.spell(o["certificatefile"], t)
	if len(e.identities) > 0 {
		return nil // the inventory's
	}
	if files := o["identityfile"]; len(files) > 0 {
		e.identities, e.fallbacks = e.spell(files, t), nil
	}
	return nil
}

// providers tells of keys behind a library, which only an agent makes usable here.
func (e *endpoint) providers(o options, conf *sshConfig) {
	for _, p := range []struct{ keyword, name, mend string }{
		{"pkcs11provider", "PKCS11Provider", "load its keys into the agent: ssh-add -s %s"},
		{"securitykeyprovider", "SecurityKeyProvider", "load its keys into the agent: ssh-add -S %s KEY"},
	} {
		library := o.one(p.keyword)
		if library == "" {
			continue
		}
		mend := fmt.Sprintf(p.mend, Quote(library))
		e.unspelled = append(e.unspelled, fmt.Sprintf("keys by %s %s (not used here)", p.name, library))
		e.mend = append(e.mend, mend)
		conf.warn("ssh config: hybridctl does not use "+p.name, "library", library, "hint", mend)
	}
}

func (e *endpoint) spell(files []string, t tokens) (paths []string) {
	for _, f := range files {
		if strings.EqualFold(f, "none") {
			continue
		}
		path, err := t.path(f)
		if err != nil {
			e.unspelled = append(e.unspelled, fmt.Sprintf("key %s (%v)", f, err))
			continue
		}
		paths = append(paths, path)
	}
	return paths
}

// agent spells an IdentityAgent: a socket, none, SSH_AUTH_SOCK, or the name of another variable behind a $.
func (t tokens) agent(v, usual string) (string, error) {
	switch {
	case strings.EqualFold(v, "none"):
		return "", nil
	case v == "SSH_AUTH_SOCK":
		return usual, nil
	case strings.HasPrefix(v, "$") && !strings.HasPrefix(v, "${"):
		socket := os.Getenv(v[1:])
		if socket == "" {
			return "", fmt.Errorf("the environment variable %s is not set", v[1:])
		}
		return socket, nil
	}
	return t.path(v)
}

// beliefs decide whether the host is believed to be who it says. A setting that is stricter than what can be honoured here is
// refused, unless the inventory settles the matter with a key.
func (e *endpoint) beliefs(o options, t tokens, h HostConfig) (err error) {
	switch v := o.one("stricthostkeychecking"); v {
	case "yes", "ask":
		e.strict, e.strictBy = true, "StrictHostKeyChecking is "+v+" in your ssh config"
	case "", AcceptNew, "no": // a changed key is refused here in any case
	default:
		return fmt.Errorf("StrictHostKeyChecking %s: want yes, ask, accept-new or no", v)
	}
	if e.known, err = e.knownFiles(o, t); err != nil {
		return err
	}
	for _, f := range o["revokedhostkeys"] {
		path, err := t.path(f)
		if err != nil {
			return fmt.Errorf("RevokedHostKeys %s: %w", f, err)
		}
		e.revoked = append(e.revoked, path)
	}
	if v := o.one("hostkeyalgorithms"); v != "" {
		if e.algos = allowedAlgos(v, askedAlgos()); len(e.algos) == 0 {
			return fmt.Errorf("HostKeyAlgorithms %s leaves none that can be checked here (those are %s)", v, strings.Join(askedAlgos(), ", "))
		}
	}
	if v := o.one("casignaturealgorithms"); v != "" {
		if e.signing = allowedAlgos(v, signingAlgos); len(e.signing) == 0 {
			return fmt.Errorf("CASignatureAlgorithms %s leaves none that can be checked here (those are %s)", v, strings.Join(signingAlgos, ", "))
		}
	}
	if v := o.one("requiredrsasize"); v != "" {
		if e.rsaBits, err = strconv.Atoi(v); err != nil || e.rsaBits < 0 {
			return fmt.Errorf("RequiredRSASize %s is no number of bits", v)
		}
	}
	if v := o.one("knownhostscommand"); v != "" && h.HostKey == "" && h.HostKeyPolicy == "" {
		return fmt.Errorf("KnownHostsCommand is not run here (pin the host's key as hostKey in the inventory, or set hostKeys there)")
	}
	return nil
}

// knownFiles are the known_hosts files where they are not the usual ones.
func (e *endpoint) knownFiles(o options, t tokens) (files []string, err error) {
	user, global := o["userknownhostsfile"], o["globalknownhostsfile"]
	if user == nil && global == nil {
		return nil, nil
	}
	if user == nil {
		user = []string{"~/.ssh/known_hosts", "~/.ssh/known_hosts2"}
	}
	if global == nil {
		global = []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}
	}
	files = []string{} // none is not the usual ones
	for _, f := range slices.Concat(user, global) {
		if strings.EqualFold(f, "none") {
			continue
		}
		path, err := t.path(f)
		if err != nil {
			return nil, fmt.Errorf("known hosts %s: %w", f, err)
		}
		files = append(files, path)
	}
	return files, nil
}

// allowedAlgos reads HostKeyAlgorithms and their like: a list of patterns; + and ^ before it take nothing away from ours, - takes these away.
func allowedAlgos(v string, ours []string) (algos []string) {
	if strings.HasPrefix(v, "+") || strings.HasPrefix(v, "^") {
		return ours
	}
	patterns, without := strings.CutPrefix(v, "-")
	for _, a := range ours {
		if matchesAny(strings.Split(patterns, ","), a) != without {
			algos = append(algos, a)
		}
	}
	return algos
}
