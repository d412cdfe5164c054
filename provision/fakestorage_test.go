package provision

import (
	"context"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

func (a *fakeAPI) Volumes(_ context.Context, drivers []string) ([]kube.Volume, error) {
	return slices.DeleteFunc(slices.Clone(a.volumes), func(v kube.Volume) bool { return v.Driver != "" && !slices.Contains(drivers, v.Driver) }), nil
}

func (a *fakeAPI) StoredBy(ctx context.Context, drivers []string) ([]kube.Volume, error) {
	return a.Volumes(ctx, drivers)
}

func (a *fakeAPI) HasKind(context.Context, string, string) (bool, error) { return false, nil }

func (a *fakeAPI) WaitCSINodes(_ context.Context, nodes, drivers []string, _ kube.WaitOptions) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waited = append(a.waited, strings.Join(nodes, ",")+": "+strings.Join(drivers, ","))
	return nil
}

func (a *fakeAPI) Owned(_ context.Context, kinds []kube.Kind, _ string) ([]kube.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []kube.Object
	for _, kind := range kinds {
		for o := range a.owned {
			if o.Kind == kind.Kind {
				out = append(out, o)
			}
		}
	}
	return out, nil
}

func (a *fakeAPI) DeleteObjects(_ context.Context, objects []kube.Object) ([]kube.ObjectChange, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []kube.ObjectChange
	for _, o := range objects {
		delete(a.owned, o)
		out = append(out, kube.ObjectChange{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, Action: report.Deleted})
	}
	if len(a.owned) == 0 {
		a.csi = ""
	}
	return out, nil
}
