package provision

import (
	"context"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// Plan says what Up would do; it writes nothing anywhere but known_hosts.
func Plan(ctx context.Context, o Options) (plan.Plan, []report.Check, error) {
	r, err := look(ctx, o.withDefaults())
	if err != nil {
		return plan.Plan{}, nil, err
	}
	defer r.end()
	_, p, checks, err := r.desk.Whole(r.reading)
	return p, checks, err
}
