package provision

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/templates"
)

// sim is a fleet of simulated hosts behind real SSH connections, and an API server that knows their nodes. A simulated host keeps
// what hybridctl's scripts would keep: markers, images, whether it is a node.
type sim struct {
	t     testing.TB
	fleet *remotetest.Fleet
	hosts map[string]*simHost
	api   *fakeAPI
	c     *inventory.Cluster
	state string

	bundle *bundle.Bundle
}

type simHost struct {
	sim  *sim
	name string
	arch string // as `uname -m` prints it
	fact map[string]string

	mu      sync.Mutex
	markers map[string]string
	files   map[string]int64 // sizes of uploads by sha256
	images  map[string]string
	member  bool
	config  string            // of the last kubeadm
	writes  []string          // scripts that change something, in order
	asked   []string          // every command, whole
	probes  int               // how often its kernel was asked about Ceph
	ceph    map[string]string // what its kernel answers, by ID of the user, when not the usual
	fail    map[string]string
	gate    map[string]chan struct{} // scripts wait here
}

// newSim starts n hosts; the first is the control plane, and the architectures alternate.
func newSim(t testing.TB, n int, o remotetest.Options) *sim {
	t.Helper()
	s := &sim{t: t, fleet: remotetest.NewFleet(t, n, o), hosts: map[string]*simHost{}, api: newFakeAPI()}
	s.state = filepath.Join(t.TempDir(), "state")
	b := bundletest.Make(t, platform.AMD64, platform.ARM64)
	s.bundle = b
	c := &inventory.Cluster{APIVersion: inventory.APIVersion, Kind: inventory.Kind, Metadata: inventory.Metadata{Name: "sim"}, Path: filepath.Join(t.TempDir(), "inventory.yaml")}
	c.Spec.Kubernetes.Version = b.Manifest.KubernetesVersion
	c.Spec.Bundle = b.Dir
	c.Spec.SSH.IdentityFiles = []string{s.fleet.KeyFile()}
	base := baseFacts(t)
	for i, h := range s.fleet.Hosts {
		x := &simHost{sim: s, name: h.Name, arch: []string{"x86_64", "aarch64"}[i%2], fact: base, markers: map[string]string{},
			files: map[string]int64{}, images: map[string]string{}, fail: map[string]string{}, gate: map[string]chan struct{}{}}
		s.hosts[h.Name] = x
		role := inventory.Worker
		if i == 0 {
			role = inventory.ControlPlane
		}
		c.Spec.Hosts = append(c.Spec.Hosts, inventory.Host{Name: h.Name, Address: h.Address, Port: h.Port, Role: role, NodeIP: fmt.Sprintf("192.0.2.%d", i%250+1)})
	}
	inventory.Default(c)
	s.c = c
	s.fleet.On(asksForFacts, s.answer("facts"))
	for _, script := range []string{"apply", "probe-files", "kubeadm", "mark", "reset", "remove", "ceph-probe", "pki-pack", "pki-unpack"} {
		s.fleet.On(remotetest.Is(templates.Script(script)), s.answer(script))
	}
	s.fleet.On(remotetest.Prefix("/usr/local/bin/ctr -n k8s.io images ls"), s.answer("images"))
	s.fleet.On(remotetest.Prefix("/usr/local/bin/ctr -n k8s.io images import"), s.answer("import"))
	s.fleet.On(remotetest.Prefix("/usr/local/bin/ctr -n k8s.io images rm"), s.answer("forget"))
	s.fleet.On(remotetest.Prefix("cat -- /etc/kubernetes/admin.conf"), s.answer("admin.conf"))
	s.fleet.On(remotetest.Prefix("systemctl start"), s.answer("start"))
	return s
}

// asksForFacts matches the facts script, which is sent without its comments.
func asksForFacts(session *remotetest.Session) bool {
	return strings.Contains(session.Command(), `printf '{"clock":`)
}

