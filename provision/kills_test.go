package provision

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/access"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/kube/fakeapi"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
	"github.com/hybridctl/hybridctl/provision/report"
)

// killing ends a run as kill -9 does, at one of the moments when it changes something on a host or in the API server.
// From then on the run asks no one for anything: its connections are gone, and what it writes into its state directory
// is lost.
type killing struct {
	sim    *sim
	cancel context.CancelFunc
	at     int  // which moment; < 0 = never
	how    fate // at that moment

	mu   sync.Mutex
	n    int // moments that were
	dead bool
	left string // the state directory as it was at the kill
}

// fate is what becomes of a command or a call.
type fate int

const (
	lives  fate = iota
	before      // the run is killed, and nothing came of it
	middle      // a script of the host was begun, and ended with the connection
	after       // it is done, and the answer lost
	gone        // the run was killed before
)

var errGone = errors.New("the tool is gone")

func (k *killing) next() fate {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead {
		return gone
	}
	k.n++
	if k.n-1 == k.at {
		return k.how
	}
	return lives
}

func (k *killing) die() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dead = true
	k.left = filepath.Join(k.sim.t.TempDir(), "state")
	for try := 0; ; try++ { // files come and go meanwhile
		err := os.CopyFS(k.left, os.DirFS(k.sim.state))
		if err == nil || try == 20 {
			break
		}
		_ = os.RemoveAll(k.left)
	}
	k.cancel()
	for _, h := range k.sim.fleet.Hosts {
		h.Cut()
	}
}

// command carries a command out, as far as it comes.
func (k *killing) command(h *simHost, what string, args []string, in []byte, session *remotetest.Session) int {
	switch k.next() {
	case gone:
		return 143
	case before:
		k.die()
		return 143
	case middle:
		h.midway(what, args, in)
		k.die()
		return 143
	case after:
		h.carryOut(what, args, in, session)
		k.die()
		return 143
	}
	return h.carryOut(what, args, in, session)
}

// midway is what a script leaves that did not come to its end.
func (h *simHost) midway(what string, args []string, in []byte) {
	switch what {
	case "apply":
		h.apply(in)
		for step, text := range h.markers {
			if text == "state done\ndigest "+digestOf(in)+"\n" {
				h.markers[step] = "state started\n"
			}
		}
	case "kubeadm":
		if len(args) > 4 {
			h.belongs = fmt.Sprintf("name %s\nca %s\n", args[4], args[3])
		}
		h.markers[args[1]] = "state started\n"
	case "reset":
		h.member = false
	}
}

var digestWord = regexp.MustCompile(`(?m)^digest (\S+)$`)

func digestOf(directives []byte) string {
	if m := digestWord.FindSubmatch(directives); m != nil {
		return string(m[1])
	}
	return ""
}

// mortal is the API server as a run sees it that is going to be killed.
type mortal struct {
	*fakeapi.API
	k *killing
}

func (m mortal) call(do func() error) error {
	switch m.k.next() {
	case gone:
		return errGone
	case before:
		m.k.die()
		return errGone
	case middle, after:
		_ = do()
		m.k.die()
		return errGone
	}
	return do()
}

func (m mortal) TakeLease(ctx context.Context, o kube.LeaseOptions) error {
	return m.call(func() error { return m.API.TakeLease(ctx, o) })
}

func (m mortal) ReleaseLease(ctx context.Context, o kube.LeaseOptions) error {
	return m.call(func() error { return m.API.ReleaseLease(ctx, o) })
}

func (m mortal) CreateToken(ctx context.Context, ttl time.Duration, d string) (t kube.Token, err error) {
	err = m.call(func() error { t, err = m.API.CreateToken(ctx, ttl, d); return err })
	return t, err
}

func (m mortal) DeleteToken(ctx context.Context, id string) error {
	return m.call(func() error { return m.API.DeleteToken(ctx, id) })
}

func (m mortal) ApplyNode(ctx context.Context, name string, labels map[string]string, taints []string) (a report.Action, err error) {
	err = m.call(func() error { a, err = m.API.ApplyNode(ctx, name, labels, taints); return err })
	return a, err
}

func (m mortal) Apply(ctx context.Context, manifest []byte, o kube.ApplyOptions) (c []kube.ObjectChange, err error) {
	err = m.call(func() error { c, err = m.API.Apply(ctx, manifest, o); return err })
	return c, err
}

func (m mortal) Cordon(ctx context.Context, node string) error {
	return m.call(func() error { return m.API.Cordon(ctx, node) })
}

func (m mortal) Drain(ctx context.Context, pods []kube.DrainPod, p func([]kube.Missing)) error {
	return m.call(func() error { return m.API.Drain(ctx, pods, p) })
}

func (m mortal) RemoveEtcdMember(ctx context.Context, node string, id uint64) error {
	return m.call(func() error { return m.API.RemoveEtcdMember(ctx, node, id) })
}

func (m mortal) DeleteNode(ctx context.Context, name string) error {
	return m.call(func() error { return m.API.DeleteNode(ctx, name) })
}

