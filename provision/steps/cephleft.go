package steps

import (
	"context"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/render"
)

// CephAPI is what is asked of the API server about ceph-csi.
type CephAPI interface {
	Owned(ctx context.Context, kinds []kube.Kind, selector string) (owned, others []kube.Object, err error)
	StoredBy(ctx context.Context, drivers []string) ([]kube.Volume, error)
}

// CephObjects lists every object of ceph-csi that hybridctl applied, whatever the inventory was then. others have the same label, and are not
// known to be hybridctl's.
func CephObjects(ctx context.Context, api CephAPI) (owned, others []kube.Object, err error) {
	var kinds []kube.Kind
	for _, k := range render.CephKinds {
		kinds = append(kinds, kube.Kind{APIVersion: k.APIVersion, Kind: k.Kind})
	}
	return api.Owned(ctx, kinds, render.CephSelector)
}

// CephLeft is what an earlier inventory left of ceph-csi in the cluster.
type CephLeft struct {
	Gone []kube.Object // can go
	Kept []kube.Object // stays, as volumes need it
	Of   []kube.Volume // that need it
}

// LeftOfCeph compares what there is of ceph-csi with the objects that are wanted.
func LeftOfCeph(ctx context.Context, api CephAPI, manifest []byte) (CephLeft, error) {
	there, _, err := CephObjects(ctx, api)
	if err != nil {
		return CephLeft{}, err
	}
	wanted, err := kube.Objects(manifest)
	if err != nil {
		return CephLeft{}, err
	}
	left := slices.DeleteFunc(there, func(o kube.Object) bool { return slices.Contains(wanted, o) })
	if len(left) == 0 {
		return CephLeft{}, nil
	}
	volumes, err := api.StoredBy(ctx, []string{render.RBD.DriverName(), render.CephFS.DriverName()})
	if err != nil {
		return CephLeft{}, err
	}
	return cephLeft(left, wanted, volumes), nil
}

// cephLeft keeps what volumes cannot be mounted, grown or deleted without.
func cephLeft(left, wanted []kube.Object, volumes []kube.Volume) CephLeft {
	var out CephLeft
	keep := func(o kube.Object, need func(kube.Volume) bool) bool {
		of := slices.DeleteFunc(slices.Clone(volumes), func(v kube.Volume) bool { return !need(v) })
		if len(of) == 0 {
			return false
		}
		out.Kept = append(out.Kept, o)
		for _, v := range of {
			if !slices.ContainsFunc(out.Of, func(known kube.Volume) bool { return known.Name == v.Name }) {
				out.Of = append(out.Of, v)
			}
		}
		return true
	}
	holds := func(namespace string) bool {
		return slices.ContainsFunc(out.Kept, func(o kube.Object) bool { return o.Namespace == namespace })
	}
	for _, o := range slices.Backward(left) { // a namespace and what is shared come after what is in it, or needs it
		driver, isDriver := driverOf(o)
		kept := false
		switch {
		case o.Kind == "Secret":
			kept = keep(o, func(v kube.Volume) bool { return slices.Contains(v.Secrets, o.Namespace+"/"+o.Name) })
		case o.Kind == "StorageClass" || o.Kind == "VolumeSnapshotClass":
			kept = keep(o, func(v kube.Volume) bool { return v.Class == o.Name })
		case isDriver:
			elsewhere := slices.ContainsFunc(wanted, func(w kube.Object) bool { return w.Kind == "CSIDriver" && w.Name == driver })
			kept = !elsewhere && keep(o, func(v kube.Volume) bool { return v.Driver == driver })
		case o.Kind == "Namespace" && holds(o.Name), o.Namespace != "" && holds(o.Namespace):
			out.Kept = append(out.Kept, o)
			kept = true
		}
		if !kept {
			out.Gone = append(out.Gone, o)
		}
	}
	slices.Reverse(out.Gone)
	slices.Reverse(out.Kept)
	return out
}

// driverOf tells which driver an object is a part of.
func driverOf(o kube.Object) (string, bool) {
	for _, t := range []render.CephType{render.RBD, render.CephFS} {
		if o.Name == t.DriverName() || strings.HasPrefix(o.Name, t.Name()+"-") {
			return t.DriverName(), true
		}
	}
	return "", false
}

// deleteLeft takes away what no volume needs any more.
func deleteLeft(ctx context.Context, api API, manifest []byte) (int, error) {
	left, err := LeftOfCeph(ctx, api, manifest)
	if err != nil || len(left.Gone) == 0 {
		return 0, err
	}
	gone, err := api.DeleteObjects(ctx, left.Gone)
	return changed(gone), err
}
