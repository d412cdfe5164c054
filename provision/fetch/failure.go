package fetch

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/report"
)

// The sentinels of this package. Each error that wraps one is a sentence for the user; what may help stands in its hints.
var (
	// ErrInput: a source, an option or the lock file is wrong. The user corrects it.
	ErrInput = errors.New("wrong input")
	// ErrProgram, an ErrInput: a program of hybridctl's own is not beside it. The user puts it there.
	ErrProgram = fmt.Errorf("%w: a program of hybridctl's own is missing", ErrInput)
	// ErrUnreachable: a host does not answer. The user names another source, or brings a bundle.
	ErrUnreachable = errors.New("no answer")
	// ErrContent: what came is not what the catalogue or the lock says. It is not used; the user asks whoever runs the source.
	ErrContent = errors.New("wrong content")
	// ErrLacks: what an address or a name leads to is not there, or not for every architecture.
	ErrLacks = errors.New("not there")
	// ErrStopped: an answer ended, or came no further. The next run goes on from there.
	ErrStopped = errors.New("stopped")
	// ErrDisk: the cache cannot be written.
	ErrDisk = errors.New("cannot be written")
	// ErrOffline: something is missing, and nothing was to be asked for.
	ErrOffline = errors.New("missing, and not asked for")
)

// failure is a sentence that is one of the sentinels, and wraps what it came of.
type failure struct {
	text  string
	kind  error
	cause error
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() []error {
	if f.cause == nil {
		return []error{f.kind}
	}
	return []error{f.kind, f.cause}
}

func failf(kind error, format string, args ...any) error {
	return &failure{text: fmt.Sprintf(format, args...), kind: kind}
}

// waysOut are what someone without internet can do.
const waysOut = "name a mirror in spec.sources (or by --source), bring a bundle along as one file (hybridctl bundle export elsewhere, then spec.bundle: FILE.tar), " +
	"or make a bundle directory of files that you have (hybridctl bundle create, then spec.bundle: DIR)"

// unreachable says that a host gave no answer, and what may help: mostly the ways out.
func unreachable(host string, err error, now time.Time) error {
	sentence, cause := registry.Explain(host, err, now)
	return hint.With(&failure{sentence, ErrUnreachable, err}, "%s", advice(cause))
}

func advice(cause registry.Cause) string {
	switch cause {
	case registry.CauseAuthority:
		return "name the authority's certificate: caFile in spec.sources, or --ca-file FILE"
	case registry.CauseHostname:
		return "correct the name in spec.sources, or the host's certificate"
	case registry.CauseClock:
		return "set this machine's clock; if it is right, the host's certificate has run out"
	case registry.CausePlain:
		return "write http:// before it in spec.sources, or in --source, where it speaks HTTP alone: the sums are held even so"
	case registry.CauseProxy:
		return registry.Proxies
	}
	return waysOut
}

// why is the cause of an answer that ended, in a few words.
func why(err error) string {
	text, _ := registry.Reason(err)
	return text
}

// writing explains why a file of the cache could not be written; nil when the error is another one.
func writing(what, dir string, had progress, err error) error {
	var cause syscall.Errno
	if !errors.As(err, &cause) {
		return nil
	}
	if cause == syscall.ENOSPC || cause == syscall.EDQUOT {
		return hint.With(&failure{fmt.Sprintf("%s: there is no room left in %s (%s came); the next run goes on from there", what, dir, had), ErrDisk, err},
			"make room, or have the cache elsewhere: XDG_CACHE_HOME=DIR; hybridctl bundle gc deletes what no bundle uses")
	}
	return hint.With(&failure{fmt.Sprintf("%s: %s cannot be written: %v", what, dir, cause), ErrDisk, err}, "have the cache elsewhere: XDG_CACHE_HOME=DIR")
}

// progress is how much of something there is.
type progress struct{ have, size int64 }

func (p progress) String() string {
	if p.size < 0 {
		return report.Bytes(p.have)
	}
	return report.Bytes(p.have) + " of " + report.Bytes(p.size)
}

// isEnd reports whether an error is the end of the caller's own context.
func isEnd(ctx context.Context, err error) bool { return err != nil && ctx.Err() != nil }
