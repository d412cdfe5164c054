package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
)

// forceAlone is the value of --force without a host.
const forceAlone = "true"

// forceFlag is --force, which speaks of what the verb itself would not do, and --force=HOST, which speaks of that host alone: it is reset
// although it is not known to be of this cluster.
type forceFlag struct {
	hostsOnly bool // --force without a host says nothing here
	alone     bool
	hosts     []string
}

// register adds the flag; usage says what it does.
func (f *forceFlag) register(cmd *cobra.Command, usage string) {
	cmd.Flags().Var(f, "force", usage)
	if !f.hostsOnly {
		cmd.Flags().Lookup("force").NoOptDefVal = forceAlone
	}
}

func (f *forceFlag) String() string {
	if f.alone {
		return forceAlone
	}
	return strings.Join(f.hosts, ",")
}

// Set implements pflag.Value.
func (f *forceFlag) Set(value string) error {
	switch {
	case value == "":
		if f.hostsOnly {
			return errors.New("name a host")
		}
		return errors.New("name a host, or write --force alone")
	case value == forceAlone && f.hostsOnly:
		return errors.New("name the host that is to be reset")
	case value == forceAlone:
		f.alone = true
	case value == "false":
		*f = forceFlag{hostsOnly: f.hostsOnly}
	default:
		f.hosts = append(f.hosts, strings.Split(value, ",")...)
	}
	return nil
}

// Type implements pflag.Value.
func (f *forceFlag) Type() string { return "HOST,..." }
