// Package host is the vocabulary spoken to a host: files that land whole, systemd units, kernel modules, container images,
// kubeadm. It is the only place that composes commands and names scripts; it decides nothing about when to use them.
package host

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/templates"
)

// CRISocket is containerd's socket as kubeadm and the kubelet are told.
const CRISocket = "unix:///run/containerd/containerd.sock"

// Host speaks to one host. The zero value is not usable; see New.
type Host struct {
	runner remote.Runner
}

// New returns a Host that speaks through r.
func New(r remote.Runner) *Host { return &Host{runner: r} }

// Runner returns the transport, for tunnels.
func (h *Host) Runner() remote.Runner { return h.runner }

// script runs one of templates/scripts as root. The script's exit status and last words are the error.
func (h *Host) script(ctx context.Context, name string, stdin io.Reader, args ...string) (remote.Output, error) {
	return h.runner.Run(ctx, remote.Command{Script: templates.Script(name), Args: args, Stdin: stdin, Sudo: true})
}

// ReadFile returns a file's bytes, read as root.
func (h *Host) ReadFile(ctx context.Context, path string) ([]byte, error) {
	out, err := h.runner.Run(ctx, remote.Command{Argv: []string{"cat", "--", path}, Sudo: true})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return out.Stdout, nil
}

// Mark writes a step's marker.
func (h *Host) Mark(ctx context.Context, m Marker) error {
	if _, err := h.script(ctx, "mark", bytes.NewReader(m.Encode()), m.Step); err != nil {
		return fmt.Errorf("write the marker of %s: %w", m.Step, err)
	}
	return nil
}
