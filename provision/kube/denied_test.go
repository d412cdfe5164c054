package kube

import (
	"errors"
	"fmt"
	"testing"
)

// Only what admission says is a denial: that somebody may not, or that the API server is not reached, is none.
func TestDenied(t *testing.T) {
	for text, want := range map[string]bool{
		`admission webhook "validate.kyverno.svc-fail" denied the request: resource Pod/x was blocked due to: disallow-host-path`:   true,
		`pods "a-0" is forbidden: ValidatingAdmissionPolicy 'no-host-path' with binding 'all' denied request: failed expression: …`: true,
		`pods "a-0" is forbidden: violates PodSecurity "restricted:latest": hostPath volumes (volume "host")`:                       true,
		`pods "a-0" is forbidden: exceeded quota: pods, requested: pods=1, used: pods=10, limited: pods=10`:                         true,
		`pods "a-0" is forbidden: [maximum cpu usage per Container is 1, but limit is 2]`:                                           true,
		`pods is forbidden: User "x" cannot create resource "pods" in API group "" in the namespace "y"`:                            false,
		`Internal error occurred: failed calling webhook "validate.kyverno.svc-fail": failed to call webhook: connection refused`:   false,
		`namespaces "x" not found`: false,
	} {
		for _, kind := range []error{ErrForbidden, ErrInvalid} {
			if got := Denied(fmt.Errorf("%w: %s", kind, text)); got != want {
				t.Errorf("%s: %v", text, got)
			}
		}
		if Denied(errors.New(text)) {
			t.Errorf("an error that is not the API server's: %s", text)
		}
	}
	if Denied(nil) {
		t.Error("no error is a denial")
	}
}
