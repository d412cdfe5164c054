package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

// FaultName is a fault that a self-test makes on purpose.
type FaultName string

const (
	faultOverlay    FaultName = "overlay-dropped"    // two hosts do not hear each other's pod network
	faultEndpoint   FaultName = "endpoint-deleted"   // a Service loses its only endpoint
	faultWrongImage FaultName = "wrong-arch-image"   // an image claims the node's architecture and is of another
	faultByte       FaultName = "volume-byte"        // one byte of a volume changes
	faultWrongPod   FaultName = "wrong-pod-answers"  // a Service leads to another node's pod
	faultMovedPort  FaultName = "wrong-pod-outside"  // the same, seen from outside the cluster
	faultNotLocal   FaultName = "local-everywhere"   // a Service with the policy Local loses it
	faultStays      FaultName = "endpoint-stays"     // an endpoint is left when its Service has lost it
	faultDirectory  FaultName = "directory-there"    // a directory exists that must be missing
	faultDaemonSet  FaultName = "daemonset-missing"  // a DaemonSet that has to want every node is not there
	faultPull       FaultName = "secret-for-all"     // a pod that must not get the registry's credentials has them
	faultPortOpen   FaultName = "port-stays-open"    // a node port answers on when its Service is gone
	faultShared     FaultName = "device-for-two"     // a second pod comes up beside the one that has the block device
	faultNone       FaultName = "no-fault-all-green" // nothing: the same checks must pass
)

// Fault is a fault at a place.
type Fault struct {
	Name   FaultName
	Node   string
	Other  string   // the second node, where two are concerned
	Checks []string // what is run to see it
}

// is reports whether this is the fault, at that node.
func (f *Fault) is(name FaultName, node string) bool {
	return f != nil && f.Name == name && f.Node == node
}

// faultless is the outcome of a cell whose fault could not be made: a red one would count as seen.
func faultless(err error) outcome { return blocked("the fault could not be made: %v", err) }

// red reports whether a cell must fail because of the fault: these and no others.
func (f Fault) red(c Cell) bool {
	at := kinds[c.kind].red[f.Name]
	return at != nil && at(f, c)
}

// Extras are what a cluster has that more faults can be made of.
type Extras struct {
	Registry bool // a private one, whose login is in a Secret
	Devices  bool // a class of volumes that are block devices
}

// extras are those of a run.
func (o Options) extras() Extras {
	return Extras{
		Registry: o.Registry != nil && !o.Registry.NodesKnow,
		Devices:  slices.ContainsFunc(o.Storage, func(s StorageClass) bool { return s.Driver == RBD }),
	}
}

// Faults lists the faults that can be made in a cluster, each with the checks that have to see it. Two nodes are concerned: of two
// architectures where there are such.
func Faults(scenario Scenario, nodes []Node, with Extras) ([]Fault, error) {
	usable := slices.DeleteFunc(slices.Clone(nodes), func(n Node) bool { return noPods(n) != "" || n.NoMachine != "" })
	if len(usable) < 2 {
		return nil, fmt.Errorf("%w: a self-test needs two Ready nodes whose hosts can be reached, there are %d", ErrUsage, len(usable))
	}
	if scenario == ScaleOut { // what is proven are the new nodes
		slices.SortStableFunc(usable, func(a, b Node) int {
			switch {
			case a.New == b.New:
				return 0
			case a.New:
				return -1
			}
			return 1
		})
	}
	a, b := usable[0], usable[1]
	if i := slices.IndexFunc(usable, func(n Node) bool { return n.Arch != a.Arch }); i > 0 {
		b = usable[i]
	}
	added, images := "N1", "N2"
	if scenario == ScaleOut {
		added, images = "S1", "S2"
	}
	faults := []Fault{
		{Name: faultNone, Node: a.Name, Checks: []string{added, images, "S4", "S5", "S6", "S7", "S8"}},
		{Name: faultOverlay, Node: a.Name, Other: b.Name, Checks: []string{"S4", "S5"}},
		{Name: faultEndpoint, Node: a.Name, Checks: []string{"S4", "S6"}},
		{Name: faultWrongPod, Node: a.Name, Other: b.Name, Checks: []string{"S4", "S6"}},
		{Name: faultMovedPort, Node: a.Name, Other: b.Name, Checks: []string{"S7"}},
		{Name: faultWrongImage, Node: a.Name, Checks: []string{images}},
		{Name: faultByte, Node: a.Name, Checks: []string{"S8"}},
		{Name: faultNotLocal, Node: a.Name, Checks: []string{"S7"}},
		{Name: faultStays, Node: a.Name, Checks: []string{"S4", "S6"}},
		{Name: faultDirectory, Node: a.Name, Checks: []string{"S8"}},
		{Name: faultDaemonSet, Node: a.Name, Checks: []string{added}},
		{Name: faultPortOpen, Node: a.Name, Checks: []string{"S7"}},
	}
	if with.Registry {
		faults = append(faults, Fault{Name: faultPull, Node: a.Name, Checks: []string{"R"}})
	}
	if with.Devices {
		faults = append(faults, Fault{Name: faultShared, Node: a.Name, Other: b.Name, Checks: []string{"S9"}})
	}
	return faults, nil
}

