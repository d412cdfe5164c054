package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"github.com/hybridctl/hybridctl/provision/hint"
)

// output is stdout, which remembers why it could not be written: cobra's help and completion scripts do not look.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	if err != nil && o.err == nil && !errors.Is(err, syscall.EPIPE) { // a reader that has seen enough is no failure
		o.err = err
	}
	return n, err
}

// Fd lets whoever draws ask whether this is a terminal.
func (o *output) Fd() uintptr {
	if f, ok := o.to.(interface{ Fd() uintptr }); ok {
		return f.Fd()
	}
	return ^uintptr(0) // no file
}

// joined is what a command that ended with err ends with, when its output is looked at as well.
func (o *output) joined(err error) error {
	if o.err == nil {
		return err
	}
	why := o.err
	var pe *fs.PathError
	if errors.As(why, &pe) {
		why = pe.Err
	}
	failed := hint.With(fmt.Errorf("the output could not be written: %w", why), "make room where it goes, or send it elsewhere with > FILE")
	if err == nil || errors.Is(err, errChanges) || errors.Is(err, o.err) {
		return failed
	}
	return errors.Join(err, failed)
}
