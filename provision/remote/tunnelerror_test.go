package remote

import (
	"errors"
	"testing"
)

// That a port is closed is another thing than that the host could not try.
func TestTunnelError(t *testing.T) {
	for words, want := range map[string][2]bool{
		"Connection refused": {true, false}, "Connection timed out": {false, true}, "No route to host": {false, true},
		"Network is unreachable": {}, "Name or service not known": {}, "": {},
	} {
		cause := errors.New("cause")
		e := &tunnelError{cause, words}
		if e.Refused() != want[0] || e.Timeout() != want[1] || !errors.Is(e, cause) || e.Error() != "cause" {
			t.Errorf("%q: refused %v, no answer %v", words, e.Refused(), e.Timeout())
		}
	}
}
