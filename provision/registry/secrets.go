package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// Secrets are the credentials of pull secrets, by the registry or the repositories that they are for.
type Secrets struct{ entries []secret }

type secret struct {
	key  string // without its scheme: "registry.example:5000/team"
	cred Credential
}

// Add takes a pull secret as it stands in a cluster: the content of .dockerconfigjson, or of the older .dockercfg. from names it for people;
// an error never shows what it holds.
func (s *Secrets) Add(from string, content []byte) error {
	var auths map[string]struct {
		Username, Password, Auth, IdentityToken, RegistryToken string
	}
	var whole struct{ Auths json.RawMessage }
	if json.Unmarshal(content, &whole) != nil {
		return fmt.Errorf("%s is no docker configuration", from)
	}
	if whole.Auths == nil {
		whole.Auths = content
	}
	if json.Unmarshal(whole.Auths, &auths) != nil {
		return fmt.Errorf("%s is no docker configuration", from)
	}
	for key, a := range auths {
		c := Credential{Username: a.Username, Password: a.Password, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken, From: from}
		if a.Auth != "" {
			user, password, err := decodeAuth(a.Auth)
			if err != nil {
				return fmt.Errorf("%s: the auth of one of its %d registries %w", from, len(auths), err) // the name of one may hold a login
			}
			c.Username, c.Password = user, password
		}
		if !c.nobody() {
			s.entries = append(s.entries, secret{plainKey(key), c})
		}
	}
	// The kubelet tries the longest match first (pkg/credentialprovider/keyring.go sorts the keys in reverse).
	slices.SortStableFunc(s.entries, func(a, b secret) int { return strings.Compare(b.key, a.key) })
	return nil
}

func decodeAuth(auth string) (user, password string, err error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimRight(auth, "\x00"))
	if err != nil {
		return "", "", errors.New("is not base64")
	}
	user, password, ok := strings.Cut(string(raw), ":")
	if !ok {
		return "", "", errors.New("has no colon between name and password")
	}
	return user, strings.Trim(password, "\x00"), nil
}

// plainKey is a key of "auths" without scheme and API version: "https://index.docker.io/v1/" is index.docker.io.
func plainKey(key string) string {
	if !strings.Contains(key, "://") {
		key = "https://" + key
	}
	u, err := url.Parse(key)
	if err != nil {
		return ""
	}
	p := strings.TrimRight(u.Path, "/")
	if p == "/v1" || p == "/v2" {
		p = ""
	}
	if host := strings.ToLower(u.Host); host == "docker.io" || host == "registry-1.docker.io" {
		return name.DefaultRegistry + p
	}
	return u.Host + p
}

// For lists the credentials that fit a repository, in the order in which the kubelet tries them.
func (s *Secrets) For(r name.Repository) []Credential {
	if s == nil {
		return nil
	}
	var out []Credential
	for _, e := range s.entries {
		if e.fits(r.RegistryStr(), "/"+r.RepositoryStr()) {
			out = append(out, e.cred)
		}
	}
	return out
}

// fits matches as the kubelet does (URLsMatch): the port is the same, each part of the host's name matches as a glob, and the path is a
// prefix.
func (e secret) fits(host, repository string) bool {
	want, prefix, _ := strings.Cut(e.key, "/")
	wantHost, wantPort, _ := strings.Cut(want, ":")
	hostName, port, _ := strings.Cut(host, ":")
	wantParts, parts := strings.Split(wantHost, "."), strings.Split(hostName, ".")
	if wantPort != port || len(wantParts) != len(parts) {
		return false
	}
	for i := range parts {
		if ok, err := path.Match(wantParts[i], parts[i]); err != nil || !ok {
			return false
		}
	}
	return prefix == "" || strings.HasPrefix(repository, "/"+prefix)
}

// Docker is what docker's (or podman's) configuration and its helpers know of a repository. A helper that fails is an
// error: who is logged in and is asked without a login would look for a mistake elsewhere.
func Docker(ctx context.Context, r name.Repository) ([]Credential, error) {
	a, err := authn.Resolve(ctx, authn.DefaultKeychain, r)
	if err != nil {
		return nil, dockerError(err)
	}
	c, err := a.Authorization()
	if err != nil {
		return nil, dockerError(err)
	}
	one := Credential{Username: c.Username, Password: c.Password, IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken, From: "docker's configuration"}
	if one.nobody() && c.Auth != "" {
		if one.Username, one.Password, err = decodeAuth(c.Auth); err != nil {
			return nil, fmt.Errorf("%w: its auth for %s %w", ErrDocker, r.RegistryStr(), err)
		}
	}
	if one.nobody() {
		return nil, nil
	}
	return []Credential{one}, nil
}

var (
	brokenConfig = regexp.MustCompile(`^parsing config file \((.*?)\): `)
	helperGone   = regexp.MustCompile(`exec: "(docker-credential-[^"]+)": executable file not found`)
)

// dockerError says in a sentence's end what is wrong with docker's configuration. The library's own words may hold what a helper printed.
func dockerError(err error) error {
	if m := helperGone.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("%w names the credential helper %s, which is not installed", ErrDocker, m[1])
	}
	if m := brokenConfig.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("%w: %s cannot be read: it is no JSON, or holds a login that is not base64", ErrDocker, m[1])
	}
	text := err.Error()
	if strings.Contains(text, `"Secret"`) { // it printed a login, and then ended with an error
		text, _, _ = strings.Cut(text, "out: ")
		return fmt.Errorf("%w: its credential helper failed, and what it printed holds a login (%s)", ErrDocker, strings.Trim(words(text), " ,"))
	}
	return fmt.Errorf("%w: %s", ErrDocker, words(text))
}
