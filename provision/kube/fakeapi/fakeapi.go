// Package fakeapi is an API server in memory, for tests of those that ask package kube: what was applied is there, what was deleted is not, and
// what a test says is wrong is wrong. It runs no pods.
package fakeapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
)

// API is a cluster's API server, with the etcd, the controllers and the kubelets that steps and verbs wait for. Its fields are what the cluster is
// and what is wrong with it; whoever changes them while a run is on its way holds the lock.
type API struct {
	sync.Mutex
	AllNodes      map[string]kube.Node
	CNI           bool
	CSI           string               // the objects of ceph-csi that were applied last
	Strangers     []kube.Object        // objects that hybridctl did not make, without its labels
	OwnedObjects  map[kube.Object]bool // those of ceph-csi that are there; false = hybridctl did not apply it
	AllVolumes    []kube.Volume
	Waited        []string // for which nodes and drivers
	WaitedFor     []string // Deployments
	Tokens        map[string]bool
	TokenLife     func(asked time.Duration) time.Duration // of a token; nil = as it was asked for
	Unsigned      error                                   // the controller manager is not at work
	TokensMade    int
	AllPods       []kube.Pod
	Did           []string // what a removal did, in order
	Evictable     map[string][]kube.DrainPod
	Guarded       bool                        // a budget keeps pods from being evicted
	Evicted       []string                    // pods, in order
	Draining      func(context.Context) error // is called when the first pod of a drain is gone
	Members       []kube.EtcdMember
	Forgotten     func() // is called when etcd has forgotten a member
	Mute          string // the node whose etcd does not answer
	Templates     []kube.PodTemplate
	Seen          kube.SeenPods
	Holder        string        // of the cluster's lock
	Expired       bool          // who holds it has not renewed it in time
	Lost          error         // of a renewal
	Renewed       chan struct{} // is told of every renewal, and waited for
	Held          int           // how often it was taken
	Config        kube.ClusterConfiguration
	Serving       []kube.ServingRequest // of kubelets
	Decides       string                // another does of this one
	ServerVersion string                // of the API server
	ImagesOfNodes map[string][][]string
	Refuse        map[string]error // why a node cannot be labelled
	Snapshots     []int            // how many nodes there were when the pods were listed
	Silent        bool             // it does not say what is attached
	Attached      []string         // volumes of the node that is drained; a moment later they are not
	Stuck         bool             // but stay
	EtcdAsked     int              // etcd was asked
	OnEtcd        func(times int)
	Failing       map[string]error // calls that fail, by their names: it was away for longer than the client is patient
	Late          map[string]int   // how often a node is not found before its kubelet has registered it
}

// New returns the API server, of a version, of a cluster without nodes.
func New(version string) *API {
	return &API{ServerVersion: version, AllNodes: map[string]kube.Node{}, Tokens: map[string]bool{}, OwnedObjects: map[kube.Object]bool{},
		Evictable: map[string][]kube.DrainPod{}, Failing: map[string]error{}}
}

// fails is what is wrong with a call.
func (a *API) fails(call string) error {
	a.Lock()
	defer a.Unlock()
	return a.Failing[call]
}

// AddNode adds a worker that is Ready.
func (a *API) AddNode(name string) {
	a.Lock()
	defer a.Unlock()
	a.AllNodes[name] = kube.Node{Name: name, Ready: true, MachineID: "id-of-" + name}
}

// IsNew makes it the API server of a cluster that begins: no one has its lease.
func (a *API) IsNew() {
	a.Lock()
	defer a.Unlock()
	a.Holder, a.Held = "", 0
}

// ControlPlane makes a node one of a control plane.
func (a *API) ControlPlane(name string) {
	n := a.AllNodes[name]
	n.ControlPlane = true
	a.AllNodes[name] = n
}

func (a *API) ClusterConfiguration(context.Context) (kube.ClusterConfiguration, error) {
	if a.Config.Endpoint == "" {
		return a.Config, kube.ErrNotKubeadm
	}
	return a.Config, nil
}

func (a *API) NodeImages(context.Context) (map[string][][]string, error) {
	return a.ImagesOfNodes, nil
}

func (a *API) Version(context.Context) (string, error) {
	return a.ServerVersion, nil
}

// SetArch gives a node an architecture.
func (a *API) SetArch(name, arch string) {
	n := a.AllNodes[name]
	n.Arch = arch
	a.AllNodes[name] = n
}

// SetReady makes a node Ready, or not.
func (a *API) SetReady(name string, is bool) {
	n := a.AllNodes[name]
	n.Ready = is
	a.AllNodes[name] = n
}

func (a *API) Pods(context.Context, string, string) ([]kube.Pod, error) {
	a.Lock()
	defer a.Unlock()
	a.Snapshots = append(a.Snapshots, len(a.AllNodes))
	return a.AllPods, nil
}

// Note adds a line to what was done.
func (a *API) Note(what string) {
	a.Lock()
	defer a.Unlock()
	a.Did = append(a.Did, what)
}

func (a *API) Untaint(_ context.Context, node, key string) error {
	a.Note("untaint " + node + " " + key)
	return nil
}

