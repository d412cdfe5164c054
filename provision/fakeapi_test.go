package provision

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

// fakeAPI is an API server as the front door sees one.
type fakeAPI struct {
	conformance.API // not asked for here
	mu              sync.Mutex
	nodes           map[string]kube.Node
	cni             bool
	csi             string               // the objects of ceph-csi that were applied last
	owned           map[kube.Object]bool // those of ceph-csi that are there
	volumes         []kube.Volume
	waited          []string // for which nodes and drivers
	waitedFor       []string // Deployments
	tokens          map[string]bool
	life            func(asked time.Duration) time.Duration // of a token; nil = as it was asked for
	unsigned        error                                   // the controller manager is not at work
	made            int
	pods            []kube.Pod
	done            []string // what a removal did, in order
	evictable       map[string][]kube.DrainPod
	guarded         bool                        // a budget keeps pods from being evicted
	evicted         []string                    // pods, in order
	draining        func(context.Context) error // is called when the first pod of a drain is gone
	members         []kube.EtcdMember
	forgotten       func() // is called when etcd has forgotten a member
	mute            string // the node whose etcd does not answer
	templates       []kube.PodTemplate
	seen            kube.SeenPods
	holder          string        // of the cluster's lock
	expired         bool          // who holds it has not renewed it in time
	lost            error         // of a renewal
	renewed         chan struct{} // is told of every renewal, and waited for
	held            int           // how often it was taken
	config          kube.ClusterConfiguration
	serving         []kube.ServingRequest
	decides         string // another does of this one
	version         string // of the API server
	nodeImages      map[string][][]string
	refuse          map[string]error // why a node cannot be labelled
	snapshots       []int            // how many nodes there were when the pods were listed
	silent          bool             // it does not say what is attached
	attached        []string         // volumes of the node that is drained; a moment later they are not
	stuck           bool             // but stay
	times           int              // etcd was asked
	asked           func(times int)
	failing         map[string]error // calls that fail, by their names: it was away for longer than the client is patient
	late            map[string]int   // how often a node is not found before its kubelet has registered it
}

func newFakeAPI() *fakeAPI {
	return &fakeAPI{nodes: map[string]kube.Node{}, tokens: map[string]bool{}, owned: map[kube.Object]bool{}}
}

func (a *fakeAPI) addNode(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nodes[name] = kube.Node{Name: name, Ready: true, MachineID: "id-of-" + name}
}

// isNew makes it the API server of a cluster that begins: nobody has its lease.
func (a *fakeAPI) isNew() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.holder = ""
}

// controlPlane makes a node one of a control plane.
func (a *fakeAPI) controlPlane(name string) {
	n := a.nodes[name]
	n.ControlPlane = true
	a.nodes[name] = n
}

func (a *fakeAPI) ClusterConfiguration(context.Context) (kube.ClusterConfiguration, error) {
	if a.config.Endpoint == "" {
		return a.config, kube.ErrNotKubeadm
	}
	return a.config, nil
}

func (a *fakeAPI) NodeImages(context.Context) (map[string][][]string, error) {
	return a.nodeImages, nil
}

func (a *fakeAPI) Version(context.Context) (string, error) {
	return cmp.Or(a.version, bundletest.Version), nil
}

func (a *fakeAPI) arch(name, arch string) {
	n := a.nodes[name]
	n.Arch = arch
	a.nodes[name] = n
}

func (a *fakeAPI) notReady(name string) {
	n := a.nodes[name]
	n.Ready = false
	a.nodes[name] = n
}

func (a *fakeAPI) Pods(context.Context, string, string) ([]kube.Pod, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.snapshots = append(a.snapshots, len(a.nodes))
	return a.pods, nil
}

func (a *fakeAPI) log(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done = append(a.done, what)
}

func (a *fakeAPI) Untaint(_ context.Context, node, key string) error {
	a.log("untaint " + node + " " + key)
	return nil
}

func (a *fakeAPI) DrainPods(_ context.Context, node string) ([]kube.DrainPod, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.evictable[node]), nil
}

func (a *fakeAPI) Cordon(_ context.Context, node string) error { a.log("cordon " + node); return nil }

func (a *fakeAPI) Drain(ctx context.Context, pods []kube.DrainPod, _ func([]kube.Missing)) error {
	if a.guarded {
		<-ctx.Done()
		return &kube.NotReadyError{What: "drain", Missing: []kube.Missing{{Object: "pod " + pods[0].String(), Reason: "budget"}}, Cause: ctx.Err()}
	}
	for i, p := range pods {
		a.evict(p)
		if i == 0 && a.draining != nil {
			if err := a.draining(ctx); err != nil {
				return err
			}
		}
	}
	what := fmt.Sprintf("drain %d pods", len(pods))
	if n := len(pods); n > 0 && pods[0].Abandoned {
		what += fmt.Sprintf(", %d abandoned", n)
	}
	a.log(what)
	return nil
}

