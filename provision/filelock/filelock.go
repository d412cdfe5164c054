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

// Take locks an open file or directory, which ends with its closing. Errors: ErrKept, or the file system's.
func Take(f *os.File, patience time.Duration) error {
	for end := time.Now().Add(patience); ; time.Sleep(pause) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return fmt.Errorf("lock %s: %w", f.Name(), err)
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
