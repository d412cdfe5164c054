package fetch

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hybridctl/hybridctl/provision/filelock"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/image"
)

// cache is the directory of everything that was fetched: files by their digest, and bundles made of them.
//
//	sha256/HEX             a file; its time says since when its content is known to be right: see verified
//	sha256/HEX.part        the beginning of one; who writes it holds its lock
//	sha256/HEX.wrong       what came in a file's place
//	bundles/KEY            a bundle
//	records/KEY.json       what a bundle was made of
//	lock.json              what was decided at the first fetch
//	use, deciding, making  locks between runs
type cache struct{ dir string }

// verified is the time of files whose content was read and is right. Whoever writes into one, even through another name of it, gives it
// another time: then it is read again.
//
// What was written since this machine started may not be on its disk yet, and waiting for that would cost as much as fetching it. Such a file
// bears the time of the start in which it was written: after the next one, which may follow a power cut, it is read once more.
var verified = time.Unix(0, 0)

// sinceStart is the time of files that were verified since this machine started, and may not be on the disk yet.
var sinceStart = sync.OnceValue(func() time.Time {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		id = []byte(rand.Text()) // then every run reads everything once more
	}
	sum := sha256.Sum256(id)
	return time.Unix(1+int64(binary.BigEndian.Uint32(sum[:])>>2), 0)
})

// lastStart is later than every time that sinceStart can be.
var lastStart = time.Unix(1<<30+1, 0)

// isVerified reports whether a file that was changed at that time was verified since.
func isVerified(at time.Time) bool { return at.Equal(verified) || at.Equal(sinceStart()) }

// stamp gives a file that was just read and is right its time: what an earlier start has left is on the disk.
func stamp(path string, was time.Time) error {
	at := sinceStart()
	if was.Before(lastStart) && !was.Equal(at) {
		at = verified
	}
	return os.Chtimes(path, at, at)
}

// cacheDir is the cache's directory: the one given, or hybridctl's in the user's.
func cacheDir(given string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	dir := os.Getenv("XDG_CACHE_HOME")
	if !filepath.IsAbs(dir) { // as the XDG specification has it
		home, err := os.UserHomeDir()
		if err != nil {
			return "", hint.With(failf(ErrInput, "there is no directory for the cache: neither XDG_CACHE_HOME nor HOME is set"), "set XDG_CACHE_HOME to a directory that may grow to some GB")
		}
		dir = filepath.Join(home, ".cache")
	}
	return filepath.Join(dir, "hybridctl"), nil
}

func (c cache) make() error {
	for _, dir := range []string{"sha256", "bundles", "records"} {
		if err := os.MkdirAll(filepath.Join(c.dir, dir), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (c cache) path(name ...string) string { return filepath.Join(append([]string{c.dir}, name...)...) }

// file is where a digest's file lies; "sha256:" before it may be left out.
func (c cache) file(digest string) string {
	return filepath.Join(c.dir, "sha256", strings.TrimPrefix(digest, "sha256:"))
}

// look reports whether the cache has a file, by its time and size alone; size < 0 = not known. touched: it is there, and was written to.
func (c cache) look(digest string, size int64) (has, touched bool) {
	info, err := os.Lstat(c.file(digest))
	if err != nil || !info.Mode().IsRegular() {
		return false, false
	}
	if size >= 0 && info.Size() != size {
		return false, true
	}
	return isVerified(info.ModTime()), !isVerified(info.ModTime())
}

// has reports whether the cache has a file. One that was written to since it was fetched is read, and deleted when it is another by now;
// damaged says that one was.
func (c cache) has(ctx context.Context, digest string, size int64) (has, damaged bool, err error) {
	has, touched := c.look(digest, size)
	if has || !touched {
		return has, false, nil
	}
	info, err := os.Stat(c.file(digest))
	if err != nil {
		return false, false, err
	}
	sum, _, err := digestOf(ctx, c.file(digest))
	if err != nil {
		return false, false, err
	}
	if sum == strings.TrimPrefix(digest, "sha256:") {
		return true, false, stamp(c.file(digest), info.ModTime())
	}
	return false, true, remove(c.file(digest))
}

// put writes a small file whose digest is known to be right.
func (c cache) put(digest string, raw []byte) error {
	at := sinceStart()
	return writeWhole(c.file(digest), raw, &at)
}

// part is how many bytes of a file there are.
func (c cache) part(digest string) int64 {
	info, err := os.Stat(c.file(digest) + ".part")
	if err != nil {
		return 0
	}
	return info.Size()
}

// links is how many names a file has.
func links(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Nlink)
	}
	return 1
}

func (c cache) read(digest string) ([]byte, error) { return os.ReadFile(c.file(digest)) }

// writeWhole writes a file under another name and renames it.
func writeWhole(path string, raw []byte, at *time.Time) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, remove(f.Name()))
		}
	}()
	_, err = f.Write(raw)
	if at == nil { // nothing else shows whether it is whole
		err = errors.Join(err, f.Sync())
	}
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	if at != nil {
		if err := os.Chtimes(f.Name(), *at, *at); err != nil {
			return err
		}
	}
	return os.Rename(f.Name(), path)
}

