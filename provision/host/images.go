package host

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/hybridctl/hybridctl/provision/remote"
)

// ctr is our own containerd's client; the distribution's may be of another version.
const ctr = "/usr/local/bin/ctr"

// ImportImages streams a tar of an OCI layout, which write produces, into containerd's k8s.io namespace. Nothing is kept on the
// host's disk but what containerd stores; containerd verifies every digest, and an import that breaks off leaves no image.
func (h *Host) ImportImages(ctx context.Context, write func(io.Writer) error) error {
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() { // the command reads while we write
		err := write(w)
		w.CloseWithError(err)
		written <- err
	}()
	_, err := h.runner.Run(ctx, remote.Command{
		Argv:  []string{ctr, "-n", "k8s.io", "images", "import", "--local", "--digests=false", "-"},
		Stdin: r, Sudo: true,
	})
	r.CloseWithError(errors.New("the import has ended")) // unblocks the writer when the command ended early
	if werr := <-written; werr != nil && err == nil {
		err = werr
	}
	if err != nil {
		return fmt.Errorf("import images: %w", err)
	}
	return nil
}

// Pull is an image that a host pulls.
type Pull struct {
	Ref      string // its name, with a tag
	Digest   string // of the architecture's manifest
	Platform string // linux/amd64
	Hosts    []Text // hosts.toml files, by directory, in the place of those in containerd's certs.d; secrets
}

// The statuses of pull.sh.
const (
	exitNotPulled     = 78
	exitOtherPlatform = 79
)

// ErrNotPulled: no registry gave the image. The error says what the last one answered; the user mends the registry, or the way to it.
var ErrNotPulled = errors.New("was not pulled")

// PullImage has the host's containerd pull an image from where its certs.d says, and gives it its name. Errors: ErrNotPulled, or others of the host.
func (h *Host) PullImage(ctx context.Context, p Pull) error {
	var in bytes.Buffer
	for _, t := range p.Hosts {
		fmt.Fprintf(&in, "%s %s\n", t.Path, base64.StdEncoding.EncodeToString(t.Body))
	}
	_, err := h.script(ctx, "pull", &in, p.Ref, p.Digest, p.Platform)
	var exit *remote.ExitError
	if errors.As(err, &exit) && (exit.Status == exitNotPulled || exit.Status == exitOtherPlatform) {
		return fmt.Errorf("%s (%s, %s) %w: %w", p.Ref, p.Platform, p.Digest, ErrNotPulled, err)
	}
	if err != nil {
		return fmt.Errorf("pull %s: %w", p.Ref, err)
	}
	return nil
}

// RemoveImages takes images away from containerd, with their content and what was unpacked of it. Those that are not there are no error.
func (h *Host) RemoveImages(ctx context.Context, refs []string) error {
	argv := append([]string{ctr, "-n", "k8s.io", "images", "rm", "--sync"}, refs...)
	if _, err := h.runner.Run(ctx, remote.Command{Argv: argv, Sudo: true}); err != nil {
		return fmt.Errorf("remove images: %w", err)
	}
	return nil
}

// Images returns the images in the k8s.io namespace: the digest each name points to.
func (h *Host) Images(ctx context.Context) (map[string]string, error) {
	out, err := h.runner.Run(ctx, remote.Command{Argv: []string{ctr, "-n", "k8s.io", "images", "ls"}, Sudo: true})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	return parseImages(out.Stdout), nil
}

// parseImages reads ctr's table: REF TYPE DIGEST SIZE PLATFORMS LABELS.
func parseImages(table []byte) map[string]string {
	images := map[string]string{}
	for _, line := range strings.Split(string(table), "\n") {
		if f := strings.Fields(line); len(f) > 2 && strings.HasPrefix(f[2], "sha256:") {
			images[f[0]] = f[2]
		}
	}
	return images
}
