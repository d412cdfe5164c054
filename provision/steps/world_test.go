package steps

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/kube/fakeapi"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/templates"
)

// world is what steps write to: hosts behind real SSH connections, which keep what hybridctl's scripts would keep, an API server, and an
// inventory. The steps are those of a real plan: a control plane cp, a second one cp-2, and a worker.
type world struct {
	t     *testing.T
	in    plan.Input
	plan  plan.Plan
	hosts map[string]*fakeHost
	facts map[string]facts.Host
	api   *fakeAPI
	out   []string // hosts that were taken out of the inventory
	said  []string // words of progress
	env   Env
	x     *Steps
}

// made is the bundle of all tests: to make one takes a second.
var made = sync.OnceValue(func() func(t *testing.T) *bundle.Bundle {
	var once sync.Once
	var dir string
	return func(t *testing.T) *bundle.Bundle {
		once.Do(func() {
			dir = filepath.Join(os.TempDir(), fmt.Sprintf("hybridctl-steps-%d", os.Getpid()))
			if _, err := bundle.Create(context.Background(), bundletest.Write(t, t.TempDir(), platform.AMD64), dir, bundle.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		})
		b, err := bundle.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
})()

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(filepath.Join(os.TempDir(), fmt.Sprintf("hybridctl-steps-%d", os.Getpid())))
	os.Exit(code)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, hosts: map[string]*fakeHost{}, facts: map[string]facts.Host{}}
	w.api = newFakeAPI()
	fleet := remotetest.NewFleet(t, 3, remotetest.Options{})
	c := &inventory.Cluster{APIVersion: inventory.APIVersion, Kind: inventory.Kind, Metadata: inventory.Metadata{Name: "lab"}, Path: "/lab.yaml"}
	b := made(t)
	c.Spec.Kubernetes.Version = b.Manifest.KubernetesVersion
	c.Spec.Kubernetes.Endpoint = "api.example:6443"
	var observed []facts.Host
	for i, name := range []string{"cp", "cp-2", "worker"} {
		h := &fakeHost{world: w, name: name, ssh: fleet.Hosts[i], markers: map[string]string{}, images: map[string]string{}, files: map[string]bool{},
			fail: map[string]string{}, cut: map[string]bool{}}
		w.hosts[name] = h
		role := inventory.ControlPlane
		if name == "worker" {
			role = inventory.Worker
		}
		c.Spec.Hosts = append(c.Spec.Hosts, inventory.Host{Name: name, Address: h.ssh.Address, NodeIP: fmt.Sprintf("192.0.2.%d", i+1), Role: role, Labels: map[string]string{"rack": "a"}})
		w.facts[name] = facts.Host{Name: name, Arch: platform.AMD64, BootID: "boot-1", Markers: map[string]facts.Marker{}}
		observed = append(observed, w.facts[name])
	}
	c.Spec.Kubernetes.Files = []inventory.ControlPlaneFile{{Name: "audit", Path: "/etc/kubernetes/audit/policy.yaml", Source: "/audit.yaml"}}
	inventory.Default(c)
	var err error
	w.in = plan.Input{Cluster: c, Bundle: &b.Manifest, Hosts: observed, Files: map[string]inventory.Secret{"audit": "rules: []"}}
	if w.plan, err = plan.Build(w.in); err != nil {
		t.Fatal(err)
	}
	for _, script := range []string{"apply", "probe-files", "kubeadm", "mark", "cluster-mark", "reset", "remove", "pki-pack", "pki-unpack", "pull"} {
		fleet.On(remotetest.Is(templates.Script(script)), w.answer(script))
	}
	fleet.On(remotetest.Prefix("/usr/local/bin/ctr -n k8s.io images ls"), w.answer("images"))
	fleet.On(remotetest.Prefix("/usr/local/bin/ctr -n k8s.io images import"), w.answer("import"))
	fleet.On(remotetest.Prefix("/usr/local/bin/ctr -n k8s.io images rm"), w.answer("forget"))
	fleet.On(remotetest.Prefix("cat -- /etc/kubernetes/admin.conf"), w.answer("admin.conf"))
	fleet.On(remotetest.Prefix("systemctl start"), w.answer("start"))
	dialer := fleet.Dialer()
	w.env = Env{
		Host: func(name string) (*host.Host, error) { // a connection that was cut is made again, as a front door does
			r, err := dialer.Dial(t.Context(), w.hosts[name].ssh.Config())
			if err != nil {
				return nil, err
			}
			t.Cleanup(func() { r.Close() })
			return host.New(r), nil
		},
		Facts:       func(name string) facts.Host { return w.facts[name] },
		Kube:        func(context.Context) (API, error) { return w.api, w.api.Failing["Kube"] },
		Initialised: func([]byte) error { return nil },
		Bootstrap:   "cp",
		Cluster:     "lab",
		TakeOut: func(name string) error {
			if err := w.api.Failing["TakeOut"]; err != nil {
				return err
			}
			w.out = append(w.out, name)
			return nil
		},
		Bundle: b, Progress: w, Timeout: time.Minute,
	}
	w.begin()
	return w
}

