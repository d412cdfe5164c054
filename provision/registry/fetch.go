package registry

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/name"
)

// Keychain gives the credentials for a repository, "registry.example:5000/team/app".
type Keychain func(ctx context.Context, repository string) ([]Credential, error)

// Named opens a repository for reading by its name; without a keychain, docker's configuration says with which credentials.
func (c *Client) Named(ctx context.Context, repository string, keys Keychain) (*Repo, error) {
	r, given, err := named(ctx, repository, keys)
	if err != nil {
		return nil, err
	}
	return c.Repo(r, given), nil
}

// NamedWritable is Named for writing; blobs may be mounted from the other repositories where they are of the same registry.
func (c *Client) NamedWritable(ctx context.Context, repository string, keys Keychain, from ...string) (*Repo, error) {
	r, given, err := named(ctx, repository, keys)
	if err != nil {
		return nil, err
	}
	var sources []name.Repository
	for _, f := range from {
		source, err := name.NewRepository(f)
		if err != nil {
			return nil, fmt.Errorf("%q is no name of a repository", f)
		}
		sources = append(sources, source)
	}
	return c.Writable(r, given, sources), nil
}

func named(ctx context.Context, repository string, keys Keychain) (name.Repository, []Credential, error) {
	r, err := name.NewRepository(repository)
	if err != nil {
		return name.Repository{}, nil, fmt.Errorf("%q is no name of a repository, such as registry.example:5000/team/app", repository)
	}
	if keys == nil {
		given, err := Docker(ctx, r)
		return r, given, err
	}
	given, err := keys(ctx, repository)
	return r, given, err
}

// BlobFrom asks for a blob from a byte on, in one request. A registry answers with the rest (206), with the whole (200), or that there is no
// more (416): the caller reads which, and closes the answer's body. Every other answer is an *Error.
func (r *Repo) BlobFrom(ctx context.Context, digest string, at int64) (*http.Response, error) {
	q := call{method: http.MethodGet, path: "blobs/" + digest, again: true, good: []int{http.StatusOK}, what: "a blob"}
	if at > 0 {
		q.header = http.Header{"Range": {fmt.Sprintf("bytes=%d-", at)}}
		q.good = append(q.good, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable)
	}
	return r.do(ctx, q)
}