// baseFacts is a real document of the facts script.
func baseFacts(t testing.TB) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("facts", "testdata", "debian-13-arm64-16k.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]string
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// options are a run's.
func (s *sim) options() Options {
	return Options{Cluster: s.c, StateDir: s.state, newAPI: func([]byte, kube.Options) (api, error) { return s.api, nil }}
}

func (s *sim) up() (Result, error) { return Up(context.Background(), UpOptions{Options: s.options()}) }

func (s *sim) answer(what string) remotetest.Handler {
	return func(session *remotetest.Session) int {
		h := s.hosts[session.Host.Name]
		h.mu.Lock()
		gate, fail := h.gate[what], h.fail[what]
		h.mu.Unlock()
		if gate != nil {
			select {
			case <-gate:
			case <-session.Context().Done():
				return 143
			}
		}
		in, _ := io.ReadAll(session.Stdin)
		if fail != "" {
			fmt.Fprintln(session.Stderr, fail)
			return 1
		}
		_, args, _ := session.Script()
		h.mu.Lock()
		defer h.mu.Unlock()
		h.asked = append(h.asked, session.Command())
		return h.carryOut(what, args, in, session)
	}
}

func (h *simHost) carryOut(what string, args []string, in []byte, session *remotetest.Session) int {
	switch what {
	case "facts":
		_, _ = session.Stdout.Write(h.facts())
		return 0
	case "probe-files":
		for _, line := range strings.Split(strings.TrimSpace(string(in)), "\n") {
			sha, _, _ := strings.Cut(line, " ")
			word := "need"
			if _, ok := h.files[sha]; ok {
				word = "same"
			}
			fmt.Fprintln(session.Stdout, word, sha)
		}
		// the login user's staging directory
		if err := os.MkdirAll(filepath.Join(session.Host.Dir(), args[0]), 0o755); err != nil {
			fmt.Fprintln(session.Stderr, err)
			return 1
		}
		return 0
	case "images":
		fmt.Fprintln(session.Stdout, "REF TYPE DIGEST SIZE PLATFORMS LABELS")
		for ref, digest := range h.images {
			fmt.Fprintln(session.Stdout, ref, "manifest", digest, "1B", "linux", "-")
		}
		return 0
	case "ceph-probe":
		h.probes++
		fmt.Fprint(session.Stdout, h.cephSays(string(in)))
		return 0
	case "pki-pack":
		fmt.Fprint(session.Stdout, "certificates")
		return 0
	case "admin.conf":
		fmt.Fprint(session.Stdout, testKubeconfig())
		return 0
	}
	h.writes = append(h.writes, what+" "+strings.Join(args, " "))
	switch what {
	case "apply":
		h.apply(in)
	case "import":
		h.images["imported"] = fmt.Sprint(len(in))
	case "forget":
		clear(h.images)
	case "mark":
		h.markers[args[0]] = string(in)
	case "kubeadm":
		h.config = string(in)
		h.member = true
		h.markers[args[1]] = fmt.Sprintf("state done\ndigest %s\n", args[2])
		h.sim.api.addNode(h.name)
	case "reset":
		h.member = false
		h.sim.api.log("reset " + h.name)
		delete(h.markers, "init")
		delete(h.markers, "join")
	case "remove":
		delete(h.markers, args[0])
		switch args[0] {
		case "runtime":
			delete(h.markers, "images")
		case "os":
			clear(h.markers)
		}
	case "pki-unpack":
		h.files["pki"] = int64(len(in))
	case "start":
	default:
		return 127
	}
	return 0
}

// apply is the end of apply.sh: the marker.
func (h *simHost) apply(in []byte) {
	var step, digest string
	sc := bufio.NewScanner(bytes.NewReader(in))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		switch word, rest, _ := strings.Cut(sc.Text(), " "); word {
		case "step":
			step = rest
		case "digest":
			digest = rest
		case "binary":
			sha, _, _ := strings.Cut(rest, " ")
			h.files[sha] = 1
		}
	}
	h.markers[step] = "state done\ndigest " + digest + "\n"
}

// cephSays is the answer of ceph-probe.sh: all is well, but for what the test has put into ceph.
func (h *simHost) cephSays(questions string) string {
	var b strings.Builder
	b.WriteString("features 0x1bf\n")
	for line := range strings.Lines(questions) {
		f := strings.Fields(line)
		switch f[0] {
		case "monitor":
			fmt.Fprintf(&b, "monitor %s:%s %x\n", f[1], f[2], "ceph v027")
		case "rbd", "cephfs":
			said, ok := h.ceph[f[1]]
			if !ok && f[0] == "rbd" {
				said = "said No such file or directory\nlog rbd: image kube/probe-1 does not exist\n"
			}
			fmt.Fprintf(&b, "asked %s\n%s", f[1], said)
		}
	}
	return b.String()
}

