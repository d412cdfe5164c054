package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/remote"
)

// Machine is a host as a long run asks it, conformance's above all. A run is long, and a host may restart in the middle of it: a connection that was lost is made
// again before it is an error, for as long as a node may be away. What is asked may be asked twice.
type Machine struct {
	fleet    *Fleet
	host     inventory.Host
	patience time.Duration // from the first try to connect again

	mu    sync.Mutex
	now   *host.Host // on the connection in use
	tried time.Time  // when that was first tried in vain; zero while there is a connection
}

// Machine returns a connected host of the run; patience is how long a lost connection is tried to be made again.
func (f *Fleet) Machine(h inventory.Host, patience time.Duration) (*Machine, error) {
	c, err := f.Host(h.Name)
	if err != nil {
		return nil, err
	}
	return &Machine{fleet: f, host: h, patience: patience, now: c}, nil
}

// redialPause is how long a host that starts is left alone between two tries.
const redialPause = time.Second

func (m *Machine) current() *host.Host {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// ask does the work, and once more on a new connection when the one in use was lost.
func (m *Machine) ask(ctx context.Context, work func(h *host.Host) error) error {
	h := m.current()
	err := work(h)
	if !errors.Is(err, remote.ErrClosed) || ctx.Err() != nil {
		return err
	}
	h, again := m.again(ctx, h)
	if again != nil {
		return fmt.Errorf("%w, and no other could be made: %w", err, again)
	}
	return work(h)
}

// again connects once more, unless another caller has done that since. A host that starts refuses connections, or does not answer, for a while.
func (m *Machine) again(ctx context.Context, lost *host.Host) (*host.Host, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now != lost {
		return m.now, nil
	}
	if m.tried.IsZero() {
		m.tried = time.Now()
	}
	r, err := m.fleet.dialer.Dial(ctx, hostConfig(m.fleet.Cluster, m.host))
	for err != nil && remote.Transient(err) && time.Since(m.tried) < m.patience {
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(redialPause):
			r, err = m.fleet.dialer.Dial(ctx, hostConfig(m.fleet.Cluster, m.host))
		}
	}
	if err != nil {
		return nil, err
	}
	_ = lost.Runner().Close() // it is lost
	m.fleet.mu.Lock()
	m.fleet.conns[m.host.Name] = r
	m.fleet.mu.Unlock()
	m.now, m.tried = host.New(r), time.Time{}
	return m.now, nil
}

// UnameM is the architecture as the kernel names it.
func (m *Machine) UnameM(ctx context.Context) (name string, err error) {
	err = m.ask(ctx, func(h *host.Host) (err error) {
		name, err = h.UnameM(ctx)
		return err
	})
	return name, err
}

// DropUDP drops packets from a sender until RemoveFaults.
func (m *Machine) DropUDP(ctx context.Context, runID, from string, port int) error {
	return m.current().DropUDP(ctx, runID, from, port)
}

// Faults lists the IDs of the runs whose dropped packets are left.
func (m *Machine) Faults(ctx context.Context) (ids []string, err error) {
	err = m.ask(ctx, func(h *host.Host) (err error) {
		ids, err = h.Faults(ctx)
		return err
	})
	return ids, err
}

// RemoveFaults lets through again what a run has dropped.
func (m *Machine) RemoveFaults(ctx context.Context, runID string) error {
	return m.ask(ctx, func(h *host.Host) error { return h.RemoveFaults(ctx, runID) })
}

// MakeDir makes a directory.
func (m *Machine) MakeDir(ctx context.Context, path string) error {
	return m.ask(ctx, func(h *host.Host) error { return h.MakeDir(ctx, path) })
}

// Dirs lists the directories in one.
func (m *Machine) Dirs(ctx context.Context, path string) (names []string, err error) {
	err = m.ask(ctx, func(h *host.Host) (err error) {
		names, err = h.Dirs(ctx, path)
		return err
	})
	return names, err
}

// WriteFile writes a file whole.
func (m *Machine) WriteFile(ctx context.Context, path, text string) error {
	return m.ask(ctx, func(h *host.Host) error { return h.WriteText(ctx, path, text) })
}

// ReadFile returns a file and its identity.
func (m *Machine) ReadFile(ctx context.Context, path string) (text, id string, err error) {
	err = m.ask(ctx, func(h *host.Host) error {
		b, err := h.ReadFile(ctx, path)
		if err != nil {
			return err
		}
		text = string(b)
		id, err = h.FileID(ctx, path)
		return err
	})
	return text, id, err
}

// RemoveDir removes a directory with all that is in it.
func (m *Machine) RemoveDir(ctx context.Context, path string) error {
	return m.ask(ctx, func(h *host.Host) error { return h.RemoveDir(ctx, path) })
}

// ImportImage gives an archive to the host's container runtime. It is not tried again: the archive is written once.
func (m *Machine) ImportImage(ctx context.Context, write func(io.Writer) error) error {
	return m.current().ImportImages(ctx, write)
}

// Evidence is what the host knows of its pods, for the report.
func (m *Machine) Evidence(ctx context.Context) (text []byte, err error) {
	err = m.ask(ctx, func(h *host.Host) (err error) {
		text, err = h.Evidence(ctx)
		return err
	})
	return text, err
}

// RemoveImage removes an image.
func (m *Machine) RemoveImage(ctx context.Context, ref string) error {
	return m.ask(ctx, func(h *host.Host) error { return h.RemoveImages(ctx, []string{ref}) })
}

// AddressesOf are a host's own, but for those of its loopback.
func AddressesOf(ctx context.Context, r remote.Runner) ([]string, error) {
	return host.New(r).Addresses(ctx)
}
