package steps

import (
	"context"
	"fmt"
	"io"
	"maps"

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
	if err := x.forgetUnsynced(ctx, s, h, in, have); err != nil {
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
	batches, total, err := x.batches(arch, missing, blobs)
	if err != nil {
		return "", err
	}
	if len(batches) > 0 {
		if err := h.Mark(ctx, host.Marker{Step: string(s.Kind), State: host.MarkerStarted, Digest: x.env.Facts(s.Host).BootID}); err != nil {
			return "", err
		}
	}
	var sent int64
	for _, batch := range batches {
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

// forgetUnsynced removes the images of an import that did not end before its host lost power, or was started anew: containerd knows
// them as unpacked, and does not sync what it unpacks, so that their programs may be empty files. The digest of a started marker is
// the boot it was of. What a finished import brought is on the disk: the marker is written after it.
func (x *Steps) forgetUnsynced(ctx context.Context, s plan.Step, h *host.Host, in plan.ImagesInputs, have map[string]string) error {
	f := x.env.Facts(s.Host)
	m, ok := f.Markers[string(s.Kind)]
	if !ok || m.State != host.MarkerStarted || m.Digest == f.BootID {
		return nil
	}
	var refs []string
	for _, i := range in.Images {
		if have[i.Ref] != "" {
			refs = append(refs, i.Ref)
			delete(have, i.Ref)
		}
	}
	if len(refs) == 0 {
		return nil
	}
	return h.RemoveImages(ctx, refs)
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

// batches parts the images so that a batch is about batchBytes of bytes not sent before; total is what all of them take.
func (x *Steps) batches(arch platform.Arch, refs []string, have map[string]bool) (batches [][]string, total int64, err error) {
	have = maps.Clone(have)
	var batch []string
	for i, ref := range refs {
		batch = append(batch, ref)
		size, err := x.env.Bundle.ImagesSize(arch, batch, have)
		if err != nil {
			return nil, 0, err
		}
		if size < batchBytes && i < len(refs)-1 {
			continue
		}
		for _, ref := range batch {
			if err := x.haveBlobs(arch, ref, have); err != nil {
				return nil, 0, err
			}
		}
		batches, batch, total = append(batches, batch), nil, total+size
	}
	return batches, total, nil
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
