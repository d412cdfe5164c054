package remote

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/hybridctl/hybridctl/provision/hint"
)

// login is one attempt to be let in: the keys to show, and for the error what was shown and what the server would take.
type login struct {
	signers []ssh.Signer
	tried   []string
	methods []string // what the server offers
	banner  string   // what it says before it lets anybody in
	mend    []string // what to do about keys that were not shown
}

// login collects the keys for ep in the order they are shown: the files asked for (by the agent's hand where it has them), the
// agent's other keys, the user's usual files. hold stops the login's clock while the user types a passphrase.
func (k *keyring) login(ep *endpoint, hold func() func()) *login {
	l := &login{}
	if ep.noKeys {
		l.tried = append(l.tried, "no key, as PubkeyAuthentication is no in your ssh config")
		l.mend = append(l.mend, "hybridctl logs in with keys alone: set PubkeyAuthentication yes for this host in your ssh config")
		return l
	}
	l.tried, l.mend = append(l.tried, ep.unspelled...), append(l.mend, ep.mend...)
	agentKeys, err := k.agent(ep.agent, hold)
	if err != nil {
		l.tried = append(l.tried, fmt.Sprintf("agent %s (%v)", ep.agent, err))
	}
	shown := map[string]bool{}
	show := func(s ssh.Signer, what string) {
		id := string(s.PublicKey().Marshal())
		if shown[id] {
			return
		}
		shown[id] = true
		if bits := rsaBits(s.PublicKey()); bits > 0 && bits < ep.rsaBits {
			l.tried = append(l.tried, fmt.Sprintf("%s (not shown: %d bits, and RequiredRSASize in your ssh config wants %d)", what, bits, ep.rsaBits))
			return
		}
		within := ep.restricted(s)
		if within == nil {
			l.tried = append(l.tried, fmt.Sprintf("%s (not shown: it is %s, which PubkeyAcceptedAlgorithms in your ssh config leaves out)", what, s.PublicKey().Type()))
			return
		}
		l.signers = append(l.signers, within)
		l.tried = append(l.tried, what+" ("+ssh.FingerprintSHA256(s.PublicKey())+")")
	}
	files := func(paths []string, optional bool) {
		for _, path := range paths {
			s, cert, err := k.signer(path, agentKeys, hold)
			if err != nil {
				if !optional || !missing(err) {
					l.tried = append(l.tried, fmt.Sprintf("key %s (%v)", path, cause(err)))
				}
				if errors.As(err, new(*exposed)) {
					l.mend = append(l.mend, "let no one else read your key: chmod 600 "+Quote(path))
				}
				continue
			}
			if cert != nil {
				show(cert, "certificate "+path+"-cert.pub")
			}
			show(s, "key "+path)
		}
	}
	for _, path := range ep.certificates {
		s, err := k.certified(path, ep, agentKeys, hold)
		if err != nil {
			l.tried = append(l.tried, fmt.Sprintf("certificate %s (%v)", path, cause(err)))
			continue
		}
		show(s, "certificate "+path)
	}
	files(ep.identities, false)
	if !ep.noAgent {
		for _, s := range agentKeys {
			show(s, "agent key")
		}
	}
	files(ep.fallbacks, true)
	return l
}

// loginAlgos are the algorithms of keys and certificates that a login may use, as ssh names them.
var loginAlgos = []string{
	ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01, ssh.CertAlgoSKED25519v01, ssh.CertAlgoSKECDSA256v01,
	ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
	ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256,
	ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
}

// ofRSA are the algorithms by the key that they are for; all others have its name.
var ofRSA = map[string]struct{ key, signature string }{
	ssh.KeyAlgoRSASHA256:     {ssh.KeyAlgoRSA, ssh.KeyAlgoRSASHA256},
	ssh.KeyAlgoRSASHA512:     {ssh.KeyAlgoRSA, ssh.KeyAlgoRSASHA512},
	ssh.CertAlgoRSASHA256v01: {ssh.CertAlgoRSAv01, ssh.KeyAlgoRSASHA256},
	ssh.CertAlgoRSASHA512v01: {ssh.CertAlgoRSAv01, ssh.KeyAlgoRSASHA512},
}

