package fakeapi

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

func (a *API) ApplyNode(_ context.Context, name string, _ map[string]string, _ []string) (report.Action, error) {
	a.Lock()
	defer a.Unlock()
	if err := cmp.Or(a.Refuse[name], a.Failing["ApplyNode"]); err != nil {
		return "", err
	}
	if a.Late[name] > 0 {
		a.Late[name]--
		return "", fmt.Errorf("%w: %s", kube.ErrNotFound, name)
	}
	return report.Unchanged, nil
}

func (a *API) Apply(_ context.Context, manifest []byte, _ kube.ApplyOptions) ([]kube.ObjectChange, error) {
	a.Lock()
	defer a.Unlock()
	if err := a.Failing["Apply"]; err != nil {
		return nil, err
	}
	if bytes.Contains(manifest, []byte("kind: CSIDriver")) {
		a.CSI = string(manifest)
		objects, err := kube.Objects(manifest)
		if err != nil {
			return nil, err
		}
		for _, o := range objects {
			a.OwnedObjects[o] = true
		}
	} else {
		a.CNI = true
	}
	return []kube.ObjectChange{{Kind: "DaemonSet", Name: "net", Action: report.Created}}, nil
}

func (a *API) Nodes(context.Context) ([]kube.Node, error) {
	if err := a.Failing["Nodes"]; err != nil {
		return nil, err
	}
	a.Lock()
	defer a.Unlock()
	var out []kube.Node
	for _, name := range slices.Sorted(maps.Keys(a.AllNodes)) {
		out = append(out, a.AllNodes[name])
	}
	return out, nil
}

func (a *API) Diff(_ context.Context, manifest []byte) ([]kube.ObjectChange, error) {
	a.Lock()
	defer a.Unlock()
	if !bytes.Contains(manifest, []byte("kind: CSIDriver")) {
		action := report.Created
		if a.CNI {
			action = report.Unchanged
		}
		return []kube.ObjectChange{{Kind: "DaemonSet", Name: "net", Action: action}}, nil
	}
	there := objectsOf(a.CSI)
	var out []kube.ObjectChange
	for o, text := range objectsOf(string(manifest)) {
		is, ok := there[o]
		switch {
		case !ok:
			o.Action = report.Created
		case is == text:
			o.Action = report.Unchanged
		default:
			o.Action = report.Configured
		}
		out = append(out, o)
	}
	return out, nil
}

// objectsOf are the texts of a manifest's objects, by kind and name.
func objectsOf(manifest string) map[kube.ObjectChange]string {
	out := map[kube.ObjectChange]string{}
	for _, doc := range strings.Split(manifest, "\n---\n") {
		var o struct {
			Kind     string
			Metadata struct{ Name, Namespace string }
		}
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			panic(err)
		}
		if o.Kind != "" {
			out[kube.ObjectChange{Kind: o.Kind, Namespace: o.Metadata.Namespace, Name: o.Metadata.Name}] = doc
		}
	}
	return out
}

func (a *API) WaitNodesReady(_ context.Context, names []string, _ kube.WaitOptions) error {
	a.Lock()
	defer a.Unlock()
	if err := a.Failing["WaitNodesReady"]; err != nil {
		return err
	}
	for _, n := range names {
		if !a.AllNodes[n].Ready {
			return fmt.Errorf("node %s: not ready", n)
		}
	}
	return nil
}

func (a *API) WaitDaemonSets(context.Context, []string, kube.WaitOptions) error { return nil }

func (a *API) WaitSigned(_ context.Context, id string, _ kube.WaitOptions) error {
	a.Lock()
	defer a.Unlock()
	if !a.Tokens[id] {
		return fmt.Errorf("no token %s to sign", id)
	}
	return cmp.Or(a.Unsigned, a.Failing["WaitSigned"])
}

func (a *API) WaitDeployment(_ context.Context, namespace, name string, _ kube.WaitOptions) error {
	a.Lock()
	defer a.Unlock()
	a.WaitedFor = append(a.WaitedFor, namespace+"/"+name)
	return nil
}

func (a *API) CheckDNS(context.Context, kube.DialFunc, string) error { return nil }

// SetMachineID gives a node another machine's ID.
func (a *API) SetMachineID(name, id string) {
	n := a.AllNodes[name]
	n.MachineID = id
	a.AllNodes[name] = n
}

func (a *API) Volumes(_ context.Context, drivers []string) ([]kube.Volume, error) {
	return slices.DeleteFunc(slices.Clone(a.AllVolumes), func(v kube.Volume) bool { return v.Driver != "" && !slices.Contains(drivers, v.Driver) }), nil
}

func (a *API) StoredBy(ctx context.Context, drivers []string) ([]kube.Volume, error) {
	return a.Volumes(ctx, drivers)
}

func (a *API) HasKind(context.Context, string, string) (bool, error) { return false, nil }

func (a *API) WaitCSINodes(_ context.Context, nodes, drivers []string, _ kube.WaitOptions) error {
	a.Lock()
	defer a.Unlock()
	a.Waited = append(a.Waited, strings.Join(nodes, ",")+": "+strings.Join(drivers, ","))
	return nil
}

func (a *API) Owned(_ context.Context, kinds []kube.Kind, selector string) (owned, others []kube.Object, err error) {
	a.Lock()
	defer a.Unlock()
	if err := a.Failing["Owned"]; err != nil {
		return nil, nil, err
	}
	for _, kind := range kinds {
		for o, ours := range a.OwnedObjects {
			switch {
			case o.Kind != kind.Kind:
			case ours:
				owned = append(owned, o)
			default:
				others = append(others, o)
			}
		}
		for _, o := range a.Strangers {
			if o.Kind == kind.Kind && o.Namespace == kind.Namespace && selector == "" {
				others = append(others, o)
			}
		}
	}
	return owned, others, nil
}

func (a *API) DeleteObjects(_ context.Context, objects []kube.Object) ([]kube.ObjectChange, error) {
	a.Lock()
	defer a.Unlock()
	var out []kube.ObjectChange
	for _, o := range objects {
		delete(a.OwnedObjects, o)
		out = append(out, kube.ObjectChange{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, Action: report.Deleted})
	}
	if len(a.OwnedObjects) == 0 {
		a.CSI = ""
	}
	return out, nil
}