// world is all that outlives a run: the hosts, the API server, and the state directory's files.
type world struct {
	hosts   map[string]*simHost
	nodes   map[string]kube.Node
	members []kube.EtcdMember
	cni     bool
	held    int
	state   string
}

func (s *sim) keepWorld() world {
	w := world{map[string]*simHost{}, maps.Clone(s.api.AllNodes), slices.Clone(s.api.Members), s.api.CNI, s.api.Held, s.state}
	for name, h := range s.hosts {
		w.hosts[name] = &simHost{markers: maps.Clone(h.markers), files: maps.Clone(h.files), images: maps.Clone(h.images), member: h.member, belongs: h.belongs}
	}
	return w
}

// begin makes the world what it was.
func (w world) begin(s *sim) {
	s.kill.Store(nil)
	for name, was := range w.hosts {
		h := s.hosts[name]
		h.mu.Lock()
		h.markers, h.files, h.images, h.member = maps.Clone(was.markers), maps.Clone(was.files), maps.Clone(was.images), was.member
		h.belongs, h.lock, h.writes, h.asked = was.belongs, [2]string{}, nil, nil
		h.mu.Unlock()
	}
	s.api.Lock()
	s.api.AllNodes, s.api.Members, s.api.CNI, s.api.Held = maps.Clone(w.nodes), slices.Clone(w.members), w.cni, w.held
	s.api.Holder, s.api.Expired, s.api.Did, s.api.Tokens = "", false, nil, map[string]bool{}
	s.api.Unlock()
	s.state = filepath.Join(s.t.TempDir(), "state")
	if err := os.CopyFS(s.state, os.DirFS(w.state)); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
}

// killable is a verb that runs are killed of.
type killable struct {
	cases int
	make  func(*testing.T) *sim
	run   func(context.Context, *sim, Options) error
	over  func(*sim) bool // the inventory tells that nothing is left to do
	right func(*sim) []string
}

var killables = map[string]killable{
	"up": {70, func(t *testing.T) *sim { return threeOf(t, 3) }, func(ctx context.Context, _ *sim, o Options) error {
		_, err := Up(ctx, UpOptions{Options: o})
		return err
	}, nil, (*sim).isWhole},
	"scale-out": {65, func(t *testing.T) *sim {
		s := threeOf(t, 4)
		all := s.c.Spec.Hosts
		s.c.Spec.Hosts = all[:2]
		mustUp(t, s)
		s.c.Spec.Hosts = all
		return s
	}, func(ctx context.Context, _ *sim, o Options) error {
		_, err := ScaleOut(ctx, ScaleOutOptions{Options: o})
		return err
	}, nil, (*sim).isWhole},
	"remove": {65, func(t *testing.T) *sim {
		s := threeOf(t, 4)
		mustUp(t, s)
		return s
	}, func(ctx context.Context, s *sim, o Options) error {
		_, err := Remove(ctx, RemoveOptions{Options: o, Hosts: []string{"host-2"}, TakeOut: func(string) error {
			c := *s.c
			c.Spec.Hosts = slices.DeleteFunc(slices.Clone(c.Spec.Hosts), func(h inventory.Host) bool { return h.Name == "host-2" })
			if k := s.kill.Load(); k != nil {
				return mortal{k: k}.call(func() error { s.c = &c; return nil })
			}
			s.c = &c
			return nil
		}})
		return err
	}, func(s *sim) bool { _, there := s.c.Host("host-2"); return !there }, (*sim).hasLeft},
}

// threeOf are n hosts of which the first three are control planes, behind an endpoint of their own, whose etcd knows who joined.
func threeOf(t *testing.T, n int) *sim {
	s := newSim(t, n, remotetest.Options{})
	s.c.Spec.Kubernetes.Endpoint = "api.example:6443"
	for i := range min(n, 3) {
		s.c.Spec.Hosts[i].Role = inventory.ControlPlane
	}
	s.joined = func(name string) {
		h, _ := s.c.Host(name)
		s.api.Lock()
		defer s.api.Unlock()
		if h.Role != inventory.ControlPlane {
			return
		}
		s.api.ControlPlane(name)
		id := uint64(name[len(name)-1] - '0')
		if !slices.ContainsFunc(s.api.Members, func(m kube.EtcdMember) bool { return m.ID == id }) {
			s.api.Members = append(s.api.Members, kube.EtcdMember{ID: id, Name: name, Healthy: true})
		}
	}
	return s
}

// allAreNodes tells what is wrong with a cluster that every host of the inventory is to be a node of.
func (s *sim) allAreNodes() (wrong []string) {
	for _, host := range s.c.Spec.Hosts {
		h := s.hosts[host.Name]
		if _, node := s.api.AllNodes[h.name]; !node || !h.member || h.belongs != markOf(fakeapi.CA, "sim") {
			wrong = append(wrong, fmt.Sprintf("%s: node %t, member %t, mark %q", h.name, node, h.member, h.belongs))
		}
		if len(h.markers) != 5 {
			wrong = append(wrong, fmt.Sprintf("%s: markers %q", h.name, h.markers))
		}
	}
	return wrong
}

