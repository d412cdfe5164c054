package provision

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

// ConformanceOptions are Conformance's own.
type ConformanceOptions struct {
	Options
	Scenario      string   // "new-deployment" (default) or "scale-out"
	Checks        []string // IDs; nil = all
	Nodes         []string // of scale-out: the nodes that were added
	Quick         bool
	MaxPairs      int    // 0 = the default
	Seed          uint64 // 0 = a new one
	ReportDir     string // "" = conformance in the state directory
	Keep          bool
	KeepOnFailure bool
	Tool          string     // hybridctl's version
	before        []kube.Pod // of scale-out: the pods before the nodes were added; nil = as they are now
	dir           *report.Dir
	// Planned is called with the matrix before anything runs.
	Planned func(cells []conformance.Cell)
}

// Conformance proves a scenario on the running cluster, and leaves a report. The run is complete also when there is an error.
// Errors: ErrConformance when a cell failed, conformance.ErrUsage, ErrLeftovers, ErrSetup, or as for other verbs.
func Conformance(ctx context.Context, o ConformanceOptions) (report.ConformanceRun, error) {
	o.Options = o.withDefaults()
	o.ReportDir = ReportDir(o.Options, o.ReportDir)
	if err := o.openReport(); err != nil { // before anything is connected
		return report.ConformanceRun{}, err
	}
	s, err := openReached(ctx, o.Options)
	if err != nil {
		return report.ConformanceRun{}, err
	}
	defer s.close()
	ctx, cancel := o.stoppable(ctx)
	defer cancel()
	s.watchControlPlanes(ctx)
	o.Progress = s.Progress
	run, err := s.conformance(ctx, o)
	return run, s.explained(err)
}

// openReport makes sure, before the work, that its report can be written. ErrReportDir: it cannot.
func (o *ConformanceOptions) openReport() (err error) {
	if o.dir, err = report.OpenDir(o.ReportDir); err != nil {
		return fmt.Errorf("%w: %w", ErrReportDir, err)
	}
	return nil
}

