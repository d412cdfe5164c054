package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

// fake is a cluster in this process. Its pods are real probes on loopback addresses, 127.<part>.<node>.<pod>, and what a cluster's
// network does to connections (Services, node ports, policies, filters) is done by the dialers of those who connect.
type fake struct {
	t       *testing.T
	part    int
	dir     string
	nodes   []*fakeNode
	done    sync.WaitGroup
	mu      sync.Mutex
	changed chan struct{}
	spaces  map[string]bool
	pods    map[string]*fakePod // by name, of the run's namespace
	svcs    map[string]*fakeService
	secrets map[string]string // what their credentials are
	events  []kube.Event
	others  []kube.Pod // of other namespaces
	number  int        // the last that was given away
	used    []string   // every address a pod ever had
	drops   map[[2]string]bool

	// What can be wrong with it.
	forbidden map[string]error                                            // by kind: Apply fails
	ports     map[int]bool                                                // node ports that another namespace has
	lie       func(w *probe.Who)                                          // what servers say of themselves
	intercept func(from, to *fakePod, network string) error               // of a connection between pods
	tamper    func(from *fakePod, network string, conn net.Conn) net.Conn // with its bytes
	masks     bool                                                        // pods are seen with their node's address
	deadDNS   string                                                      // address of a DNS server that does not answer
	onExec    func(pod, container string) error
	onApply   func(kind, name string)
	lingers   string // Service that answers on although it has no endpoint or is gone, through that pod
	wordless  bool   // a foreign program's end is only in its log
	flashes   bool   // a foreign program's pod is Ready until somebody wants something of it
	leaky     bool   // the registry gives the image to everybody
	anywhere  bool   // every node answers for a Service with the policy Local
}

type fakeNode struct {
	c        *fake
	name     string
	place    int
	arch     platform.Arch
	address  string
	dir      string
	ready    bool
	gone     bool
	stuck    bool  // its kubelet starts nothing
	refuses  error // what its disk says to new files and images
	emulates bool
	copies   bool // what pods mount is another directory with the same files
	uname    string
	images   map[string]platform.Arch // what their programs are
}

type fakePod struct {
	kube.Pod
	node       *fakeNode
	containers []string
	root       string
	who        probe.Who
	log        string
	dies       string // what it ends with when somebody wants something of it
	ctx        context.Context
	stop       context.CancelFunc
}

type fakeService struct {
	ip       string
	selector map[string]string
	policy   string
	port     int // node port, of both protocols
}

const (
	fakeImage    = "registry.test/probe:1"
	privateImage = "private.test/team/app:1"
	password     = "s3cr3t-password"
	outsideHost  = "250.1"
)

func newFake(t *testing.T, archs ...platform.Arch) *fake {
	t.Helper()
	c := &fake{
		t: t, dir: t.TempDir(), changed: make(chan struct{}), spaces: map[string]bool{}, pods: map[string]*fakePod{}, svcs: map[string]*fakeService{},
		secrets: map[string]string{}, drops: map[[2]string]bool{}, forbidden: map[string]error{}, ports: map[int]bool{},
	}
	// Nobody else on this machine uses the same part of 127.0.0.0/8 at the same time.
	for c.part = 10; ; c.part++ {
		l, err := net.Listen("tcp", at(c.ip("99.99"), probe.Port))
		if err == nil {
			t.Cleanup(func() { l.Close() })
			break
		}
		if c.part == 250 {
			t.Fatal(err)
		}
	}
	count := map[platform.Arch]int{}
	for i, a := range archs {
		count[a]++
		name := map[platform.Arch]string{platform.AMD64: "x86", platform.ARM64: "arm"}[a]
		n := &fakeNode{
			c: c, name: fmt.Sprintf("%s-%d", name, count[a]), place: i, arch: a, address: c.ip(fmt.Sprintf("200.%d", i+1)), ready: true,
			dir: filepath.Join(c.dir, "nodes", fmt.Sprint(i)), uname: platform.ProfileFor(a).Spellings[1], images: map[string]platform.Arch{fakeImage: a},
		}
		c.nodes = append(c.nodes, n)
		c.others = append(c.others,
			kube.Pod{Namespace: "kube-system", Name: "coredns-" + n.name, UID: "dns-" + n.name, Node: n.name, IP: fmt.Sprintf("10.0.%d.53", i), Ready: true, Labels: map[string]string{"k8s-app": "kube-dns"}},
			kube.Pod{Namespace: "shop", Name: "web-" + n.name, UID: "web-" + n.name, Node: n.name, Ready: true, Restarts: 1})
	}
	t.Cleanup(func() {
		c.mu.Lock()
		for _, p := range c.pods {
			p.stop()
		}
		c.mu.Unlock()
		c.done.Wait()
	})
	return c
}

