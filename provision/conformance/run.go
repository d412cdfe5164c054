package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

// run is one run on its way.
type run struct {
	Options
	objects objects
	secret  probe.Secret         // of its probes
	reached map[[2]string]string // by vantage point and node: the address
	nodes   []Node               // sorted by name; their index names their probes
	matrix  Matrix
	before  snapshot
	guard   func() (guard, error) // what check G compares, asked when its first cell is tried
	started time.Time
	view    *view
	here    *attendance
	leases  *leases
	follow  func() // has view and here look at the cluster from now on
	// starting are, by node, the places of pods that start; those without a node have places too.
	starting map[string]chan struct{}
	life     context.Context // of the one run: agents last as long
	cells    []report.CellResult
	phases   []report.Phase

	mu         sync.Mutex
	agents     map[string]*lazyAgent
	claims     int // how many volumes were asked for
	svc        map[string]kube.Service
	made       map[string]time.Time          // when Services were
	undo       []func(context.Context) error // takes faults away again
	unprepared map[hostOf]error
	denied     map[string]error // by object: what a policy of the cluster does not let in
}

// Run plans the matrix, tries every cell and cleans up. The report is complete whatever happens: cells that could not be tried are
// blocked. ErrUsage, ErrLeftovers: nothing was begun. ErrSetup: the report says why. A context that ends is an interruption: what was
// made is taken away all the same.
func Run(ctx context.Context, o Options) (report.ConformanceRun, error) {
	r := &run{Options: o, agents: map[string]*lazyAgent{}, unprepared: map[hostOf]error{}, denied: map[string]error{}, secret: newSecret(), made: map[string]time.Time{}, started: o.Now()}
	if r.pace == (pace{}) {
		r.pace = usual
	}
	r.objects = objects{namespace: namespacePrefix + o.RunID, runID: o.RunID, image: o.Image}
	document := func(err error) report.ConformanceRun {
		d := report.ConformanceRun{
			Version: report.RunVersion, ID: o.RunID, Cluster: o.Cluster, Scenario: string(o.Scenario), Tool: o.Tool,
			Started: r.started, Finished: o.Now(), Coverage: r.matrix.Coverage, Checks: r.checks(), Cells: r.cells, Phases: r.phases,
		}
		for _, n := range r.nodes {
			d.Nodes = append(d.Nodes, n.RunNode)
		}
		if err != nil {
			d.Error = report.OneLine(err.Error())
		}
		return d
	}
	if err := r.prepare(ctx); err != nil {
		return document(err), err
	}
	err := r.all(ctx)
	return document(err), err
}

// checks are those of the scenario that this run has.
func (r *run) checks() []report.RunCheck {
	var out []report.RunCheck
	for _, c := range ChecksOf(r.Scenario) {
		if len(r.Checks) == 0 || slices.Contains(r.Checks, c.ID) {
			out = append(out, c)
		}
	}
	return out
}

// prepare looks at the cluster and plans; it changes nothing.
func (r *run) prepare(ctx context.Context) error {
	defer r.phase("plan", r.Now())
	if !runIDs.MatchString(r.RunID) {
		return fmt.Errorf("%w: %.40q is not the ID of a run", ErrUsage, r.RunID)
	}
	left, err := r.API.Namespaces(ctx, RunLabel)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSetup, err)
	}
	if len(left) > 0 {
		return fmt.Errorf("%w: namespace %s is still in the cluster: another run is on its way, or \"hybridctl conformance clean\" removes it", ErrLeftovers, strings.Join(left, ", "))
	}
	nodes, err := r.API.Nodes(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSetup, err)
	}
	if err := r.look(nodes); err != nil {
		return err
	}
	if !r.Quick && (len(r.Checks) == 0 || slices.Contains(r.Checks, "S7")) {
		r.lookFrom(ctx)
	}
	r.matrix, err = Plan(Input{
		Scenario: r.Scenario, Nodes: r.nodes, Checks: r.Checks, Quick: r.Quick, MaxPairs: r.MaxPairs, Seed: r.Seed,
		Vantages: r.Vantages, HasImage: r.Images != nil, Registry: r.Registry != nil, Storage: r.Storage, NoStorage: r.NoStorage, Fault: r.Fault,
	})
	if err != nil {
		return err
	}
	for _, c := range r.matrix.Cells {
		r.cells = append(r.cells, r.unread(c, "it was not tried"))
	}
	if r.Planned != nil {
		r.Planned(r.matrix.Cells)
	}
	if r.before = (snapshot{r.NodesBefore, r.Before}); r.before.nodes == nil {
		r.before.nodes = nodes
	}
	if r.before.pods == nil && r.Scenario == ScaleOut {
		if r.before.pods, err = r.API.Pods(ctx, "", ""); err != nil {
			return fmt.Errorf("%w: %w", ErrSetup, err)
		}
	}
	return nil
}

