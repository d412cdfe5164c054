package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hybridctl/hybridctl/provision/report"
)

// ErrSilent marks registries that do not answer, whatever they are asked. What is one, is a *Silent.
var ErrSilent = errors.New("does not answer")

// Silent is a host that gave no answer. Its text is the sentence for the user.
type Silent struct {
	Host string // that was asked: the registry, or where it sends to
	Err  error
}

func (s *Silent) Error() string {
	sentence, _ := Explain(s.Host, s.Err, time.Now())
	return sentence
}

// Unwrap makes it an ErrSilent.
func (s *Silent) Unwrap() []error { return []error{ErrSilent, s.Err} }

// Cause is why a host gave no answer, as far as that tells what may help.
type Cause int

// The causes.
const (
	CauseOther     Cause = iota
	CauseName            // no one knows the host's name
	CauseResolver        // who would know its name could not be asked
	CauseRefused         // nothing listens there
	CauseProxy           // the proxy that the environment names
	CauseAuthority       // no one knows who signed the certificate
	CauseHostname        // the certificate is another host's
	CauseClock           // the certificate is not good yet, or no more
	CausePlain           // it speaks HTTP, and was asked by HTTPS
)

// Explain is the sentence for a host that gave no answer, without the address that was asked for, which may hold what is secret. now is this
// machine's clock, which certificates are held against. The host may have words behind it: "blobs.example (where r.example sends to)".
func Explain(host string, err error, now time.Time) (sentence string, cause Cause) {
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	var op *net.OpError
	var between *proxyRefusal
	switch {
	case errors.As(err, &between):
		return fmt.Sprintf("%s is asked by the proxy %s, which answers %s", host, between.proxy, between.status), CauseProxy
	case errors.As(err, &op) && op.Op == "proxyconnect":
		why, _ := Reason(op.Err)
		return fmt.Sprintf("%s is asked by %s, which does not answer: %s", host, proxyOf(host), why), CauseProxy
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return host + " speaks HTTP, and was asked by HTTPS", CausePlain
	}
	if sentence, cause = certificate(host, err, now); sentence != "" {
		return sentence, cause
	}
	why, cause := Reason(err)
	return fmt.Sprintf("%s does not answer: %s", host, why), cause
}

// certificate explains one that is not taken; "" = it is something else.
func certificate(host string, err error, now time.Time) (string, Cause) {
	var invalid x509.CertificateInvalidError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var verification *tls.CertificateVerificationError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		const form = time.DateOnly + " 15:04"
		return fmt.Sprintf("%s shows a certificate that is good from %s to %s, and this machine's clock says %s", host,
			invalid.Cert.NotBefore.UTC().Format(form), invalid.Cert.NotAfter.UTC().Format(form), now.UTC().Format(form)), CauseClock
	case errors.As(err, &authority), strings.Contains(err.Error(), "certificate is not trusted"):
		return fmt.Sprintf("%s shows a certificate of an authority that this machine does not know", host), CauseAuthority
	case errors.As(err, &name):
		return fmt.Sprintf("%s shows a certificate that is not for that name", host), CauseHostname
	case errors.As(err, &verification):
		return fmt.Sprintf("%s shows a certificate that is not taken: %v", host, verification.Err), CauseAuthority
	}
	return "", CauseOther
}

// Reason is why a connection failed, or ended, in a few words.
func Reason(err error) (string, Cause) {
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "its name is not known to this machine's resolver (" + dns.Err + ")", CauseName
	case errors.As(err, &dns):
		return "this machine's resolver does not tell its address (" + report.OneLine(dns.Err) + ")", CauseResolver
	case errors.Is(err, syscall.ECONNREFUSED):
		return "it refuses the connection", CauseRefused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "there is no way to it from here", CauseOther
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "it ends the connection", CauseOther
	case errors.As(err, &op) && op.Timeout():
		return "it does not take the connection in time", CauseOther
	}
	return report.OneLine(err.Error()), CauseOther
}

// proxyRefusal is a proxy that does not let through.
type proxyRefusal struct{ proxy, status string }

func (p *proxyRefusal) Error() string {
	return fmt.Sprintf("the proxy %s answers %s", p.proxy, p.status)
}

// NameProxy has a transport's errors tell which proxy refused: Explain names it then.
func NameProxy(t *http.Transport) {
	t.OnProxyConnectResponse = func(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		return &proxyRefusal{proxy.Host, report.OneLine(resp.Status)}
	}
}

// proxyOf names the proxy that the environment has for a host, without the login that its address may hold.
func proxyOf(host string) string {
	host, _, _ = strings.Cut(host, " ")
	for _, scheme := range []string{"https", "http"} {
		if u, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: scheme, Host: host}}); err == nil && u != nil {
			return "the proxy " + u.Host
		}
	}
	return "a proxy"
}

// Hint is what to do about an error of a registry, or "". The flags that it names are those of the verbs that ask registries.
func Hint(err error) string {
	var e *Error
	var s *Silent
	switch {
	case errors.Is(err, ErrNotAsked):
		return ""
	case errors.Is(err, errPrivate):
		return "--allow-private-redirects follows it anyway"
	case errors.As(err, &s):
		return s.hint()
	case errors.Is(err, ErrLogin):
		return "log in with `docker login`, or name a pull secret"
	case errors.Is(err, errPage):
		return Proxies
	case errors.As(err, &e):
		return e.hint()
	}
	return ""
}

// Proxies is the advice where a proxy may be at fault.
const Proxies = "HTTPS_PROXY names the proxy, NO_PROXY the hosts that are asked without it"

func (s *Silent) hint() string {
	switch _, cause := Explain(s.Host, s.Err, time.Now()); cause {
	case CauseName:
		return "correct the name; where only a proxy knows it, HTTPS_PROXY names that"
	case CauseResolver:
		return "look after this machine's resolver (/etc/resolv.conf); where only a proxy knows the name, HTTPS_PROXY names that"
	case CauseRefused:
		return "is it running, and is that its port? Without one, 443 is asked: write HOST:PORT"
	case CauseProxy:
		return Proxies
	case CauseAuthority:
		return "--ca-file FILE names its authority"
	case CauseHostname:
		return "write the name that its certificate is for" + namesOf(s.Err)
	case CauseClock:
		return "set this machine's clock; if it is right, the host's certificate has run out"
	case CausePlain:
		return "--plain-http=" + s.Host + " asks it by HTTP, with credentials and all: only within a network that no one listens in"
	}
	return ""
}

// namesOf lists the names in a certificate: ": a.example, b.example".
func namesOf(err error) string {
	var name x509.HostnameError
	if !errors.As(err, &name) || name.Certificate == nil {
		return ""
	}
	names := slices.Clone(name.Certificate.DNSNames)
	for _, ip := range name.Certificate.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return ""
	}
	return ": " + report.OneLine(strings.Join(names, ", "))
}

func (e *Error) hint() string {
	switch {
	case e.Status == http.StatusTooManyRequests:
		return "log in, as most registries give more to those they know, or try again later"
	case e.Status == http.StatusForbidden:
		return "ask whoever runs " + e.Host + " whether that login may do this"
	case e.Status == http.StatusInsufficientStorage:
		return "have room made there"
	case e.Status == http.StatusRequestEntityTooLarge:
		return "a proxy before the registry bounds what may be sent at once: have the bound raised"
	case e.Status >= http.StatusInternalServerError:
		return "try again later, or ask whoever runs " + e.Host
	}
	return ""
}