func (c *fake) ip(end string) string { return fmt.Sprintf("127.%d.%s", c.part, end) }

func (c *fake) node(name string) *fakeNode {
	for _, n := range c.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// notify wakes those who watch; c.mu is held.
func (c *fake) notify() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *fake) next() int {
	c.number++
	return c.number
}

// goAway takes a node's power: nothing on it answers, and what is connected to it hears nothing.
func (c *fake) goAway(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.node(name)
	n.gone, n.ready = true, false
	for _, p := range c.pods {
		if p.node == n {
			p.Ready, p.Problem = false, "its node does not answer"
		}
	}
	c.notify()
}

func (c *fake) isGone(n *fakeNode) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return n.gone
}

// The API.

func (c *fake) Nodes(context.Context) ([]kube.Node, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []kube.Node
	for _, n := range c.nodes {
		out = append(out, kube.Node{
			Name: n.name, Ready: n.ready, Arch: string(n.arch), ArchLabel: string(n.arch), InternalIPs: []string{n.address}, KernelVersion: "6.12",
			PodCIDR: c.ip(fmt.Sprintf("%d.0/24", n.place)), ControlPlane: n.place == 0,
		})
	}
	slices.SortFunc(out, func(a, b kube.Node) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (c *fake) Namespaces(_ context.Context, label string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if label != RunLabel {
		c.t.Errorf("asked for namespaces with the label %q", label)
	}
	return slices.Sorted(maps.Keys(c.spaces)), nil
}

// manifest is what the fake reads of an object.
type manifest struct {
	Kind     string
	Metadata struct {
		Name, Namespace string
		Labels          map[string]string
	}
	Spec struct {
		NodeName, Type, ExternalTrafficPolicy, RestartPolicy string
		NodeSelector, Selector                               map[string]string
		Affinity                                             *struct {
			NodeAffinity struct {
				Required struct {
					NodeSelectorTerms []struct {
						MatchExpressions []struct {
							Key, Operator string
							Values        []string
						}
					}
				} `json:"requiredDuringSchedulingIgnoredDuringExecution"`
			}
		}
		ImagePullSecrets []struct{ Name string }
		HostNetwork      bool
		Containers       []struct {
			Name, Image, ImagePullPolicy string
			Command, Args                []string
		}
		Volumes []struct {
			Name     string
			HostPath *struct{ Path, Type string }
		}
		Ports []struct {
			Protocol string
			NodePort int
		}
	}
	StringData map[string]string
}

func (c *fake) parse(b []byte) []manifest {
	var out []manifest
	for _, document := range bytes.Split(b, []byte("---\n")) {
		if len(document) == 0 {
			continue
		}
		var m manifest
		if err := json.Unmarshal(document, &m); err != nil {
			c.t.Errorf("%v in %s", err, document)
		}
		if m.Metadata.Labels[RunLabel] == "" || m.Kind != "Namespace" && m.Metadata.Namespace == "" {
			c.t.Errorf("%s %s lacks its label or namespace", m.Kind, m.Metadata.Name)
		}
		out = append(out, m)
	}
	return out
}

func (c *fake) Create(ctx context.Context, manifests []byte) error {
	_, err := c.Apply(ctx, manifests, kube.ApplyOptions{})
	return err
}

func (c *fake) Apply(ctx context.Context, b []byte, _ kube.ApplyOptions) ([]kube.ObjectChange, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, m := range c.parse(b) {
		if c.onApply != nil {
			c.onApply(m.Kind, m.Metadata.Name)
		}
		c.mu.Lock()
		err := c.forbidden[m.Kind]
		if err == nil && m.Kind != "Namespace" && !c.spaces[m.Metadata.Namespace] {
			err = fmt.Errorf("namespace %s not found", m.Metadata.Namespace)
		}
		if err == nil {
			switch m.Kind {
			case "Namespace":
				c.spaces[m.Metadata.Name] = true
			case "Secret":
				c.secrets[m.Metadata.Name] = m.StringData[".dockerconfigjson"]
			case "Service":
				err = c.applyService(m)
			case "Pod":
				c.applyPod(m)
			default:
				err = fmt.Errorf("no kind %s", m.Kind)
			}
		}
		c.notify()
		c.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (c *fake) applyService(m manifest) error {
	s := c.svcs[m.Metadata.Name]
	if s == nil {
		s = &fakeService{ip: c.ip(fmt.Sprintf("210.%d", c.next()))}
	}
	s.selector, s.policy = m.Spec.Selector, m.Spec.ExternalTrafficPolicy
	if m.Spec.Type == "NodePort" {
		wanted := m.Spec.Ports[0].NodePort
		for name, o := range c.svcs {
			if wanted != 0 && o.port == wanted && name != m.Metadata.Name || c.ports[wanted] {
				return fmt.Errorf("provided port is already allocated: %d", wanted)
			}
		}
		switch {
		case wanted != 0:
			s.port = wanted
		case s.port == 0:
			s.port = firstNodePort + nodePorts + c.next() // beyond those that are chosen
		}
	}
	c.svcs[m.Metadata.Name] = s
	return nil
}

// applyPod schedules a pod and leaves it to its node.
func (c *fake) applyPod(m manifest) {
	if c.pods[m.Metadata.Name] != nil {
		return
	}
	p := &fakePod{root: filepath.Join(c.dir, "pods", m.Metadata.Name+fmt.Sprint(c.next()))}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.Pod = kube.Pod{
		Namespace: m.Metadata.Namespace, Name: m.Metadata.Name, UID: fmt.Sprintf("uid-%s-%d", m.Metadata.Name, c.next()), Labels: m.Metadata.Labels,
		Problem: "its kubelet has not started it yet",
	}
	for _, one := range m.Spec.Containers {
		p.containers = append(p.containers, one.Name)
	}
	c.pods[p.Name] = p
	for _, n := range c.nodes {
		if m.Spec.NodeName == n.name || m.Spec.NodeName == "" && n.ready && n.fits(m) {
			p.node, p.Node = n, n.name
			break
		}
	}
	if p.node == nil {
		p.Unschedulable = "0 nodes are available: none matches the selector"
		p.Problem = "not scheduled: " + p.Unschedulable
		return
	}
	c.done.Go(func() { c.start(p, m) })
}

func (n *fakeNode) fits(m manifest) bool {
	for key, value := range m.Spec.NodeSelector {
		if key != "kubernetes.io/arch" || value != string(n.arch) {
			return false
		}
	}
	if a := m.Spec.Affinity; a != nil {
		e := a.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0]
		return e.Key == "kubernetes.io/arch" && e.Operator == "In" && slices.Contains(e.Values, string(n.arch))
	}
	return true
}

func (c *fake) event(p *fakePod, kind, reason, message string) {
	c.events = append(c.events, kube.Event{Object: "Pod/" + p.Name, Type: kind, Reason: reason, Message: message, Count: 1, Last: time.Unix(int64(len(c.events)), 0)})
}

// start is what a kubelet does with a pod.
func (c *fake) start(p *fakePod, m manifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.notify()
	n := p.node
	if n.gone || n.stuck || p.ctx.Err() != nil {
		return
	}
	p.HostIP = n.address
	main := m.Spec.Containers[0]
	if !slices.Equal(main.Command, []string{probePath}) || !slices.Equal(main.Args, []string{"serve"}) || m.Spec.HostNetwork {
		c.t.Errorf("pod %s does not serve: %+v", p.Name, m.Spec)
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(p.root, "shared"), 0o755)); err != nil {
		c.t.Error(err)
	}
	for _, v := range m.Spec.Volumes {
		if v.HostPath == nil {
			continue
		}
		path := n.path(v.HostPath.Path)
		if _, err := os.Stat(path); err != nil && v.HostPath.Type == "Directory" {
			c.event(p, "Warning", "FailedMount", "MountVolume.SetUp failed: hostPath type check failed: "+v.HostPath.Path+" is not a directory")
			return
		}
		if err := errors.Join(os.MkdirAll(path, 0o755), os.Symlink(path, filepath.Join(p.root, "host"))); err != nil {
			c.t.Error(err)
		}
	}
	machine, ok := n.images[main.Image]
	switch {
	case main.Image == privateImage && main.ImagePullPolicy == "Always":
		allowed := c.leaky
		for _, s := range m.Spec.ImagePullSecrets {
			allowed = allowed || strings.Contains(c.secrets[s.Name], `"`+password+`"`) && strings.Contains(c.secrets[s.Name], `"private.test"`)
		}
		if !allowed {
			c.event(p, "Warning", "Failed", "failed to pull image: 401 Unauthorized")
			p.Problem, p.Words = "container probe: ErrImagePull", "container probe: ErrImagePull"
			return
		}
		c.event(p, "Normal", "Pulled", "Successfully pulled image in 1.2s")
		machine = n.arch
	case !ok:
		p.Problem, p.Words = "container probe: ErrImageNeverPull", "container probe: ErrImageNeverPull"
		c.event(p, "Warning", "ErrImageNeverPull", "the image is not there")
		return
	}
	if machine != n.arch && !n.emulates {
		p.log = "exec /probe: exec format error"
		p.Words = "container probe: last ended with exit code 255"
		if !c.wordless {
			p.Words += ": " + p.log
		}
		p.Problem = p.Words
		if c.flashes {
			p.Ready, p.IP, p.dies = true, "127.9.9.9", p.Words
			p.Problem, p.Words = "", ""
		}
		return
	}
	tcp, udp := c.listen(p)
	if tcp == nil {
		return
	}
	profile := platform.ProfileFor(machine)
	p.who = probe.Who{
		Version: probe.Version, UID: p.UID, Pod: p.Name, Node: n.name, Container: mainContainer, UnameM: n.uname, ELF: int(profile.ELFMachine), PageSize: 4096,
	}
	who := p.who
	if c.lie != nil {
		c.lie(&who)
	}
	p.Ready, p.Problem = true, ""
	c.done.Go(func() {
		if err := probe.Serve(p.ctx, who, tcp, udp); err != nil {
			c.t.Errorf("%s: %v", p.Name, err)
		}
	})
}

// listen gives a pod an address and opens its sockets.
func (c *fake) listen(p *fakePod) (net.Listener, net.PacketConn) {
	p.IP = c.ip(fmt.Sprintf("%d.%d", p.node.place, c.next()%250+1))
	tcp, err := net.Listen("tcp", at(p.IP, probe.Port))
	if err != nil {
		c.t.Error(err)
		return nil, nil
	}
	udp, err := net.ListenPacket("udp", at(p.IP, probe.Port))
	if err != nil {
		c.t.Error(err)
		return nil, nil
	}
	c.used = append(c.used, p.IP)
	return tcp, udp
}

func (c *fake) Delete(_ context.Context, b []byte) ([]kube.ObjectChange, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.parse(b) {
		if m.Kind != "Service" || c.svcs[m.Metadata.Name] == nil {
			return nil, fmt.Errorf("no %s %s", m.Kind, m.Metadata.Name)
		}
		if !strings.HasPrefix(m.Metadata.Name, c.lingers) || c.lingers == "" {
			delete(c.svcs, m.Metadata.Name)
		}
	}
	return nil, nil
}

func (c *fake) DeleteNamespace(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.forbidden["delete"]; err != nil {
		return err
	}
	if !c.spaces[name] {
		return nil
	}
	delete(c.spaces, name)
	for _, p := range c.pods {
		p.stop()
	}
	clear(c.pods)
	clear(c.svcs)
	clear(c.secrets)
	c.events = nil
	c.notify()
	return nil
}

// all lists the pods of a namespace, or of all; c.mu is held.
func (c *fake) all(namespace string) []kube.Pod {
	var out []kube.Pod
	for _, name := range slices.Sorted(maps.Keys(c.pods)) {
		out = append(out, c.pods[name].Pod)
	}
	out = append(out, c.others...)
	return slices.DeleteFunc(out, func(p kube.Pod) bool { return namespace != "" && p.Namespace != namespace })
}

func (c *fake) Pods(_ context.Context, namespace, labels string) ([]kube.Pod, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key, value, _ := strings.Cut(labels, "=")
	return slices.DeleteFunc(c.all(namespace), func(p kube.Pod) bool { return key != "" && p.Labels[key] != value }), nil
}

func (c *fake) WaitPods(ctx context.Context, namespace string, missing func([]kube.Pod, []kube.Event) []kube.Missing, _ kube.WaitOptions) error {
	for {
		c.mu.Lock()
		pods, events, changed := c.all(namespace), slices.Clone(c.events), c.changed
		c.mu.Unlock()
		if len(missing(pods, events)) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *fake) Services(context.Context, string) ([]kube.Service, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []kube.Service
	for name, s := range c.svcs {
		out = append(out, kube.Service{Name: name, ClusterIP: s.ip, NodePorts: map[string]int{"TCP": s.port, "UDP": s.port}})
	}
	return out, nil
}

func (c *fake) Events(context.Context, string) ([]kube.Event, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.events), nil
}

func (c *fake) PodLog(_ context.Context, _, pod, _ string, _ int64) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.pods[pod]; p != nil {
		return []byte(p.log), nil
	}
	return nil, fmt.Errorf("no pod %s", pod)
}

func (c *fake) WaitNodesReady(_ context.Context, names []string, _ kube.WaitOptions) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		if n := c.node(name); n == nil || !n.ready {
			return &kube.NotReadyError{What: "nodes", Missing: []kube.Missing{{Object: "node " + name, Node: name, Reason: "NotReady: kubelet stopped posting status"}}, Cause: context.DeadlineExceeded}
		}
	}
	return nil
}

