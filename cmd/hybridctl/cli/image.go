package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/registry"
)

func newImage(a *app) *cobra.Command {
	cmd := asGroup(&cobra.Command{
		Use:   "image",
		Short: "Assemble images of several architectures, look into them, and ask for which they are made",
	})
	cmd.AddCommand(newImageAssemble(a), newImageInspect(a), newImageAudit(a))
	return cmd
}

// registryFlags say how registries are reached.
type registryFlags struct {
	plainHTTP   []string
	caFile      string
	insecure    bool
	anyRedirect bool
}

func (f *registryFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.plainHTTP, "plain-http", nil, "ask these registries by HTTP, and show them credentials by it: `HOST[:PORT]`; without a value, every registry that is not one of the well-known ones")
	flags.Lookup("plain-http").NoOptDefVal = "*"
	flags.StringVar(&f.caFile, "ca-file", "", "certificates of authorities in addition to the system's: `FILE` in PEM")
	flags.BoolVar(&f.insecure, "insecure-skip-tls-verify", false, "take any certificate of a registry: whoever is between can read and change everything")
	flags.BoolVar(&f.anyRedirect, "allow-private-redirects", false, "follow a registry into private networks, also one that is not in a private network itself")
	_ = cmd.MarkFlagFilename("ca-file") // the flag is there
}

func (f registryFlags) options() registry.Options {
	return registry.Options{PlainHTTP: f.plainHTTP, CAFile: f.caFile, InsecureSkipTLSVerify: f.insecure, AnyRedirect: f.anyRedirect}
}

// places opens references with the user's own credentials. The caller closes them.
func (f registryFlags) places() (*image.Places, error) {
	c, err := registry.New(f.options())
	if err != nil {
		return nil, usagef("--ca-file: %v", withoutOpen(err))
	}
	return &image.Places{Registry: c}, nil
}

// withoutOpen is an error about a file without the call that failed: "ca.pem: no such file or directory".
func withoutOpen(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Errorf("%s: %w", at.Path, at.Err)
	}
	return err
}

// withHint adds what to do about an error of a registry.
func withHint(err error) error {
	if h := registry.Hint(err); h != "" {
		return hint.With(err, "%s", h)
	}
	return err
}

// untilStopDo runs a verb that has nothing to finish.
func (a *app) untilStopDo(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	return do(ctx)
}
