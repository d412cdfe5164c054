package remote

import "strings"

// tunnelError is of a connection that the host could not open for us. It tells apart what its sshd says: that the far end refused, or that it did
// not answer. Who asks whether a port is closed wants to know.
type tunnelError struct {
	error
	words string
}

func (e *tunnelError) Unwrap() error { return e.error }

// Refused reports whether the far end was reached and nothing listens there.
func (e *tunnelError) Refused() bool { return strings.Contains(strings.ToLower(e.words), "refused") }

// Timeout reports whether the far end did not answer the host.
func (e *tunnelError) Timeout() bool {
	words := strings.ToLower(e.words)
	return strings.Contains(words, "timed out") || strings.Contains(words, "no route to host")
}
