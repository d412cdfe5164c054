package provision

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/proof"
)

// DestroyOptions are Destroy's own.
type DestroyOptions struct {
	Options
	Force bool // also when volumes would stay in Ceph that no cluster knows of any more
	// ForceHosts are reset although they are not known to be of this cluster.
	ForceHosts []string
}

// Destroy takes the cluster away, in reverse order; hosts end as clean as before. A host that does not answer is reported and stays
// in the state: running Destroy again finishes it. Errors: ErrVolumes: something would be left in Ceph. ErrRefused: the cluster was adopted.
// ErrPartial, ErrDeclined, ErrLocked, context.Canceled, or others for the user.
func Destroy(ctx context.Context, o DestroyOptions) (Result, error) {
	o.Options = o.withDefaults()
	result := Result{Cluster: o.Cluster.Metadata.Name}
	if o.Cluster.Adopted() {
		return result, hint.With(fmt.Errorf("%w: hybridctl did not make cluster %s, and does not take it away: its control plane has managed: false", ErrRefused, result.Cluster),
			`"hybridctl remove HOST" takes out what joined it since`)
	}
	r, err := begin(ctx, o.Options)
	if err != nil {
		return result, err
	}
	defer r.end()

	seen, p, err := r.desk.Destruction(r.reading, o.Force, o.ForceHosts)
	result.Plan = p
	if err != nil {
		return result, err
	}
	if len(result.Plan.Steps) > 0 {
		if err := r.confirm(result.Plan); err != nil {
			return result, err
		}
	}
	changes, failed, err := r.executor.Destroy(ctx, seen, p)
	result.Changes = changes
	result.Hosts = r.resultsOf(r.Cluster.Managed(), seen.Hosts, result.Changes, o.verb())
	if err != nil {
		return result, err
	}
	if err := ending.Partial(failed, result.Hosts); err != nil {
		return result, err
	}
	return result, errors.Join(fleet.Forget(o.StateDir), proof.Forget(o.StateDir))
}

// verb is the command that goes on, as it was given.
func (o DestroyOptions) verb() string {
	return strings.Join(append([]string{"destroy"}, forced(o.Force, o.ForceHosts)...), " ")
}
