package steps

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/plan"
)

// site makes the world's plan one whose hosts pull from a registry with a login.
func (w *world) site() {
	w.t.Helper()
	c := w.in.Cluster
	c.Spec.Images = inventory.ImagesRegistry
	c.Spec.Registries = []inventory.Registry{{Host: "harbor.example", Username: "robot", PasswordEnv: "P"}}
	w.in.Site = plan.Site{Passwords: map[string]inventory.Secret{"harbor.example": "secret"}}
	var err error
	if w.plan, err = plan.Build(w.in); err != nil {
		w.t.Fatal(err)
	}
}

func TestRegistries_AreToldAndForgotten(t *testing.T) {
	w := newWorld(t)
	w.site()
	s := w.step("worker/registries")
	if _, err := w.x.Apply(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got, want := w.done(), []string{"apply registries worker"}; !slices.Equal(got, want) {
		t.Errorf("done: %q, want %q", got, want)
	}
	s.Inputs = plan.FilesInputs{Prune: true} // as when spec.registries is not in the inventory any more
	if _, err := w.x.Apply(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got, want := w.done(), []string{"apply registries worker", "remove registries worker"}; !slices.Equal(got, want) {
		t.Errorf("done: %q, want %q", got, want)
	}
	if marker := w.hosts["worker"].markers["registries"]; marker != "" {
		t.Errorf("the marker stays: %q", marker)
	}
}

func TestImages_ArePulled(t *testing.T) {
	w := newWorld(t)
	w.site()
	s := w.step("worker/images")
	in := s.Inputs.(plan.ImagesInputs)
	change, err := w.x.Apply(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	pulled := 0
	for _, did := range w.done() {
		if strings.HasPrefix(did, "pull ") && strings.HasSuffix(did, " linux/amd64 worker") {
			pulled++
		}
	}
	for _, i := range in.Images {
		if w.hosts["worker"].images[i.Ref] != i.Manifest {
			t.Errorf("%s is %q on the host", i.Ref, w.hosts["worker"].images[i.Ref])
		}
	}
	if pulled == 0 || !strings.Contains(change.Detail, "images pulled") {
		t.Errorf("%d images were pulled: %s", pulled, change.Detail)
	}
	if logins := w.hosts["worker"].logins; len(logins) != pulled || !strings.HasPrefix(logins[0], "harbor.example ") {
		t.Errorf("pulls were given %q", logins)
	}
	if m := w.hosts["worker"].markers["images"]; !strings.Contains(m, "state done") {
		t.Errorf("marker %q", m)
	}

	if change, err = w.x.Apply(t.Context(), s); err != nil || !strings.Contains(change.Detail, "0 images imported") {
		t.Errorf("again: %q, %v", change.Detail, err)
	}
}

func TestImages_OneIsNotGiven(t *testing.T) {
	const auth, absent = "ctr: failed to resolve reference: unexpected status from HEAD request to https://harbor.example/v2/x: 401 Unauthorized", "ctr: failed to resolve reference: harbor.example/x: not found"
	for _, test := range []struct{ words, hint string }{
		{auth, "login in spec.registries"}, {absent, "hybridctl bundle push"}, {"ctr: something else", "spec.images: sent"},
		{"it is not for linux/amd64", "hybridctl image inspect"}, {"x509: certificate signed by unknown authority", "caFile"},
	} {
		w := newWorld(t)
		w.site()
		s := w.step("worker/images")
		ref := s.Inputs.(plan.ImagesInputs).Images[0].Ref
		w.hosts["worker"].refuses = map[string]string{ref: test.words}
		_, err := w.x.Apply(t.Context(), s)
		if !errors.Is(err, host.ErrNotPulled) || !strings.Contains(err.Error(), ref) || !strings.Contains(err.Error(), test.words) {
			t.Fatalf("%q: %v", test.words, err)
		}
		if got := hint.Text(err); !strings.Contains(got, test.hint) {
			t.Errorf("%q: the hint is %q", test.words, got)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("a secret in %v", err)
		}
	}
}
