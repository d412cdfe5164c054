package remotetest

import (
	"fmt"
	"io"
)

// Sudo is how the host's sudo behaves. The zero value lets everybody become root without a password.
type Sudo struct {
	Password   string // asked for when set
	Missing    bool   // there is no sudo
	Doas       string // what doas does on a host without sudo: "nopass", "password"; "": there is none either
	RS         bool   // it is sudo-rs, which puts words of its own around our prompt
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
	case s.line.Doas && sudo.Doas == "nopass":
	case s.line.Doas && sudo.Doas == "password":
		io.WriteString(s.Stderr, "doas: Authorization required\n")
		return 1
	case s.line.Doas:
		io.WriteString(s.Stderr, "bash: line 1: doas: command not found\n")
		return 127
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
	if sudo.Denied && sudo.RS {
		fmt.Fprintf(s.Stderr, "sudo: I'm sorry %s. I'm afraid I can't do that\n", s.User)
		return 1
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
		if sudo.RS {
			for _, part := range []string{"[sudo: " + s.line.Prompt, "] Pass", "word: "} { // it may come in pieces
				io.WriteString(s.Stderr, part)
			}
		} else {
			io.WriteString(s.Stderr, s.line.Prompt)
		}
		word, err := readLine(stdin)
		if err != nil {
			fmt.Fprintf(s.Stderr, "\nsudo: no password was provided\nsudo: %d incorrect password attempts\n", try)
			return 1
		}
		s.sudoRead = append(s.sudoRead, word)
		if sudo.RS {
			io.WriteString(s.Stderr, "\n")
		}
		if word == sudo.Password {
			return 0
		}
		if sudo.RS {
			io.WriteString(s.Stderr, "sudo: Authentication failed, try again.\n")
			continue
		}
		if try < 2 {
			io.WriteString(s.Stderr, "Sorry, try again.\n")
		}
	}
	if sudo.RS {
		io.WriteString(s.Stderr, "sudo: Maximum 3 incorrect authentication attempts\n")
		return 1
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