func (a *fakeAPI) evict(pod kube.DrainPod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.evicted = append(a.evicted, pod.String())
	for node, pods := range a.evictable {
		a.evictable[node] = slices.DeleteFunc(pods, func(p kube.DrainPod) bool { return p.String() == pod.String() })
	}
}

func (a *fakeAPI) WaitDetached(ctx context.Context, node string, o kube.WaitOptions) error {
	var missing []kube.Missing
	for _, v := range a.attached {
		missing = append(missing, kube.Missing{Object: "persistentvolume " + v, Reason: "is still attached to " + node})
	}
	if len(missing) == 0 && !a.silent {
		return nil
	}
	o.Progress(missing)
	if !a.stuck && !a.silent {
		return nil
	}
	<-ctx.Done()
	return &kube.NotReadyError{What: "volumes", Missing: missing, Cause: ctx.Err()}
}

func (a *fakeAPI) rename(node, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.nodes[node]
	delete(a.nodes, node)
	n.Name = name
	a.nodes[name] = n
}

func (a *fakeAPI) ServingRequests(context.Context) ([]kube.ServingRequest, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.serving), nil
}

func (a *fakeAPI) ApproveServing(_ context.Context, r kube.ServingRequest) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.Name == a.decides {
		return kube.ErrConflict
	}
	a.done = append(a.done, "approve "+r.Name)
	for i := range a.serving {
		if a.serving[i].Name == r.Name {
			a.serving[i].Decided, a.serving[i].Issued = true, true
		}
	}
	return nil
}

func (a *fakeAPI) HasNode(_ context.Context, name string) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.late[name] > 0 {
		a.late[name]--
		return false, a.failing["HasNode"]
	}
	_, there := a.nodes[name]
	return there, a.failing["HasNode"]
}

func (a *fakeAPI) DeleteNode(_ context.Context, name string) error {
	a.log("delete " + name)
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.nodes, name)
	return nil
}

func (a *fakeAPI) EtcdMembers(_ context.Context, node string) ([]kube.EtcdMember, error) {
	if node == a.mute {
		return nil, errors.New("etcd does not answer")
	}
	if a.times++; a.asked != nil {
		a.asked(a.times)
	}
	return a.members, nil
}

func (a *fakeAPI) RemoveEtcdMember(_ context.Context, node string, id uint64) error {
	a.log(fmt.Sprintf("etcd member %d asked on %s", id, node))
	left := slices.DeleteFunc(slices.Clone(a.members), func(m kube.EtcdMember) bool { return m.ID == id })
	if len(left) == len(a.members) {
		return errors.New("etcdserver: member not found")
	}
	if a.members = left; a.forgotten != nil {
		a.forgotten()
	}
	return nil
}

func (a *fakeAPI) PodTemplates(context.Context) ([]kube.PodTemplate, error) { return a.templates, nil }

func (a *fakeAPI) SeenPods(context.Context) (kube.SeenPods, error) { return a.seen, nil }

func (a *fakeAPI) LeaseMark(context.Context, string) (string, error) {
	if err := a.failing["LeaseMark"]; err != nil {
		return "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprint("mark ", a.held), nil
}

func (a *fakeAPI) TakeLease(_ context.Context, o kube.LeaseOptions) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case o.Break:
	case a.holder != "" && !a.expired:
		return fmt.Errorf("%w by %s", kube.ErrHeld, a.holder)
	case o.Mark != "" && o.Mark != fmt.Sprint("mark ", a.held):
		return kube.ErrStale
	}
	a.holder, a.expired = o.Holder, false
	a.held++
	return nil
}

func (a *fakeAPI) RenewLease(ctx context.Context, _ kube.LeaseOptions) error {
	if a.renewed != nil {
		select {
		case a.renewed <- struct{}{}:
		case <-ctx.Done():
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lost
}

func (a *fakeAPI) ReleaseLease(ctx context.Context, o kube.LeaseOptions) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := cmp.Or(ctx.Err(), a.failing["ReleaseLease"]); err != nil {
		return err
	}
	if a.holder == o.Holder {
		a.holder = ""
	}
	return nil
}

func (a *fakeAPI) WaitAPI(context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failing["WaitAPI"]
}

func (a *fakeAPI) CAHashes() []string {
	hashes, err := kube.CAHashes([]byte(testKubeconfig()))
	if err != nil {
		panic(err)
	}
	return hashes
}

func (a *fakeAPI) CreateToken(_ context.Context, ttl time.Duration, _ string) (kube.Token, error) {
	t := kube.NewToken()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.life != nil {
		ttl = a.life(ttl)
	}
	t.Expires = time.Now().Add(ttl)
	a.tokens[t.ID] = true
	a.made++
	return t, nil
}

var tokenID = regexp.MustCompile(`token: "?([a-z0-9]{6})\.`)

// lets reports whether the token in a configuration of kubeadm is good.
func (a *fakeAPI) lets(config []byte) (id string, good bool) {
	if m := tokenID.FindSubmatch(config); m != nil {
		id = string(m[1])
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return id, a.tokens[id]
}

// tokensEnd is what the control plane does with tokens whose time is over.
func (a *fakeAPI) tokensEnd() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.tokens)
}