func (a *API) DrainPods(_ context.Context, node string) ([]kube.DrainPod, error) {
	a.Lock()
	defer a.Unlock()
	return slices.Clone(a.Evictable[node]), a.Failing["DrainPods"]
}

func (a *API) Cordon(ctx context.Context, node string) error {
	switch there, err := a.HasNode(ctx, node); {
	case err != nil:
		return err
	case !there:
		return fmt.Errorf("%w: node %s", kube.ErrNotFound, node)
	}
	if err := a.fails("Cordon"); err != nil {
		return err
	}
	a.Note("cordon " + node)
	return nil
}

func (a *API) Drain(ctx context.Context, pods []kube.DrainPod, progress func([]kube.Missing)) error {
	if a.Guarded && len(pods) > 0 {
		missing := []kube.Missing{{Object: "pod " + pods[0].String(), Reason: "budget"}}
		progress(missing)
		<-ctx.Done()
		return &kube.NotReadyError{What: "drain", Missing: missing, Cause: ctx.Err()}
	}
	if err := a.fails("Drain"); err != nil {
		return err
	}
	for i, p := range pods {
		a.evict(p)
		if i == 0 && a.Draining != nil {
			if err := a.Draining(ctx); err != nil {
				return err
			}
		}
	}
	what := fmt.Sprintf("drain %d pods", len(pods))
	if n := len(pods); n > 0 && pods[0].Abandoned {
		what += fmt.Sprintf(", %d abandoned", n)
	}
	a.Note(what)
	return nil
}

func (a *API) evict(pod kube.DrainPod) {
	a.Lock()
	defer a.Unlock()
	a.Evicted = append(a.Evicted, pod.String())
	for node, pods := range a.Evictable {
		a.Evictable[node] = slices.DeleteFunc(pods, func(p kube.DrainPod) bool { return p.String() == pod.String() })
	}
}

func (a *API) WaitDetached(ctx context.Context, node string, o kube.WaitOptions) error {
	var missing []kube.Missing
	for _, v := range a.Attached {
		missing = append(missing, kube.Missing{Object: "persistentvolume " + v, Reason: "is still attached to " + node})
	}
	if len(missing) == 0 && !a.Silent {
		return a.fails("WaitDetached")
	}
	o.Progress(missing)
	if !a.Stuck && !a.Silent {
		return nil
	}
	<-ctx.Done()
	return &kube.NotReadyError{What: "volumes", Missing: missing, Cause: ctx.Err()}
}

// Rename gives a node another name.
func (a *API) Rename(node, name string) {
	a.Lock()
	defer a.Unlock()
	n := a.AllNodes[node]
	delete(a.AllNodes, node)
	n.Name = name
	a.AllNodes[name] = n
}

func (a *API) ServingRequests(context.Context) ([]kube.ServingRequest, error) {
	a.Lock()
	defer a.Unlock()
	return slices.Clone(a.Serving), a.Failing["ServingRequests"]
}

// ApproveServing has the certificate issued at once.
func (a *API) ApproveServing(_ context.Context, r kube.ServingRequest) error {
	if err := a.fails("ApproveServing"); err != nil {
		return err
	}
	if r.Name == a.Decides {
		return kube.ErrConflict
	}
	a.Note("approve " + r.Name)
	a.Lock()
	defer a.Unlock()
	for i := range a.Serving {
		if a.Serving[i].Name == r.Name {
			a.Serving[i].Decided, a.Serving[i].Issued = true, true
		}
	}
	return nil
}

func (a *API) HasNode(_ context.Context, name string) (bool, error) {
	a.Lock()
	defer a.Unlock()
	if a.Late[name] > 0 {
		a.Late[name]--
		return false, a.Failing["HasNode"]
	}
	_, there := a.AllNodes[name]
	return there, a.Failing["HasNode"]
}

func (a *API) DeleteNode(_ context.Context, name string) error {
	if err := a.fails("DeleteNode"); err != nil {
		return err
	}
	a.Note("delete " + name)
	a.Lock()
	defer a.Unlock()
	delete(a.AllNodes, name)
	return nil
}

func (a *API) EtcdMembers(_ context.Context, node string) ([]kube.EtcdMember, error) {
	if node == a.Mute {
		return nil, errors.New("etcd does not answer")
	}
	if err := a.fails("EtcdMembers"); err != nil {
		return nil, err
	}
	if a.EtcdAsked++; a.OnEtcd != nil {
		a.OnEtcd(a.EtcdAsked)
	}
	return slices.Clone(a.Members), nil
}

func (a *API) RemoveEtcdMember(_ context.Context, node string, id uint64) error {
	if err := a.fails("RemoveEtcdMember"); err != nil {
		return err
	}
	a.Note(fmt.Sprintf("etcd member %d asked on %s", id, node))
	left := slices.DeleteFunc(slices.Clone(a.Members), func(m kube.EtcdMember) bool { return m.ID == id })
	if len(left) == len(a.Members) {
		return errors.New("etcdserver: member not found")
	}
	if a.Members = left; a.Forgotten != nil {
		a.Forgotten()
	}
	return nil
}

func (a *API) PodTemplates(context.Context) ([]kube.PodTemplate, error) { return a.Templates, nil }

func (a *API) SeenPods(context.Context) (kube.SeenPods, error) { return a.Seen, nil }
