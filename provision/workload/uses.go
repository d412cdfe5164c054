package workload

import (
	"strings"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// Use is an image that a pod template runs, and where it is named.
type Use struct {
	Image        string
	Object       string // "Deployment team/web"
	Owner        string // "Kind/name" of the object's controller, or ""
	Path         string // of the image's field
	File         string // "" for an object of the API server
	Line, Column int
	Archs        []platform.Arch // that its constraints let it onto
	Start        *Start          // what its container starts; nil = nothing, as in an image volume
	Secrets      []PullSecret    // of the pod, or of its service account, as far as they stand among the manifests
	Why          string          // what of them is not to be had; "" = nothing
}

// Uses lists the images of all templates, each where it is named. Those that their template keeps off all of these architectures are left out,
// unless archs is nil.
func (s *Set) Uses(archs []platform.Arch) []Use {
	var out []Use
	secrets := s.pullSecrets()
	for _, t := range s.Templates() {
		allowed := t.Allowed(archs)
		if len(allowed) == 0 && archs != nil {
			continue
		}
		var found []PullSecret
		var why []string
		if !s.FromAPI { // a cluster's secrets are not read along with its workloads
			found, why = secrets.of(t)
		}
		for _, u := range t.uses() {
			one := Use{Image: u.image, Object: t.Object.String(), Owner: t.Object.Owner, Path: u.path, Archs: allowed, Start: u.start(), Secrets: found, Why: strings.Join(why, "; ")}
			if t.Object.Line > 0 {
				one.File, one.Line, one.Column = t.Object.File, u.node.Line, u.node.Column
			}
			out = append(out, one)
		}
	}
	return out
}
