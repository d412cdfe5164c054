package probe

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"syscall"
)

// MaxFill bounds how many bytes an order writes or reads of a volume.
const MaxFill = 1 << 30

// piece is how much is written before it is synced: what waits in the page cache counts as the container's memory.
const piece = 4 << 20

// fill writes size bytes that follow from the nonce to a file, or to the beginning of a block device, and syncs them.
func fill(path, nonce string, size int) (sum string, err error) {
	if size <= 0 || size > MaxFill {
		return "", fmt.Errorf("%d bytes are not possible", size)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	err = pour(f, h, nonce, size)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Close())
}

func pour(f *os.File, h hash.Hash, nonce string, size int) error {
	source := rand.NewChaCha8(sha256.Sum256([]byte(nonce)))
	b := make([]byte, piece)
	for left := size; left > 0; left -= len(b) {
		b = b[:min(left, piece)]
		_, _ = source.Read(b) // it never fails
		h.Write(b)
		if _, err := f.Write(b); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// sum reads exactly size bytes from the beginning of a file or block device.
func sum(path string, size int) (string, error) {
	if size <= 0 || size > MaxFill {
		return "", fmt.Errorf("%d bytes are not possible", size)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if n, err := io.CopyN(h, f, int64(size)); err != nil {
		return "", fmt.Errorf("%d of %d bytes could be read: %w", n, size, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// appendLines appends numbered lines of a writer to a file, each under the file's lock, which every client of a shared file system sees.
func appendLines(path, writer string, count int) error {
	if count <= 0 || count > 10000 {
		return fmt.Errorf("%d lines are not possible", count)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	for i := range count {
		if err := appendLocked(f, fmt.Sprintf("%s %d\n", writer, i)); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(f.Sync(), f.Close())
}

func appendLocked(f *os.File, line string) error {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	_, err := f.WriteString(line)
	return errors.Join(err, syscall.Flock(int(f.Fd()), syscall.LOCK_UN))
}

// space tells how large a file system or block device is in bytes, and for a device its major number.
func space(path string) (size int64, major int, err error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return 0, 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFBLK {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(path, &fs); err != nil {
			return 0, 0, &os.PathError{Op: "statfs", Path: path, Err: err}
		}
		return int64(fs.Blocks) * fs.Bsize, 0, nil //nolint:unconvert // the types differ between architectures
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	size, err = f.Seek(0, io.SeekEnd)
	return size, int(st.Rdev >> 8 & 0xfff), err // as the kernel's new_decode_dev, for majors below 4096
}
