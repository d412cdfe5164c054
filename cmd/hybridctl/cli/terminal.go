package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/term"
)

// Terminal is the user, if there is one.
type Terminal interface {
	// Interactive reports whether stdin is a terminal: whether the user is there to answer.
	Interactive() bool
	// CanAsk reports whether there is a terminal at all, for secrets that must not come from stdin.
	CanAsk() bool
	// Ask asks and returns the line that was typed.
	Ask(ctx context.Context, question string) (string, error)
	// AskSecret is Ask without echo.
	AskSecret(ctx context.Context, question string) (string, error)
}

// errNoTerminal: there is no terminal to ask on. The caller says how to do without.
var errNoTerminal = errors.New("there is no terminal to ask on")

// SystemTerminal is the process's own terminal.
func SystemTerminal(stdin *os.File) Terminal { return systemTerminal{stdin: stdin} }

type systemTerminal struct{ stdin *os.File }

// open returns the controlling terminal: questions reach the user although stdout and stderr may lead elsewhere.
func (t systemTerminal) open() (*os.File, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, errNoTerminal
	}
	return tty, nil
}

func (t systemTerminal) Interactive() bool {
	return t.stdin != nil && term.IsTerminal(int(t.stdin.Fd())) && t.CanAsk()
}

func (t systemTerminal) CanAsk() bool {
	tty, err := t.open()
	if err != nil {
		return false
	}
	tty.Close()
	return true
}

func (t systemTerminal) Ask(ctx context.Context, question string) (string, error) {
	return t.ask(ctx, func(tty *os.File, endLine func()) (func() (string, error), error) {
		_, err := fmt.Fprint(tty, question)
		return func() (string, error) {
			line, err := bufio.NewReader(tty).ReadString('\n')
			if errors.Is(err, io.EOF) { // ^D: no answer, as an empty line is none
				endLine()
				err = nil
			}
			return strings.TrimSpace(line), err
		}, err
	})
}

// AskSecret ends the echo before the question appears: whoever types at once must not be seen either. In the raw mode that this
// takes, ^C is a letter like others; it is made a signal again, so that it does what it does everywhere.
func (t systemTerminal) AskSecret(ctx context.Context, question string) (string, error) {
	return t.ask(ctx, func(tty *os.File, endLine func()) (func() (string, error), error) {
		_, err := term.MakeRaw(int(tty.Fd()))
		return func() (string, error) {
			secret, err := term.NewTerminal(tty, "").ReadPassword(question)
			if errors.Is(err, io.EOF) { // ^C or ^D
				endLine()
				return "", errors.Join(context.Canceled, syscall.Kill(syscall.Getpid(), syscall.SIGINT))
			}
			return secret, err
		}, err
	})
}

// ask prepares the terminal, reads, and leaves the terminal as it was. It reads in a goroutine, because a read of a terminal cannot be
// called off: when ctx ends first, the goroutine stays behind, with the open file, until the process ends.
func (t systemTerminal) ask(ctx context.Context, prepare func(tty *os.File, endLine func()) (read func() (string, error), err error)) (string, error) {
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	tty, err := t.open()
	if err != nil {
		return "", err
	}
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		return "", errNoTerminal
	}
	defer func() { _ = term.Restore(int(tty.Fd()), before) }()   // nothing better can be done
	endLine := sync.OnceFunc(func() { fmt.Fprint(tty, "\r\n") }) // the interrupt that a read makes ends ctx, too
	read, err := prepare(tty, endLine)
	if err != nil {
		return "", err
	}
	type answer struct {
		text string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		text, err := read()
		answered <- answer{text, err}
	}()
	select {
	case a := <-answered:
		return a.text, a.err
	case <-ctx.Done():
		endLine()
		return "", ctx.Err()
	}
}
