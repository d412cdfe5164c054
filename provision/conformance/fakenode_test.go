package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/hybridctl/hybridctl/provision/platform"
)

func (n *fakeNode) path(p string) string { return filepath.Join(n.dir, p) }

// reach fails when the host is gone.
func (n *fakeNode) reach(ctx context.Context) error {
	if n.c.isGone(n) {
		return fmt.Errorf("%s: the connection was lost", n.name)
	}
	return ctx.Err()
}

// overlayPort is where nodes hear each other.
const overlayPort = 8472

func (n *fakeNode) UnameM(ctx context.Context) (string, error) { return n.uname, n.reach(ctx) }

func (n *fakeNode) DropUDP(ctx context.Context, runID, from string, port int) error {
	if err := n.reach(ctx); err != nil {
		return err
	}
	i := slices.IndexFunc(n.c.nodes, func(o *fakeNode) bool { return o.address == from })
	if i < 0 || port != overlayPort {
		return fmt.Errorf("cannot drop %s %d", from, port)
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.c.drops[[2]string{n.c.nodes[i].name, n.name}] = runID
	return nil
}

func (n *fakeNode) Faults(ctx context.Context) (ids []string, err error) {
	n.c.mu.Lock()
	for ends, id := range n.c.drops {
		if ends[1] == n.name {
			ids = append(ids, id)
		}
	}
	n.c.mu.Unlock()
	return ids, n.reach(ctx)
}

func (n *fakeNode) RemoveFaults(ctx context.Context, runID string) error {
	if err := n.reach(ctx); err != nil {
		return err
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	maps.DeleteFunc(n.c.drops, func(ends [2]string, id string) bool { return ends[1] == n.name && id == runID })
	return nil
}

func (n *fakeNode) MakeDir(ctx context.Context, path string) error {
	if n.refuses != nil {
		return n.refuses
	}
	return errors.Join(n.reach(ctx), os.MkdirAll(n.path(path), 0o755))
}

func (n *fakeNode) Dirs(ctx context.Context, path string) ([]string, error) {
	entries, err := os.ReadDir(n.path(path))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out, errors.Join(n.reach(ctx), err)
}

func (n *fakeNode) WriteFile(ctx context.Context, path, text string) error {
	if err := n.reach(ctx); err != nil {
		return err
	}
	return os.WriteFile(n.path(path), []byte(text), 0o644)
}

func (n *fakeNode) ReadFile(ctx context.Context, path string) (text, id string, err error) {
	if err := n.reach(ctx); err != nil {
		return "", "", err
	}
	switch path {
	case "/proc/self/mounts":
		return n.mounts(), "1:1", nil
	case "/proc/devices":
		return fakeDevices, "1:2", nil
	}
	b, err := os.ReadFile(n.path(path))
	if err != nil {
		return "", "", err
	}
	var st syscall.Stat_t
	err = syscall.Stat(n.path(path), &st)
	if n.copies {
		st.Ino++
	}
	return string(b), fmt.Sprintf("%d:%d", st.Dev, st.Ino), err
}

func (n *fakeNode) RemoveDir(ctx context.Context, path string) error {
	if err := n.reach(ctx); err != nil {
		return err
	}
	return os.RemoveAll(n.path(path))
}

func (n *fakeNode) ImportImage(ctx context.Context, write func(io.Writer) error) error {
	if n.refuses != nil {
		return n.refuses
	}
	if err := n.reach(ctx); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	var images []MadeImage
	if err := json.Unmarshal(b.Bytes(), &images); err != nil {
		return err
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	for _, i := range images {
		if i.Claims != n.arch {
			return fmt.Errorf("image %s claims %s on %s", i.Ref, i.Claims, n.name)
		}
		n.images[i.Ref] = i.Holds
	}
	return nil
}

func (n *fakeNode) RemoveImage(ctx context.Context, ref string) error {
	if err := n.reach(ctx); err != nil {
		return err
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	delete(n.images, ref)
	return nil
}

func (n *fakeNode) Evidence(ctx context.Context) ([]byte, error) {
	return []byte("journal of " + n.name + ": password=" + password + "\n"), n.reach(ctx)
}

// fakeImages makes images: the words about them. There is no program for the architecture not.
type fakeImages struct{ not platform.Arch }

func (f fakeImages) Can(i MadeImage) bool { return i.Holds != f.not }

func (fakeImages) Archive(_ context.Context, w io.Writer, _ string, images []MadeImage) error {
	return json.NewEncoder(w).Encode(images)
}
