package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hybridctl/hybridctl/provision/hint"
)

// usageError says that the command line, or what it names, is wrong. Nothing was done; the user corrects the command.
type usageError struct {
	text  string
	cause error // nil when text is all there is
}

func (e *usageError) Error() string {
	if e.cause == nil {
		return e.text
	}
	return e.cause.Error()
}

func (e *usageError) Unwrap() error { return e.cause }

func usagef(format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...)}
}

func asUsageError(err error) error {
	var usage *usageError
	if errors.As(err, &usage) {
		return err
	}
	return &usageError{cause: err}
}

// calledWrongly is an error about a command line that was not understood, with the command that says how it is written.
func calledWrongly(cmd *cobra.Command, err error) error {
	if err = asUsageError(err); hint.Text(err) == "" && cmd != nil {
		return hint.With(err, "%s --help shows how it is called", cmd.CommandPath())
	}
	return err
}

// runGroup is what a command with subcommands does when none of them was named.
func runGroup(cmd *cobra.Command, args []string) error {
	if len(args) == 0 && !cmd.HasParent() {
		return cmd.Help()
	}
	if len(args) == 0 {
		return hint.With(usagef("%s what?", cmd.CommandPath()), "%s --help lists the commands", cmd.CommandPath())
	}
	return unknown(cmd, args[0])
}

func unknown(cmd *cobra.Command, name string) error {
	return hint.With(usagef("unknown command %q for %s%s", name, cmd.CommandPath(), didYouMean("", name, subcommands(cmd))),
		"%s --help lists the commands", cmd.CommandPath())
}

func subcommands(cmd *cobra.Command) (names []string) {
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return names
}

// noArgs is for verbs that take flags only.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := usagef("%s takes no arguments, but %q was given", cmd.CommandPath(), args[0])
	if ext := filepath.Ext(args[0]); cmd.Flags().Lookup("inventory") != nil && (ext == ".yaml" || ext == ".yml") {
		return hint.With(err, "an inventory is named with -f: %s -f %s", cmd.CommandPath(), args[0])
	}
	return hint.With(err, "%s --help lists the flags", cmd.CommandPath())
}

// misspelt is the word of a command line that was to name a subcommand, and names none; "" = there is none. Where flags come first, a word
// may be the value of one: then it has to be near to a name.
func misspelt(cmd *cobra.Command, args []string) string {
	if !cmd.HasSubCommands() {
		return ""
	}
	if words := cmd.Flags().Args(); len(words) > 0 {
		return words[0]
	}
	for _, word := range args {
		if !strings.HasPrefix(word, "-") && didYouMean("", word, subcommands(cmd)) != "" {
			return word
		}
	}
	return ""
}

// flagError makes cobra's errors about flags the user's, with what may have been meant. A flag may be unknown only because the command that
// has it is misspelt.
func (a *app) flagError(cmd *cobra.Command, err error) error {
	switch name := misspelt(cmd, a.args); {
	case slices.Contains(subcommands(cmd), name):
		return hint.With(usagef("%v: a flag stands behind the command that has it", err), "%s %s --help lists them", cmd.CommandPath(), name)
	case name != "":
		return unknown(cmd, name)
	}
	if asksVersion(cmd, err) {
		return hint.With(usagef("%s", aboutFlag(cmd, err)), "%s version shows which hybridctl this is", cmd.CommandPath())
	}
	return hint.With(usagef("%s", aboutFlag(cmd, err)), "%s --help lists the flags", cmd.CommandPath())
}

// asksVersion reports whether a flag was given that other programs have for their version.
func asksVersion(cmd *cobra.Command, err error) bool {
	var missing *pflag.NotExistError
	if cmd.HasParent() || !errors.As(err, &missing) {
		return false
	}
	short := missing.GetSpecifiedShortnames()
	return short == "v" || short == "V" || short == "" && missing.GetSpecifiedName() == "version"
}

// aboutFlag says what is wrong with a flag, in words of ours.
func aboutFlag(cmd *cobra.Command, err error) string {
	var value *pflag.InvalidValueError
	var lacks *pflag.ValueRequiredError
	var missing *pflag.NotExistError
	var syntax *pflag.InvalidSyntaxError
	switch {
	case errors.As(err, &value):
		return "--" + value.GetFlag().Name + wrongValue(value)
	case errors.As(err, &lacks):
		return "--" + lacks.GetFlag().Name + " wants a value"
	case errors.As(err, &missing) && missing.GetSpecifiedShortnames() != "":
		return fmt.Sprintf("there is no flag -%c", []rune(missing.GetSpecifiedShortnames())[0])
	case errors.As(err, &missing):
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		return "there is no flag --" + missing.GetSpecifiedName() + didYouMean("--", missing.GetSpecifiedName(), names)
	case errors.As(err, &syntax):
		return syntax.GetSpecifiedFlag() + " is no flag"
	}
	return err.Error()
}

// wrongValue goes on behind a flag's name. The flags' own types say themselves what they must be.
func wrongValue(e *pflag.InvalidValueError) string {
	text, cause := e.GetValue(), errors.Unwrap(e)
	switch e.GetFlag().Value.Type() {
	case "int", "int64", "uint", "uint64":
		if errors.Is(cause, strconv.ErrRange) {
			return fmt.Sprintf(": %s is too large a number", text)
		}
		return fmt.Sprintf(" must be a whole number, not %q", text)
	case "bool":
		return fmt.Sprintf(" must be true or false, not %q", text)
	case "stringSlice":
		return fmt.Sprintf(": %q cannot be read; values are separated by commas, and want no quotes", text)
	}
	if says := cause.Error(); strings.HasPrefix(says, "must be ") {
		return fmt.Sprintf(" %s, not %q", says, text)
	}
	return fmt.Sprintf(": %v", cause)
}

// didYouMean names the nearest of the names, if one is near.
func didYouMean(prefix, typed string, names []string) string {
	const near = 2
	best, distance := "", near+1
	slices.Sort(names)
	for _, n := range names {
		if d := editDistance(typed, n); d < distance && d < len(n) {
			best, distance = n, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s%s?", prefix, best)
}

// editDistance counts the letters to insert, remove or replace to come from a to b (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j]+1, row[j+1]+1, cost)
		}
	}
	return row[len(b)]
}
