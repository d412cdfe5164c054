// Package progress shows the events of a run to the user while it happens: as a live view on a terminal, as one line per event
// elsewhere. It never makes the run wait: events are taken into memory, and its own goroutines write them. It shows only;
// what follows from an event is not its business.
package progress

import (
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/hybridctl/hybridctl/provision/report"
)

// View takes a run's events and shows them. All methods are safe for concurrent use.
type View interface {
	report.Sink

	// Write shows whole lines among the events (above the live view): log records and notices. It returns at once.
	io.Writer

	// Suspend calls fn while nothing of the view is written, and no other fn runs: fn has the terminal for itself, for instance
	// to ask a question.
	Suspend(fn func())

	// Close writes what is left and gives the terminal back. The view is not used afterwards.
	Close()
}

// Options say where and how a View writes.
type Options struct {
	Out   io.Writer
	Live  bool             // Out is a terminal (an *os.File) whose lines can be redrawn
	Hosts []string         // those of the inventory, in its order
	JSON  bool             // one JSON document per event
	Color bool             // failures stand out
	Now   func() time.Time // default time.Now
}

// New returns a live view when Out can show one, otherwise a view of lines.
func New(o Options) View {
	if o.Now == nil {
		o.Now = time.Now
	}
	f, isFile := o.Out.(*os.File)
	if !o.Live || !isFile || o.JSON {
		return newLines(o)
	}
	return newLive(o, func() (width, height int) {
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil || width <= 0 || height <= 0 {
			return 80, 24
		}
		return width, height
	})
}