func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// digestOf reads a file.
func digestOf(ctx context.Context, path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	size, err = copyTo(ctx, h, f)
	return hexOf(h), size, err
}

// copyTo copies until the end or the context's.
func copyTo(ctx context.Context, to io.Writer, from io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{to}, image.ReadContext(ctx, from), make([]byte, bufferSize))
}

func hexOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// locked opens the part of a file, and locks it; nil = the file is there by now. While another process has the lock, it asks again from time
// to time, and waiting is called once.
func (c cache) locked(ctx context.Context, digest string, pause func(context.Context, time.Duration) error, waiting func()) (*os.File, error) {
	path := c.file(digest) + ".part"
	for first := true; ; {
		if has, _ := c.look(digest, -1); has {
			return nil, nil
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		taken, err := filelock.Try(f, filelock.Exclusive)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if taken && sameFile(f, path) { // else another process has it, or has renamed it meanwhile
			if has, _ := c.look(digest, -1); has {
				return nil, errors.Join(os.Remove(path), f.Close())
			}
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
		if first {
			waiting()
			first = false
		}
		if err := pause(ctx, lockPause); err != nil {
			return nil, err
		}
	}
}

// lockPause is how often a lock is asked for that another process has.
const lockPause = 200 * time.Millisecond

// await locks an open file as soon as no other process has it locked; while one does, waiting is called once.
func await(ctx context.Context, f *os.File, mode filelock.Mode, pause func(context.Context, time.Duration) error, waiting func()) error {
	for first := true; ; first = false {
		if taken, err := filelock.Try(f, mode); taken || err != nil {
			return err
		}
		if first {
			waiting()
		}
		if err := pause(ctx, lockPause); err != nil {
			return err
		}
	}
}

func sameFile(f *os.File, path string) bool {
	locked, errLocked := f.Stat()
	there, errThere := os.Stat(path)
	return errLocked == nil && errThere == nil && os.SameFile(locked, there)
}

// use holds the cache as long as a run needs what it finds there: GC goes alone. The file that is returned ends it when it is closed.
// While GC is at work, waiting is called once.
func (c cache) use(ctx context.Context, pause func(context.Context, time.Duration) error, waiting func()) (*os.File, error) {
	f, err := os.OpenFile(c.path("use"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := await(ctx, f, filelock.Shared, pause, waiting); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// alone runs fn while no other process runs one under that name; while another does, waiting is called once.
func (c cache) alone(ctx context.Context, name string, pause func(context.Context, time.Duration) error, waiting func(), fn func() error) error {
	f, err := os.OpenFile(filepath.Join(c.dir, name), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close() // gives the lock back
	if err := await(ctx, f, filelock.Exclusive, pause, waiting); err != nil {
		return err
	}
	return fn()
}
