package image

import (
	"errors"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Ref is a reference in parts.
type Ref struct {
	Repository string // with the registry: registry.k8s.io/kube-proxy
	Tag        string
}

// ParseRef takes a full name: registry, repository and tag, all spelled out, as the container runtime knows images.
func ParseRef(s string) (Ref, error) {
	if strings.Contains(s, "@") {
		return Ref{}, errors.New("a digest does not belong in it, only a tag")
	}
	if _, err := name.NewTag(s, name.StrictValidation); err != nil {
		return Ref{}, errors.New("not a full image name with registry and tag, such as registry.k8s.io/pause:3.10")
	}
	colon := strings.LastIndex(s, ":")
	return Ref{Repository: s[:colon], Tag: s[colon+1:]}, nil
}

// FullName is an image's name with its registry and tag, as container runtimes have it: nginx is index.docker.io/library/nginx:latest. What
// is no name stays as it is.
func FullName(image string) string {
	ref, err := name.ParseReference(image)
	if err != nil {
		return image
	}
	return ref.Name()
}

// RegistryOf is the host that an image's name names, or stands for; "" = it is no name.
func RegistryOf(image string) string {
	ref, err := name.ParseReference(image)
	if err != nil {
		return ""
	}
	return ref.Context().RegistryStr()
}
