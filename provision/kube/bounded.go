package kube

import (
	"fmt"
	"io"
	"net/http"
)

// maxAnswer bounds one answer of the API server: a list of all pods of a thousand full nodes is shorter.
const maxAnswer = 512 << 20

// bounded ends an answer that is too long, before it takes this machine's memory. A watch is many answers, and may go on.
type bounded struct {
	next http.RoundTripper
	most int64
}

// WrappedRoundTripper lets the connections beneath be found and closed.
func (t *bounded) WrappedRoundTripper() http.RoundTripper { return t.next }

func (t *bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil || resp.StatusCode == http.StatusSwitchingProtocols || req.URL.Query().Has("watch") {
		return resp, err
	}
	resp.Body = &boundedBody{resp.Body, t.most, t.most}
	return resp, nil
}

type boundedBody struct {
	io.ReadCloser
	left, most int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, b.tooLong()
	}
	if int64(len(p)) > b.left+1 { // one more tells that there is more
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, b.tooLong()
	}
	return n, err
}

func (b *boundedBody) tooLong() error {
	return &failure{ErrTooLong, fmt.Sprintf("the API server's answer has more than %d MiB, and was not read to its end", b.most>>20), nil}
}
