package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hybridctl/hybridctl/provision/report"
)

// Error is a registry's answer that was not the wanted one.
type Error struct {
	Host   string
	Status int
	Codes  []string // as the API has them: MANIFEST_UNKNOWN
	Text   string   // the registry's own words, in one line

	retryAfter time.Duration
	challenge  string
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s answers %d %s", e.Host, e.Status, http.StatusText(e.Status))
	if e.Text != "" {
		s += " (" + e.Text + ")"
	}
	if e.retryAfter > 0 {
		s += fmt.Sprintf(", and asks to come back in %s", e.retryAfter.Round(time.Second))
	}
	return s
}

// IsNotFound reports whether the registry says that it does not have it.
func IsNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// ErrLogin marks answers that want a login, or another one. The user has to log in, or to give a pull secret.
var ErrLogin = errors.New("wants a login")

// ErrDocker marks a configuration of docker's that cannot be used. The user mends it, or names another by DOCKER_CONFIG.
var ErrDocker = errors.New("docker's configuration")

// ErrOther: a registry, or what stands before it, gives something else than it is asked for by its digest. Nothing of it is used.
var ErrOther = errors.New("gives other content")

// errPage marks web pages in the place of what was asked for.
var errPage = errors.New("answers with a web page in its place: a proxy or a login stands between, or it is no registry")

// RefusesOCI reports whether a registry's answer to a manifest of OCI's types may be that it takes only Docker's: those that do not know
// them answer that the manifest is invalid or of an unknown type.
func RefusesOCI(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Status {
	case http.StatusUnsupportedMediaType, http.StatusNotAcceptable:
		return true
	case http.StatusBadRequest:
		return !slices.ContainsFunc(e.Codes, func(code string) bool { return slices.Contains(ofOtherThings, code) })
	}
	return false
}

// ofOtherThings are the codes of a bad request that say what is wrong, and that it is not the manifest's type. Some registries have codes of their
// own for that.
var ofOtherThings = []string{"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "NAME_INVALID", "TAG_INVALID", "DIGEST_INVALID", "SIZE_INVALID", "NAME_UNKNOWN", "DENIED", "UNAUTHORIZED"}

// maxWords bounds what is shown of an answer.
const maxWords = 300

// answered reads what a registry says of an answer that was not the wanted one.
func answered(host string, resp *http.Response) *Error {
	defer resp.Body.Close()
	e := &Error{Host: host, Status: resp.StatusCode, challenge: challengeOf(resp.Header), retryAfter: RetryAfter(resp.Header, time.Now())}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return e // what was not read is missing from the words alone
	}
	var body struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(raw, &body) != nil || len(body.Errors) == 0 {
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
			e.Text = words(string(raw))
		}
		return e
	}
	var all []string
	for _, one := range body.Errors {
		e.Codes = append(e.Codes, one.Code)
		all = append(all, strings.Trim(one.Code+": "+one.Message, ": "))
	}
	e.Text = words(strings.Join(all, "; "))
	return e
}

func words(s string) string {
	s = report.OneLine(s)
	if r := []rune(s); len(r) > maxWords {
		s = string(r[:maxWords]) + "…"
	}
	return s
}
