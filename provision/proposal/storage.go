package proposal

import (
	"context"
	"fmt"
	"slices"

	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/render"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/steps"
)

// Storage are the objects of ceph-csi that a removal deletes, with the plan that says so; it refuses what must not be. No host is asked.
// Errors: ErrRefused: there is nothing. ErrVolumes: volumes would stay in Ceph, and force does not say so.
func (d *Desk) Storage(ctx context.Context, force bool) ([]kube.Object, plan.Plan, error) {
	d.Fleet.Only()
	if _, err := d.Running(ctx); err != nil {
		return nil, plan.Plan{}, err
	}
	if !force {
		if err := d.noOrphans(ctx, "ceph-csi is deleted"); err != nil {
			return nil, plan.Plan{}, err
		}
	}
	objects, others, err := steps.CephObjects(ctx, d.API)
	if err == nil && len(objects) == 0 && len(d.Cluster.Spec.Storage.Ceph) == 0 {
		err = fmt.Errorf("%w: %s has no spec.storage.ceph, and the cluster no ceph-csi of hybridctl's: there is nothing to remove", ending.ErrRefused, d.Cluster.Path)
		if len(others) > 0 {
			err = hint.With(fmt.Errorf("%w; %s", err, leftAlone(others)), deleteOthers)
		}
	}
	if err != nil {
		return objects, storagePlan(d.Cluster.Metadata.Name, objects, others), err
	}
	going, strangers, err := d.withoutStrangers(ctx, objects, others)
	p := storagePlan(d.Cluster.Metadata.Name, going, others)
	if len(strangers) > 0 {
		p.Notes = append(p.Notes, "the namespace stays with what is in it and is not ceph-csi's: "+listed(strangers))
	}
	return going, p, err
}

// withoutStrangers leaves out the namespaces in which someone keeps what is not ceph-csi's: all of it would go with them, and with claims their
// data. Nothing of other namespaces is read, least of all their secrets.
func (d *Desk) withoutStrangers(ctx context.Context, objects, known []kube.Object) (going, strangers []kube.Object, err error) {
	for _, o := range objects {
		if o.Kind == "Namespace" {
			_, kept, err := d.API.Owned(ctx, keptIn(o.Name), "")
			if err != nil {
				return nil, nil, err
			}
			kept = slices.DeleteFunc(kept, func(k kube.Object) bool { return slices.Contains(objects, k) || slices.Contains(known, k) })
			if strangers = append(strangers, kept...); len(kept) > 0 {
				continue
			}
		}
		going = append(going, o)
	}
	return going, strangers, nil
}

// keptIn are the kinds of what someone keeps in a namespace, or makes the rest of it.
func keptIn(namespace string) (kinds []kube.Kind) {
	for _, k := range [][2]string{{"v1", "PersistentVolumeClaim"}, {"v1", "Secret"}, {"apps/v1", "Deployment"}, {"apps/v1", "StatefulSet"}, {"apps/v1", "DaemonSet"}, {"batch/v1", "CronJob"}} {
		kinds = append(kinds, kube.Kind{APIVersion: k[0], Kind: k[1], Namespace: namespace})
	}
	return kinds
}

func storagePlan(cluster string, objects, others []kube.Object) plan.Plan {
	notes := []string{fmt.Sprintf("ceph-csi is taken out of cluster %s: %s%s; nothing in Ceph is changed", cluster, report.Count(len(objects), "object"), among(objects))}
	var stay, along []kube.Object
	for _, o := range others {
		if slices.ContainsFunc(objects, func(n kube.Object) bool { return n.Kind == "Namespace" && n.Name == o.Namespace }) {
			along = append(along, o)
		} else {
			stay = append(stay, o)
		}
	}
	if len(along) > 0 {
		notes = append(notes, "deleted with their namespace, although they are not known to be hybridctl's: "+listed(along))
	}
	if len(stay) > 0 {
		notes = append(notes, leftAlone(stay)+": "+deleteOthers)
	}
	return plan.Plan{Cluster: cluster, Part: true, Notes: notes}
}

// deleteOthers is how objects go that are left alone.
const deleteOthers = "where they are not needed, kubectl delete takes them away, by the label " + render.CephSelector

// leftAlone says which objects with ceph-csi's label stay.
func leftAlone(others []kube.Object) string {
	return "left alone, as they are not known to be hybridctl's (another made them, or a backup brought them back): " + listed(others)
}

// listed names objects.
func listed(objects []kube.Object) string {
	named := make([]string, len(objects))
	for i, o := range objects {
		named[i] = o.String()
	}
	return some(named)
}

// among names what people know of the objects.
func among(objects []kube.Object) string {
	var known []string
	for _, o := range objects {
		if slices.Contains([]string{"Namespace", "CSIDriver", "StorageClass"}, o.Kind) {
			known = append(known, o.String())
		}
	}
	if len(known) == 0 {
		return ""
	}
	return ", among them " + some(known)
}
