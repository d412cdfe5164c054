// Package remote is the transport: it dials hosts over SSH, keeps one connection for each, runs commands with or without
// sudo, moves bytes over SFTP and opens tunnels. It knows nothing of Kubernetes, inventories or what the commands mean.
package remote

import (
	"context"
	"io"
	"net"
)

// Runner is one host as the packages above see it. All methods are safe for concurrent use; they share one SSH connection.
type Runner interface {
	// Name returns the host's name, for messages.
	Name() string

	// Run runs one command in one session, under LC_ALL=C, and waits for it and for Stdin's last read. A non-zero exit is an
	// *ExitError. When ctx has no deadline, the host's command timeout holds. When ctx ends, Run signals the command, closes the
	// session and returns at once; a command that runs as root may then go on on the host, for sshd signals only other users'.
	// Nothing is ever run a second time.
	Run(ctx context.Context, cmd Command) (Output, error)

	// Put streams a file to Path over SFTP as the login user. When Path exists and is shorter than Size, it goes on
	// from there. When Path is longer, it starts again. It neither verifies nor renames: the caller stages, verifies
	// and lands (package host).
	Put(ctx context.Context, p Put) error

	// DialContext opens a connection from the host to addr (a direct-tcpip channel): the API server behind a firewall.
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)

	// Stats returns what this connection has cost so far.
	Stats() Stats

	Close() error
}

// Command is what is run. Either Argv, which is quoted word by word, or Script, which is given to `sh -c` whole with Args as
// its positional parameters $1…; never both. Stdin reaches the command whole, also under sudo. Secrets belong in Stdin only.
type Command struct {
	Argv   []string
	Script string
	Args   []string
	Stdin  io.Reader
	Stdout io.Writer // nil: collected into Output.Stdout
	Limit  int64     // of what it may print on stdout, in bytes; 0: 8 MiB, negative: no bound. One that prints more is stopped: ErrOutput
	Sudo   bool      // as root; nothing is added when the login user is root already
	Redact []string  // strings that never appear in errors or logs
}

// Output is what a command printed. Stderr is bounded: the last 64 KiB.
type Output struct {
	Stdout []byte
	Stderr []byte
}

// Put is one file to send.
type Put struct {
	Open     func() (io.ReadSeekCloser, error)
	Size     int64
	Path     string           // absolute, in a directory the login user may write
	Progress func(sent int64) // bytes of the file sent so far, those of an earlier try included; may be nil
}

// Stats counts what a connection cost.
type Stats struct {
	Connections int   // TCP connections made for this host, jump hosts not counted
	Sessions    int   // exec sessions opened
	SFTP        int   // sftp subsystems opened
	BytesSent   int64 // payload bytes written into sessions and SFTP files
}
