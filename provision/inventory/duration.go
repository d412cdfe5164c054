package inventory

import (
	"fmt"
	"time"
)

// Duration is a time.Duration written as Go writes it ("90s", "10m"). The zero value means "not set".
type Duration time.Duration

// Std returns the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String returns the Go spelling, for instance "1m30s".
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It takes positive durations only; the error is for the user.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	switch {
	case err != nil || !durationRule.ok(string(b)):
		return fmt.Errorf("%q is not a duration", b)
	case v <= 0:
		return fmt.Errorf("%q is not longer than zero", b)
	}
	*d = Duration(v)
	return nil
}

func seconds(n int) Duration { return Duration(time.Duration(n) * time.Second) }
