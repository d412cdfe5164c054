package provision

import (
	"fmt"
	"strings"

	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// resultsOf sums the changes up for these hosts, in their order; verb is the command that goes on.
func (o Options) resultsOf(hosts []inventory.Host, seen survey.Hosts, changes []report.Change, verb string) []HostResult {
	next := fmt.Sprintf("hybridctl %s -f %s", verb, o.Cluster.Path)
	if o.StateDir != DefaultStateDir(o.Cluster) {
		next += " --state-dir " + o.StateDir
	}
	return ending.Hosts(hosts, seen, changes, next)
}

// forced are the words that force again what was forced: --force of the verb's own, and of hosts that were named.
func forced(all bool, hosts []string) (words []string) {
	if all {
		words = append(words, "--force")
	}
	if len(hosts) > 0 {
		words = append(words, "--force="+strings.Join(hosts, ","))
	}
	return words
}
