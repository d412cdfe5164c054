package stack

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hybridctl/hybridctl/provision/filelock"
)

// ErrLocked: another process works with the state directory; its pid and host are in the message. The user waits for it to end.
// The lock ends with the process that holds it, however that dies.
var ErrLocked = errors.New("another hybridctl is at work on this cluster")

// lock takes the lock file and writes the holder into it. Closing the file releases it.
func lock(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode)
		if err != nil {
			return nil, err
		}
		taken, err := filelock.Try(f, filelock.Exclusive)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if !taken {
			defer f.Close()
			return nil, lockedBy(f)
		}
		if !sameFile(f, path) { // the directory was removed, and perhaps made again, between open and lock
			f.Close()
			continue
		}
		return f, sign(f)
	}
}

func lockedBy(f io.Reader) error {
	holder, err := io.ReadAll(io.LimitReader(f, 512))
	if holder = bytes.TrimSpace(holder); err != nil || len(holder) == 0 { // it has the lock and has not signed yet
		return ErrLocked
	}
	return fmt.Errorf("%w: %s", ErrLocked, holder)
}

func sameFile(f *os.File, path string) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(held, named)
}

func sign(f *os.File) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(fmt.Sprintf("pid %d on %s\n", os.Getpid(), host)), 0)
	return err
}