// saboteur makes the fault of a self-test.
type saboteur struct {
	*draft
	api         API
	machines    map[string]Machine
	view        *view
	overlayPort int // of Options
	rulesLag    time.Duration
}

// beforehand makes a fault that has to be there before the cells' objects.
func (s saboteur) beforehand(ctx context.Context) error {
	if s.fault == nil || s.fault.Name != faultDirectory {
		return nil
	}
	if err := s.machines[s.fault.Node].MakeDir(ctx, s.missingDir()); err != nil {
		return fmt.Errorf("%s: %w", s.fault.Node, err)
	}
	return nil
}

// sabotage makes the faults that are in the cluster or on its network, once everything is set up. What takes a fault on a host away again is
// returned also when the fault could not be made.
func (s saboteur) sabotage(ctx context.Context) (undo []func(context.Context) error, err error) {
	if s.fault == nil {
		return nil, nil
	}
	f := *s.fault
	switch f.Name {
	case faultEndpoint:
		err = s.lead(ctx, s.slot(svcTo, f.Node), "none")
	case faultWrongPod, faultMovedPort:
		err = s.lead(ctx, s.slot(svcTo, f.Node), s.slot(podA, f.Other))
	case faultNotLocal:
		err = s.lead(ctx, s.slot(svcLocal, f.Node), s.slot(podA, f.Node))
	case faultStays:
		err = s.leaveEndpoint(ctx, f.Node)
	case faultOverlay:
		for _, pair := range [][2]string{{f.Node, f.Other}, {f.Other, f.Node}} {
			undo = append(undo, func(ctx context.Context) error { return s.machines[pair[0]].RemoveFaults(ctx, s.runID) })
			if err := s.machines[pair[0]].DropUDP(ctx, s.runID, s.node(pair[1]).Address, s.overlayPort); err != nil {
				return undo, fmt.Errorf("%s: %w", pair[0], err)
			}
		}
	}
	return undo, err
}

// lead has a Service lead to another probe, and waits as long as the nodes' rules may take to follow: until then they lead where they led, and cells
// would be right to say so.
func (s saboteur) lead(ctx context.Context, service, probe string) error {
	changed := s.service(service, map[string]string{slotLabel: probe}, "Cluster", 0)
	if _, err := s.api.Apply(ctx, manifests(changed), kube.ApplyOptions{Force: true}); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(s.rulesLag):
		return nil
	}
}

// leaveEndpoint gives the Service that is to lose its endpoint another one, which no selector takes away.
func (s saboteur) leaveEndpoint(ctx context.Context, node string) error {
	waiting, cancel := context.WithTimeout(ctx, s.view.patience)
	defer cancel()
	pod, err := s.view.ready(waiting, s.slot(podA, node))
	if err != nil {
		return err
	}
	_, err = s.api.Apply(ctx, manifests(s.endpoint(s.slot(svcStay, node), pod.IP)), kube.ApplyOptions{})
	return err
}

