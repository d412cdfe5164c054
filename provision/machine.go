package provision

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

// machine is a host as conformance asks it. A run is long, and a host may start anew in the middle of it: a connection that was lost is made
// again before it is an error, for as long as a node may be away. What is asked may be asked twice.
type machine struct {
	s        *session
	host     inventory.Host
	patience time.Duration // from the first try to connect again

	mu    sync.Mutex
	now   *host.Host // on the connection in use
	tried time.Time  // when that was first tried in vain; zero while there is a connection
}

// redialPause is how long a host that starts is left alone between two tries.
const redialPause = time.Second

func (m *machine) current() *host.Host {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// ask does the work, and once more on a new connection when the one in use was lost.
func (m *machine) ask(ctx context.Context, work func(h *host.Host) error) error {
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

// again connects anew, unless somebody else has done that since. A host that starts refuses connections, or does not answer, for a while.
func (m *machine) again(ctx context.Context, lost *host.Host) (*host.Host, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now != lost {
		return m.now, nil
	}
	if m.tried.IsZero() {
		m.tried = time.Now()
	}
	r, err := m.s.dialer.Dial(ctx, hostConfig(m.s.Cluster, m.host))
	for err != nil && remote.Transient(err) && time.Since(m.tried) < m.patience {
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(redialPause):
			r, err = m.s.dialer.Dial(ctx, hostConfig(m.s.Cluster, m.host))
		}
	}
	if err != nil {
		return nil, err
	}
	_ = lost.Runner().Close() // it is lost
	m.s.mu.Lock()
	m.s.runners[m.host.Name] = r
	m.s.mu.Unlock()
	m.now, m.tried = host.New(r), time.Time{}
	return m.now, nil
}

func (m *machine) UnameM(ctx context.Context) (name string, err error) {
	err = m.ask(ctx, func(h *host.Host) (err error) {
		name, err = h.UnameM(ctx)
		return err
	})
	return name, err
}

func (m *machine) DropUDP(ctx context.Context, from string, port int) (undo func(context.Context) error, err error) {
	return m.current().DropUDP(ctx, from, port)
}

func (m *machine) MakeDir(ctx context.Context, path string) error {
	return m.ask(ctx, func(h *host.Host) error { return h.MakeDir(ctx, path) })
}

func (m *machine) Dirs(ctx context.Context, path string) (names []string, err error) {
	err = m.ask(ctx, func(h *host.Host) (err error) {
		names, err = h.Dirs(ctx, path)
		return err
	})
	return names, err
}

func (m *machine) WriteFile(ctx context.Context, path, text string) error {
	return m.ask(ctx, func(h *host.Host) error { return h.WriteText(ctx, path, text) })
}

func (m *machine) ReadFile(ctx context.Context, path string) (text, id string, err error) {
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

func (m *machine) RemoveDir(ctx context.Context, path string) error {
	return m.ask(ctx, func(h *host.Host) error { return h.RemoveDir(ctx, path) })
}

func (m *machine) ImportImage(ctx context.Context, write func(io.Writer) error) error {
	return m.current().ImportImages(ctx, write)
}

func (m *machine) Evidence(ctx context.Context) (text []byte, err error) {
	err = m.ask(ctx, func(h *host.Host) (err error) {
		text, err = h.Evidence(ctx)
		return err
	})
	return text, err
}

func (m *machine) RemoveImage(ctx context.Context, ref string) error {
	return m.ask(ctx, func(h *host.Host) error { return h.RemoveImages(ctx, []string{ref}) })
}
