package cli

import (
	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/hint"
)

func newCompletion(a *app) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Write a shell's completion script to stdout",
		Long: `completion writes the script that makes a shell complete hybridctl's verbs and flags, for instance

  source <(hybridctl completion bash)`,
		ValidArgs: shells,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return hint.With(usagef("no shell is named"), "name one: bash, zsh, fish or powershell")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.Stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.Stdout)
			case "fish":
				return root.GenFishCompletion(a.Stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.Stdout)
			}
			return hint.With(usagef("there is no completion for the shell %q", args[0]), "name one: bash, zsh, fish or powershell")
		},
	}
}
