package cli

import (
	"context"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/hybridctl/hybridctl/provision/report"
)

func newKubeconfig(a *app) *cobra.Command {
	var f clusterFlags
	cmd := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Write the admin kubeconfig to stdout (it is a secret)",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.kubeconfig(cmd.Context(), f) },
	}
	f.register(cmd)
	return cmd
}

func (a *app) kubeconfig(ctx context.Context, f clusterFlags) error {
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	s, err := a.open(ctx, f)
	if err != nil {
		return err
	}
	defer s.close()
	config, err := a.Front.Kubeconfig(ctx, s.options)
	s.close()
	if err != nil {
		return err
	}
	return a.writeYAML(config)
}

// writeYAML writes a document that is YAML already.
func (a *app) writeYAML(doc []byte) error {
	if a.global.output != report.JSON {
		_, err := a.Stdout.Write(doc)
		return err
	}
	var v any
	if err := yaml.Unmarshal(doc, &v); err != nil {
		return err
	}
	return report.Encode(a.Stdout, report.JSON, v)
}

// writeJSON writes a document that is JSON already.
func (a *app) writeJSON(doc []byte) error {
	if a.global.output == report.YAML {
		var err error
		if doc, err = yaml.JSONToYAML(doc); err != nil {
			return err
		}
	}
	_, err := a.Stdout.Write(doc)
	return err
}
