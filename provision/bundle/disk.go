package bundle

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/hybridctl/hybridctl/provision/hint"
)

// onDisk makes a sentence of what a disk does not take; place is where the bundle was to come. Other errors stay as they are.
func onDisk(place string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return hint.With(fmt.Errorf("%s: there is no room left for it", place), "make room there, or name another place")
	case errors.Is(err, syscall.EROFS):
		return hint.With(fmt.Errorf("%s: nothing can be written there: the file system is read-only", place), "name another place")
	}
	return err
}
