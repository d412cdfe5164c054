package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

const (
	// sftpPacket is more than the protocol promises, and what every OpenSSH server takes: fewer answers to wait for.
	sftpPacket = 64 << 10
	// sftpWindow is how many writes are under way at once: with sftpPacket as much as an SSH channel holds.
	sftpWindow = 32
	// patience is how long a stopped upload may take to end in good order before the SFTP session is cut.
	patience = 500 * time.Millisecond
)

// uploads is the SFTP side of a connection: one session, opened when it is first needed.
type uploads struct {
	lock   chan struct{} // holds one token while somebody looks at the session
	client *sftp.Client
	end    func()
	open   atomic.Int64 // 1 while there is a session
}

// Put implements Runner. The file is written front to back: what is there of it after a cut connection is a good beginning.
func (c *Conn) Put(ctx context.Context, p Put) error {
	what := "upload of " + p.Path
	client, cut, err := c.sftp(ctx, what)
	if err != nil {
		return err
	}
	began := time.Now()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	finished := make(chan error, 1)
	go func() { finished <- c.put(ctx, client, p) }()
	select {
	case err = <-finished:
	case <-c.link.done:
		err = ErrClosed
	case <-c.closing:
		err = ErrClosed
	case <-ctx.Done():
		err = ctx.Err()
	}
	if errors.Is(err, ErrClosed) || ctx.Err() != nil {
		stop(err)
		settle(finished, cut)
	}
	c.log.Debug("put", "path", p.Path, "size", p.Size, "took", time.Since(began), "error", err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrClosed):
		return c.lost(what)
	case ctx.Err() != nil:
		return ended(ctx, what)
	case errors.Is(err, sftp.ErrSSHFxConnectionLost), errors.Is(err, io.ErrUnexpectedEOF):
		cut()
		return c.lost(what)
	case errors.Is(err, ErrNoSpace):
		return &fault{kind: ErrNoSpace, cause: err, text: what + ": " + err.Error()}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// settle waits for a stopped upload. When the host does not answer the writes under way, the session is given up, and the next
// Put opens another; when even that is not answered, the upload's goroutine is left to end with the connection.
func settle(finished <-chan error, cut func()) {
	for range 2 {
		select {
		case <-finished:
			return
		case <-time.After(patience):
			cut()
		}
	}
}

// sftp returns the connection's one SFTP client, opening it the first time; cut ends it.
func (c *Conn) sftp(ctx context.Context, what string) (client *sftp.Client, cut func(), err error) {
	u := &c.uploads
	select {
	case u.lock <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ended(ctx, what)
	}
	defer func() { <-u.lock }()
	if u.client == nil {
		if u.client, u.end, err = c.openSFTP(ctx, what); err != nil {
			return nil, nil, err
		}
		u.open.Store(1)
	}
	client = u.client
	return client, func() { u.drop(client) }, nil
}

// drop ends an SFTP session, if it still is the connection's: another Put may have opened a new one.
func (u *uploads) drop(client *sftp.Client) {
	u.lock <- struct{}{}
	defer func() { <-u.lock }()
	if u.client != client {
		return
	}
	u.end()
	u.client, u.end = nil, nil
	u.open.Store(0)
}

func (c *Conn) openSFTP(ctx context.Context, what string) (client *sftp.Client, end func(), err error) {
	s, giveBack, err := c.open(ctx, what)
	if err != nil {
		return nil, nil, err
	}
	end = func() {
		go s.Close() // it may hang as long as the connection does
		giveBack()
	}
	client, err = within(ctx, c.link.done, func() (*sftp.Client, error) { return newSFTP(s) }, func(*sftp.Client) {})
	if err == nil {
		c.sftps.Add(1)
		return client, end, nil
	}
	end()
	switch {
	case ctx.Err() != nil:
		return nil, nil, ended(ctx, what)
	case c.link.isDone():
		return nil, nil, c.lost(what)
	}
	return nil, nil, fmt.Errorf("%s: the host has no SFTP (Subsystem sftp in its sshd_config): %w", what, err)
}

func newSFTP(s *ssh.Session) (*sftp.Client, error) {
	stdin, err := s.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := s.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.RequestSubsystem("sftp"); err != nil {
		return nil, err
	}
	return sftp.NewClientPipe(stdout, stdin, sftp.MaxPacketUnchecked(sftpPacket),
		sftp.MaxConcurrentRequestsPerFile(sftpWindow), sftp.UseConcurrentWrites(true))
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
