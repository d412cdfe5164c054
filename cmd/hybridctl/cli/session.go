package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"

	"golang.org/x/term"

	"github.com/hybridctl/hybridctl/cmd/hybridctl/progress"
	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/preflight"
)

// session is one verb at work on one cluster.
type session struct {
	app     *app
	cluster *inventory.Cluster
	view    progress.View
	options provision.Options
	closing sync.Once
}

// open loads the inventory and prepares what every verb on a cluster needs. The caller closes the session.
func (a *app) open(ctx context.Context, f clusterFlags) (*session, error) {
	if f.parallel < 0 {
		return nil, usagef("--parallel must not be negative")
	}
	c, err := loadInventory(f.inventory)
	if err != nil {
		return nil, err
	}
	return a.openCluster(ctx, f, c), nil
}

// openCluster is open with an inventory that is loaded already.
func (a *app) openCluster(ctx context.Context, f clusterFlags, c *inventory.Cluster) *session {
	s := &session{app: a, cluster: c}
	s.view = progress.New(progress.Options{
		Out: a.Stderr, Live: a.canDraw(a.Stderr), Hosts: hostNames(c), JSON: a.global.logFormat == logJSON, Color: a.color(a.Stderr),
	})
	slog.SetDefault(a.logger(s.view))
	s.options = provision.Options{
		Cluster: c, StateDir: f.stateDir, Progress: s.view, Parallel: f.parallel, Stop: a.Stop, BreakLock: f.breakLock, Catalogue: f.catalogue,
	}
	if a.Terminal.CanAsk() {
		s.options.Stderr = s.view
		s.options.Prompt = func(question string) (string, error) { return s.secret(ctx, question) }
	}
	return s
}

// close gives the terminal back; it may be called again.
func (s *session) close() {
	s.closing.Do(func() {
		s.view.Close()
		slog.SetDefault(s.app.logger(s.app.Stderr))
	})
}

func loadInventory(path string) (*inventory.Cluster, error) {
	c, err := inventory.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noInventory(path)
	}
	if err == nil {
		err = c.ValidatePreflightNames(preflight.Names())
	}
	if err != nil {
		return nil, asUsageError(err)
	}
	return c, nil
}

// mayConfirm refuses to begin what cannot be confirmed; what is wrong with the inventory is said first, as agreeing would not mend it.
func mayConfirm(t Terminal, f clusterFlags, yes bool, what, remedy string) error {
	if yes || t.Interactive() {
		return nil
	}
	if _, err := loadInventory(f.inventory); err != nil {
		return err
	}
	return hint.With(usagef("there is no terminal to confirm %s", what), "%s", remedy)
}

func noInventory(path string) error {
	switch path {
	case "":
		return hint.With(usagef("-f names no file"), "-f FILE names the inventory; without -f it is inventory.yaml")
	case "-":
		return hint.With(usagef("an inventory is not read from standard input"), "name its file with -f FILE: the cluster's state lies beside it")
	}
	return hint.With(usagef("%s: no such inventory", path), `"hybridctl init" writes one to begin with; -f FILE names another`)
}

func hostNames(c *inventory.Cluster) []string {
	names := make([]string, len(c.Spec.Hosts))
	for i, h := range c.Spec.Hosts {
		names[i] = h.Name
	}
	return names
}

// secret asks for a secret while the view, and every other question, keeps off the terminal.
func (s *session) secret(ctx context.Context, question string) (answer string, err error) {
	ctx, cancel := s.app.untilStop(ctx)
	defer cancel()
	s.view.Suspend(func() { answer, err = s.app.Terminal.AskSecret(ctx, question) })
	return answer, err
}

// ask shows text and asks a question while the view, and every other question, keeps off the terminal.
func (s *session) ask(ctx context.Context, show func(io.Writer) error, question string) (answer string, err error) {
	ctx, cancel := s.app.untilStop(ctx)
	defer cancel()
	s.view.Suspend(func() {
		if err = shown(s.app.Stderr, show); err == nil {
			answer, err = s.app.Terminal.Ask(ctx, question)
		}
	})
	return answer, err
}

// untilStop returns a context that ends with the first ^C: for whatever has nothing to finish.
func (a *app) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-a.Stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// announceStop tells what the first ^C does to a verb that has steps to finish, until the returned function is called.
func (s *session) announceStop() (done func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-s.app.Stop:
		case <-over:
		}
		if s.app.stopped() {
			fmt.Fprintln(s.view, "finishing the running steps; press ^C again to stop at once")
		}
	}()
	return func() {
		close(over)
		<-ended
	}
}

// stopped reports whether the first ^C has come.
func (a *app) stopped() bool {
	select {
	case <-a.Stop:
		return true
	default:
		return false
	}
}

func (a *app) logger(w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.Level(a.global.verbosity)}
	if a.global.logFormat == logJSON {
		return slog.New(slog.NewJSONHandler(jsonWriter{w}, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// canDraw reports whether w is a terminal that understands more than lines.
func (a *app) canDraw(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd())) && a.Getenv("TERM") != "dumb"
}

// color reports whether w shows colours, and the user has nothing against them (https://no-color.org).
func (a *app) color(w io.Writer) bool { return a.canDraw(w) && a.Getenv("NO_COLOR") == "" }
