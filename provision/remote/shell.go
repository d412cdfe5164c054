package remote

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"time"
)

// shellPatience is how long a host may take to say that it runs nothing: cloud images' words to root are followed by ten seconds of
// sleep.
const shellPatience = 20 * time.Second

// whyNothingRuns asks a host whose first command failed for an echo. One that does not come back tells that the login
// shell, or a forced command, runs nothing of ours: what it says instead is told. The words of the command itself are not, for they may be
// secret.
func (c *Conn) whyNothingRuns(ctx context.Context, exit *ExitError) error {
	nonce := make([]byte, 8)
	rand.Read(nonce) // never fails
	word := EchoPrefix + hex.EncodeToString(nonce)
	cmd := Command{Argv: []string{"echo", word}, Limit: 64 << 10}
	line, err := newLine(cmd, asLogin)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, shellPatience)
	defer cancel()
	out, _, err := c.runOnce(ctx, cmd, line, "echo", redactor(nil))
	var status *ExitError
	switch {
	case err == nil && bytes.Contains(out.Stdout, []byte(word)):
		c.proven.Store(true)
		return nil
	case err != nil && !errors.As(err, &status) && !errors.Is(err, ErrOutput):
		return nil // the connection's own trouble says nothing of the shell
	}
	said := oneLine(string(out.Stdout) + "\n" + string(out.Stderr))
	if said == "" {
		return faultf(ErrNoShell, exit, "the host runs no commands for user %s: what is started at login ends at once, with status %d (is its shell nologin or false?)",
			c.link.ep.user, exit.Status)
	}
	return faultf(ErrNoShell, exit, "the host runs no commands for user %s: it says %q", c.link.ep.user, said)
}

// EchoPrefix begins the word that a host is asked for to learn whether it runs commands. Servers made for tests need it.
const EchoPrefix = "hybridctl-echo-"

// saysSudo reports whether these are words of sudo or doas: then something of ours did run.
func saysSudo(s string) bool { return strings.Contains(s, "sudo") || strings.Contains(s, "doas") }

// oneLine puts lines behind one another, shortened.
func oneLine(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return shorten(printable(strings.Join(lines, " ")), 300)
}

// errNoExec: the server does not take the request to run a command.
var errNoExec = errors.New("the server runs no commands")
