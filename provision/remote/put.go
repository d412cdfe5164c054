package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"github.com/pkg/sftp"
)

// patience is how long a stopped upload may take to end in good order before the SFTP session is cut.
const patience = 500 * time.Millisecond

// Put implements Runner. The file is written front to back: what is there of it after a cut connection is a good beginning.
func (c *Conn) Put(ctx context.Context, p Put) error {
	what := "upload of " + p.Path
	client, cut, done, err := c.sftp(ctx, what)
	if err != nil {
		return err
	}
	defer done()
	began := time.Now()
	reading, stop := context.WithCancel(ctx)
	defer stop()
	finished := make(chan error, 1)
	go func() { finished <- c.put(reading, client, p) }()
	select {
	case err = <-finished:
	case <-c.link.done:
		err = c.abandon(finished, stop, cut)
	case <-c.closing:
		err = c.abandon(finished, stop, cut)
	case <-ctx.Done():
		err = c.abandon(finished, stop, cut)
	}
	c.log.Debug("put", "path", p.Path, "size", p.Size, "took", time.Since(began), "error", err)
	switch {
	case err == nil:
		return nil
	case c.closed() || c.link.isDone():
		return c.lost(what)
	case ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, errStopped)):
		return ended(ctx, what)
	case errors.Is(err, sftp.ErrSSHFxConnectionLost), wasCut(err):
		cut()
		return c.lost(what)
	case errors.Is(err, ErrNoSpace):
		return &fault{kind: ErrNoSpace, cause: err, text: what + ": " + err.Error()}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// abandon ends an upload before its time. When the host does not answer the writes under way, the session is given up, and the
// next Put opens another; when even that is not answered, the upload's goroutine is left to end with the connection.
func (c *Conn) abandon(finished <-chan error, stop func(), cut func()) error {
	stop()
	for range 2 {
		select {
		case <-finished:
			return errStopped
		case <-time.After(patience):
			cut()
		}
	}
	return errStopped
}

func (c *Conn) put(ctx context.Context, client *sftp.Client, p Put) (err error) {
	src, err := p.Open()
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := client.OpenFile(p.Path, os.O_WRONLY|os.O_CREATE)
	if err != nil {
		return fileFailure(err, path.Dir(p.Path))
	}
	defer func() {
		if closeErr := dst.Close(); err == nil {
			err = closeErr
		}
	}()
	at, err := resumeAt(dst, p.Size)
	if err != nil {
		return err
	}
	if _, err := src.Seek(at, io.SeekStart); err != nil {
		return err
	}
	if _, err := dst.Seek(at, io.SeekStart); err != nil {
		return err
	}
	r := &putReader{ctx: ctx, conn: c, src: src, at: at, put: p}
	r.tell()
	// The library reads ahead one packet and sends in order, whatever the number of writes under way.
	if _, err = dst.ReadFromWithConcurrency(r, sftpWindow); err == nil {
		return r.complete()
	}
	if r.err != nil {
		return r.err // ours: the source, or ctx
	}
	return spaceFailure(client, dst, p, err)
}

// resumeAt returns where to go on. A file longer than it should be is not a beginning of ours: it is emptied.
func resumeAt(dst *sftp.File, size int64) (int64, error) {
	info, err := dst.Stat()
	if err != nil {
		return 0, err
	}
	if info.Size() <= size {
		return info.Size(), nil
	}
	return 0, dst.Truncate(0)
}

// putReader reads the source for an upload: it counts, it tells, it stops with ctx.
type putReader struct {
	ctx  context.Context
	conn *Conn
	src  io.Reader
	at   int64
	put  Put
	err  error
}

func (r *putReader) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		r.err = r.ctx.Err()
		return 0, r.err
	}
	if left := r.put.Size - r.at; left < int64(len(b)) {
		b = b[:left]
	}
	if len(b) == 0 {
		return 0, io.EOF
	}
	n, err := r.src.Read(b)
	r.at += int64(n)
	r.conn.sent.Add(int64(n))
	r.tell()
	if err != nil && err != io.EOF {
		r.err = fmt.Errorf("read the source: %w", err)
		err = r.err
	}
	return n, err
}

func (r *putReader) tell() {
	if r.put.Progress != nil {
		r.put.Progress(r.at)
	}
}

func (r *putReader) complete() error {
	if r.at < r.put.Size {
		return fmt.Errorf("the source ended after %d of %d bytes", r.at, r.put.Size)
	}
	return nil
}

// fileFailure says plainly what SFTP's status words mean for a file in dir.
func fileFailure(err error, dir string) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("the directory %s does not exist on the host", dir)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("the login user may not write in %s", dir)
	}
	return err
}

// spaceFailure looks behind "Failure", which is all that SFTP says of a full disk. What was written beyond the first gap is
// cut off, so that a later Put goes on from good bytes.
func spaceFailure(client *sftp.Client, dst *sftp.File, p Put, err error) error {
	var status *sftp.StatusError
	if !errors.As(err, &status) {
		return err
	}
	good, seekErr := dst.Seek(0, io.SeekCurrent) // the library leaves it at the first write that failed
	if seekErr == nil {
		if truncErr := dst.Truncate(good); truncErr != nil {
			err = errors.Join(err, truncErr)
		}
	}
	need := p.Size - good
	fs, statErr := client.StatVFS(path.Dir(p.Path))
	switch {
	case statErr == nil && fs.Bavail*fs.Frsize < uint64(need):
		return faultf(ErrNoSpace, err, "no space left on device: %d MiB are free in %s, %d MiB are still to come",
			fs.Bavail*fs.Frsize>>20, path.Dir(p.Path), need>>20)
	case statErr == nil:
		return fmt.Errorf("the host could not write: a quota, or a broken disk? (%w)", err)
	}
	return fmt.Errorf("the host could not write: the disk may be full (%w)", err)
}
