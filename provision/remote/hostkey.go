package remote

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/hybridctl/hybridctl/provision/hint"
)

// pin is the one key that a host may show: the key itself, or its fingerprint.
type pin struct {
	key         ssh.PublicKey
	fingerprint string
}

func parsePin(s string) (*pin, error) {
	if hash, ok := strings.CutPrefix(s, "SHA256:"); ok {
		sum, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(hash, "="))
		if err != nil || len(sum) != 32 {
			return nil, fmt.Errorf("hostKey: %q is not a SHA256 fingerprint", s)
		}
		return &pin{fingerprint: "SHA256:" + base64.RawStdEncoding.EncodeToString(sum)}, nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s))
	if err != nil {
		return nil, fmt.Errorf(`hostKey: want "ssh-ed25519 AAAA…" or "SHA256:…"`)
	}
	return &pin{key: key, fingerprint: ssh.FingerprintSHA256(key)}, nil
}

func (p *pin) String() string {
	if p == nil {
		return ""
	}
	return p.fingerprint
}

// The host key algorithms, best first. RSA with SHA-1 and DSA are not among them.
var (
	ed25519Algos = []string{ssh.KeyAlgoED25519}
	ecdsaAlgos   = []string{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521}
	rsaAlgos     = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	allAlgos     = slices.Concat(ed25519Algos, ecdsaAlgos, rsaAlgos)
	certAlgos    = []string{ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
		ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01}
	signingAlgos = append(slices.Clone(allAlgos), ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256) // of authorities
)

func algosOf(key ssh.PublicKey) []string {
	if key.Type() == ssh.KeyAlgoRSA {
		return rsaAlgos
	}
	return []string{key.Type()}
}

