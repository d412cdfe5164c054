package cli

import (
	"cmp"

	"github.com/hybridctl/hybridctl/cmd/hybridctl/progress"
	"github.com/hybridctl/hybridctl/provision/report"
)

// waits says what is waited for when that takes long, until over is called: for verbs that show no progress.
func (a *app) waits(who, what string) (over func()) {
	view := progress.New(progress.Options{Out: a.Stderr, JSON: a.global.logFormat == logJSON})
	r := report.Remind(of{view, who})
	end, heard := r.Waiting(what), a.heard(what)
	return func() {
		heard()
		end()
		r.Close()
		view.Close()
	}
}

// silence is waits for a verb that shows its progress: it says something only when no progress comes.
func (d Deps) silence(view report.Sink, who, what string) (sink report.Sink, over func()) {
	r := report.Remind(of{view, who})
	end, heard := r.Silence(what), d.heard(what)
	return r, func() {
		heard()
		end()
		r.Close()
	}
}

func (d Deps) heard(what string) (over func()) {
	if d.Waiting == nil {
		return func() {}
	}
	return d.Waiting(what)
}

// of gives events a host that have none: these verbs are of no cluster.
type of struct {
	report.Sink
	who string
}

func (o of) Event(e report.Event) {
	e.Host = cmp.Or(e.Host, o.who)
	o.Sink.Event(e)
}
