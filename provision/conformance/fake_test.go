package conformance

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
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
	t        *testing.T
	part     int
	dir      string
	nodes    []*fakeNode
	done     sync.WaitGroup
	mu       sync.Mutex
	changed  chan struct{}
	spaces   map[string]bool
	leases   map[string]string   // who holds them; "" = no one any more
	accounts map[string]bool     // namespaces whose pods have a service account
	pods     map[string]*fakePod // by name, of the run's namespace
	svcs     map[string]*fakeService
	secrets  map[string]string // what their credentials are
	slices   map[string]string // endpoints by hand: Service, address
	events   []kube.Event
	others   []kube.Pod           // of other namespaces
	number   int                  // the last that was given away
	lists    int                  // how often the pods of all namespaces were listed
	beats    int                  // how often leases were
	used     []string             // every address a pod ever had
	drops    map[[2]string]string // from, to: the run
	disks    fakeDisks

	// What can be wrong with it.
	forbidden  map[string]error                                            // by kind: Apply fails
	ports      map[int]bool                                                // node ports that another namespace has
	lie        func(w *probe.Who)                                          // what servers say of themselves
	intercept  func(from, to *fakePod, network string) error               // of a connection between pods
	tamper     func(from *fakePod, network string, conn net.Conn) net.Conn // with its bytes
	masks      bool                                                        // pods are seen with their node's address
	deadDNS    string                                                      // address of a DNS server that does not answer
	dnsPort    string                                                      // where DNS servers listen, and
	dnsTarget  string                                                      // what their Service says of it; empty = 53
	dnsService string                                                      // its name; empty = kube-dns
	onExec     func(pod, container string) error
	onApply    func(kind, name string)
	onLookup   func(p *fakePod)       // is told who asks for a name
	lingers    string                 // Service that answers on although it has no endpoint or is gone, through that pod
	wordless   bool                   // a foreign program's end is only in its log
	flashes    bool                   // a foreign program's pod is Ready until someone wants something of it
	leaky      bool                   // the registry gives the image to everybody
	closes     bool                   // the registry lets no one in
	refusal    string                 // what is said of an image that may not be pulled; empty = as a registry does
	mountSays  string                 // why a directory is not mounted; empty = it is not there
	nowhere    string                 // why a pod finds no node; empty = none matches
	ownDirs    bool                   // pods get directories of their own instead of their host's
	hides      bool                   // the policy Local does not keep who asks
	denies     func(m manifest) error // admission, of objects that are made
	alters     func(m *manifest)      // the same, of pods
	unwanted   map[string]bool        // nodes that no DaemonSet wants
	lacks      string                 // a DaemonSet that is not there
	noLeases   func(look int) error   // why leases cannot be read
	anywhere   bool                   // every node answers for a Service with the policy Local
	behind     time.Duration          // how long after a Service is made, or changed, the nodes' rules follow
	cached     bool                   // nodes have the private image, and do not ask for it
	also       []string               // addresses that DNS answers with too
	// strays is where the kubelet runs what is to run in a container; nil = there.
	strays func(pod, container string) (string, string)
}

type fakeNode struct {
	c        *fake
	name     string
	place    int
	podCIDR  string // when not the range its pods are in
	arch     platform.Arch
	address  string
	dir      string
	ready    bool
	gone     bool
	stuck    bool   // its kubelet starts nothing
	dead     bool   // its kubelet does not run, which the API server has not noticed yet
	internal string // its address in the cluster, when it is another one
	refuses  error  // what its disk says to new files and images
	emulates bool
	os       string // "" = linux
	sandbox  string // why it makes no sandbox for a pod
	copies   bool   // what pods mount is another directory with the same files
	uname    string
	images   map[string]platform.Arch // what their programs are
	execs    []context.CancelCauseFunc
}

