// Package secret reads a secret when it is used, and not before: from a file, from the environment, or from a program that prints
// it. It keeps none, and puts none into an error.
package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"
)

// From returns a function that reads the first line of a file or, where file is empty, an environment variable. what names the
// secret in errors.
func From(what, file, env string) func() (string, error) {
	return func() (string, error) {
		if file != "" {
			return firstLine(what, file)
		}
		v, ok := os.LookupEnv(env)
		if !ok {
			return "", fmt.Errorf("the environment variable %s, which is to hold the %s, is not set", env, what)
		}
		if v == "" {
			return "", fmt.Errorf("the environment variable %s, which is to hold the %s, is empty", env, what)
		}
		return v, nil
	}
}

func firstLine(what, file string) (string, error) {
	b, err := File(file)
	if err != nil {
		return "", fmt.Errorf("the %s's file: %w", what, err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("the %s's file: %s: its first line is empty", what, file)
	}
	return line, nil
}

// pipePatience is how long the writer of a pipe may take.
const pipePatience = 10 * time.Second

// File reads a file with a secret. A pipe that no one writes into, and a device that never ends, are errors.
func File(path string) ([]byte, error) {
	b, err := readFile(path, pipePatience)
	var at *fs.PathError
	if errors.As(err, &at) {
		return nil, fmt.Errorf("%s: %w", path, at.Err) // which call it was is of no use to anybody
	}
	return b, err
}

func readFile(path string, patience time.Duration) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().IsRegular() || info.IsDir() {
		return readAll(path)
	}
	type answer struct {
		b   []byte
		err error
	}
	read := make(chan answer, 1)
	go func() { // ends with the program where no writer ever comes
		b, err := readAll(path)
		read <- answer{b, err}
	}()
	select {
	case a := <-read:
		return a.b, a.err
	case <-time.After(patience):
		return nil, fmt.Errorf("%s is no file, and nothing came out of it within %s", path, patience)
	}
}

func readAll(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(b) > most {
		return nil, fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return b, err
}

// patience bounds a program that prints a secret: it may ask a person, or a safe far away.
const patience = 2 * time.Minute

// most is what a program may print, and what a file may hold.
const most = 1 << 20

// Printed runs the user's own program in dir and returns what it prints. stderr takes its questions; nil = no one sees them. The error says
// which program it was, and what became of it.
func Printed(ctx context.Context, argv []string, dir string, stderr io.Writer) (string, error) {
	return printed(ctx, argv, dir, stderr, patience, time.Second)
}

// printed waits that long for the program, and then grace for those that it has started and that hold its output open.
func printed(ctx context.Context, argv []string, dir string, stderr io.Writer, patience, grace time.Duration) (string, error) {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(bounded, argv[0], argv[1:]...)
	out := output{most: most}
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = dir, &out, stderr, grace
	err := cmd.Run()
	var file *fs.PathError
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s: %w", argv[0], ctx.Err())
	case bounded.Err() != nil:
		return "", fmt.Errorf("%s did not end within %s", argv[0], patience)
	case out.over:
		return "", fmt.Errorf("%s prints more than %d bytes", argv[0], most)
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("%s: no such program in PATH", argv[0])
	case errors.As(err, &file):
		return "", fmt.Errorf("%s: %w", argv[0], file.Err)
	case err != nil && !errors.Is(err, exec.ErrWaitDelay): // it has ended well, and another that it has started has not
		return "", fmt.Errorf("%s: %w", argv[0], err)
	}
	return out.text.String(), nil
}

// output keeps what a program prints, up to a bound.
type output struct {
	text bytes.Buffer
	most int
	over bool
}

func (o *output) Write(p []byte) (int, error) {
	if o.text.Len()+len(p) > o.most {
		o.over = true
		return 0, errors.New("too much")
	}
	return o.text.Write(p)
}
