package provision

import (
	"context"
	"fmt"
	"strings"

	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/proposal"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// StatusReport is what Status finds, and HostStatus one host with its node.
type (
	StatusReport = survey.Status
	HostStatus   = survey.HostStatus
)

// Status looks at hosts and API and says what is there. Unreachable hosts are part of the answer, not an error.
func Status(ctx context.Context, o Options) (StatusReport, error) {
	r, err := look(ctx, o.withDefaults())
	if err != nil {
		return StatusReport{}, err
	}
	defer r.end()
	files, err := survey.ReadFiles(r.Cluster)
	if err != nil {
		return StatusReport{}, err
	}
	seen, err := r.desk.Hosts(r.reading)
	if err != nil {
		return StatusReport{}, err
	}
	if seen.Fetch.Err != nil {
		return StatusReport{}, fmt.Errorf("%w: %w", ErrBundle, seen.Fetch.Err)
	}
	seen.Files = files
	reader := r.desk.Reader
	reader.NoPrograms = true
	reader.Site(r.reading, &seen)
	seen = r.desk.Observe(r.reading, seen)
	p, err := proposal.Build(seen.Input())
	if err != nil {
		return StatusReport{}, err
	}
	out := survey.StatusOf(seen, p)
	for _, ch := range r.desk.Problems(seen) {
		if ch.Name == preflight.Certificates {
			out.Notes = append(out.Notes, strings.TrimPrefix(fmt.Sprintf("%s: certificates: %s (%s)", ch.Host, ch.Message, ch.Hint), ": "))
		}
	}
	return out, nil
}

// Kubeconfig returns the admin kubeconfig: from the state, else from a control-plane host. It is a secret.
// ErrRefused: that host bears the mark of another cluster.
func Kubeconfig(ctx context.Context, o Options) ([]byte, error) {
	r, err := look(ctx, o.withDefaults())
	if err != nil {
		return nil, err
	}
	defer r.end()
	return r.Server.Kubeconfig(r.reading)
}