func (c *fake) WaitDaemonSets(ctx context.Context, nodes []string, o kube.WaitOptions) error {
	return c.WaitNodesReady(ctx, nodes, o)
}

// Exec runs an agent in this process. On a node that is gone nothing is heard any more, until the context ends.
func (c *fake) Exec(ctx context.Context, o kube.ExecOptions) error {
	c.mu.Lock()
	p, hook := c.pods[o.Pod], c.onExec
	c.mu.Unlock()
	switch {
	case p != nil && p.dies != "":
		c.mu.Lock()
		defer c.mu.Unlock()
		p.Ready, p.Problem, p.Words, p.dies = false, p.dies, p.dies, ""
		c.notify()
		return errors.New("cannot exec in a stopped container")
	case p == nil || !slices.Contains(p.containers, o.Container):
		return fmt.Errorf("no container %s/%s", o.Pod, o.Container)
	case !slices.Equal(o.Argv, []string{probePath, "agent"}):
		return fmt.Errorf("cannot run %v", o.Argv)
	case hook != nil:
		if err := hook(o.Pod, o.Container); err != nil {
			return err
		}
	}
	who := p.who
	who.Container = o.Container
	agent := probe.Agent{Who: who, Dialer: podDialer{p, c}, Lookup: c.lookup, Root: p.root}
	ended := make(chan error, 1)
	go func() { ended <- agent.Run(ctx, o.Stdin, podWriter{p, c, o.Stdout}) }()
	select {
	case err := <-ended:
		if c.isGone(p.node) {
			<-ctx.Done()
			return ctx.Err()
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-p.ctx.Done():
		return errors.New("the container has ended")
	}
}

// podWriter is a pod's way to who listens: what a node says that is gone is lost.
type podWriter struct {
	p   *fakePod
	c   *fake
	out io.Writer
}

func (w podWriter) Write(b []byte) (int, error) {
	if w.c.isGone(w.p.node) {
		return len(b), nil
	}
	return w.out.Write(b)
}

func (c *fake) lookup(_ context.Context, server, name string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	host, _, _ := net.SplitHostPort(server)
	if server != "" && (host == c.deadDNS || !slices.ContainsFunc(c.others, func(p kube.Pod) bool { return p.IP == host })) {
		return nil, fmt.Errorf("lookup %s on %s: i/o timeout", name, server)
	}
	if s := c.named(name); s != nil {
		return []string{s.ip}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// named is the Service of a name; c.mu is held.
func (c *fake) named(name string) *fakeService {
	service, rest, _ := strings.Cut(name, ".")
	if !strings.HasSuffix(rest, ".svc.cluster.local.") {
		return nil
	}
	return c.svcs[service]
}

// The network. Errors are those of sockets; what would never be answered is told at once.

func refused(network string) error {
	return &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

func unanswered(network string) error {
	return &net.OpError{Op: "dial", Net: network, Err: context.DeadlineExceeded}
}

// podDialer connects as a pod does.
type podDialer struct {
	p *fakePod
	c *fake
}

func (d podDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if port != fmt.Sprint(probe.Port) {
		return nil, refused(network)
	}
	d.c.mu.Lock()
	to := d.p
	s := d.c.named(host)
	for _, o := range d.c.svcs {
		if o.ip == host {
			s = o
		}
	}
	switch {
	case host == "127.0.0.1":
	case host == "::1":
		d.c.mu.Unlock()
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)}
	case s != nil:
		to = d.c.backend(s)
	default:
		to = nil
		for _, p := range d.c.pods {
			if p.IP == host {
				to = p
			}
		}
	}
	local := d.p.IP
	if d.c.masks {
		local = d.p.node.address
	}
	d.c.mu.Unlock()
	if to == nil {
		return nil, refused(network)
	}
	return d.c.connect(ctx, d.p, to, d.p.node, local, network)
}

// backend is the pod behind a Service; c.mu is held.
func (c *fake) backend(s *fakeService) *fakePod {
	for _, name := range slices.Sorted(maps.Keys(c.pods)) {
		p := c.pods[name]
		if !p.Ready {
			continue
		}
		fits := len(s.selector) > 0
		for key, value := range s.selector {
			fits = fits && p.Labels[key] == value
		}
		if fits || c.lingers != "" && c.svcs[c.lingers] == s && name == "a-0" {
			return p
		}
	}
	return nil
}

// connect opens a socket to a pod, with that local address, if the way from the node that sends to the pod's is open.
func (c *fake) connect(ctx context.Context, from, to *fakePod, via *fakeNode, local, network string) (net.Conn, error) {
	c.mu.Lock()
	there, back := [2]string{via.name, to.node.name}, [2]string{to.node.name, via.name}
	closed := c.drops[there] || c.drops[back] || via.gone || to.node.gone
	intercept, tamper := c.intercept, c.tamper
	c.mu.Unlock()
	if closed {
		return nil, unanswered(network)
	}
	if intercept != nil {
		if err := intercept(from, to, network); err != nil {
			return nil, err
		}
	}
	var d net.Dialer
	ip := net.ParseIP(local)
	d.LocalAddr = &net.TCPAddr{IP: ip}
	if strings.HasPrefix(network, "udp") {
		d.LocalAddr = &net.UDPAddr{IP: ip}
	}
	conn, err := d.DialContext(ctx, network, at(to.IP, probe.Port))
	if err == nil && tamper != nil {
		conn = tamper(from, network, conn)
	}
	return conn, err
}

// outside connects to node ports from a place that is no node.
type outside struct{ c *fake }

func (o outside) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	var node *fakeNode
	for _, n := range o.c.nodes {
		if n.address == host {
			node = n
		}
	}
	if node == nil {
		return nil, fmt.Errorf("no node has the address %s", host)
	}
	o.c.mu.Lock()
	var to *fakePod
	local := node.address // the policy Cluster hides who asks
	silent := node.gone
	for _, s := range o.c.svcs {
		if s.port == 0 || fmt.Sprint(s.port) != port {
			continue
		}
		to = o.c.backend(s)
		if s.policy == "Local" {
			local = o.c.ip(outsideHost)
			silent = silent || to == nil || to.node != node && !o.c.anywhere
		}
	}
	o.c.mu.Unlock()
	switch {
	case silent:
		return nil, unanswered(network)
	case to == nil:
		return nil, refused(network)
	}
	return o.c.connect(ctx, nil, to, node, local, network)
}

// The hosts.

func (n *fakeNode) path(p string) string { return filepath.Join(n.dir, p) }

// reach fails when the host is gone.
func (n *fakeNode) reach(ctx context.Context) error {
	if n.c.isGone(n) {
		return fmt.Errorf("%s: the connection was lost", n.name)
	}
	return ctx.Err()
}

func (n *fakeNode) UnameM(ctx context.Context) (string, error) { return n.uname, n.reach(ctx) }

func (n *fakeNode) DropUDP(ctx context.Context, from string, port int) (func(context.Context) error, error) {
	if err := n.reach(ctx); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(n.c.nodes, func(o *fakeNode) bool { return o.address == from })
	if i < 0 || port != vxlanPort {
		return nil, fmt.Errorf("cannot drop %s %d", from, port)
	}
	key := [2]string{n.c.nodes[i].name, n.name}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.c.drops[key] = true
	return func(context.Context) error {
		n.c.mu.Lock()
		defer n.c.mu.Unlock()
		delete(n.c.drops, key)
		return nil
	}, nil
}

func (n *fakeNode) MakeDir(ctx context.Context, path string) error {
	if n.refuses != nil {
		return n.refuses
	}
	return errors.Join(n.reach(ctx), os.MkdirAll(n.path(path), 0o755))
}

func (n *fakeNode) WriteFile(ctx context.Context, path, text string) error {
	if err := n.reach(ctx); err != nil {
		return err
	}
	return os.WriteFile(n.path(path), []byte(text), 0o644)
}

func (n *fakeNode) ReadFile(ctx context.Context, path string) (text, id string, err error) {
	if err := n.reach(ctx); err != nil {
		return "", "", err
	}
	b, err := os.ReadFile(n.path(path))
	if err != nil {
		return "", "", err
	}
	var st syscall.Stat_t
	err = syscall.Stat(n.path(path), &st)
	if n.copies {
		st.Ino++
	}
	return string(b), fmt.Sprintf("%d:%d", st.Dev, st.Ino), err
}

func (n *fakeNode) RemoveDir(ctx context.Context, path string) error {
	if err := n.reach(ctx); err != nil {
		return err
	}
	return os.RemoveAll(n.path(path))
}

func (n *fakeNode) ImportImage(ctx context.Context, write func(io.Writer) error) error {
	if n.refuses != nil {
		return n.refuses
	}
	if err := n.reach(ctx); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	var images []MadeImage
	if err := json.Unmarshal(b.Bytes(), &images); err != nil {
		return err
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	for _, i := range images {
		if i.Claims != n.arch {
			return fmt.Errorf("image %s claims %s on %s", i.Ref, i.Claims, n.name)
		}
		n.images[i.Ref] = i.Holds
	}
	return nil
}

func (n *fakeNode) RemoveImage(ctx context.Context, ref string) error {
	if err := n.reach(ctx); err != nil {
		return err
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	delete(n.images, ref)
	return nil
}

func (n *fakeNode) Evidence(ctx context.Context) ([]byte, error) {
	return []byte("journal of " + n.name + ": password=" + password + "\n"), n.reach(ctx)
}

// fakeImages makes images: the words about them.
type fakeImages struct{}

func (fakeImages) Archive(_ context.Context, w io.Writer, _ string, images []MadeImage) error {
	return json.NewEncoder(w).Encode(images)
}

// options are those of a run on the fake. Nothing in it waits for anything that does not come, unless a test makes it.
func (c *fake) options() Options {
	o := Options{
		API: c, Cluster: "fake", Tool: "test", Scenario: NewDeployment, Image: fakeImage, Images: fakeImages{},
		Machines: map[string]Machine{}, Facts: map[string]NodeFacts{}, Registry: &Registry{Image: privateImage, Username: "u", Password: func() (string, error) { return password, nil }},
		Vantages:  []Vantage{{Name: "operator", Dial: outside{c}, Address: func(string) string { return c.ip(outsideHost) }}},
		DNSDomain: "cluster.local", Window: time.Millisecond, Patience: 20 * time.Second, RunID: "run1", Seed: 1,
		Event: func(report.Event) {}, Now: time.Now,
	}
	for _, n := range c.nodes {
		o.Machines[n.name], o.Facts[n.name] = n, NodeFacts{PageKiB: 4, CPU: "fake"}
	}
	o.pace = usual
	o.pace.rulesLag, o.pace.rulesPause = time.Second, 5*time.Millisecond
	return o
}

// wantNothingLeft checks that a run took everything away that it made.
func (c *fake) wantNothingLeft(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.spaces)+len(c.pods)+len(c.svcs)+len(c.secrets)+len(c.drops) > 0 {
		t.Errorf("left in the cluster: %v, %d pods, %d services, %d secrets, %v", c.spaces, len(c.pods), len(c.svcs), len(c.secrets), c.drops)
	}
	for _, n := range c.nodes {
		if n.gone {
			continue
		}
		if left, _ := filepath.Glob(n.path(hostDirs + "*")); len(left) > 0 {
			t.Errorf("left on %s: %v", n.name, left)
		}
		if len(n.images) != 1 {
			t.Errorf("left on %s: %v", n.name, n.images)
		}
	}
	if len(c.pods) > 0 {
		return
	}
	c.mu.Unlock()
	c.done.Wait() // servers close their sockets when their pods have ended
	c.mu.Lock()
	for _, ip := range c.used {
		if conn, err := net.Dial("tcp", at(ip, probe.Port)); err == nil {
			conn.Close()
			t.Errorf("something still listens on %s", ip)
		}
	}
}
