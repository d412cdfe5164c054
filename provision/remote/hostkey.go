package remote

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
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
	var first []string
	for _, known := range k.lookup(ep.addr()) {
		if known.authority {
			first = append(certAlgos[:len(certAlgos):len(certAlgos)], first...)
		} else {
			first = append(first, algosOf(known.key)...)
		}
	}
	var all []string
	for _, a := range append(first, allAlgos...) {
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return [][]string{all}
}

// check decides whether ep may show key. When it may but is new, the caller adds it once the login has succeeded.
func (k *knownHosts) check(ep *endpoint, remote net.Addr, key ssh.PublicKey) (isNew bool, err error) {
	if ep.pin != nil {
		if ssh.FingerprintSHA256(key) == ep.pin.fingerprint {
			return false, nil
		}
		return false, faultf(ErrHostKeyChanged, nil,
			"the host key of %s is not the pinned one: pinned is %s, the host shows %s %s; if that is right, change hostKey in the inventory",
			ep.addr(), ep.pin.fingerprint, key.Type(), ssh.FingerprintSHA256(key))
	}
	known := k.lookup(ep.addr())
	if cert, ok := key.(*ssh.Certificate); ok {
		if slices.ContainsFunc(known, func(n knownKey) bool { return n.authority && same(n.key, cert.SignatureKey) }) {
			return false, k.checkCertificate(ep, remote, cert)
		}
		key = cert.Key
	}
	if r, ok := k.revocation(key); ok {
		return false, faultf(ErrHostKeyChanged, nil, "the host key of %s, %s, is revoked (%s)",
			ep.addr(), ssh.FingerprintSHA256(key), r.place())
	}
	known = slices.DeleteFunc(known, func(n knownKey) bool { return n.authority })
	switch {
	case slices.ContainsFunc(known, func(n knownKey) bool { return same(n.key, key) }):
		return false, nil
	case len(known) > 0:
		return false, changed(ep, known, key)
	case ep.strict:
		return false, k.unknown(ep, key)
	}
	return true, nil
}

func (k *knownHosts) checkCertificate(ep *endpoint, remote net.Addr, cert *ssh.Certificate) error {
	checker := ssh.CertChecker{
		IsHostAuthority: func(ssh.PublicKey, string) bool { return true }, // looked up already
		IsRevoked: func(c *ssh.Certificate) bool {
			_, key := k.revocation(c.Key)
			_, authority := k.revocation(c.SignatureKey)
			return key || authority
		},
	}
	if err := checker.CheckHostKey(ep.addr(), remote, cert); err != nil {
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

// changed names both keys, the lines of the known ones and the commands that remove them.
func changed(ep *endpoint, known []knownKey, key ssh.PublicKey) error {
	var lines, files []string
	for _, n := range known {
		lines = append(lines, fmt.Sprintf("%s %s (%s)", n.key.Type(), ssh.FingerprintSHA256(n.key), n.place()))
		if n.file != "" && !slices.Contains(files, n.file) {
			files = append(files, n.file)
		}
	}
	var remove []string
	for _, f := range files {
		remove = append(remove, "ssh-keygen -R "+Quote(knownhosts.Normalize(ep.addr()))+" -f "+Quote(f))
	}
	text := fmt.Sprintf("the host key of %s has changed: known is %s, the host shows %s %s; somebody may be in between",
		ep.addr(), strings.Join(lines, ", "), key.Type(), ssh.FingerprintSHA256(key))
	if len(remove) > 0 {
		text += "; if the host was installed anew, forget the old key with: " + strings.Join(remove, " && ")
	}
	return &fault{kind: ErrHostKeyChanged, text: text}
}

// unknown gives the line that would make the key known.
func (k *knownHosts) unknown(ep *endpoint, key ssh.PublicKey) error {
	return faultf(ErrHostKeyUnknown, nil,
		"the host key of %s is not known and host keys are strict: the host shows %s %s; if that is right, pin it as hostKey in the inventory or add this line to %s: %s",
		ep.addr(), key.Type(), ssh.FingerprintSHA256(key), k.own, knownhosts.Line([]string{ep.addr()}, key))
}
