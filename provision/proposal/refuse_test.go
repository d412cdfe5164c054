package proposal

import (
	"errors"
	"testing"

	"github.com/hybridctl/hybridctl/provision/ending"
)

func TestForcedAreNamed(t *testing.T) {
	if err := forcedAreNamed([]string{"b"}, []string{"a", "b"}); err != nil {
		t.Error(err)
	}
	err := forcedAreNamed([]string{"b", "c"}, []string{"a", "b"})
	if !errors.Is(err, ending.ErrRefused) || err.Error() != ending.ErrRefused.Error()+": --force=c names a host that is not one of a, b" {
		t.Error(err)
	}
}
