package progress

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/golden"
	"github.com/hybridctl/hybridctl/provision/report"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

// events are a run with everything in it that a view must show.
func events() []report.Event {
	return []report.Event{
		{Time: at(0), Kind: report.Started, Host: "arm-1", Step: "images"},
		{Time: at(1), Kind: report.Progress, Host: "arm-1", Step: "images", Bytes: 42e6, Total: 265e6},
		{Time: at(2), Kind: report.Progress, Host: "arm-1", Step: "images", Bytes: 84e6, Total: 265e6},
		{Time: at(3), Kind: report.Progress, Host: "x86-1", Step: "join", Message: "waiting for the API server"},
		{Time: at(6), Kind: report.Progress, Host: "arm-1", Step: "images", Bytes: 200e6, Total: 265e6},
		{Time: at(7), Kind: report.Done, Host: "arm-1", Step: "images", Action: report.Created, Message: "9 images"},
		{Time: at(8), Kind: report.Done, Host: "x86-1", Step: "join", Action: report.Failed,
			Err: errors.New("kubeadm join: exit status 1\nerror: \x1b[31mno route to host")},
		{Time: at(9), Kind: report.Done, Step: "cni", Action: report.Unchanged},
	}
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
	}{
		{"lines.txt", Options{}},
		{"lines-color.txt", Options{Color: true}},
		{"lines.json", Options{JSON: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			c.o.Out = &out
			v := New(c.o)
			for _, e := range events() {
				v.Event(e)
			}
			v.Close()
			golden.Check(t, c.name, out.String())
		})
	}
}

// An upload writes a line now and then, and takes no other step's word from it.
func TestLines_UploadSilencesNothingElse(t *testing.T) {
	var out bytes.Buffer
	v := New(Options{Out: &out})
	v.Event(report.Event{Time: at(0), Kind: report.Progress, Host: "x86-1", Step: "images", Bytes: 1e6, Total: 2e6})
	v.Event(report.Event{Time: at(1), Kind: report.Progress, Host: "x86-1", Step: "static pods", Message: "etcd ends"})
	v.Event(report.Event{Time: at(2), Kind: report.Progress, Host: "x86-1", Step: "images", Bytes: 2e6, Total: 2e6})
	v.Close()
	if got := out.String(); !strings.Contains(got, "static pods  etcd ends") || strings.Count(got, "\n") != 2 {
		t.Errorf("got %s", got)
	}
}

func TestLines_NoticesStandAmongEvents(t *testing.T) {
	var out bytes.Buffer
	v := New(Options{Out: &out})
	v.Event(events()[0])
	if _, err := v.Write([]byte("a notice\n")); err != nil {
		t.Fatal(err)
	}
	v.Close()
	if want := "12:00:00 arm-1 images  started\na notice\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// A note is never left out, and that a wait is over goes without saying.
func TestLines_NotesAllAndNoEndsOfWaits(t *testing.T) {
	var out bytes.Buffer
	v := New(Options{Out: &out})
	for _, name := range []string{"etcd", "kube-apiserver"} {
		v.Event(report.Event{Time: at(0), Kind: report.Note, Host: "x86-1", Step: "static pods", Message: name + " ends"})
	}
	v.Event(report.Event{Time: at(1), Kind: report.Over, Step: "wait"})
	v.Close()
	if want := "12:00:00 x86-1 static pods  etcd ends\n12:00:00 x86-1 static pods  kube-apiserver ends\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// stuck is a writer that blocks until it is released, like a stopped terminal.
type stuck struct {
	release chan struct{}
	mu      sync.Mutex
	bytes.Buffer
}

func (s *stuck) Write(b []byte) (int, error) {
	<-s.release
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Buffer.Write(b)
}

func TestLines_StuckTerminalDoesNotStopTheRun(t *testing.T) {
	out := &stuck{release: make(chan struct{})}
	v := New(Options{Out: out})
	for range 2*maxQueued + 1 { // would block here for ever
		v.Event(events()[0])
	}
	close(out.release)
	v.Close()
	if !strings.Contains(out.String(), "lines of progress left out") {
		t.Error("nothing says that lines were left out")
	}
}

func TestSuspend_NothingIsWrittenMeanwhile(t *testing.T) {
	var out bytes.Buffer
	v := newLines(Options{Out: &out, Now: time.Now})
	v.Suspend(func() {
		v.Event(events()[0])
		if v.writing.TryLock() {
			t.Error("the view could write now")
		}
		out.WriteString("question? ")
	})
	v.Close()
	if want := "question? 12:00:00 arm-1 images  started\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