// isWhole tells what is wrong with a cluster that was made, or grew, of all hosts: a member is neither reset nor made twice.
func (s *sim) isWhole() []string {
	wrong := s.allAreNodes()
	if len(s.api.Members) != 3 {
		wrong = append(wrong, fmt.Sprintf("members of etcd %v", s.api.Members))
	}
	for _, did := range s.api.Did {
		if strings.HasPrefix(did, "reset") {
			wrong = append(wrong, did+", which was a member")
		}
	}
	if n := s.count("kubeadm init"); n > 2 { // one that was cut off is begun again
		wrong = append(wrong, fmt.Sprintf("kubeadm init ran %d times", n))
	}
	return wrong
}

// hasLeft tells what is wrong with a cluster that host-2 has left.
func (s *sim) hasLeft() (wrong []string) {
	h := s.hosts["host-2"]
	_, node := s.api.AllNodes["host-2"]
	if node || h.member || h.belongs != "" || len(h.markers) > 0 {
		wrong = append(wrong, fmt.Sprintf("host-2: node %t, member %t, mark %q, markers %q", node, h.member, h.belongs, h.markers))
	}
	if slices.ContainsFunc(s.api.Members, func(m kube.EtcdMember) bool { return m.Name == "host-2" }) || len(s.api.Members) != 2 {
		wrong = append(wrong, fmt.Sprintf("members of etcd %v", s.api.Members))
	}
	for name, h := range s.hosts {
		if name != "host-2" && len(h.writes) > 0 {
			wrong = append(wrong, fmt.Sprintf("written on %s: %q", name, h.writes))
		}
	}
	return append(wrong, s.allAreNodes()...)
}

// seedEnv chooses other kills: a number repeats those of a test that failed, "random" tries new ones.
const seedEnv = "HYBRIDCTL_TEST_SEED"

// A run that is killed at any moment leaves what it did where it is, and the next one goes on to the right end: from the same state directory,
// or from another machine that has none.
func TestKills_AlwaysEndRight(t *testing.T) {
	seed := uint64(1)
	switch text := os.Getenv(seedEnv); text {
	case "":
	case "random":
		seed = rand.Uint64()
	default:
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	for name, v := range killables {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := v.make(t)
			w, c := s.keepWorld(), s.c
			run := func(at int, how fate, breaks bool) (*killing, error) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				k := &killing{sim: s, cancel: cancel, at: at, how: how}
				s.kill.Store(k)
				o := s.options()
				o.BreakLock = breaks
				o.hooks.newAPI = func([]byte, kube.Options) (access.API, error) { return mortal{s.api, k}, nil }
				err := v.run(ctx, s, o)
				k.mu.Lock()
				defer k.mu.Unlock()
				if k.dead { // the state directory is what it was at that moment, and in its place
					if err := errors.Join(os.RemoveAll(s.state), os.Rename(k.left, s.state)); err != nil {
						t.Fatal(err)
					}
				}
				return k, err
			}
			w.begin(s)
			all, err := run(-1, lives, false)
			if err != nil || all.n < 10 {
				t.Fatalf("undisturbed: %d moments, %v", all.n, err)
			}
			ideal := s.keepWorld()
			random := rand.New(rand.NewPCG(seed, uint64(len(name))))
			for i := range v.cases {
				s.c = c
				w.begin(s)
				story := fmt.Sprintf("%s=%d, case %d:", seedEnv, seed, i)
				breaks, kills, here := false, 1+random.IntN(3)/2, true
				for {
					at, how := -1, lives
					if kills > 0 {
						at, how = random.IntN(all.n), before+fate(random.IntN(3))
					}
					kills--
					k, err := run(at, how, breaks)
					story += fmt.Sprintf(" killed at %d of %d (%d)", at, k.n, how)
					if !k.dead {
						if err != nil {
							t.Fatalf("%s: the run after it: %v", story, err)
						}
						break
					}
					if v.over != nil && v.over(s) {
						break
					}
					s.api.Lock()
					s.api.Expired = true // or its time is over
					s.api.Unlock()
					if breaks = random.IntN(2) == 0; breaks && random.IntN(2) == 0 {
						story += ", on from elsewhere"
						s.state, here = filepath.Join(t.TempDir(), "state"), false
					}
				}
				wrong := v.right(s)
				for name, h := range s.hosts {
					if !maps.Equal(h.markers, ideal.hosts[name].markers) {
						wrong = append(wrong, fmt.Sprintf("%s has the markers %q, and %q when nothing is killed", name, h.markers, ideal.hosts[name].markers))
					}
				}
				s.kill.Store(nil)
				if h := s.hosts["host-1"]; here && h.lock[0] != "" {
					wrong = append(wrong, "the lock on host-1 stays with "+h.lock[1])
				}
				if i%10 == 0 { // the markers tell as much
					p, _, err := Plan(context.Background(), s.options())
					if err != nil || p.Changes() != 0 {
						wrong = append(wrong, fmt.Sprintf("plan: %v, %d changes", err, p.Changes()))
					}
				}
				if len(wrong) > 0 {
					t.Fatalf("%s: %q", story, wrong)
				}
			}
		})
	}
}
