package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
)

// tokens is an API server that knows tokens alone.
type tokens struct {
	API
	ttl      time.Duration // of those it makes, whatever is asked for
	unsigned error
	made     int
	waited   []string
	deleted  []string
	slow     func(context.Context) error // is how a deletion goes before it ends
	stays    string                      // a token that cannot be deleted
}

func (a *tokens) WaitAPI(context.Context) error { return nil }

func (a *tokens) CreateToken(_ context.Context, ttl time.Duration, _ string) (kube.Token, error) {
	a.made++
	if a.ttl != 0 {
		ttl = a.ttl
	}
	return kube.Token{ID: fmt.Sprint("token-", a.made), Expires: time.Now().Add(ttl)}, nil
}

func (a *tokens) WaitSigned(_ context.Context, id string, _ kube.WaitOptions) error {
	a.waited = append(a.waited, id)
	return a.unsigned
}

func (a *tokens) DeleteToken(ctx context.Context, id string) error {
	if a.slow != nil {
		if err := a.slow(ctx); err != nil {
			return err
		}
	}
	if id == a.stays {
		return errors.New("cannot delete " + id)
	}
	a.deleted = append(a.deleted, id)
	return nil
}

func (a *tokens) get(t *testing.T, source *tokenSource) string {
	t.Helper()
	token, err := source.get(t.Context(), a, nil)
	if err != nil {
		t.Fatal(err)
	}
	return token.ID
}

func TestTokenSource_OneForAllJoinsOfARun(t *testing.T) {
	var source tokenSource
	a := &tokens{}
	first, second := a.get(t, &source), a.get(t, &source)
	if first != second || a.made != 1 || len(a.waited) != 1 {
		t.Errorf("%s and %s; %d made, waited for %v", first, second, a.made, a.waited)
	}
	if err := source.revoke(t.Context()); err != nil || !slices.Equal(a.deleted, []string{"token-1"}) {
		t.Errorf("deleted %v, %v", a.deleted, err)
	}
	if err := (&tokenSource{}).revoke(t.Context()); err != nil {
		t.Errorf("a run without joins: %v", err)
	}
}

func TestTokenSource_AnotherBeforeTheFirstExpires(t *testing.T) {
	var source tokenSource
	a := &tokens{ttl: tokenTTL/2 - time.Second}
	a.get(t, &source)
	a.ttl = 0
	if id := a.get(t, &source); id != "token-2" || !slices.Equal(a.waited, []string{"token-1", "token-2"}) {
		t.Errorf("got %s, waited for %v", id, a.waited)
	}
	a.stays = "token-1"
	if err := source.revoke(t.Context()); err == nil || !slices.Equal(a.deleted, []string{"token-2"}) {
		t.Errorf("one stays, the other goes: deleted %v, %v", a.deleted, err)
	}
}

func TestTokenSource_UnsignedIsWaitedForAgainAndRevoked(t *testing.T) {
	var source tokenSource
	a := &tokens{unsigned: errors.New("nobody signs")}
	if _, err := source.get(t.Context(), a, nil); !errors.Is(err, a.unsigned) {
		t.Errorf("got %v", err)
	}
	a.unsigned = nil
	if id := a.get(t, &source); id != "token-1" || a.made != 1 || len(a.waited) != 2 {
		t.Errorf("got %s; %d made, waited for %v", id, a.made, a.waited)
	}
	if err := source.revoke(t.Context()); err != nil || !slices.Equal(a.deleted, []string{"token-1"}) {
		t.Errorf("deleted %v, %v", a.deleted, err)
	}
}

func TestTokenSource_OneThatIsInUseStays(t *testing.T) {
	var source tokenSource
	a := &tokens{}
	a.get(t, &source)
	source.keep()
	if err := source.revoke(t.Context()); err != nil || len(a.deleted) > 0 {
		t.Errorf("error %v, deleted %q", err, a.deleted)
	}
}

// A slow API server has as long as it takes, as for everything else: a run that did all its steps does not fail for it. An interrupt bounds that.
func TestSteps_CloseIsAsPatientAsTheClient(t *testing.T) {
	var bounds []bool
	a := &tokens{slow: func(ctx context.Context) error {
		end, bounded := ctx.Deadline()
		if bounded && time.Until(end) > tokenPatience {
			t.Errorf("it may take until %v", end)
		}
		bounds = append(bounds, bounded)
		return ctx.Err()
	}}
	x := New(Env{})
	a.get(t, &x.token)
	if err := x.Close(context.Background()); err != nil || !slices.Equal(bounds, []bool{false}) || !slices.Equal(a.deleted, []string{"token-1"}) {
		t.Errorf("%v; bounded %v, deleted %v", err, bounds, a.deleted)
	}

	// An interrupt while it is being deleted.
	bounds, a.deleted = nil, nil
	a.get(t, &x.token)
	ctx, interrupt := context.WithCancel(context.Background())
	first := a.slow
	a.slow = func(ctx context.Context) error { interrupt(); return first(ctx) }
	if err := x.Close(ctx); err != nil || !slices.Equal(bounds, []bool{false, true}) || len(a.deleted) != 1 {
		t.Errorf("%v; bounded %v, deleted %v", err, bounds, a.deleted)
	}
}
