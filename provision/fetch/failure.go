package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/report"
)

// The sentinels of this package. Each error that wraps one is a sentence for the user; what may help stands in its hints.
var (
	// ErrInput: a source, an option or the lock file is wrong. The user corrects it.
	ErrInput = errors.New("wrong input")
	// ErrUnreachable: a host does not answer. The user names another source, or brings a bundle.
	ErrUnreachable = errors.New("no answer")
	// ErrContent: what came is not what the catalogue or the lock says. It is not used; the user asks whoever runs the source.
	ErrContent = errors.New("wrong content")
	// ErrLacks: what an address or a name leads to is not there, or not for every architecture.
	ErrLacks = errors.New("not there")
	// ErrStopped: an answer ended, or came no further. The next run goes on from there.
	ErrStopped = errors.New("stopped")
	// ErrDisk: the cache cannot be written.
	ErrDisk = errors.New("cannot be written")
	// ErrOffline: something is missing, and nothing was to be asked for.
	ErrOffline = errors.New("missing, and not asked for")
)

// failure is a sentence that is one of the sentinels, and wraps what it came of.
type failure struct {
	text  string
	kind  error
	cause error
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() []error {
	if f.cause == nil {
		return []error{f.kind}
	}
	return []error{f.kind, f.cause}
}

func failf(kind error, format string, args ...any) error {
	return &failure{text: fmt.Sprintf(format, args...), kind: kind}
}

// waysOut are what somebody without internet can do.
const waysOut = "name a mirror in spec.sources (or by --source), bring a bundle along as one file (hybridctl bundle export elsewhere, then spec.bundle: FILE.tar), " +
	"or make a bundle directory of files that you have (hybridctl bundle create, then spec.bundle: DIR)"

// unreachable says that a host does not answer, and the ways out.
func unreachable(host string, err error, now time.Time) error {
	if sentence, advice := certificate(host, err, now); sentence != "" {
		return hint.With(&failure{sentence, ErrUnreachable, err}, "%s", advice)
	}
	return hint.With(&failure{fmt.Sprintf("%s does not answer: %s", host, why(err)), ErrUnreachable, err}, waysOut)
}

// certificate explains a certificate that is not taken; "" = it is something else.
func certificate(host string, err error, now time.Time) (sentence, advice string) {
	var invalid x509.CertificateInvalidError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var verification *tls.CertificateVerificationError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		const form = time.DateOnly + " 15:04"
		return fmt.Sprintf("%s shows a certificate that is good from %s to %s, and this machine's clock says %s", host,
			invalid.Cert.NotBefore.UTC().Format(form), invalid.Cert.NotAfter.UTC().Format(form), now.UTC().Format(form)), "set this machine's clock; if it is right, the host's certificate has run out"
	case errors.As(err, &authority):
		return fmt.Sprintf("%s shows a certificate of an authority that this machine does not know", host),
			"name the authority's certificate: caFile in spec.sources, or --ca-file FILE"
	case errors.As(err, &name):
		return fmt.Sprintf("%s shows a certificate that is not for that name", host), "correct the name in spec.sources, or the host's certificate"
	case errors.As(err, &verification):
		return fmt.Sprintf("%s shows a certificate that is not taken: %v", host, verification.Err), "name the authority's certificate: caFile in spec.sources, or --ca-file FILE"
	}
	return "", ""
}

// why is the cause of a failed connection in a few words, without the address that it was for, which may hold what is secret.
func why(err error) string {
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &dns):
		return "its name is not known to this machine's resolver (" + dns.Err + ")"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "it refuses the connection"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "there is no way to it from here"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "it ends the connection"
	case errors.As(err, &op) && op.Timeout():
		return "it does not take the connection in time"
	case errors.Is(err, registry.ErrSilent):
		_, text, _ := strings.Cut(err.Error(), registry.ErrSilent.Error()+": ")
		return report.OneLine(text)
	}
	return report.OneLine(err.Error())
}

// writing explains why a file of the cache could not be written; nil when the error is another one.
func writing(what, dir string, had progress, err error) error {
	var cause syscall.Errno
	if !errors.As(err, &cause) {
		return nil
	}
	if cause == syscall.ENOSPC || cause == syscall.EDQUOT {
		return hint.With(&failure{fmt.Sprintf("%s: there is no room left in %s (%s came); the next run goes on from there", what, dir, had), ErrDisk, err},
			"make room, or have the cache elsewhere: XDG_CACHE_HOME=DIR; hybridctl bundle gc deletes what no bundle uses")
	}
	return hint.With(&failure{fmt.Sprintf("%s: %s cannot be written: %v", what, dir, cause), ErrDisk, err}, "have the cache elsewhere: XDG_CACHE_HOME=DIR")
}

// progress is how much of something there is.
type progress struct{ have, size int64 }

func (p progress) String() string {
	if p.size < 0 {
		return report.Bytes(p.have)
	}
	return report.Bytes(p.have) + " of " + report.Bytes(p.size)
}

// isEnd reports whether an error is the end of the caller's own context.
func isEnd(ctx context.Context, err error) bool { return err != nil && ctx.Err() != nil }
