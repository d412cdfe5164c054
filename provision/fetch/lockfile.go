package fetch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"

	"github.com/hybridctl/hybridctl/provision/hint"
)

// The lock file's identity.
const (
	lockAPIVersion = "hybridctl.dev/v1alpha1"
	lockKind       = "BundleLock"
)

// lockFile holds what was decided at the first fetch. Later runs refuse anything else.
type lockFile struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Images     map[string]string `json:"images"` // digest of the index by full name
	Files      map[string]string `json:"files"`  // sha256 by upstream's address: what was taken from a checksum file
}

var (
	hexSum   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	ociSum   = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	notThere = fs.ErrNotExist
)

func (f *fetcher) lockPath() string {
	if f.o.Lock != "" {
		return f.o.Lock
	}
	return filepath.Join(f.cache.dir, "lock.json")
}

// readLock reads a lock file; one that is not there is empty. The error is ErrInput.
func readLock(path string) (*lockFile, error) {
	l := &lockFile{APIVersion: lockAPIVersion, Kind: lockKind, Images: map[string]string{}, Files: map[string]string{}}
	raw, err := os.ReadFile(path)
	if errors.Is(err, notThere) {
		return l, nil
	}
	if err != nil {
		return nil, failf(ErrInput, "the lock file %s cannot be read: %v", path, errors.Unwrap(err))
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(l); err != nil {
		return nil, failf(ErrInput, "the lock file %s cannot be read: %v", path, err)
	}
	if l.APIVersion != lockAPIVersion || l.Kind != lockKind {
		return nil, failf(ErrInput, "%s is %s %s, and no lock file of this hybridctl's (%s %s)", path, l.APIVersion, l.Kind, lockAPIVersion, lockKind)
	}
	for _, ref := range slices.Sorted(maps.Keys(l.Images)) {
		if !ociSum.MatchString(l.Images[ref]) {
			return nil, failf(ErrInput, "the lock file %s: the digest of %s is none of sha256", path, ref)
		}
	}
	for _, address := range slices.Sorted(maps.Keys(l.Files)) {
		if !hexSum.MatchString(l.Files[address]) {
			return nil, failf(ErrInput, "the lock file %s: the sum of %s is no sha256", path, shown(address))
		}
	}
	return l, nil
}

// save writes the lock file, which never loses an entry that another run has written meanwhile.
func (f *fetcher) saveLock() error {
	path := f.lockPath()
	now, err := readLock(path)
	if err != nil {
		return err
	}
	for ref, digest := range f.lock.Images {
		if other := now.Images[ref]; other != "" && other != digest {
			return failf(ErrContent, "%s is %s, and the lock file %s, which another run has written meanwhile, says %s", ref, digest, path, other)
		}
		now.Images[ref] = digest
	}
	for address, sum := range f.lock.Files {
		if other := now.Files[address]; other != "" && other != sum {
			return failf(ErrContent, "the sum of %s is %s, and the lock file %s, which another run has written meanwhile, says %s", shown(address), sum, path, other)
		}
		now.Files[address] = sum
	}
	raw, err := json.MarshalIndent(now, "", "  ")
	if err != nil {
		return err
	}
	err = os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = writeWhole(path, append(raw, '\n'), nil)
	}
	if err != nil {
		return unwritten(path, f.o.Lock != "", err)
	}
	f.lock = now
	return nil
}

// unwritten is the sentence for a lock file that cannot be written: it lies beside a bundle, or in the cache.
func unwritten(path string, beside bool, err error) error {
	var cause syscall.Errno
	if !errors.As(err, &cause) || !beside {
		return err
	}
	return hint.With(&failure{fmt.Sprintf("the lock file %s cannot be written: %v", path, cause), ErrDisk, err}, "name another directory for the bundle: the lock file lies beside it")
}
