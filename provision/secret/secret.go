// Package secret reads a secret when it is used, and not before: from a file, from the environment, or from a program that prints
// it. It keeps none, and puts none into an error.
package secret

import (
	"bytes"
	"context"
	"fmt"
	"io"
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
		return v, nil
	}
}

func firstLine(what, file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("the %s's file: %w", what, err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

// patience bounds a program that prints a secret: it may ask a person, or a safe far away.
const patience = 2 * time.Minute

// Printed runs the user's own program in dir and returns what it prints. stderr takes its questions; nil = no one sees them.
func Printed(ctx context.Context, argv []string, dir string, stderr io.Writer) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w", argv[0], err)
	}
	return out.String(), nil
}
