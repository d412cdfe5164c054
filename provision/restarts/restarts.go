// Package restarts notices control planes whose static pods end and are started again and again, and tells which and why, while a run
// waits for them: without it a wait says "not Ready" until its time is over. It asks the hosts, since the API server may be the one
// that ends. It changes nothing, and ends nothing: a slow control plane may still come up.
package restarts

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/report"
)

const (
	// interval is the pause between two looks, and before the first: what is well is ready before that, and costs nothing.
	interval = 30 * time.Second
	// patience bounds one look at one host.
	patience = 20 * time.Second
	// often is how many restarts are no accident any more, and recent for how long those before the run count too.
	often  = 2
	recent = 10 * time.Minute
)

// Host is a control-plane host that can be asked; *host.Host is one.
type Host interface {
	StaticPods(ctx context.Context) ([]host.StaticPod, error)
}

// Watch looks at control planes until Stop. All of its methods may be called by many goroutines at once.
type Watch struct {
	hosts func() map[string]Host // those that are connected at the moment
	sink  report.Sink
	stop  context.CancelFunc
	ended chan struct{}

	mu    sync.Mutex
	first map[key]int    // restarts when it was first looked at
	seen  map[key]int    // when it was last looked at
	told  map[key]int    // restarts when it was last told of
	last  map[key]string // what was told
}

type key struct{ host, pod string }

// Begin starts to look at the hosts, which are asked for again each time; every is the pause before each look.
func Begin(ctx context.Context, hosts func() map[string]Host, sink report.Sink, every time.Duration) *Watch {
	ctx, stop := context.WithCancel(ctx)
	w := newWatch(hosts, sink)
	w.stop = stop
	go func() { // ends with Stop, or the context
		defer close(w.ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				w.look(ctx)
			}
		}
	}()
	return w
}

func newWatch(hosts func() map[string]Host, sink report.Sink) *Watch {
	return &Watch{hosts: hosts, sink: sink, ended: make(chan struct{}), first: map[key]int{}, seen: map[key]int{}, told: map[key]int{}, last: map[key]string{}}
}

// Stop ends the looking, and waits until the last look is over.
func (w *Watch) Stop() {
	w.stop()
	<-w.ended
}

// look asks every host at once.
func (w *Watch) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var all sync.WaitGroup
	for name, h := range w.hosts() {
		all.Go(func() {
			pods, err := h.StaticPods(ctx)
			if err != nil {
				return // whoever needs the host says so; what is not known is not told
			}
			for _, p := range pods {
				if text := w.see(name, p); text != "" {
					w.sink.Event(report.Event{Time: time.Now(), Kind: report.Note, Host: name, Step: "static pods", Message: text})
				}
			}
		})
	}
	all.Wait()
}

// see compares a pod with what it was when it was first seen, and returns what is to be told of it; "" = nothing.
func (w *Watch) see(name string, p host.StaticPod) string {
	k := key{name, p.Name}
	w.mu.Lock()
	defer w.mu.Unlock()
	first, known := w.first[k]
	if !known || p.Restarts < w.seen[k] { // the second: it is another pod
		first = p.Restarts
		w.first[k] = first
		delete(w.told, k)
		delete(w.last, k)
	}
	w.seen[k] = p.Restarts
	again := p.Restarts-first >= often || p.Restarts > often && p.Since > 0 && p.Since < recent
	told, before := w.told[k]
	if !again || before && told == p.Restarts {
		return ""
	}
	w.told[k], w.last[k] = p.Restarts, describe(name, p)
	return w.last[k]
}

// describe says which and why.
func describe(name string, p host.StaticPod) string {
	text := fmt.Sprintf("%s on %s ends and is started again: %d times so far", p.Name, name, p.Restarts)
	if p.Since > 0 {
		text += fmt.Sprintf(", last %s ago", p.Since.Round(time.Second))
	}
	if len(p.Last) == 0 {
		return text + "; it left no log of why"
	}
	return text + "; its last words: " + strings.Join(p.Last, " | ")
}

// Explain adds to the error of a wait what was noticed while it waited; an error of nil stays that.
func (w *Watch) Explain(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil || len(w.last) == 0 {
		return err
	}
	var keys []key
	for k := range w.last {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b key) int { return cmp.Or(strings.Compare(a.host, b.host), strings.Compare(a.pod, b.pod)) })
	texts := make([]string, len(keys))
	for i, k := range keys {
		texts[i] = w.last[k]
	}
	return hint.With(fmt.Errorf("%w\n%s", err, strings.Join(texts, "\n")),
		`"hybridctl preflight" reports how quick processes and the disk of these hosts are, and which fields of the inventory to set`)
}
