package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/remote"
)

// LockFile is the lock on the host where a cluster begins, while there is no API server that could have one. It is beside /var/lib/hybridctl:
// a destroy takes that away while it has the lock.
const LockFile = "/var/lib/hybridctl.lock"

// Kinds of locks: what their runs do.
const (
	LockOfUp      = "up"      // it asks for the cluster's Lease as soon as there is an API server, and ends when another had it
	LockOfDestroy = "destroy" // it goes on also when there is an API server again
)

// Locked is how a host answered about its lock.
type Locked struct {
	Taken bool // it is this run's now, or was given back
	Again bool // it was its own before, of a run that was ended in the middle
	Gone  bool // there was none to give back

	Since, By string // whose it is, when it is another's; "" = the file does not say
	Kind      string // of a lock that is another's; "" = the file does not say

	Steps map[string]string // what is done on the host by now: state and digest, by the step's short name
}

// LockTaking says how the lock is taken.
type LockTaking struct {
	Token  string // whoever knows it has the lock already
	Holder string
	Kind   string
	Break  bool // take it from anyone
}

// TakeLock takes the lock of a cluster that has no API server yet, or tells who has it.
func (h *Host) TakeLock(ctx context.Context, o LockTaking) (Locked, error) {
	args := []string{"take", o.Token, o.Holder}
	if o.Kind != "" {
		args = append(args, o.Kind)
	}
	if o.Break {
		args = append(args, "break")
	}
	return h.lock(ctx, args...)
}

// LockGiving says whose lock is given back.
type LockGiving struct {
	Token  string // of the run that has it
	Leased bool   // also from an up that has made its API server: it has the cluster's Lease, or goes no further. Only who has the Lease may say so
	Break  bool   // from anyone
}

// GiveLock gives it back, or tells who has it now.
func (h *Host) GiveLock(ctx context.Context, o LockGiving) (Locked, error) {
	args := []string{"give", o.Token}
	switch {
	case o.Break:
		args = append(args, "break")
	case o.Leased:
		args = append(args, "leased")
	}
	return h.lock(ctx, args...)
}

func (h *Host) lock(ctx context.Context, args ...string) (Locked, error) {
	out, err := h.script(ctx, "lock", nil, args...)
	if err != nil {
		return Locked{}, fmt.Errorf("%s: %w", LockFile, err)
	}
	return parseLocked(out)
}

// ErrLockAnswer: what was to look at the lock did not run, and something else did.
var ErrLockAnswer = errors.New("the host does not answer whose the lock is")

// lockWords are what the answer of lock.sh begins with.
var lockWords = []string{"taken", "again", "held", "given", "gone"}

func parseLocked(out remote.Output) (l Locked, err error) {
	lines := strings.Split(strings.TrimRight(string(out.Stdout), "\n"), "\n")
	begins := slices.IndexFunc(lines, func(line string) bool { return slices.Contains(lockWords, line) }) // behind what a login prints
	if begins < 0 {
		return l, fmt.Errorf("%s: %w: %.60q", LockFile, ErrLockAnswer, lines[0])
	}
	lines = lines[begins:]
	switch lines[0] {
	case "taken", "given":
		l.Taken = true
	case "again":
		l.Taken, l.Again = true, true
	case "gone":
		l.Gone = true
	case "held":
		lines = append(lines, "", "", "")
		l.Since, l.By, l.Kind = lines[1], lines[2], lines[3]
		return l, nil
	}
	l.Steps = map[string]string{}
	for _, line := range lines[1:] {
		if f := strings.SplitN(line, " ", 3); len(f) == 3 && f[0] == "step" {
			l.Steps[f[1]] = strings.TrimSpace(f[2])
		}
	}
	return l, nil
}