// algorithms returns what to ask the server for: first the types of the keys that we know, so that a host with several keys
// does not look changed. There is more than one try only for a pinned fingerprint, which does not tell its key's type.
func (k *knownHosts) algorithms(ep *endpoint) (tries [][]string) {
	if ep.pin != nil {
		if ep.pin.key != nil {
			return [][]string{algosOf(ep.pin.key)}
		}
		return [][]string{ed25519Algos, ecdsaAlgos, rsaAlgos}
	}
	found := k.keysOf(ep)
	var first []string
	if len(found.authorities) > 0 {
		first = slices.Clone(certAlgos)
	}
	for _, known := range found.all() {
		first = append(first, algosOf(known.key)...)
	}
	var all []string
	for _, a := range append(first, allAlgos...) {
		if !slices.Contains(all, a) && (ep.algos == nil || slices.Contains(ep.algos, a)) {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		all = ep.algos // certificates alone, and no authority is known: the host is not
	}
	return [][]string{all}
}

// standing is what a host key is to us, once it may pass.
type standing int

const (
	knownKeys standing = iota // known under the host's name
	movedKey                  // known, but for the address alone: the host's own name is yet to be kept
	newKey                    // not known
)

// check decides whether ep may show key. Where it is more than known, the caller adds it once the login has succeeded.
func (k *knownHosts) check(ep *endpoint, remote net.Addr, key ssh.PublicKey) (standing, error) {
	if ep.pin != nil {
		if ssh.FingerprintSHA256(key) == ep.pin.fingerprint {
			return knownKeys, nil
		}
		return 0, hint.With(faultf(ErrHostKeyChanged, nil, "the host key of %s is not the pinned one: pinned is %s, the host shows %s %s",
			ep.addr(), ep.pin.fingerprint, key.Type(), ssh.FingerprintSHA256(key)), "if the host's key is right, change hostKey in the inventory")
	}
	if bits := rsaBits(key); bits > 0 && bits < ep.rsaBits {
		return 0, faultf(ErrHostKeyUnknown, nil, "the host key of %s is RSA with %d bits, and RequiredRSASize in your ssh config wants %d", ep.addr(), bits, ep.rsaBits)
	}
	found := k.keysOf(ep)
	if cert, ok := key.(*ssh.Certificate); ok {
		if slices.ContainsFunc(found.authorities, func(n knownKey) bool { return same(n.key, cert.SignatureKey) }) {
			return knownKeys, k.checkCertificate(ep, remote, cert)
		}
		key = cert.Key
	}
	if where := k.whereRevoked(ep, key); where != "" {
		return 0, faultf(ErrHostKeyChanged, nil, "the host key of %s, %s, is revoked (%s)", ep.addr(), ssh.FingerprintSHA256(key), where)
	}
	shown := func(n knownKey) bool { return same(n.key, key) }
	switch {
	case slices.ContainsFunc(found.own, shown):
		if ep.via != nil && ep.keyAlias == "" && len(k.exactly(ep.known, ep.keyName())) == 0 {
			return movedKey, nil
		}
		return knownKeys, nil
	case len(found.own) == 0 && slices.ContainsFunc(found.others, shown): // as OpenSSH: only where no key is known by the very name
		return knownKeys, nil
	case len(found.own) > 0:
		return 0, changed(ep, found.own, key)
	case ep.strict:
		return 0, k.unknown(ep, key)
	}
	return newKey, nil
}

// rsaBits is how long an RSA key is, or that of a certificate; 0: it is of another kind.
func rsaBits(key ssh.PublicKey) int {
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	if k, ok := key.(ssh.CryptoPublicKey); ok {
		if k, ok := k.CryptoPublicKey().(*rsa.PublicKey); ok {
			return k.N.BitLen()
		}
	}
	return 0
}

// whereRevoked names the line or file that revokes the key; "": none.
func (k *knownHosts) whereRevoked(ep *endpoint, key ssh.PublicKey) string {
	if r, ok := k.revocation(ep.known, key); ok {
		return r.place()
	}
	return k.listed(ep.revoked, key)
}

// checkCertificate checks a certificate of an authority that is known. Its names may be patterns, as ssh has it.
func (k *knownHosts) checkCertificate(ep *endpoint, remote net.Addr, cert *ssh.Certificate) error {
	for _, key := range []ssh.PublicKey{cert.Key, cert.SignatureKey} {
		if where := k.whereRevoked(ep, key); where != "" {
			return faultf(ErrHostKeyChanged, nil, "the host certificate of %s is not valid: %s is revoked (%s)", ep.addr(), ssh.FingerprintSHA256(key), where)
		}
	}
	allowed, by := signingAlgos, "ssh takes none but"
	if ep.signing != nil {
		allowed, by = ep.signing, "CASignatureAlgorithms in your ssh config wants"
	}
	if with := cert.Signature.Format; !slices.Contains(allowed, with) {
		return faultf(ErrHostKeyChanged, nil, "the host certificate of %s is not valid: its authority signed it with %s, and %s %s", ep.addr(), printable(with), by, strings.Join(allowed, ", "))
	}
	name := strings.ToLower(ep.host)
	if ep.keyAlias != "" {
		name = strings.ToLower(ep.keyAlias)
	}
	for _, p := range cert.ValidPrincipals {
		if matchWildcard(strings.ToLower(p), name) {
			name = p // the library compares letter by letter
			break
		}
	}
	checker := ssh.CertChecker{
		IsHostAuthority: func(ssh.PublicKey, string) bool { return true }, // looked up already
	}
	if err := checker.CheckHostKey(net.JoinHostPort(name, strconv.Itoa(ep.port)), remote, cert); err != nil {
		return faultf(ErrHostKeyChanged, err, "the host certificate of %s is not valid: %v", ep.addr(), err)
	}
	return nil
}

func (n knownKey) place() string {
	if n.file == "" {
		return "seen earlier in this run"
	}
	return fmt.Sprintf("%s line %d", n.file, n.line)
}

func same(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

// changed names both keys and the lines of the known ones; its hint has the commands that remove these.
func changed(ep *endpoint, known []knownKey, key ssh.PublicKey) error {
	var lines, remove []string
	for _, n := range known {
		lines = append(lines, fmt.Sprintf("%s %s (%s)", n.key.Type(), ssh.FingerprintSHA256(n.key), n.place()))
		name := ep.keyName()
		if n.byAddress {
			name = ep.plainName()
		}
		command := "ssh-keygen -R " + Quote(name) + " -f " + Quote(n.file)
		if n.file != "" && !slices.Contains(remove, command) {
			remove = append(remove, command)
		}
	}
	mend := []string{"find out which machine answers there"}
	if len(remove) > 0 {
		mend = append(mend, "if the host was reinstalled, forget the old key with: "+strings.Join(remove, " && "))
	}
	if ep.via != nil && ep.keyAlias == "" && slices.ContainsFunc(known, func(n knownKey) bool { return n.byAddress }) {
		mend = append(mend, "if that key is of another host with the same address, pin this one's as hostKey in the inventory")
	}
	return hint.With(faultf(ErrHostKeyChanged, nil, "the host key of %s has changed: known is %s, the host shows %s %s; another machine may be in between",
		ep.addr(), strings.Join(lines, ", "), key.Type(), ssh.FingerprintSHA256(key)), "%s", strings.Join(mend, "; "))
}

// unknown has, as its hint, the line that would make the key known.
func (k *knownHosts) unknown(ep *endpoint, key ssh.PublicKey) error {
	return hint.With(faultf(ErrHostKeyUnknown, nil, "the host key of %s is not known and %s: the host shows %s %s",
		ep.addr(), ep.strictBy, key.Type(), ssh.FingerprintSHA256(key)),
		"if that is right, pin it as hostKey in the inventory or add this line to %s: %s", k.own, knownLine(ep.keyName(), key))
}
