package steps

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// binaryMode is the mode of every binary from the bundle.
const binaryMode = "0755"

func (x *Steps) applyFiles(ctx context.Context, s plan.Step, h *host.Host) (string, error) {
	in, ok := s.Inputs.(plan.FilesInputs)
	if !ok {
		return "", fmt.Errorf("inputs of kind %T", s.Inputs)
	}
	done, err := x.land(ctx, s, in, h)
	if err != nil {
		return "", err
	}
	detail := fmt.Sprintf("%d files changed", len(done.Changed))
	if len(done.Removed) > 0 {
		detail += fmt.Sprintf(", %d deleted", len(done.Removed))
	}
	if done.Sent > 0 {
		detail += fmt.Sprintf(", %d MB sent", done.Sent/1e6)
	}
	return detail, nil
}

// applyPlaneFiles lands the files of a control plane. Where its kube-apiserver was started again for them, it is awaited.
func (x *Steps) applyPlaneFiles(ctx context.Context, s plan.Step, h *host.Host) (string, error) {
	in, ok := s.Inputs.(plan.FilesInputs)
	if !ok {
		return "", fmt.Errorf("inputs of kind %T", s.Inputs)
	}
	done, err := x.land(ctx, s, in, h)
	if err != nil {
		return "", err
	}
	detail := fmt.Sprintf("%d files changed", len(done.Changed))
	if len(done.Restarted) == 0 {
		return detail, nil
	}
	x.say(s, "waiting for the API server")
	api, err := x.env.Kube(ctx)
	if err != nil {
		return "", err
	}
	return detail + ", " + strings.Join(done.Restarted, " and ") + " started again", api.WaitAPI(ctx)
}

// bringBack lands the files of a control plane again, which a reset has deleted.
func (x *Steps) bringBack(ctx context.Context, s plan.Step, in plan.FilesInputs, h *host.Host) error {
	if len(in.Texts) == 0 {
		return nil
	}
	_, err := x.land(ctx, plan.Step{Kind: plan.Files, Host: s.Host, Digest: plan.Digest(in)}, in, h)
	return err
}

func (x *Steps) land(ctx context.Context, s plan.Step, in plan.FilesInputs, h *host.Host) (host.Applied, error) {
	f := host.Files{Step: string(s.Kind), Digest: s.Digest, Modules: in.Modules, Units: in.Units, Enable: in.Enable, Prune: in.Prune}
	for _, r := range in.Restart {
		f.Restart = append(f.Restart, host.Restart(r))
	}
	for _, b := range in.Binaries {
		source := b.Source
		f.Binaries = append(f.Binaries, host.Binary{Path: b.Path, Mode: binaryMode, SHA256: b.SHA256, Size: source.Size,
			Open: func() (io.ReadSeekCloser, error) { return x.env.Bundle.OpenBinary(source) }})
	}
	for _, t := range in.Texts {
		f.Texts = append(f.Texts, host.Text{Path: t.Path, Mode: t.Landed(), Body: t.Body})
	}
	for _, k := range in.Sysctls {
		f.Sysctls = append(f.Sysctls, host.Sysctl{Name: k.Name, Value: k.Value, Optional: k.Optional})
	}
	for _, p := range in.Processes {
		f.Processes = append(f.Processes, host.Process(p))
	}
	return h.Apply(ctx, f, x.progress(s))
}

// applyRegistries puts what the host is told of registries there. Told of none, it has no such step any more.
func (x *Steps) applyRegistries(ctx context.Context, s plan.Step, h *host.Host) (string, error) {
	detail, err := x.applyFiles(ctx, s, h)
	if in, ok := s.Inputs.(plan.FilesInputs); err == nil && ok && len(in.Texts) == 0 {
		_, err = x.undoFiles(ctx, s, h)
	}
	return detail, err
}

// leavings are what a step's programs make on a host, and where its files land: its marker names those that it brought, and all count as brought
// where the marker cannot be read.
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
	plan.Registries: {
		files: []string{"/etc/containerd/conf.d/hybridctl-registries.toml"}, // and config.json of the kubelet, where the marker names it: it may be another's
	},
	plan.Kubernetes: {
		units: []string{"kubelet.service"},
		files: []string{"/etc/systemd/system/kubelet.service", "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf",
			"/usr/local/bin/kubelet", "/usr/local/bin/kubeadm", "/usr/local/bin/kubectl"},
		directories: []string{"/var/lib/kubelet", plan.PatchesDir},
	},
}

// undoPlaneFiles forgets the files that control planes have: a kube-apiserver that mounts one does not start without it. They go with a reset.
func (x *Steps) undoPlaneFiles(ctx context.Context, s plan.Step, h *host.Host) (string, error) {
	_, err := remove(ctx, x, s, h)
	return "the files stay until the host is reset", err
}

// undoFiles takes away what the step brought. What was there before, it says and leaves.
func (x *Steps) undoFiles(ctx context.Context, s plan.Step, h *host.Host) (string, error) {
	left, err := remove(ctx, x, s, h)
	if len(left) == 0 || err != nil {
		return "", err
	}
	return "left what this step did not bring: " + report.Some(left, 10), nil
}

func remove(ctx context.Context, x *Steps, s plan.Step, h *host.Host) ([]string, error) {
	l := leavings[s.Kind]
	left, err := h.Remove(ctx, string(s.Kind), l.units, l.files, l.directories, mayBeOf(x.env.Facts(s.Host), true, own(ctx, x.env)))
	return left, lookAgain(err, s.Host)
}
