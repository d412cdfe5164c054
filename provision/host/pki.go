package host

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// sharedFiles are the certificates and keys that all control planes share, below /etc/kubernetes/pki: what pki-pack.sh packs, in its order.
var sharedFiles = []string{"ca.crt", "ca.key", "sa.key", "sa.pub", "front-proxy-ca.crt", "front-proxy-ca.key", "etcd/ca.crt", "etcd/ca.key"}

// maxShared is how large one of them may be.
const maxShared = 64 << 10

// SharedPKI returns, as a tar, the certificates and keys that all control planes share: these files and nothing else, whatever the host says.
// It is a secret.
func (h *Host) SharedPKI(ctx context.Context) ([]byte, error) {
	out, err := h.script(ctx, "pki-pack", nil)
	if err == nil {
		out.Stdout, err = repack(out.Stdout)
	}
	if err != nil {
		return nil, fmt.Errorf("read the shared certificates: %w", err)
	}
	return out.Stdout, nil
}

// PlaceSharedPKI hands SharedPKI's tar to a host that is to become a further control plane.
func (h *Host) PlaceSharedPKI(ctx context.Context, tar io.Reader) error {
	if _, err := h.script(ctx, "pki-unpack", tar); err != nil {
		return fmt.Errorf("place the shared certificates: %w", err)
	}
	return nil
}

// repack makes a tar of what all control planes share from one that a host made. It is unpacked as root on others: one with anything else in
// it is refused, and nothing but names and contents goes on.
func repack(packed []byte) ([]byte, error) {
	files := map[string][]byte{}
	in := tar.NewReader(bytes.NewReader(packed))
	for {
		f, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		_, twice := files[f.Name]
		switch {
		case !slices.Contains(sharedFiles, f.Name) || twice:
			return nil, fmt.Errorf("%.100q is not to be there", f.Name)
		case f.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("%s is no regular file", f.Name)
		case f.Size == 0 || f.Size > maxShared:
			return nil, fmt.Errorf("%s has %d bytes, and may have 1 to %d", f.Name, f.Size, maxShared)
		}
		if files[f.Name], err = io.ReadAll(in); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range sharedFiles {
		body, there := files[name]
		if !there {
			return nil, fmt.Errorf("%s is missing", name)
		}
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(body)), Format: tar.FormatUSTAR})
		if err == nil {
			_, err = w.Write(body)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