func (h *simHost) facts() []byte {
	m := map[string]string{}
	for k, v := range h.fact {
		if !strings.HasPrefix(k, "marker/") {
			m[k] = v
		}
	}
	m["clock"] = fmt.Sprintf("%d.%09d", time.Now().Unix(), time.Now().Nanosecond())
	m["hostname"], m["machine-id"], m["machine"] = h.name+"\n", "id-of-"+h.name+"\n", h.arch+"\n"
	m["ports"], m["addresses"] = "", ""
	m["modules"] += "rbd available\nceph available\n"
	for step, text := range h.markers {
		m["marker/"+step] = text
	}
	if h.member {
		m["kubelet.conf"], m["ca.crt"] = "    server: https://192.0.2.1:6443\n", testCA()
	}
	if _, ok := h.markers["init"]; ok {
		m["admin.conf"] = ""
	}
	clock := m["clock"]
	delete(m, "clock")
	b, _ := json.Marshal(m)
	return []byte(fmt.Sprintf("{\"clock\":%q,%s", clock, b[1:])) // the script prints the clock first
}

// changed counts what was changed on all hosts since the last call.
func (s *sim) changed() int {
	n := 0
	for _, h := range s.hosts {
		h.mu.Lock()
		n += len(h.writes)
		h.writes = nil
		h.mu.Unlock()
	}
	return n
}

// fakeAPI is an API server as the front door sees one.
type fakeAPI struct {
	conformance.API // not asked for here
	mu              sync.Mutex
	nodes           map[string]kube.Node
	cni             bool
	csi             string // the objects of ceph-csi that were applied last
	volumes         []kube.Volume
	waited          []string // for which nodes and drivers
	tokens          map[string]bool
	made            int
	pods            []kube.Pod
	done            []string // what a removal did, in order
	evictable       map[string][]kube.DrainPod
	guarded         bool // a budget keeps pods from being evicted
	members         []kube.EtcdMember
	templates       []kube.PodTemplate
	images          map[string][]string // architectures of the nodes that have them
	holder          string              // of the cluster's lock
	lost            error               // of a renewal
	held            int                 // how often it was taken
	refuse          map[string]error    // why a node cannot be labelled
	snapshots       []int               // how many nodes there were when the pods were listed
	late            map[string]int      // how often a node is not found before its kubelet has registered it
}

func newFakeAPI() *fakeAPI { return &fakeAPI{nodes: map[string]kube.Node{}, tokens: map[string]bool{}} }

func (a *fakeAPI) addNode(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nodes[name] = kube.Node{Name: name, Ready: true, MachineID: "id-of-" + name}
}

