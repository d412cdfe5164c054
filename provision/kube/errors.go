package kube

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/hybridctl/hybridctl/provision/hint"
)

// The sentinels. What to do about them:
var (
	// ErrKubeconfig: the document cannot be used. Fetch it again, or tell the user.
	ErrKubeconfig = errors.New("kubeconfig")
	// ErrUnreachable: no way to the API server answers. Transient; when it lasts, tell the user both causes.
	ErrUnreachable = errors.New("the API server does not answer")
	// ErrBusy: the API server is there, and asks to be left alone for a while. Transient; when it lasts, tell the user for how long.
	ErrBusy = errors.New("the API server is busy")
	// ErrUntrusted: what answers is not the kubeconfig's cluster. Stop: the kubeconfig is stale or the address is another's.
	ErrUntrusted = errors.New("another server answers")
	// ErrExpired: the API server's certificate has ended. Stop: someone has to renew it.
	ErrExpired = errors.New("the API server's certificate has ended")
	// ErrUnauthorized: the API server does not know the kubeconfig's user. Stop: fetch the kubeconfig again.
	ErrUnauthorized = errors.New("credentials are not accepted")
	// ErrForbidden: rights, a quota or an admission policy are in the way. Tell the user.
	ErrForbidden = errors.New("forbidden")
	// ErrNotFound: the object is not there.
	ErrNotFound = errors.New("not found")
	// ErrConflict: another manager owns a field, or the object changed meanwhile. Tell the user, or apply with Force.
	ErrConflict = errors.New("conflict")
	// ErrInvalid: the API server refuses the object, or the manifest cannot be read. The user mends the manifest.
	ErrInvalid = errors.New("invalid")
	// ErrNotReady: a wait ended before what it waited for. Tell the user what is missing; running again goes on.
	ErrNotReady = errors.New("not ready")
	// ErrTooLong: the API server's answer does not end. Stop: something else than an API server may stand in its place.
	ErrTooLong = errors.New("answer too long")
	// ErrLocked: another program is changing the kubeconfig file. The user tries again.
	ErrLocked = errors.New("locked")
)

// failure is an error for the user, in one sentence, of one of the kinds above.
type failure struct {
	kind  error
	text  string
	cause error // may be nil
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() []error { return []error{f.kind, f.cause} }

// Transient reports whether the same request may well succeed a little later: nothing answered, the server is starting,
// overloaded or choosing a new etcd leader. The end of a context is never transient.
func Transient(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if errors.Is(err, ErrUntrusted) || errors.Is(err, ErrUnauthorized) {
		return false
	}
	return errors.Is(err, ErrUnreachable) || errors.Is(err, ErrBusy) || connectionLost(err) || serverBusy(err)
}

func connectionLost(err error) bool {
	for _, lost := range []error{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed} {
		if errors.Is(err, lost) {
			return true
		}
	}
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || utilnet.IsHTTP2ConnectionLost(err) || utilnet.IsProbableEOF(err)
}

func serverBusy(err error) bool {
	var status apierrors.APIStatus
	switch {
	case apierrors.IsTooManyRequests(err), apierrors.IsServiceUnavailable(err), apierrors.IsTimeout(err), apierrors.IsServerTimeout(err):
		return true
	case !errors.As(err, &status) || status.Status().Code != http.StatusInternalServerError:
		return false
	}
	// etcd's own errors come as internal ones, or without a reason: the text is all there is to tell them from a broken webhook.
	text := err.Error()
	return strings.Contains(text, "etcdserver:") || strings.Contains(text, "rpc error: code = Unavailable")
}

// explain turns an error of client-go into one for the user: one sentence, of a kind, without request lines.
func (c *Client) explain(err error) error {
	var unreachable *unreachableError
	var known *failure
	var busy *busyError
	var invalid x509.CertificateInvalidError
	if wrapped := new(url.Error); (errors.Is(err, ErrTooLong) || errors.As(err, &wrapped)) && errors.As(err, &known) {
		return known // without what client-go puts before it
	}
	switch {
	case err == nil, errors.As(err, &known), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &unreachable):
		return unreachable
	case errors.As(err, &busy):
		return busy
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return hint.With(&failure{ErrExpired, "the API server at " + c.server + " has a certificate that is not good at this time, or this machine's clock is wrong (" + invalid.Detail + ")", err},
			"\"kubeadm certs renew apiserver\" on each control plane makes another")
	case foreignServer(err):
		return &failure{ErrUntrusted, "the server at " + c.server + " is not the kubeconfig's cluster: its certificate is not of the cluster's authority", err}
	case apierrors.IsUnauthorized(err):
		return &failure{ErrUnauthorized, "the API server at " + c.server + " does not accept the kubeconfig's credentials", err}
	case connectionLost(err):
		return &failure{ErrUnreachable, "the API server at " + c.server + " broke the connection off: " + plainCause(err).Error(), err}
	}
	if kind := kindOf(err); kind != nil {
		return &failure{kind, statusText(err), err}
	}
	return err
}

func kindOf(err error) error {
	switch {
	case apierrors.IsForbidden(err):
		return ErrForbidden
	case apierrors.IsNotFound(err):
		return ErrNotFound
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return ErrConflict
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsUnsupportedMediaType(err):
		return ErrInvalid
	case strings.Contains(err.Error(), "failed to create typed patch object"):
		return ErrInvalid // a field that the schema does not have: the API server gives it neither reason nor a code of its own
	}
	return nil
}

// statusText is the API server's own sentence, on one line.
func statusText(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// terminating reports whether an object was refused because its namespace is on its way out.
func terminating(err error) bool {
	return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}