// restricted is a key that signs with accepted algorithms alone; nil when there are none for it.
func (e *endpoint) restricted(s ssh.Signer) ssh.Signer {
	kind := s.PublicKey().Type()
	if e.accepted == nil || slices.Contains(e.accepted, kind) {
		return s
	}
	var signatures []string
	for _, a := range e.accepted {
		if of := ofRSA[a]; of.key == kind {
			signatures = append(signatures, of.signature)
		}
	}
	signer, able := s.(ssh.AlgorithmSigner)
	if !able {
		return nil
	}
	only, err := ssh.NewSignerWithAlgorithms(signer, signatures) // an error without any
	if err != nil {
		return nil
	}
	return only
}

// signer returns the key in path, and its certificate.
func (k *keyring) signer(path string, agentKeys []ssh.Signer, hold func() func()) (s, cert ssh.Signer, err error) {
	f := k.file(path)
	if f.err != nil {
		return nil, nil, f.err
	}
	s = f.signer
	if s == nil && f.public != nil {
		for _, a := range agentKeys {
			if same(a.PublicKey(), f.public) {
				s = a
			}
		}
	}
	switch {
	case s != nil:
	case f.unread != nil:
		return nil, nil, f.unread
	case f.text == nil:
		return nil, nil, fmt.Errorf("a public key, and the agent does not have its private half")
	case k.prompt == nil:
		return nil, nil, fmt.Errorf("needs a passphrase, and there is no terminal to ask on")
	case f.public != nil:
		s = &lockedSigner{file: f, ring: k, hold: hold}
	default: // an old PEM file without its .pub: only the passphrase tells what key it is
		if s, err = k.open(f, hold); err != nil {
			return nil, nil, err
		}
	}
	if f.cert != nil {
		if cert, err = ssh.NewCertSigner(f.cert, s); err != nil {
			k.log.Warn("certificate left out", "file", path+"-cert.pub", "error", err)
			cert = nil
		}
	}
	return s, cert, nil
}

// certified returns a certificate with the key that it is for: one of the files, or one of the agent's.
func (k *keyring) certified(path string, ep *endpoint, agentKeys []ssh.Signer, hold func() func()) (ssh.Signer, error) {
	public, err := readPublic(path)
	if err != nil {
		return nil, err
	}
	cert, ok := public.(*ssh.Certificate)
	if !ok {
		return nil, fmt.Errorf("not a certificate")
	}
	for _, file := range slices.Concat(ep.identities, ep.fallbacks) {
		if f := k.file(file); f.public == nil || !same(f.public, cert.Key) {
			continue
		}
		if s, _, err := k.signer(file, agentKeys, hold); err == nil {
			return ssh.NewCertSigner(cert, s)
		}
	}
	for _, s := range agentKeys {
		if same(s.PublicKey(), cert.Key) {
			return ssh.NewCertSigner(cert, s)
		}
	}
	return nil, fmt.Errorf("no key here is the one that it is for")
}

// method is the way in: public keys only.
func (l *login) method() []ssh.AuthMethod {
	if len(l.signers) == 0 {
		return nil
	}
	return []ssh.AuthMethod{ssh.PublicKeys(l.signers...)}
}

// note keeps what the server would take, for the error.
func (l *login) note(ctx *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	l.methods = ctx.AllowedMethods
	return nil, nil
}

// heard keeps what the server says while it decides.
func (l *login) heard(banner string) error {
	l.banner = shorten(banner, 4<<10)
	return nil
}

// refused says who was refused where, what was tried and what the server takes.
func (l *login) refused(ep *endpoint, cause error) error {
	tried := "there was no key to try"
	if len(l.tried) > 0 {
		tried = "tried " + strings.Join(l.tried, ", ")
	}
	takes := ""
	if len(l.methods) > 0 {
		takes = "; the server takes " + strings.Join(l.methods, ", ")
	}
	if said := lastLine(l.banner); said != "" {
		takes += "; it says " + strconv.Quote(said)
	}
	err := error(faultf(ErrAuth, cause, "%s does not let user %s in: %s%s", ep.addr(), ep.user, tried, takes))
	if len(l.mend) > 0 {
		err = hint.With(err, "%s", strings.Join(l.mend, "; "))
	}
	return err
}
