// Package podimages finds the images that pods run, of a cluster or of manifests: with the credentials that a kubelet would have for them, the
// architectures that they may come to, and what registries say of them. It knows no inventory, judges nothing and changes nothing.
package podimages

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/workload"
)

// OfCluster are the images that a cluster's workloads run, or would. The cluster may be anybody's; its API server has to be reachable from
// here. archs are those to look at; nil = those of its nodes. missing is what may not be read: nothing is known of it. Errors: of package
// kube, or the context's end.
func OfCluster(ctx context.Context, kubeconfig []byte, archs []platform.Arch) (wanted []image.Wanted, missing []string, err error) {
	client, err := kube.New(kubeconfig, kube.Options{})
	if err != nil {
		return nil, nil, err
	}
	defer client.Close()
	uses, missing, err := client.ImageUses(ctx)
	if err != nil {
		return nil, nil, err
	}
	nodes, err := client.Nodes(ctx)
	if err != nil {
		return nil, nil, err
	}
	on := auditedNodes(nodes, archs)
	k := &pullKeys{source: client, secrets: map[string]*foundKeys{}}
	for _, u := range uses {
		w := WorkloadOf(u.Template)
		var may []platform.Arch
		for _, n := range on {
			if w.MayRunOn(n) && !slices.Contains(may, n.Arch) {
				may = append(may, n.Arch)
			}
		}
		if len(may) == 0 {
			continue // its own constraints keep it off
		}
		found := k.of(ctx, u)
		one := image.Wanted{Image: u.Image, Archs: may, Why: strings.Join(found.why, "; "), Place: image.Place{Object: w.Object, Owner: u.Owner, Path: u.Path}}
		if u.Start != nil {
			start := image.Start(*u.Start)
			one.Start = &start
		}
		if named, err := image.ParseName(u.Image); err == nil {
			one.Keys = found.secrets.For(named.Context())
			own, err := registry.Docker(ctx, named.Context())
			if err != nil {
				one.Why = strings.TrimPrefix(one.Why+"; "+err.Error(), "; ")
			}
			one.Keys = append(one.Keys, own...)
		}
		wanted = append(wanted, one)
	}
	return wanted, missing, ctx.Err()
}

// OfManifests are the images of manifests, with the credentials of the pull secrets that stand among these, and then docker's own. archs are
// those to look at: images that are kept off all of them are left out; nil = no image is.
func OfManifests(ctx context.Context, set *workload.Set, archs []platform.Arch) []image.Wanted {
	var out []image.Wanted
	own := map[string]image.Wanted{} // what docker's configuration has for a repository
	for _, u := range set.Uses(archs) {
		one := image.Wanted{Image: u.Image, Archs: u.Archs, Place: image.Place{Object: u.Object, Owner: u.Owner, Path: u.Path, File: u.File, Line: u.Line, Column: u.Column}}
		if u.Start != nil {
			start := image.Start(*u.Start)
			one.Start = &start
		}
		if named, err := image.ParseName(u.Image); err == nil { // else the audit says what is wrong with the name
			var secrets registry.Secrets
			for _, s := range u.Secrets {
				if err := secrets.Add(s.Name, s.Content); err != nil {
					u.Why = strings.TrimPrefix(u.Why+"; "+err.Error(), "; ")
				}
			}
			repository := named.Context().Name()
			docker, ok := own[repository]
			if !ok {
				docker, _ = image.WantedByUser(ctx, u.Image, nil) // the name is one
				own[repository] = docker
			}
			one.Keys = slices.Concat(secrets.For(named.Context()), docker.Keys)
			one.Why = strings.Trim(u.Why+"; "+docker.Why, "; ")
		}
		out = append(out, one)
	}
	return out
}

// auditedNodes are the cluster's nodes of these architectures; of one that it has no node of, one that has nothing but the kubelet's labels.
func auditedNodes(nodes []kube.Node, archs []platform.Arch) []workload.Node {
	var out []workload.Node
	for _, n := range nodes {
		arch, err := platform.Parse(n.Arch)
		if err != nil || archs != nil && !slices.Contains(archs, arch) {
			continue
		}
		out = append(out, workload.Node{Name: n.Name, Arch: arch, Labels: n.Labels, Taints: workload.ParseTaints(n.Taints)})
	}
	for _, arch := range archs {
		if !slices.ContainsFunc(out, func(n workload.Node) bool { return n.Arch == arch }) {
			out = append(out, workload.Node{Name: "a new node", Arch: arch, Labels: kube.KubeletLabels("a-new-node", arch.String())})
		}
	}
	return out
}

// secretSource reads pull secrets of a cluster.
type secretSource interface {
	PullSecret(ctx context.Context, namespace, name string) ([]byte, error)
	AccountSecrets(ctx context.Context, namespace, account string) ([]string, error)
}

// pullKeys reads each pull secret once.
type pullKeys struct {
	source  secretSource
	secrets map[string]*foundKeys
}

// foundKeys are a pod's credentials, and what of them could not be read.
type foundKeys struct {
	secrets registry.Secrets
	why     []string
}

// of are the secrets that the pod names, else those of its service account: admission gives a pod those only when it has none.
func (k *pullKeys) of(ctx context.Context, u kube.ImageUse) *foundKeys {
	namespace := u.Template.Namespace
	id := strings.Join(append([]string{namespace, u.Account}, u.PullSecrets...), "\x00")
	if f := k.secrets[id]; f != nil {
		return f
	}
	f := &foundKeys{}
	k.secrets[id] = f
	names := u.PullSecrets
	if len(names) == 0 {
		var err error
		if names, err = k.source.AccountSecrets(ctx, namespace, u.Account); err != nil {
			f.why = append(f.why, report.OneLine(err.Error()))
		}
	}
	for _, name := range names {
		content, err := k.source.PullSecret(ctx, namespace, name)
		if err == nil {
			err = f.secrets.Add("secret "+namespace+"/"+name, content)
		}
		if err != nil {
			f.why = append(f.why, report.OneLine(fmt.Sprintf("the pull secret %s/%s was of no use: %v", namespace, name, err)))
		}
	}
	return f
}
