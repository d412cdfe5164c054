package proof

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/render"
	"github.com/hybridctl/hybridctl/provision/report"
)

// GuardTaint keeps pods off a new node until it is proven.
var GuardTaint = render.Taint{Key: "hybridctl.dev/not-proven", Effect: "NoSchedule"}

// Untainter takes a taint from a node; *kube.Client is one.
type Untainter interface {
	Untaint(ctx context.Context, node, key string) error
}

// LetIn takes the guard away from nodes that a run has proven; of others the notes say how pods get there. run is nil where no one looked, and
// unproven is why nothing was proven. Errors: the API server's.
func LetIn(ctx context.Context, api Untainter, nodes []string, run *report.ConformanceRun, unproven error) (notes []string, err error) {
	if run == nil || unproven != nil {
		return []string{GuardStays(nodes)}, nil
	}
	var errs []error
	for _, n := range nodes {
		errs = append(errs, api.Untaint(ctx, n, GuardTaint.Key))
	}
	return nil, errors.Join(errs...)
}

// GuardStays says how pods get to nodes of which nothing was proven.
func GuardStays(nodes []string) string {
	return fmt.Sprintf("the taint %s stays on %s, as nothing was proven of them: kubectl taint nodes %s %s- lets pods in",
		GuardTaint.Key, report.Some(nodes, 10), strings.Join(nodes, " "), GuardTaint.Key)
}

// LeftGuarded are the same of nodes that an earlier run has left so, but for those that are proven now: one note, or none.
func LeftGuarded(nodes []kube.Node, now []string) []string {
	var names []string
	for _, n := range nodes {
		guarded := slices.ContainsFunc(n.Taints, func(t string) bool { return strings.HasPrefix(t, GuardTaint.Key+":") })
		if guarded && !slices.Contains(now, n.Name) {
			names = append(names, n.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("an earlier run left the taint %s on %s, and pods do not get there: hybridctl conformance --scenario scale-out --nodes %s proves them, kubectl taint nodes %s %s- lets pods in",
		GuardTaint.Key, report.Some(names, 10), strings.Join(names, ","), strings.Join(names, " "), GuardTaint.Key)}
}
