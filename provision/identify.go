package provision

import (
	"context"
	"fmt"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// Identity is what a host says of itself.
type Identity struct {
	Host     string // its name in the inventory
	Hostname string
	Arch     platform.Arch // zero when hybridctl does not support what Machine says
	Machine  string        // as the host's kernel names its architecture
	OS       string        // for people: Debian GNU/Linux 13 (trixie)
	Err      error         // why the host could not be asked; then the other fields are empty
}

// Identify connects to hosts of the inventory, by their names, and asks them what they are; it writes nothing anywhere but known_hosts.
func Identify(ctx context.Context, o Options, names []string) ([]Identity, error) {
	r, err := look(ctx, o.withDefaults())
	if err != nil {
		return nil, err
	}
	defer r.end()
	var hosts []inventory.Host
	for _, name := range names {
		h, ok := o.Cluster.Host(name)
		if !ok {
			return nil, fmt.Errorf("no host is named %s", name)
		}
		hosts = append(hosts, h)
	}
	seen := r.desk.Reader.Identities(r.reading, hosts)
	identities := make([]Identity, len(names))
	for i, name := range names {
		h := seen.Fact(name)
		identities[i] = Identity{Host: name, Err: h.Err}
		if h.Err == nil {
			identities[i] = Identity{Host: name, Hostname: h.Hostname, Arch: h.Arch, Machine: h.UnameMachine, OS: h.OS.PrettyName}
		}
	}
	return identities, r.reading.Err()
}