// begin is the start of another run.
func (w *world) begin() {
	w.x = New(w.env)
	w.x.etcdAsked, w.x.servingAsked, w.x.servingWithin = time.Millisecond, time.Millisecond, 0
}

// Event implements report.Sink.
func (w *world) Event(e report.Event) {
	if e.Message != "" {
		w.api.Lock()
		defer w.api.Unlock()
		w.said = append(w.said, e.Message)
	}
}

// step is one of the plan, to be created.
func (w *world) step(id plan.ID) plan.Step {
	w.t.Helper()
	s, ok := w.plan.Step(id)
	if !ok {
		w.t.Fatalf("no step %s in the plan", id)
	}
	return s
}

// done returns what was done to hosts and API since the last call.
func (w *world) done() []string {
	w.api.Lock()
	defer w.api.Unlock()
	out := w.api.Did
	w.api.Did = nil
	return out
}

func (w *world) did(what string) {
	w.api.Lock()
	defer w.api.Unlock()
	w.api.Did = append(w.api.Did, what)
}

// looks is what a new run learns of a host.
func (w *world) looks(name string) {
	f := w.facts[name]
	f.Markers, f.BadMarkers, f.Belongs = map[string]facts.Marker{}, nil, facts.ReadBelonging([]byte(w.hosts[name].belongs))
	for step, text := range w.hosts[name].markers {
		m, err := host.ParseMarker(step, []byte(text))
		if err != nil {
			w.t.Fatal(err)
		}
		f.Markers[step] = facts.Marker{Marker: m}
	}
	w.facts[name] = f
}

// fakeHost keeps what the scripts would keep.
type fakeHost struct {
	world *world
	name  string
	ssh   *remotetest.Host

	mu      sync.Mutex
	markers map[string]string
	files   map[string]bool // digests of uploads
	images  map[string]string
	member  bool
	half    int               // the status with which kubeadm refuses, once
	fail    map[string]string // scripts that fail, with their words
	refuses map[string]string // images that the registry does not give, with its words
	logins  []string          // what pulls were given on standard input
	cut     map[string]bool   // scripts that begin, and lose the connection; once
	started bool              // the kubelet was started
	pki     bool
	belongs string // the mark of its cluster
}

func (w *world) answer(what string) remotetest.Handler {
	return func(session *remotetest.Session) int {
		var h *fakeHost
		for _, x := range w.hosts {
			if x.ssh == session.Host {
				h = x
			}
		}
		in, _ := io.ReadAll(session.Stdin)
		_, args, _ := session.Script()
		h.mu.Lock()
		defer h.mu.Unlock()
		if words := h.fail[what]; words != "" {
			fmt.Fprintln(session.Stderr, words)
			return 1
		}
		if h.cut[what] {
			delete(h.cut, what)
			h.begun(what, args, in)
			session.Host.Cut()
			return 0
		}
		return h.carryOut(what, args, in, session)
	}
}

// begun is what a script leaves that did not come to its end.
func (h *fakeHost) begun(what string, args []string, in []byte) {
	h.world.did("cut off: " + what + " " + h.name)
	switch what {
	case "apply":
		h.markers[stepOf(in)] = "state started\n"
	case "kubeadm":
		h.markers[args[1]] = "state started\n"
	}
}

func stepOf(directives []byte) string {
	for line := range strings.Lines(string(directives)) {
		if step, ok := strings.CutPrefix(strings.TrimSpace(line), "step "); ok {
			return step
		}
	}
	return ""
}

var digestLine = regexp.MustCompile(`(?m)^digest (\S+)$`)

