package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/registry"
)

const (
	bufferSize = 256 << 10
	// triesAtOnce is how often in a row an answer may end without a byte, and triesInAll how often in one download.
	triesAtOnce, triesInAll = 4, 1000
)

// source is where a file comes from.
type source interface {
	// open asks for the file from a byte on. Answers are 200, 206 and 416; everything else is an error that is a sentence for the user, or
	// one that may pass, which is *passing.
	open(ctx context.Context, at int64) (*http.Response, error)
	// host is who is asked first.
	host() string
}

// passing is a failure after which another try has a prospect.
type passing struct {
	err   error
	pause time.Duration // that was asked for
}

func (p *passing) Error() string { return p.err.Error() }
func (p *passing) Unwrap() error { return p.err }

// download fetches one file into the cache.
type download struct {
	*fetcher
	what   string // for people: "kubelet v1.36.4 for arm64"
	digest string // "sha256:…"
	size   int64  // -1 = not known before a server told
	from   source
	by     string              // who says the digest: "the catalogue"
	moved  func(n, size int64) // n more bytes are there; below zero when some were of no use
	noteTo string              // the item that notes are about

	f       *os.File
	sum     hash.Hash
	have    int64
	resumed bool   // bytes of an earlier run are among them
	whole   bool   // the answer's end is the file's
	host    string // that answered last
	tries   int    // in a row
	all     int
	afresh  bool // it began again once
}

// run leaves the file in the cache, or says in a sentence why not. What came stays for the next run.
func (d *download) run(ctx context.Context) error {
	has, damaged, err := d.cache.has(ctx, d.digest, d.size)
	if err != nil || has {
		return d.local(err)
	}
	if damaged {
		d.note(d.noteTo, d.what+" in the cache was damaged, and is fetched again")
	}
	d.f, err = d.cache.locked(ctx, d.digest, d.o.Wait, func() { d.note(d.noteTo, d.what+" is being fetched by another run, which is waited for") })
	if err != nil || d.f == nil {
		return d.local(err)
	}
	defer d.f.Close()
	d.host = d.from.host()
	if err := d.keep(ctx); err != nil {
		return d.local(err)
	}
	for {
		if err := d.fill(ctx); err != nil {
			return err
		}
		again, err := d.finish()
		if err != nil || !again {
			return d.local(err)
		}
	}
}

// local turns errors of the file system into sentences.
func (d *download) local(err error) error {
	if err == nil {
		return nil
	}
	if sentence := writing(d.what, d.cache.dir, progress{d.have, d.size}, err); sentence != nil {
		return sentence
	}
	return err
}

// keep takes over what an earlier run has left: it is read again, as its sum is needed.
func (d *download) keep(ctx context.Context) error {
	d.sum = sha256.New()
	n, err := copyTo(ctx, d.sum, d.f)
	if err != nil {
		return err
	}
	if d.size >= 0 && n > d.size {
		return d.restart()
	}
	d.have, d.resumed = n, n > 0
	d.moved(n, d.size)
	return nil
}

// restart forgets what came.
func (d *download) restart() error {
	d.moved(-d.have, d.size)
	d.sum, d.have, d.resumed, d.whole = sha256.New(), 0, false, false
	_, err := d.f.Seek(0, io.SeekStart)
	return errors.Join(err, d.f.Truncate(0))
}

// fill asks until the file is whole.
func (d *download) fill(ctx context.Context) error {
	for !d.complete() {
		had := d.have
		err := d.ask(ctx)
		if err == nil {
			continue
		}
		if isEnd(ctx, err) {
			return ctx.Err()
		}
		var p *passing
		if !errors.As(err, &p) {
			return d.local(err)
		}
		if d.have > had {
			d.tries = 0
		}
		d.tries++
		d.all++
		if d.tries >= triesAtOnce || d.all >= triesInAll {
			return p.err
		}
		if d.tries == 1 && p.pause == 0 {
			continue
		}
		if err := d.o.Wait(ctx, max(p.pause, 500*time.Millisecond<<d.tries)); err != nil {
			return err
		}
	}
	return nil
}

func (d *download) complete() bool { return d.whole || d.size >= 0 && d.have == d.size }

// ask sends one request, and takes what it brings.
func (d *download) ask(ctx context.Context) error {
	bounded, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := d.from.open(bounded, d.have)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	d.host = resp.Request.URL.Host
	begins, size, err := d.read(resp)
	if err != nil {
		return err
	}
	if begins < 0 {
		return nil // it begins again
	}
	if d.size >= 0 && size >= 0 && size != d.size {
		return d.stop(ErrContent, "%s has another file: %d bytes and not %d", d.host, size, d.size)
	}
	if d.size < 0 {
		d.size = size
	}
	return d.take(bounded, cancel, resp)
}

var contentRange = regexp.MustCompile(`^bytes (\d+)-(\d+)/(\d+|\*)$`)

