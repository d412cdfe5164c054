package kube

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// testTimeout is for what is expected to happen; no test waits for it to pass.
const testTimeout = 2 * time.Minute

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// sharedClient is for the API server that all tests of the package share.
func sharedClient(t *testing.T) *Client {
	return newClient(t, kubetest.Shared(t).Kubeconfig(), Options{})
}

func newClient(t *testing.T, kubeconfig []byte, o Options) *Client {
	t.Helper()
	c, err := New(kubeconfig, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

var made int

// fresh is a name that no test has used: without controllers, namespaces and what is in them stay when they are deleted.
func fresh(name string) string {
	made++
	return fmt.Sprintf("%s-%d", name, made)
}
