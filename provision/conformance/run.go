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

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

// run is one run on its way. What it uses are parts with a purpose each; the cells are tried by the triers.
type run struct {
	Options
	nodes    roster
	vantages vantages
	matrix   Matrix
	draft    *draft
	secret   probe.Secret // of its probes
	before   snapshot
	started  time.Time

	view     *view
	here     *attendance
	hosts    *hosts
	policies *policies
	services *services
	maker    *maker
	agents   *agents
	triers   *triers
	vigil    *vigil
	follow   func()                        // has view and here look at the cluster from now on
	undo     []func(context.Context) error // takes faults away again
	lose     func(error)                   // ends the run, as what it made is another's
	release  func(context.Context)         // tells that the run is not at work any more; nil = it was not

	mu      sync.Mutex
	results []report.CellResult
	lost    []int // the cells, by index, that are blocked because a probe is not there
	phases  []report.Phase
}

// Run plans the matrix, tries every cell and cleans up. The report is complete whatever happens: cells that could not be tried are
// blocked. ErrUsage, ErrLeftovers: nothing was begun. ErrSetup: the report says why. A context that ends is an interruption: what was
// made is taken away even so.
func Run(ctx context.Context, o Options) (report.ConformanceRun, error) {
	r := &run{Options: o, secret: newSecret(), started: o.Now()}
	if r.pace == (pace{}) {
		r.pace = usual
	}
	err := r.prepare(ctx)
	if err == nil {
		err = r.all(ctx)
	}
	return r.document(err), err
}

