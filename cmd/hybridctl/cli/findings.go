package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// findingsError says that something was found that is as grave as --fail-on says. It was written already; it is an exit code, and a line.
type findingsError struct{ text string }

func (e *findingsError) Error() string { return e.text }

func isFindings(err error) bool {
	var f *findingsError
	return errors.As(err, &f)
}

// failOn is from which level on findings make a run fail.
type failOn string

const (
	failOnError   failOn = "error"
	failOnWarning failOn = "warning"
	failOnNever   failOn = "never"
)

func (f *failOn) String() string { return string(*f) }
func (f *failOn) Type() string   { return "level" }

func (f *failOn) Set(s string) error {
	switch v := failOn(s); v {
	case failOnError, failOnWarning, failOnNever:
		*f = v
		return nil
	}
	return fmt.Errorf("must be error, warning or never")
}

func (f *failOn) register(cmd *cobra.Command) {
	*f = failOnError
	cmd.Flags().Var(f, "fail-on", "from which findings on the exit code is 6: `LEVEL` is error, warning or never")
	complete(cmd, "fail-on", "error", "warning", "never")
}

// check is the error of a run that found so many errors and warnings.
func (f failOn) check(errs, warnings int, what string) error {
	switch {
	case f == failOnError && errs > 0, f == failOnWarning && errs+warnings > 0:
		return &findingsError{what}
	}
	return nil
}
