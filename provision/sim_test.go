package provision

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/access"
	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/kube/fakeapi"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
	"github.com/hybridctl/hybridctl/templates"
)

// sim is a fleet of simulated hosts behind real SSH connections, and an API server that knows their nodes. A simulated host keeps
// what hybridctl's scripts would keep: markers, images, whether it is a node.
type sim struct {
	t     testing.TB
	fleet *remotetest.Fleet
	hosts map[string]*simHost
	api   *fakeapi.API
	c     *inventory.Cluster
	state string

	bundle *bundle.Bundle

	kill   atomic.Pointer[killing] // nil = the runs are not killed
	joined func(name string)       // is told of hosts that became nodes; nil = no one is

	catalogue, cache, programs string // see fetches
}

type simHost struct {
	sim  *sim
	name string
	arch string // as `uname -m` prints it
	fact map[string]string

	clock   time.Duration // ahead of this machine's
	listens []int         // TCP ports

	mu       sync.Mutex
	markers  map[string]string
	belongs  string    // the mark of its cluster
	lock     [2]string // the token and the holder of the lock; "" = no one has it
	lockKind string
	files    map[string]int64 // sizes of uploads by sha256
	images   map[string]string
	member   bool
	stopped  bool              // its kubelet does not run
	stranger bool              // its kubelet may not register a node
	others   bool              // it is a node of another cluster
	half     int               // an earlier join may have made it a part of the cluster: the script's status; 0 = it did not
	config   string            // of the last kubeadm
	writes   []string          // scripts that change something, in order
	asked    []string          // every command, whole
	probes   int               // how often its kernel was asked about Ceph
	ceph     map[string]string // what its kernel answers, by ID of the user, when not the usual
	fail     map[string]string
	gate     map[string]chan struct{} // scripts wait here
	unit     *kubeadmUnit             // nil = kubeadm ends at once
}

// kubeadmUnit is a kubeadm that takes its time, as a unit of the host's systemd: it goes on when the connection is lost, and ends when a
// second call of kubeadm.sh waits for it.
type kubeadmUnit struct {
	registers bool   // its node is there before it ends
	begun     func() // is called when it is at work
	end       chan struct{}
	ended     chan struct{} // nil = it has not begun

	status int
	said   bytes.Buffer
}

// await is kubeadm.sh on such a host.
func (h *simHost) await(args []string, config []byte, session *remotetest.Session) int {
	h.mu.Lock()
	u := h.unit
	if u.ended == nil {
		u.ended = make(chan struct{})
		h.markers[args[1]] = "state started\n"
		if u.registers {
			h.member = true
			h.sim.api.AddNode(h.name)
		}
		go func() {
			defer close(u.ended)
			<-u.end
			h.mu.Lock()
			defer h.mu.Unlock()
			u.status = h.carryOut("kubeadm", args, config, &remotetest.Session{Stderr: &u.said})
		}()
		go u.begun()
	} else {
		close(u.end)
	}
	h.mu.Unlock()
	select {
	case <-session.Context().Done():
		return 143
	case <-u.ended:
		_, _ = session.Stderr.Write(u.said.Bytes())
		return u.status
	}
}

// newSim starts n hosts; the first is the control plane, and the architectures alternate.
func newSim(t testing.TB, n int, o remotetest.Options) *sim {
	t.Helper()
	s := &sim{t: t, fleet: remotetest.NewFleet(t, n, o), hosts: map[string]*simHost{}, api: fakeapi.New(bundletest.Version)}
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
	for _, script := range []string{"apply", "probe-files", "kubeadm", "mark", "cluster-mark", "lock", "reset", "remove", "ceph-probe", "pki-pack", "pki-unpack", "pull"} {
		s.fleet.On(remotetest.Is(templates.Script(script)), s.answer(script))
	}
	s.fleet.On(remotetest.Is(templates.Script("static-pods")), func(session *remotetest.Session) int {
		fmt.Fprintln(session.Stdout, "2026-01-01T00:00:00Z") // of a clock alone: no pod has ended
		return 0
	})
	s.fleet.On(remotetest.Prefix("/usr/local/bin/ctr -n k8s.io images ls"), s.answer("images"))
	s.fleet.On(remotetest.Prefix("/usr/local/bin/ctr -n k8s.io images import"), s.answer("import"))
	s.fleet.On(remotetest.Prefix("/usr/local/bin/ctr -n k8s.io images rm"), s.answer("forget"))
	s.fleet.On(remotetest.Prefix("cat -- /etc/kubernetes/admin.conf"), s.answer("admin.conf"))
	s.fleet.On(remotetest.Prefix("cat -- /etc/machine-id"), s.answer("machine-id"))
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
	return Options{Cluster: s.c, StateDir: s.state, Catalogue: s.catalogue, hooks: hooks{
		newAPI: func([]byte, kube.Options) (access.API, error) { return s.api, nil },
		cache:  s.cache, program: func(name string) (string, error) { return filepath.Join(s.programs, name), nil },
	}}
}

func (s *sim) up() (Result, error) { return Up(context.Background(), UpOptions{Options: s.options()}) }

func (s *sim) answer(what string) remotetest.Handler {
	return func(session *remotetest.Session) int {
		h := s.hosts[session.Host.Name]
		killing := s.kill.Load() // of the run that asks: its words may come in late
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
		if what == "kubeadm" && h.unit != nil {
			return h.await(args, in, session)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.asked = append(h.asked, session.Command())
		if killing != nil && !slices.Contains(readings, what) {
			return killing.command(h, what, args, in, session)
		}
		return h.carryOut(what, args, in, session)
	}
}

// readings are the commands that change nothing.
var readings = []string{"facts", "probe-files", "images", "ceph-probe", "pki-pack", "admin.conf", "machine-id"}

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
		_, _ = session.Stdout.Write(packed())
		return 0
	case "admin.conf":
		fmt.Fprint(session.Stdout, fakeapi.Kubeconfig())
		return 0
	case "cluster-mark":
		if args[0] == "read" {
			fmt.Fprint(session.Stdout, h.belongs)
			return 0
		}
	case "lock":
		h.lockScript(args, session.Stdout)
		return 0
	case "machine-id":
		fmt.Fprintln(session.Stdout, "id-of-"+h.name)
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
	case "pull":
		h.images[args[0]] = args[1]
	case "mark":
		h.markers[args[0]] = string(in)
	case "cluster-mark":
		h.belongs = string(in)
	case "kubeadm":
		if h.half != 0 {
			fmt.Fprintln(session.Stderr, "kubeadm: an earlier attempt may have made this host a part of the cluster already")
			return h.half
		}
		if id, good := h.sim.api.Lets(in); args[0] == "join" && !good {
			fmt.Fprintf(session.Stderr, "error: could not find a JWS signature in the cluster-info ConfigMap for token ID %q\n", id)
			return 75
		}
		h.config = string(in)
		h.member = true
		if len(args) > 4 {
			h.belongs = fmt.Sprintf("name %s\nca %s\n", args[4], args[3])
		}
		h.markers[args[1]] = fmt.Sprintf("state done\ndigest %s\n", args[2])
		if args[0] == "init" {
			h.sim.api.IsNew()
		}
		h.sim.api.AddNode(h.name)
		if h.sim.joined != nil {
			h.sim.joined(h.name)
		}
	case "reset":
		if h.isOthers(args) {
			fmt.Fprintln(session.Stderr, "the host is of another cluster")
			return 80
		}
		h.member, h.half = false, 0
		h.sim.api.Note("reset " + h.name)
		delete(h.markers, "init")
		delete(h.markers, "join")
		h.belongs = ""
	case "remove":
		if h.isOthers(strings.Fields(args[4])) {
			fmt.Fprintln(session.Stderr, "the host is of another cluster")
			return 80
		}
		delete(h.markers, args[0])
		switch args[0] {
		case "runtime":
			delete(h.markers, "images")
		case "os":
			clear(h.markers)
			h.belongs = ""
		}
	case "pki-unpack":
		h.files["pki"] = int64(len(in))
	case "start": // the kubelet registers its node
		h.stopped = false
		if h.member && !h.stranger {
			h.sim.api.AddNode(h.name)
		}
	default:
		return 127
	}
	return 0
}

// lockScript is lock.sh.
func (h *simHost) lockScript(args []string, out io.Writer) {
	var said string
	switch verb, token := args[0], args[1]; {
	case verb == "give" && h.lock[0] == "":
		said = "gone"
	case verb == "give" && (h.lock[0] == token || len(args) > 2 && (args[2] == "break" || args[2] == "leased" && h.lockKind == "up" && strings.Contains(h.markers["init"], "state done\n"))):
		said, h.lock = "given", [2]string{}
	case verb == "take" && h.lock[0] == token:
		said = "again"
	case verb == "take" && (h.lock[0] == "" || slices.Contains(args[3:], "break")):
		said = "taken"
	default:
		fmt.Fprintf(out, "held\n2026-01-02T03:04:05Z\n%s\n%s\n", h.lock[1], h.lockKind)
		return
	}
	if args[0] == "take" {
		h.lock, h.lockKind = [2]string{args[1], args[2]}, (append(args, ""))[3]
	}
	fmt.Fprintln(out, said)
	for step, text := range h.markers {
		m, _ := host.ParseMarker(step, []byte(text)) // of one that cannot be read it tells the name
		fmt.Fprintln(out, "step", step, m.State, m.Digest)
	}
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
	if step == "" {
		return // what was to be applied was cut off, which apply.sh refuses
	}
	h.markers[step] = "state done\ndigest " + digest + "\n"
}

// says changes one of the host's facts.
func (h *simHost) says(fact, text string) {
	h.fact = maps.Clone(h.fact) // which the hosts share
	h.fact[fact] = text
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
	now := time.Now().Add(h.clock)
	m["clock"] = fmt.Sprintf("%d.%09d", now.Unix(), now.Nanosecond())
	m["hostname"], m["machine-id"], m["machine"] = h.name+"\n", "id-of-"+h.name+"\n", h.arch+"\n"
	m["ports"], m["addresses"] = "", ""
	for _, port := range h.listens {
		m["ports"] += fmt.Sprintf("00000000:%04X\n", port)
	}
	m["modules"] += "rbd available\nceph available\n"
	for step, text := range h.markers {
		m["marker/"+step] = text
	}
	if h.member {
		m["kubelet.conf"], m["ca.crt"] = "    server: https://192.0.2.1:6443\n", fakeapi.CA()
		if h.others {
			m["kubelet.conf"], m["ca.crt"] = "    server: https://198.51.100.1:6443\n", fakeapi.OtherCA()
		}
	}
	if h.member && !h.stopped {
		units, states := strings.Fields(m["units"]), strings.Fields(m["states"])
		if i := slices.Index(units, "kubelet.service"); i >= 0 {
			states[i] = "active"
		}
		m["states"] = strings.Join(states, "\n") + "\n"
	}
	if h.belongs != "" {
		m["cluster"] = h.belongs
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
