package registry

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-containerregistry/pkg/name"
)

// FuzzAnswer: what a registry answers instead of what was asked for becomes one plain line, and a challenge names what is understood.
func FuzzAnswer(f *testing.F) {
	f.Add(`Bearer realm="https://auth.example/token",service="registry.example",scope="a"`, "application/json", []byte(`{"errors":[{"code":"DENIED","message":"no\n"}]}`))
	f.Add(`basic realm=x`, "text/plain", []byte("\x1b]0;x\aToo many"))
	f.Add(`Negotiate`, "", []byte(`{"errors":[null,{}]}`))
	f.Add(`11111111111`, "", []byte(`{}`)) // Retry-After: more seconds than a time.Duration holds
	f.Add(`99999999999999999999`, "", []byte(`{}`))
	f.Fuzz(func(t *testing.T, challenge, media string, body []byte) {
		resp := &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Www-Authenticate": {challenge, "Basic"}, "Content-Type": {media}, "Retry-After": {challenge}},
			Body: io.NopCloser(strings.NewReader(string(body)))}
		e := answered("registry.example", resp)
		if strings.ContainsFunc(e.Text, unicode.IsControl) || len([]rune(e.Text)) > maxWords+1 {
			t.Errorf("told: %q", e.Text)
		}
		if e.retryAfter < 0 {
			t.Errorf("again after %v", e.retryAfter)
		}
		c := parseChallenge(e.challenge)
		if c == nil {
			t.Errorf("%q was chosen and is not understood", e.challenge)
		} else if !c.basic {
			_, _ = url.Parse(c.realm)
		}
	})
}

// FuzzSecrets: pull secrets are anybody's. An error does not show what one holds.
func FuzzSecrets(f *testing.F) {
	f.Add([]byte(`{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"},"*.example:5000/team":{"username":"u","password":"hunter2"}}}`), "registry.example:5000/team/app")
	f.Add([]byte(`{"auths":{"https://u:hunter2@index.docker.io/v1/":{"auth":"!"}}}`), "b/c")
	f.Add([]byte(`{"a[":{"auth":"!"},"b":null}`), "b/c")
	f.Fuzz(func(t *testing.T, content []byte, repository string) {
		var s Secrets
		if err := s.Add("secret a/b", content); err != nil && strings.Contains(err.Error(), "hunter2") && !strings.Contains(repository, "hunter2") {
			t.Error(err)
		}
		if r, err := name.NewRepository(repository); err == nil {
			for _, c := range s.For(r) {
				if c.nobody() || c.From != "secret a/b" {
					t.Errorf("a credential without content for %s", r)
				}
			}
		}
	})
}
