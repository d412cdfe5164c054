package image

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// Registry asks registries for what images are made. It reads manifests alone, as nobody in particular: what needs a login stays unknown.
// A host that once does not answer is not asked again, as every image of it would wait for the same. The zero value works.
type Registry struct {
	Client   *http.Client  // nil = http.DefaultClient
	Patience time.Duration // for one request; 0 = 5 s

	mu     sync.Mutex
	silent map[string]error // what hosts that did not answer were found with
}

// defaultPatience is the Registry's own.
const defaultPatience = 5 * time.Second

// errSilent marks hosts that do not answer, whatever they are asked.
var errSilent = errors.New("does not answer")

// Archs returns the supported architectures for which the registry has the image. The error is for the user: the registry did not
// answer, wants a login, or does not have the image.
func (r *Registry) Archs(ctx context.Context, image string) ([]platform.Arch, error) {
	ref, err := name.ParseReference(image)
	if err != nil {
		return nil, err
	}
	return (&inquiry{Registry: r, repo: ref.Context()}).archs(ctx, ref.Identifier(), 0)
}

// inquiry asks a registry about one image.
type inquiry struct {
	*Registry
	repo  name.Repository
	token string // for everybody, when the registry wants one
}

// archs follows a manifest, or an index and those of its entries that do not say their platform themselves.
func (q *inquiry) archs(ctx context.Context, identifier string, depth int) ([]platform.Arch, error) {
	raw, err := q.get(ctx, "manifests/"+identifier)
	if err != nil {
		return nil, err
	}
	var head struct {
		Manifests []v1.Descriptor `json:"manifests"`
		Config    v1.Descriptor   `json:"config"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, fmt.Errorf("%s: the manifest %s cannot be read: %w", q.repo, identifier, err)
	}
	switch {
	case head.Manifests == nil:
		return q.archOfConfig(ctx, head.Config, depth > 0)
	case depth == maxDepth:
		return nil, fmt.Errorf("%s: too many indexes within one another", q.repo)
	}
	var out []platform.Arch
	for _, m := range head.Manifests {
		if !wanted(m) {
			continue
		}
		some := archsOf(m.Platform)
		if m.Platform == nil || m.MediaType.IsIndex() {
			if some, err = q.archs(ctx, m.Digest.String(), depth+1); err != nil {
				return nil, err
			}
		}
		for _, arch := range some {
			if !slices.Contains(out, arch) {
				out = append(out, arch)
			}
		}
	}
	return out, nil
}

// archOfConfig asks an image itself. Among an index's entries are some that are no images, as signatures; their config names nothing.
func (q *inquiry) archOfConfig(ctx context.Context, desc v1.Descriptor, entry bool) ([]platform.Arch, error) {
	raw, err := q.get(ctx, "blobs/"+desc.Digest.String())
	if err != nil {
		return nil, err
	}
	var config v1.ConfigFile
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, fmt.Errorf("%s: the config %s cannot be read: %w", q.repo, desc.Digest, err)
	}
	if config.Architecture == "" && !entry {
		return nil, fmt.Errorf("%s: its config names no architecture", q.repo)
	}
	return archsOf(&v1.Platform{OS: config.OS, Architecture: config.Architecture}), nil
}

// FullName is an image's name with its registry and tag, as container runtimes have it: nginx is index.docker.io/library/nginx:latest. What
// is no name stays as it is.
func FullName(image string) string {
	ref, err := name.ParseReference(image)
	if err != nil {
		return image
	}
	return ref.Name()
}

// RegistryOf is the host that an image's name names, or stands for; "" = it is no name.
func RegistryOf(image string) string {
	ref, err := name.ParseReference(image)
	if err != nil {
		return ""
	}
	return ref.Context().RegistryStr()
}

// archsOf is the supported architecture of a platform, or none.
func archsOf(p *v1.Platform) []platform.Arch {
	if p != nil && p.OS == "linux" {
		if arch, err := platform.Parse(p.Architecture); err == nil {
			return []platform.Arch{arch}
		}
	}
	return nil
}

// accepted are the documents that lead to an image's platforms.
var accepted = []string{string(types.OCIImageIndex), string(types.DockerManifestList), string(types.OCIManifestSchema1), string(types.DockerManifestSchema2)}

// get reads a document, with a token for everybody when the registry wants one.
func (q *inquiry) get(ctx context.Context, path string) ([]byte, error) {
	where := fmt.Sprintf("%s://%s/v2/%s/%s", q.repo.Registry.Scheme(), q.repo.RegistryStr(), q.repo.RepositoryStr(), path)
	body, challenge, err := q.try(ctx, where, q.token)
	if challenge == "" || err == nil {
		return body, err
	}
	if q.token, err = q.anonymous(ctx, challenge, q.repo); err != nil {
		return nil, err
	}
	body, _, err = q.try(ctx, where, q.token)
	return body, err
}

// try returns the registry's challenge, too, when it wants a token.
func (r *Registry) try(ctx context.Context, where, token string) (body []byte, challenge string, err error) {
	bounded, cancel := context.WithTimeout(ctx, cmp.Or(r.Patience, defaultPatience))
	defer cancel()
	req, err := http.NewRequestWithContext(bounded, http.MethodGet, where, nil)
	if err != nil {
		return nil, "", err
	}
	if err := r.silence(req.URL.Host); err != nil {
		return nil, "", err
	}
	req.Header.Set("Accept", strings.Join(accepted, ", "))
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := r.Client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", r.noAnswer(ctx, req.URL, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, resp.Header.Get("WWW-Authenticate"), fmt.Errorf("%s answers %s", req.URL.Host, resp.Status)
	}
	if body, err = io.ReadAll(io.LimitReader(resp.Body, maxDocument)); err != nil {
		return nil, "", r.noAnswer(ctx, req.URL, &url.Error{URL: resp.Request.URL.String(), Err: err})
	}
	return body, "", nil
}

// silence is the error of a host that did not answer before.
func (r *Registry) silence(host string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.silent[host]
}

// noAnswer explains an error of the connection, and remembers the host for it unless the run itself ends. A host that a registry sends on
// to, for its blobs, says nothing of the registry.
func (r *Registry) noAnswer(ctx context.Context, asked *url.URL, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	host := asked.Host
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
		if u, bad := url.Parse(at.URL); bad == nil {
			host = u.Host
		}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		err = fmt.Errorf("%s %w within %v", host, errSilent, cmp.Or(r.Patience, defaultPatience))
	} else {
		err = fmt.Errorf("%s %w: %v", host, errSilent, err)
	}
	if host == asked.Host {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.silent == nil {
			r.silent = map[string]error{}
		}
		r.silent[host] = err
	}
	return err
}

var challengeField = regexp.MustCompile(`(realm|service|scope)="([^"]*)"`)

// anonymous asks for a token as the registry's challenge says.
func (r *Registry) anonymous(ctx context.Context, challenge string, repo name.Repository) (string, error) {
	if !strings.HasPrefix(strings.ToLower(challenge), "bearer ") {
		return "", fmt.Errorf("%s wants a login", repo.RegistryStr())
	}
	field := map[string]string{"scope": "repository:" + repo.RepositoryStr() + ":pull"}
	for _, m := range challengeField.FindAllStringSubmatch(challenge, -1) {
		field[m[1]] = m[2]
	}
	u, err := url.Parse(field["realm"])
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("%s names no place for its tokens", repo.RegistryStr())
	}
	q := u.Query()
	q.Set("scope", field["scope"])
	if field["service"] != "" {
		q.Set("service", field["service"])
	}
	u.RawQuery = q.Encode()
	body, _, err := r.try(ctx, u.String(), "")
	if errors.Is(err, errSilent) || ctx.Err() != nil {
		return "", err
	}
	if err != nil {
		return "", fmt.Errorf("%s wants a login", repo.RegistryStr())
	}
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("%s gives no token that can be read", u.Host)
	}
	if answer.Token == "" {
		answer.Token = answer.AccessToken
	}
	return answer.Token, nil
}
