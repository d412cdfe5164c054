package conformance

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

// namespacePrefix is what the runs' namespaces are called, before the run's ID.
const namespacePrefix = "hybridctl-conformance-"

// runIDs are the IDs of runs: eight hexadecimal digits, and in a self-test the number of the fault. What looks otherwise is none of ours, whoever
// says it: an ID is part of a path that is removed.
var runIDs = regexp.MustCompile(`^[0-9a-f]{8}(?:-[0-9]{1,2})?$`)

// NewRunID makes the ID of a run: short, and fit for names, labels and paths.
func NewRunID() string {
	b := make([]byte, 4)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// Leftovers are the IDs of runs that have left something: in the cluster, and on single hosts, by name.
type Leftovers struct {
	Cluster []string
	Hosts   map[string][]string
}

// IDs are all of them, sorted.
func (l Leftovers) IDs() []string {
	all := slices.Clone(l.Cluster)
	for _, ids := range l.Hosts {
		all = append(all, ids...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// on are the machines on which something of a run has to be looked for: all, when the API server names it; else those that name it themselves. What
// one host says is done to no other.
func (l Leftovers) on(id string, machines map[string]Machine) map[string]Machine {
	out := map[string]Machine{}
	for name, m := range machines {
		if slices.Contains(l.Cluster, id) || slices.Contains(l.Hosts[name], id) {
			out[name] = m
		}
	}
	return out
}

// FindLeftovers looks for what runs have left in the cluster and on hosts. It is complete but for what the error is about.
func FindLeftovers(ctx context.Context, api API, machines map[string]Machine) (Leftovers, error) {
	left := Leftovers{Hosts: map[string][]string{}}
	if _, err := api.Namespaces(ctx, RunLabel); err != nil { // without its word nothing can be cleaned up
		return left, err
	}
	var mu sync.Mutex
	var errs []error
	var open sync.WaitGroup
	for name, m := range machines {
		open.Go(func() {
			dirs, derr := m.Dirs(ctx, hostDirs)
			faults, ferr := m.Faults(ctx)
			mu.Lock()
			defer mu.Unlock()
			for _, err := range []error{derr, ferr} {
				if err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", name, err))
				}
			}
			ids, err := idsOf(name, slices.Concat(dirs, faults))
			left.Hosts[name], errs = ids, append(errs, err)
		})
	}
	open.Wait()
	names, err := api.Namespaces(ctx, RunLabel) // once more: what a host has of a run that begins now has a namespace
	if err != nil {
		return Leftovers{}, errors.Join(append(errs, err)...) // a run on a host may be at work
	}
	for _, n := range names {
		if id, ok := strings.CutPrefix(n, namespacePrefix); ok && runIDs.MatchString(id) {
			left.Cluster = append(left.Cluster, id)
		} else {
			errs = append(errs, fmt.Errorf("namespace %s has the label %s and is of no run: it is left alone", report.OneLine(n), RunLabel))
		}
	}
	return left, errors.Join(errs...)
}

// mostLeftovers bounds how many runs are believed that a host names at once, and mostStrange how many other names of its are repeated.
const (
	mostLeftovers = 200
	mostStrange   = 5
)

// idsOf are the IDs of runs that a host names. The error is of what is none, and of what is too much.
func idsOf(host string, names []string) (ids []string, err error) {
	var errs []error
	strange := 0
	for _, name := range names {
		switch {
		case !runIDs.MatchString(name):
			if strange++; strange <= mostStrange {
				errs = append(errs, fmt.Errorf("%s: %.40q is not the ID of a run: it is left alone", host, name))
			}
		case slices.Contains(ids, name):
		case len(ids) == mostLeftovers:
			errs = append(errs, fmt.Errorf("%s: names more than %d runs: the others are left for another time", host, mostLeftovers))
			return ids, errors.Join(errs...)
		default:
			ids = append(ids, name)
		}
	}
	if more := strange - mostStrange; more > 0 {
		errs = append(errs, fmt.Errorf("%s: %s more of the kind", host, report.Count(more, "name")))
	}
	return ids, errors.Join(errs...)
}

// CleanAll removes what runs have left, and returns the IDs of those of which all is gone. A run that is at work is left alone, and the error says whose it is, unless breaks.
// It goes on after errors and returns all of them. event is told of it.
func CleanAll(ctx context.Context, api API, machines map[string]Machine, breaks bool, event func(report.Event)) (ids []string, err error) {
	err = told(event, func() error {
		left, err := FindLeftovers(ctx, api, machines)
		errs := []error{err}
		for _, id := range left.IDs() {
			var cluster API // a host's word is none about namespaces
			if slices.Contains(left.Cluster, id) {
				release, err := takeOver(ctx, api, id, breaks)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				defer release(ctx)
				cluster = api
			}
			if err := clean(ctx, cluster, left.on(id, machines), id); err != nil {
				errs = append(errs, err)
				continue
			}
			ids = append(ids, id)
		}
		return errors.Join(errs...)
	})
	return ids, err
}

// told tells of cleaning up while it lasts: kubelets and hosts may take their time.
func told(event func(report.Event), clean func() error) error {
	event(report.Event{Kind: report.Started, Step: "clean up"})
	err := clean()
	e := report.Event{Kind: report.Done, Step: "clean up", Action: report.Deleted}
	if err != nil {
		e.Action, e.Err = report.Failed, err
	}
	event(e)
	return err
}

// How long cleaning up may take after a run has ended, however it ended: a namespace goes when the kubelets have ended its pods, and
// a slow one must not cost the hosts their time.
const (
	cleanFor      = 5 * time.Minute
	cleanHostsFor = time.Minute
)

// Clean removes what a run made: its namespace, and its faults, its directory and its images on the hosts. It goes on after
// errors and returns all of them.
func Clean(ctx context.Context, api API, machines map[string]Machine, runID string) error {
	return clean(ctx, api, machines, runID)
}

// clean is Clean; without an API it is that of hosts alone.
func clean(ctx context.Context, api API, machines map[string]Machine, runID string) error {
	if !runIDs.MatchString(runID) {
		return fmt.Errorf("%w: %.40q is not the ID of a run", ErrUsage, runID)
	}
	var mu sync.Mutex
	var errs []error
	note := func(err error) {
		if err != nil {
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
		}
	}
	if api != nil {
		note(cleanCluster(ctx, api, namespacePrefix+runID)) // first: containers hold images and directories
	}
	ctx, cancel := context.WithTimeout(ctx, cleanHostsFor)
	defer cancel()
	var open sync.WaitGroup
	for name, m := range machines {
		open.Go(func() {
			if err := m.RemoveFaults(ctx, runID); err != nil {
				note(fmt.Errorf("%s: remove the faults of run %s: %w", name, runID, err))
			}
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
