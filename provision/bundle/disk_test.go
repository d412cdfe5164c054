package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/hybridctl/hybridctl/provision/hint"
)

// A disk that takes nothing is told by the place that was named, and not by the folder that the bundle is made in.
func TestOnDisk(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.ENOSPC: "here/bundle: there is no room left for it", syscall.EDQUOT: "here/bundle: there is no room left for it",
		syscall.EROFS: "here/bundle: nothing can be written there: the file system is read-only",
	} {
		err := onDisk("here/bundle", errors.Join(fmt.Errorf("copy: %w", &fs.PathError{Op: "write", Path: "here/.bundle.new/x", Err: errno}), nil))
		if err.Error() != want || !strings.Contains(hint.Text(err), "name another place") {
			t.Errorf("%v (%s)", err, hint.Text(err))
		}
	}
	for _, err := range []error{nil, ErrDamaged, &fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}} {
		if got := onDisk("here", err); got != err {
			t.Errorf("%v", got)
		}
	}
}
