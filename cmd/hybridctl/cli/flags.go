package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/report"
)

// globalFlags are those of every verb.
type globalFlags struct {
	output    report.Format
	verbosity verbosity
	logFormat logFormat
}

func (g *globalFlags) register(cmd *cobra.Command) {
	g.output, g.verbosity, g.logFormat = report.Text, verbosity(slog.LevelWarn), logText
	f := cmd.PersistentFlags()
	f.VarP((*formatFlag)(&g.output), "output", "o", "how results are written: text, json or yaml")
	f.Var(&g.verbosity, "verbosity", "what is logged: 0 to 5, or error, warn, info, debug")
	f.Var(&g.logFormat, "log-format", "how log and progress are written: text or json")
	complete(cmd, "output", "text", "json", "yaml")
	complete(cmd, "verbosity", "error", "warn", "info", "debug")
	complete(cmd, "log-format", "text", "json")
}

// registerSARIF says of the flag --output what else a verb of findings writes; PersistentPreRunE lets it.
func (g *globalFlags) registerSARIF(cmd *cobra.Command) {
	cmd.Flags().VarP((*formatFlag)(&g.output), "output", "o", "how results are written: text, json, yaml or sarif")
	complete(cmd, "output", "text", "json", "yaml", "sarif")
}

// clusterFlags are those of the verbs that work on a cluster.
type clusterFlags struct {
	inventory string
	stateDir  string
	parallel  int
	breakLock bool
	catalogue string
}

func (c *clusterFlags) register(cmd *cobra.Command) {
	c.registerInventory(cmd)
	f := cmd.Flags()
	f.StringVar(&c.stateDir, "state-dir", "", "where the cluster's state is kept (default .hybridctl/<cluster> beside the inventory)")
	f.IntVar(&c.parallel, "parallel", 0, "how many hosts are worked on at once (default 256)")
	_ = cmd.MarkFlagDirname("state-dir") // the flag is there
}

// registerBreakLock adds the flag of the verbs that take the cluster's lock.
func (c *clusterFlags) registerBreakLock(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.breakLock, "break-lock", false, "take the cluster's lock from a run that is gone, on this machine or another")
}

// registerCatalogue adds the flag of the verbs that hosts get something by.
func (c *clusterFlags) registerCatalogue(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.catalogue, "catalogue", "", "a catalogue of your own, `FILE`, for an inventory without spec.bundle (default hybridctl's: \"hybridctl bundle catalogue\")")
	_ = cmd.MarkFlagFilename("catalogue", "yaml", "yml") // the flag is there
}

func (c *clusterFlags) registerInventory(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&c.inventory, "inventory", "f", "inventory.yaml", "the inventory")
	_ = cmd.MarkFlagFilename("inventory", "yaml", "yml") // the flag is there
}

func complete(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
}

// formatFlag is a report.Format as a flag.
type formatFlag report.Format

func (f *formatFlag) String() string { return string(*f) }
func (f *formatFlag) Type() string   { return "format" }
func (f *formatFlag) Set(s string) error {
	v, err := report.ParseFormat(s)
	*f = formatFlag(v)
	return err
}

// verbosity is a slog.Level as a flag: 0 error, 1 warn, 2 info, 3 debug, 4 and 5 beyond.
type verbosity slog.Level

func (v *verbosity) Type() string { return "level" }
func (v *verbosity) String() string {
	return strings.ToLower(slog.Level(*v).String())
}

func (v *verbosity) Set(s string) error {
	if n, err := strconv.Atoi(s); err == nil && n >= 0 && n <= 5 {
		*v = verbosity(slog.LevelError) - verbosity(4*n)
		return nil
	}
	for _, l := range []slog.Level{slog.LevelError, slog.LevelWarn, slog.LevelInfo, slog.LevelDebug} {
		if strings.EqualFold(s, l.String()) {
			*v = verbosity(l)
			return nil
		}
	}
	return fmt.Errorf("must be 0 to 5, or error, warn, info, debug")
}

// logFormat is text or json as a flag.
type logFormat string

const (
	logText logFormat = "text"
	logJSON logFormat = "json"
)

func (l *logFormat) String() string { return string(*l) }
func (l *logFormat) Type() string   { return "format" }
func (l *logFormat) Set(s string) error {
	switch v := logFormat(strings.ToLower(s)); v {
	case logText, logJSON:
		*l = v
		return nil
	}
	return fmt.Errorf("must be text or json")
}

// lasting is a length of time as a flag: 90s, 36h, 30d, 1d12h. Zero = nothing was given.
type lasting time.Duration

func (s *lasting) Type() string { return "duration" }
func (s *lasting) String() string {
	if *s == 0 {
		return "0"
	}
	return time.Duration(*s).String()
}

func (s *lasting) Set(text string) error {
	days, rest, found := strings.Cut(text, "d")
	if !found {
		days, rest = "0", text
	}
	n, err := strconv.ParseUint(days, 10, 16)
	var d time.Duration
	if err == nil && rest != "" {
		d, err = time.ParseDuration(rest)
	}
	whole := time.Duration(n)*24*time.Hour + d
	if err != nil || d < 0 || whole < 0 || text == "" { // it was longer than a Duration can be
		return errors.New("must be a length of time, such as 90s, 36h or 30d")
	}
	*s = lasting(whole)
	return nil
}
