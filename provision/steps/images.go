package steps

import (
	"context"
	"fmt"
	"io"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// batchBytes is how much is imported at a time: an interrupted import starts again with the batch it was in, and every batch costs
// a process on the host.
const batchBytes = 128 << 20

func (x *Steps) applyImages(ctx context.Context, s plan.Step, h *host.Host) (string, error) {
	in, ok := s.Inputs.(plan.ImagesInputs)
	if !ok {
		return "", fmt.Errorf("inputs of kind %T", s.Inputs)
	}
	have, err := h.Images(ctx)
	if err != nil {
		return "", err
	}
	var missing []string
	blobs := map[string]bool{} // what the host's content store has already
	arch := x.env.Facts(s.Host).Arch
	for _, i := range in.Images {
		if have[i.Ref] != i.Manifest {
			missing = append(missing, i.Ref)
			continue
		}
		if err := x.haveBlobs(arch, i.Ref, blobs); err != nil {
			return "", err
		}
	}
	sent, total := int64(0), x.env.Bundle.ImagesSize(arch, missing, blobs)
	for _, batch := range x.batches(arch, missing, blobs) {
		base := sent
		err := h.ImportImages(ctx, func(w io.Writer) error {
			counted := &counter{w: w, report: func(n int64) { x.progress(s)(min(base+n, total), total) }}
			err := x.env.Bundle.WriteImages(ctx, counted, arch, batch, blobs)
			sent = base + counted.n
			return err
		})
		if err != nil {
			return "", err
		}
		for _, ref := range batch {
			if err := x.haveBlobs(arch, ref, blobs); err != nil {
				return "", err
			}
		}
	}
	if err := h.Mark(ctx, host.Marker{Step: string(s.Kind), State: host.MarkerDone, Digest: s.Digest}); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d images imported, %d there already, %d MB sent", len(missing), len(in.Images)-len(missing), sent/1e6), nil
}

func (x *Steps) haveBlobs(arch platform.Arch, ref string, blobs map[string]bool) error {
	digests, err := x.env.Bundle.ImageBlobs(arch, ref)
	if err != nil {
		return err
	}
	for _, d := range digests {
		blobs[d] = true
	}
	return nil
}

// batches parts the images so that a batch is about batchBytes of bytes not sent before.
func (x *Steps) batches(arch platform.Arch, refs []string, have map[string]bool) [][]string {
	var out [][]string
	var batch []string
	for _, ref := range refs {
		batch = append(batch, ref)
		if x.env.Bundle.ImagesSize(arch, batch, have) >= batchBytes {
			out, batch = append(out, batch), nil
			have = x.after(arch, out, have)
		}
	}
	if len(batch) > 0 {
		out = append(out, batch)
	}
	return out
}

// after returns what the host has once the batches are imported.
func (x *Steps) after(arch platform.Arch, batches [][]string, have map[string]bool) map[string]bool {
	out := map[string]bool{}
	for d := range have {
		out[d] = true
	}
	for _, b := range batches {
		for _, ref := range b {
			_ = x.haveBlobs(arch, ref, out) // an unreadable image shows when it is written
		}
	}
	return out
}

type counter struct {
	w      io.Writer
	n      int64
	report func(int64)
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.report(c.n)
	return n, err
}