// look takes the nodes as the matrix wants them.
func (r *run) look(nodes []kube.Node) error {
	for _, name := range r.NewNodes {
		if !slices.ContainsFunc(nodes, func(n kube.Node) bool { return n.Name == name }) {
			return fmt.Errorf("%w: there is no node %q in the cluster", ErrUsage, name)
		}
	}
	for _, n := range nodes {
		known, _ := slices.BinarySearchFunc(r.nodes, n.Name, func(a Node, name string) int { return strings.Compare(a.Name, name) })
		node := Node{PodCIDR: n.PodCIDR, Addresses: slices.Clone(n.InternalIPs), SSHPort: 22, Ready: n.Ready}
		node.RunNode = report.RunNode{Name: n.Name, Arch: n.Arch, Role: "worker", Kernel: n.KernelVersion, New: slices.Contains(r.NewNodes, n.Name)}
		if n.ControlPlane {
			node.Role = "control-plane"
		}
		if len(n.InternalIPs) > 0 {
			node.Address = n.InternalIPs[0]
		}
		if !n.Ready {
			node.OutOf = "not Ready"
		}
		if f, ok := r.Facts[n.Name]; ok {
			node.PageKiB, node.CPU, node.SSHPort = f.PageKiB, f.CPU, cmp.Or(f.SSHPort, 22)
			if f.Address != "" && !slices.Contains(node.Addresses, f.Address) {
				node.Addresses = append(node.Addresses, f.Address)
			}
		}
		if _, ok := r.Machines[n.Name]; !ok {
			node.NoMachine = orDefault(r.NoMachine[n.Name], "it is not in the inventory")
		}
		node.NoProbe = r.NoProbe[n.Name]
		r.nodes = slices.Insert(r.nodes, known, node)
	}
	return nil
}

// unread is a cell's result before it is tried.
func (r *run) unread(c Cell, reason string) report.CellResult {
	out := report.CellResult{Check: c.Check, Name: c.Name, Class: c.Class, Verdict: report.Blocked, Reason: reason}
	if c.Blocked != "" {
		out.Reason = c.Blocked
	}
	switch {
	case c.Vantage != "":
		out.Src, out.Dst = &report.Endpoint{Where: c.Vantage + " via " + c.Src}, r.end(c.Dst)
	default:
		out.Src, out.Dst = r.end(c.Src), r.end(c.Dst)
	}
	return out
}

func (r *run) end(node string) *report.Endpoint {
	if node == "" {
		return nil
	}
	return &report.Endpoint{Node: node, Arch: r.node(node).Arch}
}

func (r *run) node(name string) Node { return r.nodes[r.index(name)] }

// slot names a node's probe or Service.
func (r *run) slot(which, node string) string { return slot(which, r.index(node)) }

// index is a node's place among all, which names its probes.
func (r *run) index(name string) int {
	return slices.IndexFunc(r.nodes, func(n Node) bool { return n.Name == name })
}

func (r *run) phase(name string, since time.Time) {
	r.phases = append(r.phases, report.Phase{Name: name, Duration: r.Now().Sub(since)})
}

// all is the run itself: set up, try, gather evidence, clean up.
func (r *run) all(ctx context.Context) (err error) {
	if r.Image == "" {
		return fmt.Errorf("%w: the bundle has no image of the probe (component \"probe\"): make the bundle anew", ErrSetup)
	}
	watching, stop := context.WithCancel(ctx)
	r.life = watching
	r.guard = sync.OnceValues(func() (guard, error) { return r.lookAgain(watching) })
	r.leases = &leases{api: r.API, now: r.Now, good: r.pace.lease / 20}
	r.view, r.here = newView(r.Now), newAttendance(r.nodes)
	r.starting = map[string]chan struct{}{"": make(chan struct{}, startsAtOnce)}
	for _, n := range r.nodes {
		r.starting[n.Name] = make(chan struct{}, startsAtOnce)
	}
	var watch sync.WaitGroup
	r.follow = sync.OnceFunc(func() {
		watch.Go(func() { r.attend(watching) })
		watch.Go(func() { r.view.follow(watching, r.API, r.objects.namespace) })
	})
	defer func() {
		stop()
		watch.Wait()
		r.closeAgents()
		start := r.Now()
		err = errors.Join(err, r.clean(context.WithoutCancel(ctx)))
		r.phase("clean up", start)
	}()
	start := r.Now()
	if err := r.setUp(ctx); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted while setting up: %w", context.Cause(ctx))
		}
		return fmt.Errorf("%w: %w", ErrSetup, err)
	}
	r.phase("set up", start)
	start = r.Now()
	r.tryAll(ctx)
	r.phase("checks", start)
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
	start = r.Now()
	r.explain(ctx)
	r.phase("evidence", start)
	return nil
}

