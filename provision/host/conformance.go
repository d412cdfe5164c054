package host

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/hybridctl/hybridctl/provision/remote"
)

// UnameM returns what `uname -m` prints: the kernel's architecture.
func (h *Host) UnameM(ctx context.Context) (string, error) {
	out, err := h.runner.Run(ctx, remote.Command{Argv: []string{"uname", "-m"}})
	return strings.TrimSpace(string(out.Stdout)), err
}

// Addresses are the host's own, but for those of its loopback.
func (h *Host) Addresses(ctx context.Context) ([]string, error) {
	out, err := h.runner.Run(ctx, remote.Command{Argv: []string{"hostname", "-I"}})
	if err != nil {
		return nil, fmt.Errorf("ask for the addresses: %w", err)
	}
	var addresses []string
	for _, text := range strings.Fields(string(out.Stdout)) {
		if ip, err := netip.ParseAddr(text); err == nil {
			addresses = append(addresses, ip.String())
		}
	}
	return addresses, nil
}

// MakeDir makes a directory and those above it.
func (h *Host) MakeDir(ctx context.Context, path string) error {
	_, err := h.runner.Run(ctx, remote.Command{Argv: []string{"mkdir", "-p", "--", path}, Sudo: true})
	if err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	return nil
}

// Dirs lists the names of the directories in one whose parent exists; none when it does not itself.
func (h *Host) Dirs(ctx context.Context, path string) ([]string, error) {
	path = strings.TrimSuffix(path, "/")
	out, err := h.runner.Run(ctx, remote.Command{Argv: []string{
		"find", filepath.Dir(path), "-mindepth", "2", "-maxdepth", "2", "-type", "d", "-path", path + "/*", "-printf", `%f\n`,
	}, Sudo: true})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", path, err)
	}
	return strings.Fields(string(out.Stdout)), nil
}

// RemoveDir removes a directory with everything in it; one that is not there is no error.
func (h *Host) RemoveDir(ctx context.Context, path string) error {
	_, err := h.runner.Run(ctx, remote.Command{Argv: []string{"rm", "-rf", "--one-file-system", "--", path}, Sudo: true})
	if err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}

// WriteText writes a small file, synced to the disk.
func (h *Host) WriteText(ctx context.Context, path, text string) error {
	_, err := h.runner.Run(ctx, remote.Command{Argv: []string{"dd", "of=" + path, "conv=fsync", "status=none"}, Stdin: strings.NewReader(text), Sudo: true})
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// FileID returns a file's device and inode, "device:inode": two paths with the same one are the same file.
func (h *Host) FileID(ctx context.Context, path string) (string, error) {
	out, err := h.runner.Run(ctx, remote.Command{Argv: []string{"stat", "-c", "%d:%i", "--", path}, Sudo: true})
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", path, err)
	}
	return strings.TrimSpace(string(out.Stdout)), nil
}

// Evidence returns what the host says of its runtime, network and kernel, for a report of what went wrong.
func (h *Host) Evidence(ctx context.Context) ([]byte, error) {
	out, err := h.script(ctx, "evidence", nil)
	return out.Stdout, err
}
