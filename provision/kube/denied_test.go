package kube

import (
	"errors"
	"fmt"
	"testing"
)

// Only what admission says is a denial: that someone may not, or that the API server is not reached, is none.
func TestDenied(t *testing.T) {
	for text, want := range map[string]bool{
		`admission webhook "validate.kyverno.svc-fail" denied the request: resource Pod/x was blocked due to: disallow-host-path`:          true,
		`pods "a-0" is forbidden: ValidatingAdmissionPolicy 'no-host-path' with binding 'all' denied request: failed expression: …`:        true,
		`pods "a-0" is forbidden: violates PodSecurity "restricted:latest": hostPath volumes (volume "host")`:                              true,
		`pods "a-0" is forbidden: exceeded quota: pods, requested: pods=1, used: pods=10, limited: pods=10`:                                true,
		`pods "a-0" is forbidden: [maximum cpu usage per Container is 1, but limit is 2]`:                                                  true,
		`pods "a-0" is forbidden: memory max limit to request ratio per Container is 2, but provided ratio is 4.000000`:                    true,
		`pods "a-0" is forbidden: insufficient quota to consume: pods`:                                                                     true,
		`pods "a-0" is forbidden: insufficient quota to match these scopes: [{PriorityClass In [high]}]`:                                   true,
		`pods "a-0" is forbidden: status unknown for quota: compute, resources: pods`:                                                      true,
		`pods "a-0" is forbidden: pod tolerations (possibly merged with namespace default tolerations) are not in the namespace whitelist`: true,
		`pods "a-0" is forbidden: pod node label selector conflicts with its namespace node label selector`:                                true,
		`pods "a-0" is forbidden: image policy webhook backend denied one or more images: not signed`:                                      true,
		`pods "a-0" is forbidden: unable to create new content in namespace x because it is being terminated`:                              false,
		`pods is forbidden: User "x" cannot create resource "pods" in API group "" in the namespace "y"`:                                   false,
		`Internal error occurred: failed calling webhook "validate.kyverno.svc-fail": failed to call webhook: connection refused`:          false,
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
