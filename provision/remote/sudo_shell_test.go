package remote_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// fakeSudo takes the words that we give to sudo, as sudo does, and asks when there is a password.
const fakeSudo = `#!/bin/sh
[ "$1 $2" = "-S -p" ] && [ "$4" = -- ] || { echo "sudo: unknown words: $*" >&2; exit 1; }
[ "$LC_ALL" = C ] || { echo "sudo: Kennwort falsch" >&2; exit 1; }
if [ "$FAKE_SUDO_PASSWORD" = token ]; then
	printf 'Token code: ' >&2
	exec sleep 1000
fi
if [ "$FAKE_SUDO_PASSWORD" = refuse ]; then
	shift 4
	echo "Sorry, user ops is not allowed to execute '$*' as root on host." >&2
	exit 1
fi
if [ -n "$FAKE_SUDO_PASSWORD" ]; then
	printf '%s' "$3" >&2
	IFS= read -r word
	[ "$word" = "$FAKE_SUDO_PASSWORD" ] || { echo 'sudo: 1 incorrect password attempt' >&2; exit 1; }
fi
shift 4
unset FAKE_SUDO_PASSWORD
exec "$@"
`

// throughShell connects to a host that runs everything in a real shell, with a sudo of ours.
func throughShell(t *testing.T, password, given string) *remote.Conn {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "sudo"), []byte(fakeSudo), 0o755); err != nil {
		t.Fatal(err)
	}
	h := remotetest.NewFleet(t, 1, remotetest.Options{User: "ops"}).Hosts[0]
	h.SetSudo(remotetest.Sudo{Real: true})
	h.On(remotetest.Any, remotetest.RunLocally("PATH="+bin+":"+os.Getenv("PATH"), "FAKE_SUDO_PASSWORD="+password))
	conf := h.Config()
	conf.SudoPassword = func() (string, error) { return given, nil }
	return connect(t, h, conf)
}

func TestSudo_ThroughARealShell(t *testing.T) {
	data := randomBytes(500 << 10)
	for _, password := range []string{"", `p'a"s \s$x`} {
		c := throughShell(t, password, password)
		tests := []struct {
			name string
			cmd  remote.Command
			want string
		}{
			{"stdin", remote.Command{Argv: []string{"cat"}, Stdin: bytes.NewReader(data)}, string(data)},
			{"script", remote.Command{Script: "cat; echo \"<$1>\"", Args: []string{"it's"}, Stdin: strings.NewReader("in ")}, "in <it's>\n"},
			{"no stdin", remote.Command{Argv: []string{"wc", "-c"}}, "0\n"},
			{"words", remote.Command{Argv: []string{"printf", "%s.", "", "a b", "'"}}, ".a b.'."},
		}
		for _, tt := range tests {
			tt.cmd.Sudo = true
			out, err := c.Run(t.Context(), tt.cmd)
			if err != nil || string(out.Stdout) != tt.want || len(out.Stderr) > 0 {
				t.Errorf("%s, password %q: %v: %d bytes %.40q, stderr %q", tt.name, password, err, len(out.Stdout), out.Stdout, out.Stderr)
			}
		}
		_, err := c.Run(t.Context(), remote.Command{Script: "echo lost >&2; exit 7", Sudo: true})
		var exit *remote.ExitError
		if !errors.As(err, &exit) || exit.Status != 7 || exit.Stderr != "lost\n" {
			t.Errorf("password %q: %v", password, err)
		}
	}
}

func TestSudo_OneTryOnlyThroughARealShell(t *testing.T) {
	c := throughShell(t, "right", "wrong") // this sudo does not ask again
	_, err := c.Run(t.Context(), remote.Command{Argv: []string{"id"}, Stdin: strings.NewReader("x"), Sudo: true})
	if !errors.Is(err, remote.ErrSudoPassword) {
		t.Errorf("error %v", err)
	}
}

// sudo quotes the command that it refuses, our marks in it.
func TestSudo_RefusalThatQuotesTheCommand(t *testing.T) {
	c := throughShell(t, "refuse", "")
	_, err := c.Run(t.Context(), remote.Command{Argv: []string{"id"}, Sudo: true})
	if !errors.Is(err, remote.ErrSudoDenied) || strings.Contains(err.Error(), "printf") {
		t.Errorf("error %v", err)
	}
}

func TestSudo_QuestionThatNobodyUnderstands(t *testing.T) {
	c := throughShell(t, "token", "")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := c.Run(ctx, remote.Command{Argv: []string{"id"}, Sudo: true})
	if want := `sudo id: sudo waits after saying "Token code:": context deadline exceeded`; !errors.Is(err, context.DeadlineExceeded) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