// openReached starts a session that is connected to the hosts and knows the way to the API server.
func openReached(ctx context.Context, o Options) (*session, error) {
	s, err := open(o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := o.stoppable(ctx)
	defer cancel()
	if err := s.reach(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// reach connects to the hosts and finds the API server.
func (s *session) reach(ctx context.Context) error {
	if err := s.openBundle(); err != nil {
		return err
	}
	s.gather(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.loadKubeconfig(ctx); err != nil {
		return err
	}
	if s.api != nil {
		return nil
	}
	for _, h := range s.controlPlanes() {
		if err := s.facts[h.Name].Err; err != nil {
			return fmt.Errorf("there is no way to the API server: %s was not reached (%w), and %s holds no kubeconfig", h.Name, err, s.StateDir)
		}
	}
	return fmt.Errorf("there is no cluster yet: run \"hybridctl up -f %s\" first", s.Cluster.Path)
}

// conformance runs the checks over the session's connections and writes the report, also of a run that could not begin.
func (s *session) conformance(ctx context.Context, o ConformanceOptions) (report.ConformanceRun, error) {
	c := s.conformanceOptions(ctx, o)
	c.Evidence = o.dir.Evidence
	run, err := conformance.Run(ctx, c)
	if !errors.Is(err, conformance.ErrUsage) {
		if werr := o.dir.Write(run); werr != nil {
			err = errors.Join(err, werr)
		}
	}
	if err == nil && run.Verdict() == report.Failing {
		err = ErrConformance
	}
	return run, err
}

func (s *session) conformanceOptions(ctx context.Context, o ConformanceOptions) (c conformance.Options) {
	c = conformance.Options{
		API: s.api, Cluster: s.Cluster.Metadata.Name, Tool: o.Tool, Scenario: conformance.Scenario(o.Scenario),
		Checks: o.Checks, Quick: o.Quick, NewNodes: o.Nodes, Before: o.before, NodesBefore: s.nodes, MaxPairs: o.MaxPairs, Seed: o.Seed,
		Facts:     map[string]conformance.NodeFacts{},
		DNSDomain: s.Cluster.Spec.Kubernetes.DNSDomain, NodeRanges: s.Cluster.Spec.CNI.Provider == inventory.CNIFlannel, Window: stableFor, Patience: s.Cluster.Spec.Timeouts.Ready.Std(),
		RunID: newRunID(), Keep: o.Keep, KeepOnFailure: o.KeepOnFailure, Planned: o.Planned, Event: s.event, Now: time.Now,
	}
	if c.Scenario == "" {
		c.Scenario = conformance.NewDeployment
	}
	if c.Seed == 0 {
		c.Seed = mathrand.Uint64()
	}
	if i, ok := s.bundle.Image(bundle.Probe); ok {
		c.Image, c.Images = i.Ref, imageMaker{s.bundle}
	}
	c.Storage, c.NoStorage = s.storageClasses()
	c.Machines, c.NoMachine = s.machines()
	c.NoProbe = s.withoutProbe(ctx, c.Image)
	for name := range c.Machines {
		f := s.facts[name]
		c.Facts[name] = conformance.NodeFacts{PageKiB: f.PageSize >> 10, CPU: f.CPUModel}
	}
	c.Vantages = []conformance.Vantage{s.operator()}
	defer func() { s.tryVantages(ctx, c.Vantages, s.dialled(c)) }()
	for _, h := range s.Cluster.Spec.Conformance.Outside {
		c.Vantages = append(c.Vantages, s.outside(ctx, h))
	}
	if r := s.Cluster.Spec.Conformance.Registry; r.Image != "" {
		c.Registry = &conformance.Registry{Image: r.Image, Username: r.Username, Password: secret("registry's password", r.PasswordFile, r.PasswordEnv)}
	}
	return c
}

// kubeletTells is of how many images a kubelet tells at most (nodeStatusMaxImages).
const kubeletTells = 50

// withoutProbe are the nodes that cannot run a probe, with the reason: those that hybridctl does not manage, where it brings no image to,
// unless the node tells that it has the image, or has so many that it does not tell of all.
func (s *session) withoutProbe(ctx context.Context, image string) map[string]string {
	if image == "" || len(s.Cluster.Managed()) == len(s.Cluster.Spec.Hosts) {
		return nil
	}
	has, err := s.api.NodeImages(ctx)
	if err != nil {
		return nil // then the run finds out
	}
	out := map[string]string{}
	for name, images := range has {
		if h, ours := s.Cluster.Host(name); ours && !h.IsManaged() && len(images) < kubeletTells && !slices.Contains(slices.Concat(images...), image) {
			out[name] = fmt.Sprintf("%s has no image of the probe, and hybridctl does not manage it (managed: false): load %s there", name, image)
		}
	}
	return out
}

// machines are the hosts that are connected, and why the others are not.
func (s *session) machines() (connected map[string]conformance.Machine, not map[string]string) {
	connected, not = map[string]conformance.Machine{}, map[string]string{}
	for _, h := range s.Cluster.Spec.Hosts {
		if c, err := s.host(h.Name); err != nil {
			not[h.Name] = report.OneLine(err.Error())
		} else if h.IsManaged() {
			connected[h.Name] = &machine{s: s, host: h, patience: conformance.Away, now: c}
		}
	}
	return connected, not
}

// outside is a host that is no node, as a place from which nodes are dialled.
func (s *session) outside(ctx context.Context, h inventory.OutsideHost) conformance.Vantage {
	v := conformance.Vantage{Name: h.Name, TCPOnly: true}
	r, err := s.dial(ctx, inventory.Host{Name: h.Name, Address: h.Address, Port: h.Port, User: h.User})
	if err != nil {
		v.Problem = report.OneLine(err.Error())
		return v
	}
	v.Dial = r
	return v
}

// operator is this machine as a place outside the cluster; it is none when it is one of the nodes, or when the nodes cannot be reached
// from here but through other hosts.
func (s *session) operator() conformance.Vantage {
	v := conformance.Vantage{Name: "operator", Dial: &net.Dialer{}, Address: localAddress}
	own, err := net.InterfaceAddrs()
	if err != nil {
		v.Problem = fmt.Sprintf("this machine's addresses are not known: %v", err)
		return v
	}
	for _, h := range s.Cluster.Spec.Hosts {
		if slices.ContainsFunc(own, func(a net.Addr) bool {
			n, ok := a.(*net.IPNet)
			return ok && n.IP.String() == h.Address && !n.IP.IsLoopback()
		}) {
			v.Problem = fmt.Sprintf("this machine is node %s: a connection from here is not from outside", h.Name)
		}
	}
	return v
}

// vantagePatience bounds the question whether a node's address can be reached at all.
const vantagePatience = 4 * time.Second

// dialled are the hosts that the run's vantage points dial: the new ones after a scale-out, which leaves the others alone.
func (s *session) dialled(c conformance.Options) []inventory.Host {
	if c.Scenario != conformance.ScaleOut {
		return s.Cluster.Spec.Hosts
	}
	var out []inventory.Host
	for _, h := range s.Cluster.Spec.Hosts {
		if slices.Contains(c.NewNodes, h.Name) {
			out = append(out, h)
		}
	}
	return out
}

// tryVantages finds out which hosts each vantage point reaches: it asks for their SSH port. A port that is closed is reached.
func (s *session) tryVantages(ctx context.Context, vantages []conformance.Vantage, hosts []inventory.Host) {
	var open sync.WaitGroup
	var mu sync.Mutex
	for i := range vantages {
		v := &vantages[i]
		if v.Problem != "" {
			continue
		}
		v.Unreached = map[string]string{}
		for _, h := range hosts {
			open.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, vantagePatience)
				defer cancel()
				port := cmp.Or(s.Cluster.SSHFor(h).Port, 22)
				conn, err := v.Dial.DialContext(ctx, "tcp", net.JoinHostPort(h.Address, strconv.Itoa(port)))
				if err == nil {
					_ = conn.Close() // nothing was said
					return
				}
				if errors.Is(err, syscall.ECONNREFUSED) {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				v.Unreached[h.Name] = fmt.Sprintf("%s does not reach %s directly: %s", v.Name, h.Name, report.OneLine(err.Error()))
			})
		}
	}
	open.Wait()
}

// localAddress is the address from which this machine reaches a target; empty when it does not.
func localAddress(target string) string {
	c, err := net.Dial("udp", net.JoinHostPort(target, "9")) // nothing is sent
	if err != nil {
		return ""
	}
	defer c.Close()
	a, _ := c.LocalAddr().(*net.UDPAddr)
	return a.IP.String()
}

// newRunID is short, and fit for names and labels.
func newRunID() string {
	b := make([]byte, 4)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// ConformanceClean removes what earlier runs left in the cluster and on the hosts, and returns their IDs.
func ConformanceClean(ctx context.Context, o Options) ([]string, error) {
	s, err := openReached(ctx, o.withDefaults())
	if err != nil {
		return nil, err
	}
	defer s.close()
	ctx, cancel := s.stoppable(ctx)
	defer cancel()
	machines, _ := s.machines()
	ids, err := conformance.Runs(ctx, s.api, machines)
	errs := []error{err}
	for _, id := range ids {
		errs = append(errs, conformance.Clean(ctx, s.api, machines, id))
	}
	return ids, errors.Join(errs...)
}

// ConformanceSelfTest makes faults and tells whether exactly the right cells turned red. ErrConformance when not.
func ConformanceSelfTest(ctx context.Context, o ConformanceOptions, done func(conformance.SelfTest)) ([]conformance.SelfTest, error) {
	o.Options = o.withDefaults()
	s, err := openReached(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	defer s.close()
	ctx, cancel := o.stoppable(ctx)
	defer cancel()
	var all []conformance.SelfTest
	err = conformance.TestSelf(ctx, s.conformanceOptions(ctx, o), func(t conformance.SelfTest, _ report.ConformanceRun) {
		all = append(all, t)
		done(t)
	})
	if err == nil && slices.ContainsFunc(all, func(t conformance.SelfTest) bool { return !t.OK() }) {
		err = ErrConformance
	}
	return all, err
}

// imageMaker makes images out of the bundle's.
type imageMaker struct{ bundle *bundle.Bundle }

// saltLabel makes an image's digest new.
const saltLabel = "dev.hybridctl.conformance.run"

func (m imageMaker) Archive(ctx context.Context, w io.Writer, salt string, images []conformance.MadeImage) error {
	var variants []bundle.Variant
	for _, i := range images {
		variants = append(variants, bundle.Variant{Ref: i.Ref, Component: bundle.Probe, Holds: i.Holds, Claims: i.Claims, Labels: map[string]string{saltLabel: salt}})
	}
	return m.bundle.WriteVariants(ctx, w, variants)
}