// controlPlane makes a node one of a control plane.
func (a *fakeAPI) controlPlane(name string) {
	n := a.nodes[name]
	n.ControlPlane = true
	a.nodes[name] = n
}
func (a *fakeAPI) Version(context.Context) (string, error) { return bundletest.Version, nil }
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
	return a.evictable[node], nil
}
func (a *fakeAPI) Cordon(_ context.Context, node string) error { a.log("cordon " + node); return nil }
func (a *fakeAPI) Drain(ctx context.Context, pods []kube.DrainPod, _ func([]kube.Missing)) error {
	if a.guarded {
		<-ctx.Done()
		return &kube.NotReadyError{What: "drain", Missing: []kube.Missing{{Object: "pod " + pods[0].String(), Reason: "budget"}}, Cause: ctx.Err()}
	}
	a.log(fmt.Sprintf("drain %d pods", len(pods)))
	return nil
}
func (a *fakeAPI) DeleteNode(_ context.Context, name string) error {
	a.log("delete " + name)
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.nodes, name)
	return nil
}
func (a *fakeAPI) EtcdMembers(context.Context, string) ([]kube.EtcdMember, error) {
	return a.members, nil
}
func (a *fakeAPI) RemoveEtcdMember(_ context.Context, node string, id uint64) error {
	a.log(fmt.Sprintf("etcd member %d asked on %s", id, node))
	return nil
}
func (a *fakeAPI) PodTemplates(context.Context) ([]kube.PodTemplate, error) { return a.templates, nil }
func (a *fakeAPI) ImagesByArch(context.Context) (map[string][]string, error) {
	return a.images, nil
}
func (a *fakeAPI) TakeLease(_ context.Context, o kube.LeaseOptions) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.holder != "" && !o.Break {
		return fmt.Errorf("%w by %s", kube.ErrHeld, a.holder)
	}
	a.holder = o.Holder
	a.held++
	return nil
}
func (a *fakeAPI) RenewLease(context.Context, kube.LeaseOptions) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lost
}
func (a *fakeAPI) ReleaseLease(_ context.Context, o kube.LeaseOptions) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.holder == o.Holder {
		a.holder = ""
	}
	return nil
}
func (a *fakeAPI) WaitAPI(context.Context) error { return nil }
func (a *fakeAPI) CAHashes() []string {
	hashes, err := kube.CAHashes([]byte(testKubeconfig()))
	if err != nil {
		panic(err)
	}
	return hashes
}
func (a *fakeAPI) CreateToken(_ context.Context, ttl time.Duration, _ string) (kube.Token, error) {
	t := kube.NewToken()
	t.Expires = time.Now().Add(ttl)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens[t.ID] = true
	a.made++
	return t, nil
}
func (a *fakeAPI) DeleteToken(_ context.Context, id string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.tokens, id)
	return nil
}
func (a *fakeAPI) ApplyNode(_ context.Context, name string, _ map[string]string, _ []string) (report.Action, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.refuse[name]; err != nil {
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
	} else {
		a.cni = true
	}
	return []kube.ObjectChange{{Kind: "DaemonSet", Name: "net", Action: report.Created}}, nil
}
func (a *fakeAPI) Volumes(context.Context, []string) ([]kube.Volume, error) { return a.volumes, nil }
func (a *fakeAPI) HasKind(context.Context, string, string) (bool, error)    { return false, nil }
func (a *fakeAPI) WaitCSINodes(_ context.Context, nodes, drivers []string, _ kube.WaitOptions) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waited = append(a.waited, strings.Join(nodes, ",")+": "+strings.Join(drivers, ","))
	return nil
}
func (a *fakeAPI) Nodes(context.Context) ([]kube.Node, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []kube.Node
	for _, n := range a.nodes {
		out = append(out, n)
	}
	return out, nil
}
func (a *fakeAPI) Diff(_ context.Context, manifest []byte) ([]kube.ObjectChange, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	action := report.Created
	isCSI := bytes.Contains(manifest, []byte("kind: CSIDriver"))
	switch {
	case isCSI && a.csi == string(manifest), !isCSI && a.cni:
		action = report.Unchanged
	case isCSI && a.csi != "":
		action = report.Configured
	}
	return []kube.ObjectChange{{Kind: "DaemonSet", Name: "net", Action: action}}, nil
}
func (a *fakeAPI) WaitNodesReady(_ context.Context, names []string, _ kube.WaitOptions) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range names {
		if !a.nodes[n].Ready {
			return fmt.Errorf("node %s: not ready", n)
		}
	}
	return nil
}
func (a *fakeAPI) WaitDaemonSets(context.Context, []string, kube.WaitOptions) error { return nil }
func (a *fakeAPI) WaitDeployment(context.Context, string, string, kube.WaitOptions) error {
	return nil
}
func (a *fakeAPI) CheckDNS(context.Context, kube.DialFunc, string) error { return nil }

// testCA is the authority of the simulated cluster, in PEM.
var testCA = sync.OnceValue(func() string {
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
})

// testKubeconfig is one that parses; nothing answers at its address.
func testKubeconfig() string {
	return `apiVersion: v1
kind: Config
clusters: [{name: kubernetes, cluster: {server: "https://192.0.2.1:6443", certificate-authority-data: ` + base64.StdEncoding.EncodeToString([]byte(testCA())) + `}}]
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