func (a *fakeAPI) DeleteToken(ctx context.Context, id string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := cmp.Or(ctx.Err(), a.failing["DeleteToken"]); err != nil {
		return err
	}
	delete(a.tokens, id)
	return nil
}

func (a *fakeAPI) ApplyNode(_ context.Context, name string, _ map[string]string, _ []string) (report.Action, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := cmp.Or(a.refuse[name], a.failing["ApplyNode"]); err != nil {
		return "", err
	}
	if a.late[name] > 0 {
		a.late[name]--
		return "", fmt.Errorf("%w: %s", kube.ErrNotFound, name)
	}
	return report.Unchanged, nil
}

func (a *fakeAPI) Apply(_ context.Context, manifest []byte, _ kube.ApplyOptions) ([]kube.ObjectChange, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if bytes.Contains(manifest, []byte("kind: CSIDriver")) {
		a.csi = string(manifest)
		objects, err := kube.Objects(manifest)
		if err != nil {
			return nil, err
		}
		for _, o := range objects {
			a.owned[o] = true
		}
	} else {
		a.cni = true
	}
	return []kube.ObjectChange{{Kind: "DaemonSet", Name: "net", Action: report.Created}}, nil
}

func (a *fakeAPI) Nodes(context.Context) ([]kube.Node, error) {
	if err := a.failing["Nodes"]; err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []kube.Node
	for _, name := range slices.Sorted(maps.Keys(a.nodes)) {
		out = append(out, a.nodes[name])
	}
	return out, nil
}

func (a *fakeAPI) Diff(_ context.Context, manifest []byte) ([]kube.ObjectChange, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !bytes.Contains(manifest, []byte("kind: CSIDriver")) {
		action := report.Created
		if a.cni {
			action = report.Unchanged
		}
		return []kube.ObjectChange{{Kind: "DaemonSet", Name: "net", Action: action}}, nil
	}
	there := objectsOf(a.csi)
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

func (a *fakeAPI) WaitNodesReady(_ context.Context, names []string, _ kube.WaitOptions) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.failing["WaitNodesReady"]; err != nil {
		return err
	}
	for _, n := range names {
		if !a.nodes[n].Ready {
			return fmt.Errorf("node %s: not ready", n)
		}
	}
	return nil
}

func (a *fakeAPI) WaitDaemonSets(context.Context, []string, kube.WaitOptions) error { return nil }

func (a *fakeAPI) WaitSigned(_ context.Context, id string, _ kube.WaitOptions) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.tokens[id] {
		return fmt.Errorf("no token %s to sign", id)
	}
	return a.unsigned
}

func (a *fakeAPI) WaitDeployment(_ context.Context, namespace, name string, _ kube.WaitOptions) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waitedFor = append(a.waitedFor, namespace+"/"+name)
	return nil
}

func (a *fakeAPI) CheckDNS(context.Context, kube.DialFunc, string) error { return nil }

// testCA is the authority of the simulated cluster, in PEM; otherCA is another's.
var testCA, otherCA = sync.OnceValue(newCA), sync.OnceValue(newCA)

func newCA() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// testKubeconfig is one that parses; nothing answers at its address.
func testKubeconfig() string { return kubeconfigOf(testCA()) }

func kubeconfigOf(ca string) string {
	return `apiVersion: v1
kind: Config
clusters: [{name: kubernetes, cluster: {server: "https://192.0.2.1:6443", certificate-authority-data: ` + base64.StdEncoding.EncodeToString([]byte(ca)) + `}}]
users: [{name: kubernetes-admin, user: {token: not-a-secret}}]
contexts: [{name: admin, context: {cluster: kubernetes, user: kubernetes-admin}}]
current-context: admin
`
}

func (a *fakeAPI) machineID(name, id string) {
	n := a.nodes[name]
	n.MachineID = id
	a.nodes[name] = n
}
