package remotetest

import (
	"fmt"
	"io"
)

// Sudo is how the host's sudo behaves. The zero value lets everybody become root without a password.
type Sudo struct {
	Password   string // asked for when set
	Missing    bool   // there is no sudo
	Denied     bool   // the user is not in the sudoers file
	RequireTTY bool
	Lecture    string // printed before the first question, as sudo likes to
	Real       bool   // nothing is played: the handler gets the whole line
}

// SetSudo sets how sudo behaves from the next command on.
func (h *Host) SetSudo(s Sudo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sudo = s
}

// becomeRoot does what sudo does before it runs the command, and says what Run's first words inside say. Not 0 ends the command.
func (h *Host) becomeRoot(s *Session, stdin io.Reader) int {
	h.mu.Lock()
	sudo := h.sudo
	h.mu.Unlock()
	switch {
	case sudo.Real:
		return 0
	case sudo.Missing:
		io.WriteString(s.Stderr, "bash: line 1: sudo: command not found\n")
		return 127
	case sudo.RequireTTY:
		io.WriteString(s.Stderr, "sudo: sorry, you must have a tty to run sudo\n")
		return 1
	case sudo.Password != "":
		if status := askPassword(s, stdin, sudo); status != 0 {
			return status
		}
	}
	if sudo.Denied {
		fmt.Fprintf(s.Stderr, "%s is not in the sudoers file.\n", s.User)
		return 1
	}
	s.User = "root"
	io.WriteString(s.Stderr, s.line.Ready)
	return 0
}

func askPassword(s *Session, stdin io.Reader, sudo Sudo) int {
	io.WriteString(s.Stderr, sudo.Lecture)
	for try := range 3 {
		io.WriteString(s.Stderr, s.line.Prompt)
		word, err := readLine(stdin)
		if err != nil {
			fmt.Fprintf(s.Stderr, "\nsudo: no password was provided\nsudo: %d incorrect password attempts\n", try)
			return 1
		}
		s.sudoRead = append(s.sudoRead, word)
		if word == sudo.Password {
			return 0
		}
		if try < 2 {
			io.WriteString(s.Stderr, "Sorry, try again.\n")
		}
	}
	io.WriteString(s.Stderr, "sudo: 3 incorrect password attempts\n")
	return 1
}

// readLine reads byte by byte, as sudo does: what follows the line is the command's.
func readLine(r io.Reader) (string, error) {
	var line []byte
	b := make([]byte, 1)
	for {
		if _, err := io.ReadFull(r, b); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return string(line), nil
		}
		line = append(line, b[0])
	}
}
