package provision

import (
	"context"
	"fmt"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/remote"
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
	o = o.withDefaults()
	s, err := open(o)
	if err != nil {
		return nil, err
	}
	defer s.close()
	ctx, cancel := o.stoppable(ctx)
	defer cancel()
	targets := make([]facts.Target, len(names))
	for i, name := range names {
		h, ok := o.Cluster.Host(name)
		if !ok {
			return nil, fmt.Errorf("no host is named %s", name)
		}
		targets[i] = facts.Target{Name: name, Dial: func(ctx context.Context) (remote.Runner, error) { return s.dial(ctx, h) }}
	}
	identities := make([]Identity, len(names))
	for i, h := range facts.Gather(ctx, targets, facts.Ask{}, o.Parallel, nil) {
		identities[i] = Identity{Host: h.Name, Err: h.Err}
		if h.Err == nil {
			identities[i] = Identity{Host: h.Name, Hostname: h.Hostname, Arch: h.Arch, Machine: h.UnameMachine, OS: h.OS.PrettyName}
		}
	}
	return identities, ctx.Err()
}
