package kube

import (
	"errors"
	"regexp"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// denials are what the API server says when admission refuses an object. Its status says nothing: each policy chooses its own.
//
//   - webhooks: apiserver/pkg/admission/plugin/webhook/errors/statuserror.go
//   - ValidatingAdmissionPolicy: apiserver/pkg/admission/plugin/policy/validating/dispatcher.go
//   - Pod Security: pod-security-admission/policy
//   - quotas and limits: apiserver/pkg/admission/plugin/resourcequota/controller.go, kubernetes/plugin/pkg/admission/limitranger
//   - what a namespace allows of tolerations, nodes and images: kubernetes/plugin/pkg/admission/{podtolerationrestriction,podnodeselector,imagepolicy}
var denials = regexp.MustCompile(`admission webhook ".*" denied the request` +
	`|ValidatingAdmissionPolicy '.*' with binding '.*' denied request` +
	`|is forbidden: violates PodSecurity` +
	`|is forbidden: (?:exceeded|failed) quota: |is forbidden: insufficient quota to |is forbidden: status unknown for quota: ` +
	`|is forbidden: \[?(?:(?:minimum|maximum) |\S+ max limit to request ratio )` +
	`|is forbidden: (?:pod|namespace) tolerations |is forbidden: pod node label selector ` +
	`|is forbidden: (?:image policy webhook backend denied one or more images|one or more images rejected by webhook backend)`)

// Denied reports whether an admission policy, or a quota, refuses an object: what is asked for is not wanted there. That the kubeconfig's user
// lacks the right is another thing.
func Denied(err error) bool {
	var status apierrors.APIStatus
	known := errors.As(err, &status) || errors.Is(err, ErrForbidden) || errors.Is(err, ErrInvalid)
	return known && denials.MatchString(err.Error())
}
