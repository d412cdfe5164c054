package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/report"
)

func newStatus(a *app) *cobra.Command {
	var f clusterFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show hosts, nodes, and what differs from the inventory",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.status(cmd.Context(), f) },
	}
	f.register(cmd)
	f.registerCatalogue(cmd)
	return cmd
}

func (a *app) status(ctx context.Context, f clusterFlags) error {
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	s, err := a.open(ctx, f)
	if err != nil {
		return err
	}
	defer s.close()
	r, err := a.Front.Status(ctx, s.options)
	s.close()
	if err != nil {
		return err
	}
	return a.write(r, func(w io.Writer) error { return writeStatus(w, r, a.color(w)) })
}

// writeStatus writes the state of a cluster for people.
func writeStatus(w io.Writer, r provision.StatusReport, color bool) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "cluster %s  API: %s", r.Cluster, report.OneLine(r.API))
	if r.Version != "" {
		fmt.Fprintf(&b, "  version: %s", r.Version)
	} else if r.Wanted != "" {
		fmt.Fprintf(&b, "  version in the inventory: %s", r.Wanted)
	}
	b.WriteString("\n\n")
	t := report.NewTable("HOST", "ADDRESS", "ROLE", "ARCH", "NODE", "KUBELET", "OS", "KERNEL", "PAGE")
	for _, h := range r.Hosts {
		t.Row(report.C(h.Name), report.C(h.Address), report.C(h.Role), report.C(h.Arch), nodeCell(h.Node), report.C(h.Kubelet),
			report.C(h.OS), report.C(h.Kernel), report.C(pageSize(h.Page)))
		if h.Host != "reachable" {
			t.Note("host: " + h.Host)
		}
		for _, d := range h.Differs {
			t.Note("differs: " + d)
		}
	}
	_ = t.Write(&b, color) // a buffer takes everything
	for i, n := range r.Notes {
		if i == 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "note: %s\n", report.OneLine(n))
	}
	_, err := w.Write(b.Bytes())
	return err
}

func nodeCell(node string) report.Cell {
	style := report.Notice
	switch {
	case node == "Ready":
		style = report.Good
	case strings.HasPrefix(node, "NotReady"):
		style = report.Bad
	}
	return report.Cell{Text: node, Style: style}
}

func pageSize(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%dK", n/1024)
}