type fakePod struct {
	kube.Pod
	node       *fakeNode
	containers []string
	root       string
	who        probe.Who
	log        string
	claim      string // of its volume
	waits      bool   // for it
	manifest   manifest
	dies       string // what it ends with when someone wants something of it
	ctx        context.Context
	stop       context.CancelFunc
}

type fakeService struct {
	ip       string
	selector map[string]string
	policy   string
	port     int // node port, of both protocols
	made     time.Time

	was     *fakeService // before it was changed
	changed time.Time
}

const (
	fakeImage    = "registry.test/probe:1"
	privateImage = "private.test/team/app:1"
	password     = "s3cr3t-password"
	outsideHost  = "250.1"
	testRun      = "0123abcd"
)

func newFake(t *testing.T, archs ...platform.Arch) *fake {
	t.Helper()
	c := &fake{
		t: t, dir: t.TempDir(), changed: make(chan struct{}), spaces: map[string]bool{}, leases: map[string]string{}, accounts: map[string]bool{}, pods: map[string]*fakePod{}, svcs: map[string]*fakeService{},
		secrets: map[string]string{}, slices: map[string]string{}, drops: map[[2]string]string{}, disks: fakeDisks{claims: map[string]*fakeClaim{}}, forbidden: map[string]error{}, ports: map[int]bool{},
	}
	// No one else on this machine uses the same part of 127.0.0.0/8 at the same time.
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

// requirement is one of a node.
type requirement struct {
	Key, Operator string
	Values        []string
}

type fakeContainer struct {
	Name, Image, ImagePullPolicy string
	Command, Args                []string
	SecurityContext              struct{ RunAsUser int }
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
					NodeSelectorTerms []struct{ MatchExpressions, MatchFields []requirement }
				} `json:"requiredDuringSchedulingIgnoredDuringExecution"`
			}
		}
		ImagePullSecrets []struct{ Name string }
		HostNetwork      bool
		Containers       []fakeContainer
		Volumes          []struct {
			Name     string
			HostPath *struct{ Path, Type string }
			Claim    *struct{ ClaimName string } `json:"persistentVolumeClaim"`
		}
		Ports []struct {
			Protocol string
			NodePort int
		}
		StorageClassName, VolumeMode string
		ReclaimPolicy                string `json:"persistentVolumeReclaimPolicy"`
		AccessModes                  []string
		Resources                    struct{ Requests struct{ Storage string } }
	}
	StringData map[string]string
	Endpoints  []struct{ Addresses []string }
}

// The network. Errors are those of sockets; what would never be answered is told at once.

// The hosts.

// options are those of a run on the fake. Nothing in it waits for anything that does not come, unless a test makes it.
func (c *fake) options() Options {
	o := Options{OverlayPort: overlayPort,
		API: c, Cluster: "fake", Tool: "test", Scenario: NewDeployment, Image: fakeImage, Images: fakeImages{},
		Machines: map[string]Machine{}, Facts: map[string]NodeFacts{}, Registry: &Registry{Image: privateImage, Username: "u", Password: func() (string, error) { return password, nil }},
		Vantages:  []Vantage{{Name: "operator", Dial: outside{c}, Addresses: func(string) []string { return []string{c.ip(outsideHost)} }}},
		DNSDomain: "cluster.local", NodeRanges: true, Window: time.Millisecond, Patience: 20 * time.Second, RunID: testRun, Seed: 1,
		Event: func(report.Event) {}, Now: time.Now,
	}
	for _, n := range c.nodes {
		o.Machines[n.name], o.Facts[n.name] = n, NodeFacts{PageKiB: 4, CPU: "fake"}
	}
	o.pace = usual
	o.pace.rulesLag, o.pace.rulesPause, o.pace.guardPause, o.pace.volume = time.Second, 5*time.Millisecond, 5*time.Millisecond, 1<<20
	o.pace.lease, o.pace.again = time.Second, 5*time.Millisecond
	o.pace.launch = 100 * time.Millisecond
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