func (h *fakeHost) carryOut(what string, args []string, in []byte, session *remotetest.Session) int {
	say := func(format string, a ...any) { h.world.did(fmt.Sprintf(format, a...) + " " + h.name) }
	switch what {
	case "probe-files":
		for line := range strings.Lines(string(in)) {
			sha, _, _ := strings.Cut(line, " ")
			word := "need"
			if h.files[sha] {
				word = "same"
			}
			fmt.Fprintln(session.Stdout, word, sha)
		}
		if err := os.MkdirAll(filepath.Join(session.Host.Dir(), args[0]), 0o755); err != nil {
			h.world.t.Error(err)
		}
	case "images":
		fmt.Fprintln(session.Stdout, "REF TYPE DIGEST SIZE PLATFORMS LABELS")
		for ref, digest := range h.images {
			fmt.Fprintln(session.Stdout, ref, "manifest", digest, "1B", "linux", "-")
		}
	case "pki-pack":
		_, _ = session.Stdout.Write(packed())
	case "admin.conf":
		fmt.Fprint(session.Stdout, "a kubeconfig")
	case "apply":
		step := stepOf(in)
		say("apply %s", step)
		for _, m := range regexp.MustCompile(`(?m)^binary (\S+)`).FindAllSubmatch(in, -1) {
			h.files[string(m[1])] = true
		}
		if h.world.api.restarts && bytes.Contains(in, []byte("\nprocess kube-apiserver 6443\n")) {
			fmt.Fprintln(session.Stdout, "restarted kube-apiserver")
		}
		h.markers[step] = "state done\ndigest " + string(digestLine.FindSubmatch(in)[1]) + "\n"
	case "import":
		in := h.world.step(plan.HostID(h.name, plan.Images)).Inputs.(plan.ImagesInputs)
		for _, i := range in.Images {
			h.images[i.Ref] = i.Manifest
		}
		say("import")
	case "pull":
		h.logins = append(h.logins, string(in))
		if words := h.refuses[args[0]]; words != "" {
			fmt.Fprintln(session.Stderr, words)
			return 78
		}
		h.images[args[0]] = args[1]
		say("pull %s %s", args[0], args[2])
	case "forget":
		clear(h.images)
		say("remove images")
	case "mark":
		h.markers[args[0]] = string(in)
	case "cluster-mark":
		h.belongs = string(in)
	case "kubeadm":
		if h.half != 0 {
			say("kubeadm %s refused", args[0])
			return h.half
		}
		say("kubeadm %s", args[0])
		if len(args) > 3 {
			h.belongs = fmt.Sprintf("name %s\nca %s\n", args[4], args[3])
		}
		h.markers[args[1]] = fmt.Sprintf("state done\ndigest %s\n", args[2])
		h.member = true
		h.world.api.AddNode(h.name)
	case "reset":
		if m, err := host.ParseClusterMark([]byte(h.belongs)); err == nil && !slices.Contains(args, m.CA) {
			fmt.Fprintln(session.Stderr, "the host is of another cluster")
			return 80
		}
		say("reset")
		h.member, h.half = false, 0
		delete(h.markers, "init")
		delete(h.markers, "join")
		h.belongs = ""
	case "remove":
		if m, err := host.ParseClusterMark([]byte(h.belongs)); err == nil && !slices.Contains(strings.Fields(args[4]), m.CA) {
			fmt.Fprintln(session.Stderr, "the host is of another cluster")
			return 80
		}
		say("remove %s", args[0])
		delete(h.markers, args[0])
		if args[0] == "runtime" {
			clear(h.images)
			delete(h.markers, "images")
		}
	case "pki-unpack":
		h.pki = bytes.Contains(in, []byte("etcd/ca.key"))
	case "start":
		h.started = true
		say("start the kubelet")
	}
	return 0
}

// fakeAPI is the API server of a cluster without nodes. It tells also of what is applied, and may lose an answer.
type fakeAPI struct {
	*fakeapi.API
	labelled map[string]string
	objects  map[string]bool
	restarts bool // kube-apiserver does, when a file changes
	lose     bool // the answer to a removal of a member is lost
}

// ownCA is the pin of its authority.
var ownCA = "sha256:" + strings.Repeat("ca", 32)

func newFakeAPI() *fakeAPI { return &fakeAPI{API: fakeapi.New(""), objects: map[string]bool{}} }

func (a *fakeAPI) CAHashes() []string { return []string{ownCA} }

func (a *fakeAPI) ApplyNode(ctx context.Context, name string, labels map[string]string, taints []string) (report.Action, error) {
	if _, err := a.API.ApplyNode(ctx, name, labels, taints); err != nil {
		return "", err
	}
	a.Note("label " + name)
	a.labelled = maps.Clone(labels)
	return report.Configured, nil
}

func (a *fakeAPI) Apply(ctx context.Context, manifest []byte, o kube.ApplyOptions) ([]kube.ObjectChange, error) {
	if _, err := a.API.Apply(ctx, manifest, o); err != nil {
		return nil, err
	}
	a.Note("apply objects")
	objects, err := kube.Objects(manifest)
	var out []kube.ObjectChange
	for _, o := range objects {
		c := kube.ObjectChange{Kind: o.Kind, Name: o.Name, Action: report.Created}
		if a.objects[o.Kind+"/"+o.Name] {
			c.Action = report.Unchanged
		}
		a.objects[o.Kind+"/"+o.Name] = true
		out = append(out, c)
	}
	return out, err
}

func (a *fakeAPI) RemoveEtcdMember(ctx context.Context, node string, id uint64) error {
	if err := a.API.RemoveEtcdMember(ctx, node, id); err != nil || !a.lose {
		return err
	}
	return errors.New("the connection was lost")
}

// packed are the certificates that control planes share, as pki-pack.sh packs them.
func packed() []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_, files, _ := strings.Cut(templates.Script("pki-pack"), " -chf - ")
	for _, name := range strings.Fields(files) {
		_ = w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(name))})
		_, _ = w.Write([]byte(name))
	}
	_ = w.Close()
	return b.Bytes()
}
