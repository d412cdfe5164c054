package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// Terminal is the user, if there is one.
type Terminal interface {
	// Interactive says whether stdin is a terminal: whether the user is there to answer.
	Interactive() bool
	// CanAsk says whether there is a terminal at all, for secrets that must not come from stdin.
	CanAsk() bool
	// Ask asks and returns the line that was typed.
	Ask(ctx context.Context, question string) (string, error)
	// AskSecret is Ask without echo.
	AskSecret(ctx context.Context, question string) (string, error)
}

// errNoTerminal: there is nobody to ask. The caller says how to do without.
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
	show := func(tty *os.File) error {
		_, err := fmt.Fprint(tty, question)
		return err
	}
	return t.ask(ctx, show, func(tty *os.File) (string, error) {
		line, err := bufio.NewReader(tty).ReadString('\n')
		return strings.TrimSpace(line), err
	})
}

func (t systemTerminal) AskSecret(ctx context.Context, question string) (string, error) {
	show := func(tty *os.File) error {
		// The echo ends before the question appears: whoever types at once must not be seen either.
		if _, err := term.MakeRaw(int(tty.Fd())); err != nil {
			return err
		}
		_, err := fmt.Fprint(tty, question)
		return err
	}
	return t.ask(ctx, show, func(tty *os.File) (string, error) {
		secret, err := term.ReadPassword(int(tty.Fd()))
		fmt.Fprint(tty, "\r\n")
		return string(secret), err
	})
}

// ask leaves the terminal as it was. It reads in a goroutine, because a read of a terminal cannot be called off: when ctx ends first,
// the goroutine stays behind until the process ends, which it then does.
func (t systemTerminal) ask(ctx context.Context, show func(*os.File) error, read func(*os.File) (string, error)) (string, error) {
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	tty, err := t.open()
	if err != nil {
		return "", err
	}
	defer tty.Close()
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		return "", errNoTerminal
	}
	defer func() { _ = term.Restore(int(tty.Fd()), before) }() // nothing better can be done
	if err := show(tty); err != nil {
		return "", err
	}
	type answer struct {
		text string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		text, err := read(tty)
		answered <- answer{text, err}
	}()
	select {
	case a := <-answered:
		return a.text, a.err
	case <-ctx.Done():
		fmt.Fprint(tty, "\r\n")
		return "", ctx.Err()
	}
}