// document is the report of the run as it is.
func (r *run) document(err error) report.ConformanceRun {
	d := report.ConformanceRun{
		Version: report.RunVersion, ID: r.RunID, Cluster: r.Cluster, Scenario: string(r.Scenario), Tool: r.Tool,
		Started: r.started, Finished: r.Now(), Coverage: r.matrix.Coverage, Checks: r.checks(), Cells: r.results, Phases: r.phases,
	}
	for _, n := range r.nodes {
		d.Nodes = append(d.Nodes, n.RunNode)
	}
	if err != nil {
		d.Error, d.Hint = report.OneLine(err.Error()), report.OneLine(hint.Text(err))
	}
	return d
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
		return hint.With(fmt.Errorf("%w: namespace %s is still in the cluster", ErrLeftovers, strings.Join(left, ", ")),
			`wait while another run is at work; what a run that was killed has left, "hybridctl conformance clean" removes`)
	}
	nodes, err := r.API.Nodes(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSetup, err)
	}
	if r.nodes, err = newRoster(r.Options, nodes); err != nil {
		return err
	}
	r.vantages = vantages{roster: r.nodes, all: r.Vantages}
	if !r.Quick && (len(r.Checks) == 0 || slices.Contains(r.Checks, "S7")) {
		r.vantages.lookFrom(ctx, r.Scenario)
	}
	r.matrix, err = Plan(Input{
		Scenario: r.Scenario, Nodes: r.nodes, Checks: r.Checks, Quick: r.Quick, MaxPairs: r.MaxPairs, Seed: r.Seed,
		Vantages: r.vantages.all, Images: r.programs(), Registry: r.Registry != nil, NodesKnow: r.Registry != nil && r.Registry.NodesKnow,
		Storage: r.Storage, NoStorage: r.NoStorage, Fault: r.Fault,
	})
	if err != nil {
		return err
	}
	for _, c := range r.matrix.Cells {
		r.results = append(r.results, r.nodes.unread(c, "it was not tried"))
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

// programs tells for which architectures new images can be made; nil when for none.
func (r *run) programs() func(platform.Arch) bool {
	if r.Images == nil {
		return nil
	}
	return func(arch platform.Arch) bool { return r.Images.Can(MadeImage{Holds: arch}) }
}

func (r *run) phase(name string, since time.Time) {
	r.phases = append(r.phases, report.Phase{Name: name, Duration: r.Now().Sub(since)})
}

// all is the run itself: set up, try, gather evidence, clean up.
func (r *run) all(ctx context.Context) (err error) {
	if r.Image == "" {
		return hint.With(fmt.Errorf("%w: the bundle has no image of the probe (component \"probe\")", ErrSetup), "make the bundle again, with it")
	}
	ctx, r.lose = context.WithCancelCause(ctx)
	defer r.lose(nil)
	life, stop := context.WithCancel(ctx)
	r.equip(life)
	var watch sync.WaitGroup
	r.follow = sync.OnceFunc(func() {
		watch.Go(func() { r.here.follow(life, r.API, rules{r.Now, r.pace}) })
		watch.Go(func() { r.view.follow(life, r.API, r.draft.namespace) })
	})
	defer func() {
		stop()
		watch.Wait()
		r.agents.close()
		start := r.Now()
		if r.release != nil {
			r.release(ctx)
		}
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
	r.failUnowned()
	r.phase("checks", start)
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
	start = r.Now()
	r.results = r.witness().explain(ctx, r.matrix.Cells, r.results, r.lost)
	r.phase("evidence", start)
	return nil
}

// equip makes the parts of the run, which last as long as its life.
func (r *run) equip(life context.Context) {
	r.draft = &draft{
		objects: objects{namespace: namespacePrefix + r.RunID, runID: r.RunID, image: r.Image},
		roster:  r.nodes, cells: r.matrix.Cells, registry: r.Registry, fault: r.Fault,
	}
	r.view, r.here, r.hosts, r.policies = newView(r.Now, r.Patience), newAttendance(r.nodes), newHosts(r.Machines), newPolicies()
	r.services = &services{namespace: r.draft.namespace, domain: r.DNSDomain, policies: r.policies, view: r.view, made: map[string]time.Time{}}
	r.maker = &maker{
		api: r.API, event: r.Event, now: r.Now, policies: r.policies, hosts: r.hosts, services: r.services, view: r.view,
		life: life, launch: r.pace.launch, starting: placesToStart(r.nodes),
	}
	r.vigil = &vigil{event: r.Event, clock: r.Now, silence: r.pace.silence, view: r.view}
	r.agents = &agents{life: life, api: r.API, namespace: r.draft.namespace, view: r.view, pace: r.pace, event: r.Event, all: map[string]*agent{}}
	rules := rules{r.Now, r.pace}
	asker := asker{draft: r.draft, rules: rules, view: r.view, agents: r.agents}
	r.triers = &triers{
		nodeTrier: nodeTrier{
			roster: r.nodes, rules: rules, api: r.API, machines: r.Machines, view: r.view, window: r.Window, daemonSets: r.DaemonSets,
			leases: &leases{api: r.API, now: r.Now, good: r.pace.lease / 20}, nodeRanges: r.NodeRanges, fault: r.Fault,
		},
		imageTrier:     imageTrier{asker, r.API},
		registryTrier:  registryTrier{r.nodes, r.view, r.Registry},
		placeTrier:     placeTrier{r.nodes, r.view},
		podTrier:       podTrier{asker},
		serviceTrier:   serviceTrier{asker, r.API, r.services},
		outsideTrier:   outsideTrier{asker, r.API, r.services, &r.vantages, r.secret},
		directoryTrier: directoryTrier{asker, r.hosts},
		volumeTrier:    volumeTrier{asker: asker, api: r.API, maker: r.maker, storage: r.Storage},
		guardTrier: guardTrier{sync.OnceValues(func() (guard, error) {
			return lookAgain(life, r.API, r.before, r.draft.namespace, r.pace.guardPause)
		})},
	}
}

// witness gathers the evidence of the run.
func (r *run) witness() witness {
	w := witness{api: r.API, machines: r.Machines, namespace: r.draft.namespace, keep: r.Evidence, event: r.Event}
	if len(r.Storage) > 0 {
		w.drivers = r.Storage[0].Namespace
	}
	return w
}

// tryAll tries the cells, many at once. What must not have changed by them is looked at last.
func (r *run) tryAll(ctx context.Context) {
	places := newPlaces(r.nodes)
	var open sync.WaitGroup
	r.vigil.begin(len(r.matrix.Cells))
	defer r.vigil.keep()()
	for _, last := range []bool{false, true} {
		for i, c := range r.matrix.Cells {
			switch {
			case kinds[c.kind].last != last:
			case c.Blocked != "":
				r.vigil.end(i)
				r.done(r.results[i])
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
	r.vigil.tries(i, r.nodes.unread(c, "").ID())
	o := r.try(ctx, c)
	switch {
	case run.Err() != nil && o.verdict == report.Passed:
	case run.Err() != nil: // what it says is of the interruption
		o = blocked("the run was interrupted")
	case ctx.Err() != nil: // what was seen of it meanwhile, or not seen, is no proof
		o = failed("%v", context.Cause(ctx))
	default:
		if err := r.deniedTo(c); err != nil { // as it was seen meanwhile
			o = wrong(err)
		}
	}
	r.finish(i, c, start, o)
}

// deniedTo is why a cell cannot have one of its objects, as it has to be.
func (r *run) deniedTo(c Cell) error {
	names := probesOf(r.nodes, c)
	if makes := kinds[c.kind].makes; makes != nil {
		for _, o := range makes(r.draft, c) {
			names = append(names, nameOf(o))
		}
	}
	return cmp.Or(r.policies.forbid(names...), r.view.alteration(names...))
}

// startable waits for the probes a cell uses.
func (r *run) startable(ctx context.Context, c Cell) error {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	for _, pod := range probesOf(r.nodes, c) {
		if _, err := r.view.ready(ctx, pod); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) try(ctx context.Context, c Cell) outcome {
	if err := r.hosts.problem(c); err != nil {
		if forbids(err) {
			return blocked("%v", err)
		}
		return failed("the host: %v", err)
	}
	return kinds[c.kind].try(r.triers, ctx, c)
}

// finish writes a cell's result.
func (r *run) finish(i int, c Cell, start time.Time, o outcome) {
	cell := r.nodes.unread(c, "")
	o = o.bounded()
	cell.Verdict, cell.Reason = o.verdict, o.reason
	cell.Planned, cell.OK, cell.FirstAttemptOK = o.planned, o.ok, o.first
	cell.P50Millis, cell.P99Millis, cell.Nonce, cell.Responder = o.p50, o.p99, o.nonce, o.who
	cell.ExpectClientIP, cell.ObservedClientIP, cell.RulesLagMillis = o.wantIP, o.seen, float64(o.lag.Milliseconds())
	cell.Started, cell.Duration = start, r.Now().Sub(start)
	r.mu.Lock()
	r.results[i] = cell
	if o.lost {
		r.lost = append(r.lost, i)
	}
	r.mu.Unlock()
	r.vigil.end(i)
	r.done(cell)
}

// failUnowned fails cells that are blocked because a probe is not there, where no other fails for it: no run passes without a node's probe. That is
// one cell of the node alone, or else, where a run has none, those that it has with other nodes.
func (r *run) failUnowned() {
	failing := map[string]bool{}
	for i, c := range r.matrix.Cells {
		if r.results[i].Verdict == report.Failing {
			failing[c.Src], failing[c.Dst] = true, true
		}
	}
	slices.Sort(r.lost)
	var pairs []int
	for _, i := range r.lost {
		switch c := r.matrix.Cells[i]; {
		case !c.ofOne():
			pairs = append(pairs, i)
		case !failing[c.Dst]:
			failing[c.Dst] = true
			r.fail(i)
		}
	}
	for _, i := range pairs {
		if c := r.matrix.Cells[i]; !failing[c.Src] && !failing[c.Dst] {
			r.fail(i)
		}
	}
}

// fail fails a cell that was blocked.
func (r *run) fail(i int) {
	r.results[i].Verdict = report.Failing
	r.done(r.results[i])
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
	failing := slices.ContainsFunc(r.results, func(c report.CellResult) bool { return c.Verdict == report.Failing })
	if r.Keep || r.KeepOnFailure && failing {
		r.Event(report.Event{Kind: report.Done, Step: "clean up", Action: report.Skipped, Message: "namespace " + r.draft.namespace + " is kept; \"hybridctl conformance clean\" removes it"})
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, told(r.Event, func() error { return Clean(ctx, r.API, r.Machines, r.RunID) }))...)
}
