package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
)

// namespacePrefix is what the runs' namespaces are called, before the run's ID.
const namespacePrefix = "hybridctl-conformance-"

// Runs lists the IDs of runs that have left something in the cluster or on hosts, sorted. The IDs are complete but for what the
// error is about.
func Runs(ctx context.Context, api API, machines map[string]Machine) ([]string, error) {
	names, err := api.Namespaces(ctx, RunLabel)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, n := range names {
		if id, ok := strings.CutPrefix(n, namespacePrefix); ok {
			found[id] = true
		}
	}
	var errs []error
	for name, m := range machines {
		ids, err := m.Dirs(ctx, hostDirs)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		for _, id := range ids {
			found[id] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), errors.Join(errs...)
}

// How long cleaning up may take after a run has ended, however it ended: a namespace goes when the kubelets have ended its pods, and
// a slow one must not cost the hosts their time.
const (
	cleanFor      = 5 * time.Minute
	cleanHostsFor = time.Minute
)

// Clean removes what a run made: its namespace, and its directory and images on the hosts that can be reached. It goes on after
// errors and returns all of them.
func Clean(ctx context.Context, api API, machines map[string]Machine, runID string) error {
	var mu sync.Mutex
	var errs []error
	note := func(err error) {
		if err != nil {
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
		}
	}
	note(cleanCluster(ctx, api, namespacePrefix+runID)) // first: containers hold images and directories
	ctx, cancel := context.WithTimeout(ctx, cleanHostsFor)
	defer cancel()
	var open sync.WaitGroup
	for name, m := range machines {
		open.Go(func() {
			if err := m.RemoveDir(ctx, hostDirs+runID); err != nil {
				note(fmt.Errorf("%s: remove %s: %w", name, hostDirs+runID, err))
			}
			for _, ref := range []string{ownRef(runID), foreignRef(runID)} {
				if err := m.RemoveImage(ctx, ref); err != nil {
					note(fmt.Errorf("%s: remove image %s: %w", name, ref, err))
				}
			}
		})
	}
	open.Wait()
	return errors.Join(errs...)
}

func cleanCluster(ctx context.Context, api API, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, cleanFor)
	defer cancel()
	before := releaseRetained(ctx, api, namespace)
	if err := api.DeleteNamespace(ctx, namespace); err != nil {
		return errors.Join(before, err)
	}
	after := releaseRetained(ctx, api, namespace) // of claims that were bound meanwhile
	return errors.Join(before, after, api.WaitNoVolumes(ctx, namespace, "", kube.WaitOptions{}))
}

// releaseRetained has the volumes of a run deleted with their claims, whatever their class says.
func releaseRetained(ctx context.Context, api API, namespace string) error {
	all, err := api.Volumes(ctx, []string{RBD.csiName(), CephFS.csiName()})
	if err != nil {
		return err
	}
	for _, pv := range all {
		if !pv.Retained || !strings.HasPrefix(pv.Claim, namespace+"/") {
			continue
		}
		if err := release(ctx, api, pv); err != nil {
			return err
		}
	}
	return nil
}

func release(ctx context.Context, api API, pv kube.Volume) error {
	_, err := api.Apply(ctx, manifests(object{
		"apiVersion": "v1", "kind": "PersistentVolume", "metadata": object{"name": pv.Name},
		"spec": object{"persistentVolumeReclaimPolicy": "Delete"},
	}), kube.ApplyOptions{Force: true})
	return err
}

// ownRef and foreignRef name the images of one run. The registry does not exist: they are never pulled.
func ownRef(runID string) string { return "conformance.hybridctl.invalid/own:" + runID }

func foreignRef(runID string) string { return "conformance.hybridctl.invalid/foreign:" + runID }
