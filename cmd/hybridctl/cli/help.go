package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/hint"
)

// group is the annotation of commands that do nothing by themselves.
const group = "group"

// asGroup makes such a command of one.
func asGroup(cmd *cobra.Command) *cobra.Command {
	cmd.RunE, cmd.Annotations = runGroup, map[string]string{group: "yes"}
	return cmd
}

// alone is how pflag writes a flag that has a value or stands alone: --force HOST,...[=true].
var alone = regexp.MustCompile(`--([a-z-]+) (\S+?)\[=(?:"[^"\n]*"|\*|true)\]`)

// usageAsItIs corrects cobra's text of how a command is called: a group does nothing by itself, and the value of a flag that may stand alone
// stands behind =.
func usageAsItIs(cobras func(*cobra.Command) error) func(*cobra.Command) error {
	return func(cmd *cobra.Command) error {
		to := cmd.OutOrStderr()
		var b bytes.Buffer
		cmd.SetOut(&b)
		err := cobras(cmd)
		cmd.SetOut(to)
		text := b.String()
		if cmd.Annotations[group] != "" {
			text = strings.Replace(text, "\n  "+cmd.UseLine()+"\n", "\n", 1)
		}
		text = alone.ReplaceAllStringFunc(text, func(flag string) string { // the columns stay
			return fmt.Sprintf("%-*s", len(flag), alone.ReplaceAllString(flag, "--$1[=$2]"))
		})
		_, unwritten := io.WriteString(to, text)
		return errors.Join(err, unwritten)
	}
}

// newHelp takes the place of cobra's, which shows another command's help for one that there is none of.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND...]",
		Short: "Show the help of a command",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			at, rest, _ := cmd.Root().Find(args) // the error is of the words that are left
			if len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return subcommands(at), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			at, rest, _ := cmd.Root().Find(args) // the error is of the words that are left
			switch {
			case len(rest) == 0:
				at.InitDefaultHelpFlag()
				return at.Help()
			case !at.HasSubCommands():
				return hint.With(usagef("unknown command %q for %s", rest[0], at.CommandPath()), "%s --help shows how it is called", at.CommandPath())
			}
			return unknown(at, rest[0])
		},
	}
}
