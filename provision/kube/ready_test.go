package kube

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube/kubetest"
)

func TestFailingChecks(t *testing.T) {
	body := "[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\n[-]poststarthook/rbac/bootstrap-roles failed: reason withheld\nreadyz check failed\n"
	if got, want := failingChecks(body), "etcd, poststarthook/rbac/bootstrap-roles"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWaitAPI_UntilItAnswersAndAfterRestarts(t *testing.T) {
	server := kubetest.Start(t)
	c := newClient(t, server.Kubeconfig(), Options{})
	if err := c.WaitAPI(testContext(t)); err != nil {
		t.Fatal(err)
	}
	version, err := c.Version(testContext(t))
	if err != nil || !strings.HasPrefix(version, "v1.") {
		t.Errorf("version = %q, %v", version, err)
	}

	server.StopAPI()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err = c.WaitAPI(ctx)
	if !errors.Is(err, ErrNotReady) || !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stopped server: %v", err)
	}
	if !strings.Contains(err.Error(), "direct: connect: connection refused") {
		t.Errorf("the last reason is missing: %v", err)
	}

	// Requests and waits that are under way when the server comes back succeed.
	answers := make(chan error, 2)
	go func() { answers <- c.WaitAPI(testContext(t)) }()
	go func() { _, err := c.Nodes(testContext(t)); answers <- err }()
	if err := server.StartAPI(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
}
