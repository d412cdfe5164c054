package provision

import (
	"context"

	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// Preflight runs every check on every host and returns all results, sorted by host and name. ErrPreflight when one failed.
func Preflight(ctx context.Context, o Options) ([]report.Check, error) {
	r, err := look(ctx, o.withDefaults())
	if err != nil {
		return nil, err
	}
	defer r.end()
	seen, err := r.desk.Hosts(r.reading)
	if err != nil && r.reading.Err() == nil {
		return nil, err
	}
	r.desk.Reader.Ceph(r.reading, &seen)
	r.desk.Reader.Site(r.reading, &seen)
	if err == nil && seen.Fetch.Missing == "" {
		r.desk.Reader.Pulls(r.reading, &seen, r.Cluster.Managed())
	}
	seen.Ceph.Hosts = r.desk.Reader.Kernels(r.reading, seen, survey.CephHosts(seen, nil))
	checks := r.desk.AllChecks(seen)
	if err := r.reading.Err(); err != nil {
		return checks, err
	}
	for _, c := range checks {
		if c.Status == report.Fail {
			return checks, ErrPreflight
		}
	}
	return checks, nil
}
