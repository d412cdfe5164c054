// Package filelock locks files of this machine for a moment, and never waits without end for whoever has them: a process that was stopped
// may keep a lock for ever. It does not say that it waits: report.Patience is longer.
package filelock

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// ErrKept: another process kept the lock for as long as it was waited for. The user ends it.
var ErrKept = errors.New("another program keeps it locked")

// Patience is how long a lock is waited for that no one needs for more than a moment.
const Patience = 10 * time.Second

// pause is how often it is asked for.
const pause = 50 * time.Millisecond

// Mode is what others may have of a file that is locked.
type Mode int

const (
	Exclusive Mode = syscall.LOCK_EX // no lock
	Shared    Mode = syscall.LOCK_SH // a shared one
)

// Try locks an open file or directory, which ends with its closing. It is not taken while another process has a lock that stands against it. An
// error is the file system's, as of one that has no locks.
func Try(f *os.File, mode Mode) (taken bool, err error) {
	for {
		switch err := syscall.Flock(int(f.Fd()), int(mode)|syscall.LOCK_NB); {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

// Take locks an open file or directory, which ends with its closing. Errors: ErrKept, or the file system's.
func Take(f *os.File, patience time.Duration) error {
	for end := time.Now().Add(patience); ; time.Sleep(pause) {
		taken, err := Try(f, Exclusive)
		switch {
		case taken || err != nil:
			return err
		case !time.Now().Before(end):
			return &kept{f.Name(), patience}
		}
	}
}

// kept is ErrKept of a file, with its hint: see package hint.
type kept struct {
	name     string
	patience time.Duration
}

func (k *kept) Error() string {
	return fmt.Sprintf("lock %s: %v, for more than %v", k.name, ErrKept, k.patience)
}

func (k *kept) Unwrap() error { return ErrKept }

func (k *kept) Hint() string {
	return fmt.Sprintf("end that program, and run this again: fuser %s names it", k.name)
}
