// Package host is the vocabulary spoken to a host: files that land whole, systemd units, kernel modules, container images,
// kubeadm. It is the only place that composes commands and names scripts; it decides nothing about when to use them.
package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

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

// script runs one of templates/scripts as root. Scripts say in sentences on standard error why they failed, and that is the error.
func (h *Host) script(ctx context.Context, name string, stdin io.Reader, args ...string) (remote.Output, error) {
	out, err := h.runner.Run(ctx, remote.Command{Script: templates.Script(name), Args: args, Stdin: stdin, Sudo: true})
	var exit *remote.ExitError
	if errors.As(err, &exit) {
		err = &scriptError{script: name, exit: exit}
	}
	return out, err
}

// scriptError is a script that failed. What to do depends on its words, which are for the user.
type scriptError struct {
	script string
	exit   *remote.ExitError
}

// maxWords bounds what of a script's standard error goes into an error, in lines.
const maxWords = 12

func (e *scriptError) Error() string {
	words := strings.Split(strings.TrimSpace(e.exit.Stderr), "\n")
	if len(words) > maxWords {
		words = words[len(words)-maxWords:]
	}
	if text := strings.Join(words, "; "); text != "" {
		return text
	}
	return fmt.Sprintf("script %s: exit status %d", e.script, e.exit.Status)
}

func (e *scriptError) Unwrap() error { return e.exit }

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
