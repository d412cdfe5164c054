package steps

import (
	"context"
	"fmt"
	"io"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/plan"
)

// binaryMode is the mode of every binary from the bundle.
const binaryMode = "0755"

func (x *Steps) applyFiles(ctx context.Context, s plan.Step, h *host.Host) (string, error) {
	in, ok := s.Inputs.(plan.FilesInputs)
	if !ok {
		return "", fmt.Errorf("inputs of kind %T", s.Inputs)
	}
	f := host.Files{Step: string(s.Kind), Digest: s.Digest, Modules: in.Modules, Units: in.Units, Enable: in.Enable}
	for _, b := range in.Binaries {
		source := b.Source
		f.Binaries = append(f.Binaries, host.Binary{Path: b.Path, Mode: binaryMode, SHA256: b.SHA256, Size: source.Size,
			Open: func() (io.ReadSeekCloser, error) { return x.env.Bundle.OpenBinary(source) }})
	}
	for _, t := range in.Texts {
		f.Texts = append(f.Texts, host.Text{Path: t.Path, Mode: t.Mode, Body: t.Body})
	}
	for _, k := range in.Sysctls {
		f.Sysctls = append(f.Sysctls, host.Sysctl{Name: k.Name, Value: k.Value, Optional: k.Optional})
	}
	done, err := h.Apply(ctx, f, x.progress(s))
	if err != nil {
		return "", err
	}
	detail := fmt.Sprintf("%d files changed", len(done.Changed))
	if done.Sent > 0 {
		detail += fmt.Sprintf(", %d MB sent", done.Sent/1e6)
	}
	return detail, nil
}

// leavings are what a step's programs make on a host, and where its files land, beside the files its marker names: a step that never
// finished has no such marker.
var leavings = map[plan.Kind]struct{ units, files, directories []string }{
	plan.OS: {
		files: []string{"/etc/modules-load.d/hybridctl.conf", "/etc/sysctl.d/90-hybridctl.conf"},
	},
	plan.Runtime: {
		units: []string{"containerd.service"},
		files: []string{"/etc/systemd/system/containerd.service", "/etc/containerd/config.toml", "/usr/local/bin/containerd",
			"/usr/local/bin/containerd-shim-runc-v2", "/usr/local/bin/ctr", "/usr/local/sbin/runc"},
		directories: []string{"/var/lib/containerd", "/run/containerd"},
	},
	plan.Kubernetes: {
		units: []string{"kubelet.service"},
		files: []string{"/etc/systemd/system/kubelet.service", "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf",
			"/usr/local/bin/kubelet", "/usr/local/bin/kubeadm", "/usr/local/bin/kubectl"},
		directories: []string{"/var/lib/kubelet", plan.PatchesDir},
	},
}

func (x *Steps) undoFiles(ctx context.Context, s plan.Step, h *host.Host) (string, error) {
	l := leavings[s.Kind]
	return "", h.Remove(ctx, string(s.Kind), l.units, l.files, l.directories)
}
