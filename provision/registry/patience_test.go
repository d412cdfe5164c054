package registry

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
)

// hands is a clock of the test's own: it says what was to be waited for, and runs out when it is told.
type hands struct {
	waits time.Duration
	end   func()
}

func (h *hands) Reset(d time.Duration) bool { h.waits = d; return true }
func (h *hands) Stop() bool                 { return true }

// A registry that has all of what was sent may store it for ten times as long as one may take for a part; whoever is given up on is told by
// what was waited for.
func TestPatience_IsLongerForWhatWasSentWhole(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 100_000)
	for taking, c := range map[string]struct {
		takes int // bytes, and then no answer comes
		waits time.Duration
		says  string
	}{
		"nothing is taken": {0, 30 * time.Second, "no answer within 30s"},
		"a part is taken":  {50_000, 30 * time.Second, "no answer within 30s"},
		"all is taken":     {100_000, 5 * time.Minute, "no answer within 5m0s"},
	} {
		clock := &hands{}
		taken := make(chan struct{})
		client, err := New(Options{Patience: 30 * time.Second, Tries: 1, Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodPost {
				return &http.Response{StatusCode: http.StatusAccepted, Header: http.Header{"Location": {"/v2/team/app/blobs/uploads/1"}}, Body: http.NoBody, Request: req}, nil
			}
			if _, err := io.ReadFull(req.Body, make([]byte, c.takes)); err != nil {
				t.Error(err)
			}
			close(taken)
			<-req.Context().Done()
			return nil, req.Context().Err()
		})})
		if err != nil {
			t.Fatal(err)
		}
		client.after = func(d time.Duration, end func()) timer {
			clock.waits, clock.end = d, end
			return clock
		}
		repository, err := name.NewRepository("r.example/team/app")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() {
			ended <- client.Writable(repository, nil, nil).Upload(t.Context(), digest(content), int64(len(content)), func() (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(content)), nil
			})
		}()
		<-taken
		if clock.waits != c.waits {
			t.Errorf("%s: %s is waited for, want %s", taking, clock.waits, c.waits)
		}
		clock.end()
		if err := <-ended; !errors.Is(err, ErrSilent) || !strings.Contains(err.Error(), "r.example does not answer: "+c.says) {
			t.Errorf("%s: %v", taking, err)
		}
	}
}

// A registry that answers before it has taken all goes on reading: what is sent then begins no wait that no one ends,
// which would end the answer.
func TestPatience_EndsWithTheAnswer(t *testing.T) {
	clock := &hands{}
	p := &patience{of: time.Second, timer: clock}
	p.begin(false)
	p.end()
	clock.waits = 0
	if p.begin(true); clock.waits != 0 {
		t.Errorf("%s is waited for behind the answer", clock.waits)
	}
}

// What a helper printed is told, as it says there what is wrong; unless it is a login.
func TestDockerError_TellsNoLogin(t *testing.T) {
	for said, want := range map[string]string{
		"error getting credentials - err: exit status 1, out: `the store is locked`":                     "docker's configuration: error getting credentials - err: exit status 1, out: `the store is locked`",
		"error getting credentials - err: exit status 1, out: `{\"Username\":\"me\",\"Secret\":\"pw\"}`": "docker's configuration: its credential helper failed, and what it printed holds a login (error getting credentials - err: exit status 1)",
	} {
		if err := dockerError(errors.New(said)); !errors.Is(err, ErrDocker) || err.Error() != want {
			t.Errorf("%v", err)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (r roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }
