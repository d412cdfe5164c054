package conformance

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/report"
)

// longestSilence is the pause between two words about the same silence, which grows up to that.
const longestSilence = 2 * time.Minute

// vigil says what is waited for while no cell ends: whoever looks on cannot tell a slow cluster from a run that is lost.
type vigil struct {
	event   func(report.Event)
	clock   func() time.Time
	silence time.Duration // how long nothing may be said
	view    *view

	mu    sync.Mutex
	left  int            // cells that have not ended
	tried map[int]string // those of them that are being tried: their IDs
	ended time.Time      // when the last one ended
	next  time.Time      // when a word is due
	pause time.Duration
	told  bool // of this silence
}

// begin says that so many cells are to end.
func (v *vigil) begin(cells int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.left, v.tried = cells, map[int]string{}
	v.heard()
}

// heard begins the silence again.
func (v *vigil) heard() {
	v.ended, v.pause = v.clock(), v.silence
	v.next = v.ended.Add(v.pause)
	if v.told {
		v.told = false
		v.event(report.Event{Kind: report.Over, Step: "checks"})
	}
}

func (v *vigil) tries(i int, id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tried[i] = id
}

func (v *vigil) end(i int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.tried, i)
	v.left--
	v.heard()
}

// keep looks until over is called.
func (v *vigil) keep() (over func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // ends with over
		defer close(stopped)
		tick := time.NewTicker(max(v.silence/15, time.Millisecond))
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				v.look()
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
		v.mu.Lock()
		defer v.mu.Unlock()
		v.heard()
	}
}

// look says what is waited for, when it is time.
func (v *vigil) look() {
	v.mu.Lock()
	defer v.mu.Unlock() // also while it is said: that it is over must not come first
	now := v.clock()
	if v.left == 0 || now.Before(v.next) {
		return
	}
	v.pause = min(2*v.pause, longestSilence)
	v.next, v.told = now.Add(v.pause), true
	v.event(report.Event{Kind: report.Progress, Step: "checks", Message: v.waiting(now), Since: v.ended})
}

func (v *vigil) waiting(now time.Time) string {
	const some = 3
	text := fmt.Sprintf("no cell has ended for %s", now.Sub(v.ended).Round(time.Second))
	if len(v.tried) > 0 {
		text += fmt.Sprintf("; tried: %s", report.Some(slices.Sorted(maps.Values(v.tried)), some))
	}
	if waiting := v.left - len(v.tried); waiting > 0 {
		text += fmt.Sprintf("; %s for pods, or for others to end", report.Count(waiting, "cell")+map[bool]string{true: " waits", false: " wait"}[waiting == 1])
	}
	for i, problem := range v.view.problems() {
		if i == some {
			break
		}
		text += "; " + problem
	}
	return text
}
