package kube

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/kube/kubetest"
)

func TestTransient(t *testing.T) {
	nodes := schema.GroupResource{Resource: "nodes"}
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"nil", nil, false},
		{"connection refused", fmt.Errorf("dial: %w", syscall.ECONNREFUSED), true},
		{"connection reset", syscall.ECONNRESET, true},
		{"broken off", io.ErrUnexpectedEOF, true},
		{"neither way", &unreachableError{addr: "x"}, true},
		{"429", apierrors.NewTooManyRequests("later", 1), true},
		{"503", apierrors.NewServiceUnavailable("starting"), true},
		{"504", apierrors.NewTimeoutError("slow", 1), true},
		{"etcd leader changed", apierrors.NewInternalError(errors.New("etcdserver: leader changed")), true},
		{"etcd unavailable", apierrors.NewInternalError(errors.New("rpc error: code = Unavailable desc = transport is closing")), true},
		{"etcd's own words, without a reason", &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: 500, Message: "etcdserver: request timed out"}}, true},
		{"another error without a reason", &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: 500, Message: "no"}}, false},
		{"another internal error", apierrors.NewInternalError(errors.New("failed calling webhook")), false},
		{"404", apierrors.NewNotFound(nodes, "a"), false},
		{"409", apierrors.NewConflict(nodes, "a", errors.New("changed")), false},
		{"422", apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "patch", nodes, "a", "bad", 0, true), false},
		{"401", &failure{kind: ErrUnauthorized, text: "no"}, false},
		{"interrupted", fmt.Errorf("x: %w", context.Canceled), false},
		{"out of time", ended(context.DeadlineExceeded, syscall.ECONNREFUSED), false},
	}
	for _, tt := range tests {
		if got := Transient(tt.err); got != tt.want {
			t.Errorf("%s: Transient(%v) = %v", tt.name, tt.err, got)
		}
	}
}

func TestDo_RepeatsOnlyTransientErrors(t *testing.T) {
	c := &Client{server: "a:1", requestTimeout: time.Minute, retryFor: time.Minute}
	tries := 0
	err := c.do(t.Context(), "try", func(context.Context) error {
		if tries++; tries < 3 {
			return syscall.ECONNREFUSED
		}
		return nil
	})
	if err != nil || tries != 3 {
		t.Errorf("err = %v after %d tries, want success at the third", err, tries)
	}
	tries = 0
	err = c.do(t.Context(), "try", func(context.Context) error {
		tries++
		return apierrors.NewBadRequest("nonsense")
	})
	if !errors.Is(err, ErrInvalid) || tries != 1 {
		t.Errorf("err = %v after %d tries, want ErrInvalid at once", err, tries)
	}
}

func TestDo_EndsWithItsContextAndSaysWhatWasInTheWay(t *testing.T) {
	c := &Client{server: "a:1", requestTimeout: time.Minute, retryFor: time.Minute}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := c.do(ctx, "try", func(context.Context) error { return syscall.ECONNREFUSED })
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("err = %v, want the deadline and the refusal", err)
	}
}

func TestDo_BoundsOneRequest(t *testing.T) {
	c := &Client{server: "a:1", requestTimeout: time.Millisecond, retryFor: time.Nanosecond}
	err := c.do(t.Context(), "try", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	if !errors.Is(err, ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v, want ErrUnreachable of a silent server", err)
	}
	if want := "try: the API server at a:1 did not answer a request within 1ms"; err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

func TestUnauthorized(t *testing.T) {
	server := kubetest.Shared(t)
	kubeconfig, err := server.StrangerKubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, kubeconfig, Options{})
	want := "the API server at " + server.Addr() + " does not accept the kubeconfig's credentials"
	if _, err := c.Nodes(testContext(t)); !errors.Is(err, ErrUnauthorized) || err.Error() != "list the nodes: "+want {
		t.Errorf("Nodes: %v", err)
	}
	if err := c.WaitAPI(testContext(t)); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("WaitAPI: %v", err)
	}
	if err := c.WaitNodesReady(testContext(t), []string{"a"}, WaitOptions{}); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("WaitNodesReady: %v", err)
	}
}

// Whoever waits for the API server can say so, until the request is over; no one has to listen.
func TestDo_TellsWhatIsWaitedFor(t *testing.T) {
	open := map[string]int{}
	c := &Client{server: "a:1", requestTimeout: time.Minute, retryFor: time.Minute, waiting: func(what func() string) func() {
		open[what()]++
		return func() { open[what()]-- }
	}}
	err := c.do(t.Context(), "list the nodes", func(context.Context) error {
		if open["the API server, to list the nodes"] != 1 {
			t.Errorf("waited for: %v", open)
		}
		return nil
	})
	if err != nil || open["the API server, to list the nodes"] != 0 {
		t.Errorf("afterwards %v, %v", open, err)
	}
}

// An error is what and why; how it is mended stands on a line of its own.
func TestExplain_CertificateThatHasEnded(t *testing.T) {
	err := (&Client{server: "https://192.0.2.1:6443"}).explain(fmt.Errorf("Get: %w", x509.CertificateInvalidError{Reason: x509.Expired, Detail: "it is late"}))
	if !errors.Is(err, ErrExpired) || !strings.HasSuffix(err.Error(), "(it is late)") || hint.Text(err) != `"kubeadm certs renew apiserver" on each control plane makes another` {
		t.Errorf("%v: %s", err, hint.Text(err))
	}
}
