package steps

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	"github.com/hybridctl/hybridctl/provision/hint"
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
	arch := x.env.Facts(s.Host).Arch
	missing, pulls, blobs, err := x.lacking(arch, in, have)
	if err != nil {
		return "", err
	}
	batches, total, err := x.batches(arch, missing, blobs)
	if err != nil {
		return "", err
	}
	if len(batches) > 0 || len(pulls) > 0 {
		if err := h.Mark(ctx, host.Marker{Step: string(s.Kind), State: host.MarkerStarted, Digest: x.env.Facts(s.Host).BootID}); err != nil {
			return "", err
		}
	}
	if err := x.pull(ctx, s, h, in, pulls); err != nil {
		return "", err
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
	there := len(in.Images) - len(missing) - len(pulls)
	if len(pulls) > 0 {
		return fmt.Sprintf("%d images pulled, %d imported, %d there already, %d MB sent", len(pulls), len(missing), there, sent/1e6), nil
	}
	return fmt.Sprintf("%d images imported, %d there already, %d MB sent", len(missing), there, sent/1e6), nil
}

// pull has the host pull images, one after another: where one is not to be had, its name is told.
func (x *Steps) pull(ctx context.Context, s plan.Step, h *host.Host, in plan.ImagesInputs, pulls []plan.Image) error {
	var hosts []host.Text
	for _, t := range in.Hosts {
		hosts = append(hosts, host.Text{Path: t.Path, Mode: t.Mode, Body: t.Body})
	}
	platform := "linux/" + x.env.Facts(s.Host).Arch.String()
	for n, i := range pulls {
		x.say(s, fmt.Sprintf("pulls %s (%d of %d)", i.Ref, n+1, len(pulls)))
		err := h.PullImage(ctx, host.Pull{Ref: i.Ref, Digest: i.Manifest, Platform: platform, Hosts: hosts})
		if errors.Is(err, host.ErrNotPulled) {
			return hint.With(err, "%s", pullHint(err.Error()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pullHints say what may help, by words of containerd's.
var pullHints = []struct{ words, hint string }{
	{": not found", `the registry has no such manifest: "hybridctl bundle push" gives it the bundle's images as they are`},
	{"401 Unauthorized", "its login in spec.registries is wrong, or it has none there"},
	{"authorization failed", "its login in spec.registries is wrong, or it has none there"},
	{"403 Forbidden", "the login in spec.registries may not pull that repository"},
	{"x509: ", "caFile in spec.registries has to hold the authority of its certificate; a clock that is wrong makes certificates invalid too"},
	{"no such host", "this host cannot resolve the registry's name: see its /etc/resolv.conf, or write the address"},
	{"i/o timeout", "this host does not reach the registry: see its routes and firewalls, or name a mirror in spec.registries"},
	{"connection refused", "nothing listens at the registry's port; with http:// before it, a mirror is asked without TLS"},
	{"server gave HTTP response to HTTPS client", "the registry speaks no TLS: write it as a mirror of itself with http:// before it"},
	{"is not for linux/", `make the image an index of both architectures: "hybridctl image inspect" shows what it holds`},
}

func pullHint(said string) string {
	for _, h := range pullHints {
		if strings.Contains(said, h.words) {
			return h.hint
		}
	}
	return "spec.registries says where hosts pull from; with spec.images: sent, hybridctl brings the images itself"
}

// lacking parts the images that the host does not have into those that are sent and those that it pulls; blobs are what it has already of
// those that are sent.
func (x *Steps) lacking(arch platform.Arch, in plan.ImagesInputs, have map[string]string) (sent []string, pulled []plan.Image, blobs map[string]bool, err error) {
	blobs = map[string]bool{}
	for _, i := range in.Images {
		switch there := have[i.Ref] == i.Manifest; {
		case i.Pull && !there:
			pulled = append(pulled, i)
		case i.Pull:
		case !there:
			sent = append(sent, i.Ref)
		default:
			if err := x.haveBlobs(arch, i.Ref, blobs); err != nil {
				return nil, nil, nil, err
			}
		}
	}
	return sent, pulled, blobs, nil
}

// forgetUnsynced removes the images of an import that did not end before its host lost power, or was started again:
// containerd knows them as unpacked, and does not sync what it unpacks, so that their programs may be empty files. The
// digest of a started marker is the boot it was of. What a finished import brought is on the disk: the marker is
// written after it. One that cannot be read may have been either.
func (x *Steps) forgetUnsynced(ctx context.Context, s plan.Step, h *host.Host, in plan.ImagesInputs, have map[string]string) error {
	f := x.env.Facts(s.Host)
	m := f.Markers[string(s.Kind)]
	if interrupted := m.State == host.MarkerStarted && m.Digest != f.BootID; !interrupted && !f.BadMarker(string(s.Kind)) {
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
