package remote

import (
	"context"
	"slices"
	"sync"
	"time"
)

// maxSessions is what sshd allows on one connection unless told otherwise (MaxSessions).
const maxSessions = 10

// slots bounds the sessions on a connection to what the server allows. Whoever comes first gets a place first. An SFTP session that
// no one uses gives up its place to the next in line.
type slots struct {
	mu          sync.Mutex
	limit, used int
	waiting     []chan struct{}   // closed when the place is theirs
	idle        map[*uploads]bool // SFTP sessions that are open and not in use
	gave        time.Time         // when a place was last given back
}

func newSlots(limit int) *slots { return &slots{limit: limit, idle: map[*uploads]bool{}} }

// take waits for a place.
func (s *slots) take(ctx context.Context, done <-chan struct{}) error {
	s.mu.Lock()
	if s.used < s.limit && len(s.waiting) == 0 {
		s.used++
		s.mu.Unlock()
		return nil
	}
	mine := make(chan struct{})
	s.waiting = append(s.waiting, mine)
	evict := s.someIdle()
	s.mu.Unlock()
	if evict != nil {
		evict.dropIdle()
	}
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
	case <-done:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, mine); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	} else {
		s.back() // it came at the same moment
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return ErrClosed
}

// someIdle returns an SFTP session to give up, or nil. The caller holds mu.
func (s *slots) someIdle() *uploads {
	for u := range s.idle {
		delete(s.idle, u)
		return u
	}
	return nil
}

// give returns a place.
func (s *slots) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gave = time.Now()
	s.back()
}

// giveUnused returns a place that no session came of.
func (s *slots) giveUnused() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.back()
}

// back hands the place on. The caller holds mu.
func (s *slots) back() {
	s.used--
	for len(s.waiting) > 0 && s.used < s.limit {
		s.used++
		close(s.waiting[0])
		s.waiting = s.waiting[1:]
	}
}

// rest tells that an SFTP session is not in use. False: another session waits for its place.
func (s *slots) rest(u *uploads) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) > 0 {
		return false
	}
	s.idle[u] = true
	return true
}

// wake tells that an SFTP session is in use again, or gone.
func (s *slots) wake(u *uploads) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.idle, u)
}

// lag is how long a server may take to clear away a session that has ended.
const lag = 2 * time.Second

// refused decides what a refused session means. Is there none beside it, or did one end a moment ago, the server may not have
// cleared that away: it is asked again, which is what again says; beside others no more than a few times. Otherwise as many as
// are open are what the server allows.
func (s *slots) refused(try int) (again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	beside := s.used - 1
	if beside == 0 || try < triesBeside && time.Since(s.gave) < lag {
		return true
	}
	s.limit = min(s.limit, beside)
	return false
}