// SelfTest is the result of one fault: which cells turned red, and which should have.
type SelfTest struct {
	Fault  FaultName `json:"fault"`
	Node   string    `json:"node"`
	Other  string    `json:"other,omitempty"`
	Cells  int       `json:"cells"`            // that were tried
	Red    int       `json:"red"`              // of them, as they had to be
	Missed []string  `json:"missed,omitempty"` // had to be red and were not
	Wrong  []string  `json:"wrong,omitempty"`  // were red and had not to be
	Error  string    `json:"error,omitempty"`
	Hint   string    `json:"hint,omitempty"` // what the user can do about the error
}

// OK reports whether exactly the right cells turned red, and that there were any to turn.
func (s SelfTest) OK() bool {
	return s.Error == "" && len(s.Missed) == 0 && len(s.Wrong) == 0 && s.Cells > 0 && (s.Red > 0 || s.Fault == faultNone)
}

// seenBy leaves the faults that one of these checks has to see, and all of them without checks. Where nothing is done, these checks alone are run.
func seenBy(faults []Fault, scenario Scenario, checks []string) ([]Fault, error) {
	if err := Known(scenario, checks); err != nil || len(checks) == 0 {
		return faults, err
	}
	var out []Fault
	for _, f := range faults {
		own := slices.DeleteFunc(slices.Clone(f.Checks), func(id string) bool { return !slices.Contains(checks, id) })
		if f.Name == faultNone {
			f.Checks = own
		}
		if len(own) > 0 {
			out = append(out, f)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: a self-test makes no fault that %s would see", ErrUsage, strings.Join(checks, ", "))
	}
	return out, nil
}

// TestSelf runs the checks once for each fault, with the fault made: of the checks of Options, those faults that they have to see.
func TestSelf(ctx context.Context, o Options, done func(SelfTest, report.ConformanceRun)) error {
	nodes, err := o.API.Nodes(ctx)
	if err != nil {
		return err
	}
	known, err := newRoster(o, nodes)
	if err != nil {
		return err
	}
	faults, err := Faults(o.Scenario, known, o.extras())
	if err == nil {
		faults, err = seenBy(faults, o.Scenario, o.Checks)
	}
	if err != nil {
		return err
	}
	id := o.RunID
	for i, f := range faults {
		var planned []Cell
		one := o
		one.RunID = fmt.Sprintf("%s-%d", id, i)
		one.Fault, one.Checks, one.Planned = &f, f.Checks, func(cells []Cell) { planned = cells }
		document, err := Run(ctx, one)
		done(compare(f, planned, document, err), document)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// compare tells which cells a fault turned red, and which it had to.
func compare(f Fault, planned []Cell, document report.ConformanceRun, err error) SelfTest {
	s := SelfTest{Fault: f.Name, Node: f.Node, Other: f.Other}
	if err != nil {
		s.Error, s.Hint = report.OneLine(err.Error()), report.OneLine(hint.Text(err))
		return s
	}
	untried := "there is none"
	for i, c := range planned {
		result := document.Cells[i]
		if c.Blocked != "" {
			if f.red(c) {
				untried = c.Blocked
			}
			continue
		}
		s.Cells++
		isRed := result.Verdict == report.Failing
		switch {
		case f.red(c) && isRed:
			s.Red++
		case f.red(c):
			s.Missed = append(s.Missed, fmt.Sprintf("%s: %s %s", result.ID(), result.Verdict, result.Reason))
		case isRed, result.Verdict == report.Blocked, result.Verdict == report.Flaky && f.Name == faultNone:
			s.Wrong = append(s.Wrong, fmt.Sprintf("%s: %s %s", result.ID(), result.Verdict, result.Reason))
		}
	}
	switch {
	case f.Name == faultNone && s.Cells == 0:
		s.Error = "no cell could be tried"
	case f.Name != faultNone && s.Red+len(s.Missed) == 0:
		s.Error = "none of the cells that it has to turn red could be tried: " + untried
	}
	return s
}

// flip changes one byte of a text, at its end.
func flip(text string) string {
	b := []byte(text)
	b[len(b)-1] ^= 1
	return string(b)
}
