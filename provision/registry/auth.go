package registry

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
)

// Credential is what a registry is shown; the zero value is no one's. It never shows itself.
type Credential struct {
	Username, Password string
	IdentityToken      string // for a token endpoint, in place of a password
	RegistryToken      string // for the registry itself
	From               string // for people: "secret team/pull", "docker's config"
}

// Format keeps secrets out of whatever prints one.
func (c Credential) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "credential of "+c.From) }

// MarshalJSON keeps secrets out of documents.
func (c Credential) MarshalJSON() ([]byte, error) { return json.Marshal(c.From) }

func (c Credential) nobody() bool {
	return c.Username == "" && c.Password == "" && c.IdentityToken == "" && c.RegistryToken == ""
}

// ID is the same for the same secrets, and does not show them.
func (c Credential) ID() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{c.Username, c.Password, c.IdentityToken, c.RegistryToken}, "\x00")))
	return string(sum[:])
}

// challenge is how a registry wants to be logged in to.
type challenge struct {
	basic          bool
	realm, service string
}

var challengeField = regexp.MustCompile(`(?i)(realm|service|scope)="([^"]*)"`)

// challengeOf is the challenge that is understood here, of those that an answer has: a token's goes before a password's.
func challengeOf(h http.Header) string {
	basic := ""
	for _, text := range h.Values("WWW-Authenticate") {
		switch scheme, _, _ := strings.Cut(strings.TrimSpace(text), " "); strings.ToLower(scheme) {
		case "bearer":
			return text
		case "basic":
			basic = text
		}
	}
	return basic
}

func parseChallenge(text string) *challenge {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	switch strings.ToLower(scheme) {
	case "basic":
		return &challenge{basic: true}
	case "bearer":
		c := &challenge{}
		for _, m := range challengeField.FindAllStringSubmatch(rest, -1) {
			switch strings.ToLower(m[1]) {
			case "realm":
				c.realm = m[2]
			case "service":
				c.service = m[2]
			}
		}
		return c
	}
	return nil
}

// token is one repository's, for one credential; it is asked for once.
type token struct {
	mu    sync.Mutex
	value string
}

// authorize sets the header that the registry is known to want; what is not known yet, its answer tells.
func (r *Repo) authorize(ctx context.Context, req *http.Request, key Credential) error {
	if key.RegistryToken != "" {
		req.Header.Set("Authorization", "Bearer "+key.RegistryToken)
		return nil
	}
	r.host.mu.Lock()
	c := r.host.challenge
	r.host.mu.Unlock()
	switch {
	case c == nil, c.basic && key.nobody():
	case c.basic:
		req.SetBasicAuth(key.Username, key.Password)
	default:
		value, err := r.token(ctx, c, key)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+value)
	}
	return nil
}

func (r *Repo) scopes() []string {
	if shared := r.c.sharedBy(r.name); shared != nil {
		return shared
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{"repository:" + r.name.RepositoryStr() + ":" + r.scope}, r.more...)
}

func (r *Repo) tokenOf(key Credential) *token {
	id := strings.Join(append(r.scopes(), r.host.name, key.ID()), "\x00")
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	t := r.c.token[id]
	if t == nil {
		t = &token{}
		r.c.token[id] = t
	}
	return t
}

// token is the one that the client has, or a new one.
func (r *Repo) token(ctx context.Context, c *challenge, key Credential) (string, error) {
	t := r.tokenOf(key)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.value != "" {
		return t.value, nil
	}
	realm, err := url.Parse(c.realm)
	if err != nil || realm.Host == "" {
		return "", fmt.Errorf("%s names no place for its tokens", r.host.name)
	}
	if registry := r.name.RegistryStr(); realm.Scheme == "http" && realm.Hostname() != hostname(registry) && !slices.Contains(r.c.PlainHTTP, realm.Host) {
		return "", fmt.Errorf("%s sends to %s by HTTP for its tokens, which is refused: credentials would go there in clear text", registry, realm.Host)
	}
	if err := r.c.mayAsk(ctx, r.name.RegistryStr(), realm, "its tokens"); err != nil {
		return "", err
	}
	value, err := r.fetchToken(ctx, realm, c, key)
	if errors.Is(err, ErrLogin) && r.c.unshare(r.name) { // it may grant all or nothing
		value, err = r.fetchToken(ctx, realm, c, key)
	}
	if err != nil {
		return "", err
	}
	t.value = value
	return value, nil
}

func (r *Repo) fetchToken(ctx context.Context, realm *url.URL, c *challenge, key Credential) (string, error) {
	q := realm.Query()
	if key.IdentityToken != "" {
		q = url.Values{"grant_type": {"refresh_token"}, "refresh_token": {key.IdentityToken}, "client_id": {"hybridctl"}}
	}
	if c.service != "" {
		q.Set("service", c.service)
	}
	if key.IdentityToken != "" {
		q.Set("scope", strings.Join(r.scopes(), " "))
	} else {
		q["scope"] = r.scopes()
	}
	ask := request{method: http.MethodGet, url: *realm, header: http.Header{}}
	if key.IdentityToken != "" {
		body := q.Encode()
		ask.method, ask.size = http.MethodPost, int64(len(body))
		ask.body = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
		ask.header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else {
		ask.url.RawQuery = q.Encode()
		if !key.nobody() {
			ask.sign = func(req *http.Request) { req.SetBasicAuth(key.Username, key.Password) }
		}
	}
	ask.again = true
	resp, done, err := r.c.send(ctx, r.c.host(realm.Host), ask)
	if err != nil {
		return "", err
	}
	defer done()
	if resp.StatusCode != http.StatusOK {
		e := answered(realm.Host, resp)
		if e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden {
			return "", r.login(key, e)
		}
		return "", e
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument))
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err != nil || json.Unmarshal(raw, &answer) != nil || answer.Token+answer.AccessToken == "" {
		return "", fmt.Errorf("%s gives no token that can be read", realm.Host)
	}
	if answer.Token == "" {
		return answer.AccessToken, nil
	}
	return answer.Token, nil
}

// login explains that a registry does not let a key in.
func (r *Repo) login(key Credential, e *Error) error {
	if key.nobody() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.turnedAway != nil { // what became of a login says more than that one is wanted
			return r.turnedAway
		}
		return fmt.Errorf("%s %w for %s", r.host.name, ErrLogin, r.name.RepositoryStr())
	}
	return &refused{fmt.Sprintf("%s does not let %s in with the %v: %v", r.host.name, r.name.RepositoryStr(), key, e)}
}

// refused is a login that the registry did not take.
type refused struct{ text string }

func (r *refused) Error() string        { return r.text }
func (r *refused) Is(target error) bool { return target == ErrLogin }

// Share has one token asked for that is for all of these repositories of one registry: the first is written to, the others are read.
func (c *Client) Share(write name.Repository, read []name.Repository) {
	scopes, of := []string{"repository:" + write.RepositoryStr() + ":pull,push"}, []string{write.Name()}
	for _, r := range read {
		if r.RegistryStr() == write.RegistryStr() && !slices.Contains(of, r.Name()) {
			scopes, of = append(scopes, "repository:"+r.RepositoryStr()+":pull"), append(of, r.Name())
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shared, c.sharing = scopes, of
}

func (c *Client) sharedBy(r name.Repository) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Contains(c.sharing, r.Name()) {
		return c.shared
	}
	return nil
}

// unshare goes back to a token for each repository; false when the repository had its own already.
func (c *Client) unshare(r name.Repository) bool {
	if c.sharedBy(r) == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shared, c.sharing = nil, nil
	return true
}
