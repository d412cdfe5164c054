package remotetest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/hybridctl/hybridctl/provision/remote"
)

// RunLocally is a handler that really runs what it is asked to, on this machine, as this user, in a shell. The environment is
// the process's and env. Of a command under sudo only the inside is run, unless the host's Sudo says Real.
func RunLocally(env ...string) Handler {
	return func(s *Session) int {
		line := s.Raw
		if s.User == "root" && s.Sudo {
			line = remote.Line{Argv: s.Argv}.String() // the host has played sudo already
		}
		cmd := exec.CommandContext(s.Context(), "sh", "-c", line)
		cmd.Env = append(os.Environ(), env...)
		cmd.Stdout, cmd.Stderr = s.Stdout, s.Stderr
		cmd.WaitDelay = time.Second
		stdin, err := cmd.StdinPipe() // not cmd.Stdin: Run would wait for the client to close it
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			fmt.Fprintln(s.Stderr, err)
			return 126
		}
		go func() {
			io.Copy(stdin, s.Stdin)
			stdin.Close()
		}()
		err = cmd.Wait()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			fmt.Fprintln(s.Stderr, err)
		}
		return cmd.ProcessState.ExitCode()
	}
}
