package restarts

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/report"
)

type sink struct {
	mu   sync.Mutex
	said []string // what stays
}

func (s *sink) Event(e report.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Kind == report.Note {
		s.said = append(s.said, e.Message)
	}
}

// told returns what was said since the last call.
func (s *sink) told() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := strings.Join(s.said, "\n")
	s.said = nil
	return out
}

type fake struct {
	pods []host.StaticPod
	err  error
}

func (f *fake) StaticPods(context.Context) ([]host.StaticPod, error) { return f.pods, f.err }

func TestWatch(t *testing.T) {
	var s sink
	f := &fake{}
	w := newWatch(func() map[string]Host {
		return map[string]Host{"x86-1": f, "away": &fake{err: errors.New("no answer")}}
	}, &s)
	look := func(restarts int, since time.Duration, want string) {
		t.Helper()
		f.pods = []host.StaticPod{{Name: "etcd"}, {Name: "kube-apiserver", Restarts: restarts, Since: since, Last: []string{"PostStartHook timed out"}}}
		w.look(t.Context())
		got := s.told()
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%d restarts: said %q, want %q", restarts, got, want)
		}
	}
	look(0, time.Minute, "")
	look(1, time.Second, "") // may happen
	if err := w.Explain(context.DeadlineExceeded); err != context.DeadlineExceeded {
		t.Errorf("nothing was noticed: %v", err)
	}
	look(2, 12*time.Second, "kube-apiserver on x86-1 ends and is started again: 2 times so far, last 12s ago; its last words: PostStartHook timed out")
	look(2, 42*time.Second, "") // told already
	look(4, time.Second, "4 times so far")
	err := w.Explain(context.DeadlineExceeded)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "4 times so far") || !strings.Contains(hint.Text(err), "hybridctl preflight") {
		t.Errorf("got %v", err)
	}
	if w.Explain(nil) != nil {
		t.Error("a wait that ended well has an error")
	}
	look(0, time.Second, "") // another pod of that name, of a host that was set up again
	if err := w.Explain(context.DeadlineExceeded); err != context.DeadlineExceeded {
		t.Errorf("of the one before: %v", err)
	}
}

// What is told once stays: a word in passing, a view may leave out, cut or forget.
func TestWatch_ANoteForEachPod(t *testing.T) {
	var s sink
	f := &fake{pods: []host.StaticPod{{Name: "etcd", Restarts: 7, Since: time.Minute}, {Name: "kube-scheduler"}, {Name: "kube-apiserver", Restarts: 3, Since: time.Minute}}}
	w := newWatch(func() map[string]Host { return map[string]Host{"a": f} }, &s)
	w.look(t.Context())
	if len(s.said) != 2 || !strings.Contains(s.said[0], "etcd on a ends") || !strings.Contains(s.said[1], "kube-apiserver on a ends") {
		t.Errorf("said %q", s.said)
	}
}

// A run that begins in the middle does not have to see it all again.
func TestWatch_BegunLongAgo(t *testing.T) {
	for name, c := range map[string]struct {
		pod  host.StaticPod
		want string
	}{
		"it goes on":         {host.StaticPod{Name: "etcd", Restarts: 7, Since: time.Minute}, "etcd on a ends and is started again: 7 times so far, last 1m0s ago; it left no log of why"},
		"that was last year": {host.StaticPod{Name: "etcd", Restarts: 7, Since: 300 * 24 * time.Hour}, ""},
		"no one knows when":  {host.StaticPod{Name: "etcd", Restarts: 7}, ""},
		"twice":              {host.StaticPod{Name: "etcd", Restarts: 2, Since: time.Minute}, ""},
	} {
		var s sink
		w := newWatch(func() map[string]Host { return map[string]Host{"a": &fake{pods: []host.StaticPod{c.pod}}} }, &s)
		w.look(t.Context())
		if got := s.told(); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestBegin_EndsWithStop(t *testing.T) {
	w := Begin(t.Context(), func() map[string]Host { return nil }, report.Discard, interval)
	w.Stop()
	w.Stop()
}

func TestWatcher_LooksFromItsBeginningOn(t *testing.T) {
	w := New(func() map[string]*fake { return map[string]*fake{"a": {}} }, report.Discard, 0)
	away := errors.New("away")
	if err := w.Explain(away); err != away {
		t.Errorf("before it looks: %v", err)
	}
	w.Stop()
	w.Begin(t.Context())
	first := w.watch
	if w.Begin(t.Context()); w.watch != first || len(w.hosts()) != 1 {
		t.Errorf("it began twice, or asks %v", w.hosts())
	}
	w.Stop()
}