// read says where in the file an answer begins and how long the whole is (-1 = not told); begins < 0 = it is of no use,
// and asked for again.
func (d *download) read(resp *http.Response) (begins, size int64, err error) {
	switch resp.StatusCode {
	case http.StatusOK:
		if d.have > 0 { // it knows no ranges
			if err := d.restart(); err != nil {
				return -1, -1, err
			}
		}
		return 0, resp.ContentLength, nil
	case http.StatusRequestedRangeNotSatisfiable:
		return d.again("says that there is nothing after %d bytes", d.have)
	}
	m := contentRange.FindStringSubmatch(resp.Header.Get("Content-Range"))
	if m == nil {
		return d.again("answers with a part, and not with which")
	}
	begins, _ = strconv.ParseInt(m[1], 10, 64)
	last, _ := strconv.ParseInt(m[2], 10, 64)
	size = -1
	if m[3] != "*" {
		size, _ = strconv.ParseInt(m[3], 10, 64)
	}
	if begins != d.have || last < begins || resp.ContentLength >= 0 && resp.ContentLength != last-begins+1 || size >= 0 && last >= size {
		return d.again("was asked for the bytes from %d on, and answers with %s of %d bytes", d.have, m[0], resp.ContentLength)
	}
	return begins, size, nil
}

// again has the whole asked for, once more.
func (d *download) again(format string, args ...any) (begins, size int64, err error) {
	if d.afresh || d.have == 0 {
		return -1, -1, d.stop(ErrContent, "%s "+format, append([]any{d.host}, args...)...)
	}
	d.afresh = true
	return -1, -1, d.restart()
}

// take writes an answer's body to the part.
func (d *download) take(ctx context.Context, cancel context.CancelCauseFunc, resp *http.Response) error {
	patience := d.o.Patience
	timer := time.AfterFunc(patience, func() { cancel(errStalled) })
	defer timer.Stop()
	buf := make([]byte, bufferSize)
	for {
		timer.Reset(patience)
		n, err := resp.Body.Read(buf)
		if n > 0 {
			if d.have == 0 && isPage(resp, buf[:n]) {
				return hint.With(failf(ErrContent, "%s: %s answers with a web page in the file's place: a proxy or a login stands between", d.what, d.host), registry.Proxies)
			}
			if _, failed := d.write(d.f, buf[:n]); failed != nil {
				return failed // what is in the file is its beginning even so
			}
			d.sum.Write(buf[:n])
			d.have += int64(n)
			d.moved(int64(n), d.size)
		}
		if d.size >= 0 && d.have > d.size {
			return d.stop(ErrContent, "%s sends more than the %d bytes that it is to have", d.host, d.size)
		}
		switch {
		case err == io.EOF && (d.size < 0 || d.have == d.size):
			d.whole = true
			return nil
		case err == io.EOF:
			err = io.ErrUnexpectedEOF
		case err == nil:
			continue
		}
		if errors.Is(context.Cause(ctx), errStalled) || isTimeout(err) {
			return d.stop(ErrStopped, "%s sent nothing for %s, after %s; the next run goes on from there", d.host, patience, progress{d.have, d.size})
		}
		return &passing{err: d.stop(ErrStopped, "%s ended the answer after %s (%s); the next run goes on from there", d.host, progress{d.have, d.size}, why(err))}
	}
}

// errStalled ends an answer that comes no further.
var errStalled = errors.New("no progress")

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// isPage tells a web page, by what the server says of it and by how it begins.
func isPage(resp *http.Response, begins []byte) bool {
	return strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") && bytes.HasPrefix(bytes.TrimSpace(begins), []byte("<"))
}

func (d *download) stop(kind error, format string, args ...any) error {
	err := failf(kind, "%s: %s", d.what, fmt.Sprintf(format, args...))
	if kind == ErrContent {
		return hint.With(err, "ask whoever runs %s; a mirror may be behind, or a proxy may have changed it", d.host)
	}
	return err
}

// finish holds the sum against the digest, and gives the file its name; again = the part of an earlier run was not the file's.
func (d *download) finish() (again bool, err error) {
	got := hexOf(d.sum)
	if "sha256:"+got == d.digest {
		if err := os.Chtimes(d.f.Name(), sinceStart(), sinceStart()); err != nil {
			return false, err
		}
		return false, os.Rename(d.f.Name(), d.cache.file(d.digest))
	}
	if d.resumed {
		d.note(d.noteTo, d.what+": what an earlier run left is not the file's beginning; it is fetched from the start")
		return true, d.restart()
	}
	aside := d.cache.file(d.digest) + ".wrong"
	if err := os.Rename(d.f.Name(), aside); err != nil {
		return false, err
	}
	return false, d.stop(ErrContent, "%s has another file: its sha256 is %s, and %s says %s; it is kept as %s, and not used", d.host, got, d.by,
		strings.TrimPrefix(d.digest, "sha256:"), aside)
}