// tryAll tries the cells, many at once. What must not have changed by them is looked at last.
func (r *run) tryAll(ctx context.Context) {
	places := newPlaces(r.nodes)
	var open sync.WaitGroup
	for _, last := range []bool{false, true} {
		for i, c := range r.matrix.Cells {
			switch {
			case kinds[c.kind].last != last:
			case c.Blocked != "":
				r.done(r.cells[i])
			default:
				open.Go(func() { r.tryOne(ctx, i, c, places) })
			}
		}
		open.Wait()
	}
}

func (r *run) tryOne(run context.Context, i int, c Cell, places places) {
	ctx, done := r.here.while(run, needs(c)...)
	defer done()
	if err := r.deniedTo(c); err != nil {
		r.finish(i, c, r.Now(), wrong(err))
		return
	}
	// Cells that wait for a pod to start do not take the place of one that could go on.
	if err := r.startable(ctx, c); err != nil && ctx.Err() == nil {
		r.finish(i, c, r.Now(), lost(c, err))
		return
	}
	leave, ok := places.take(ctx, c)
	switch {
	case !ok && run.Err() == nil:
		r.finish(i, c, r.Now(), lost(c, context.Cause(ctx)))
		return
	case !ok:
		r.finish(i, c, r.Now(), blocked("the run was interrupted"))
		return
	}
	defer leave()
	start := r.Now()
	o := r.try(ctx, c)
	switch {
	case run.Err() != nil && o.verdict == report.Passed:
	case run.Err() != nil: // what it says is of the interruption
		o = blocked("the run was interrupted")
	case ctx.Err() != nil: // what was seen of it meanwhile, or not seen, is no proof
		o = failed("%v", context.Cause(ctx))
	}
	r.finish(i, c, start, o)
}

// finish writes a cell's result.
func (r *run) finish(i int, c Cell, start time.Time, o outcome) {
	cell := r.unread(c, "")
	cell.Verdict, cell.Reason = o.verdict, o.reason
	cell.Planned, cell.OK, cell.FirstAttemptOK = o.planned, o.ok, o.first
	cell.P50Millis, cell.P99Millis, cell.Nonce, cell.Responder = o.p50, o.p99, o.nonce, o.who
	cell.ExpectClientIP, cell.ObservedClientIP, cell.RulesLagMillis = o.wantIP, o.seen, float64(o.lag.Milliseconds())
	cell.Started, cell.Duration = start, r.Now().Sub(start)
	r.mu.Lock()
	r.cells[i] = cell
	r.mu.Unlock()
	r.done(cell)
}

// done tells of a cell's end.
func (r *run) done(c report.CellResult) {
	e := report.Event{Kind: report.Done, Step: c.Check, Action: report.Unchanged, Message: c.Name}
	if c.Dst != nil {
		e.Host = c.Dst.Node
	}
	switch c.Verdict {
	case report.Failing:
		e.Action, e.Err = report.Failed, errors.New(c.Name+": "+c.Reason)
	case report.Blocked:
		e.Action, e.Message = report.Skipped, c.Name+": blocked: "+c.Reason
	case report.Flaky:
		e.Message = c.Name + ": flaky: " + c.Reason
	}
	r.Event(e)
}

// clean takes away what the run made, in the cluster and on hosts. It goes on after errors.
func (r *run) clean(ctx context.Context) error {
	var errs []error
	for _, undo := range r.undo {
		limited, cancel := context.WithTimeout(ctx, cleanHostsFor)
		errs = append(errs, undo(limited))
		cancel()
	}
	failing := slices.ContainsFunc(r.cells, func(c report.CellResult) bool { return c.Verdict == report.Failing })
	if r.Keep || r.KeepOnFailure && failing {
		r.Event(report.Event{Kind: report.Done, Step: "clean up", Action: report.Skipped, Message: "namespace " + r.objects.namespace + " is kept; \"hybridctl conformance clean\" removes it"})
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, Clean(ctx, r.API, r.Machines, r.RunID))...)
}
