package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/remote"
)

// The verbs of Kubeadm.
const (
	KubeadmInit = "init"
	KubeadmJoin = "join"
)

// AdminConf is the admin kubeconfig that kubeadm init leaves.
const AdminConf = "/etc/kubernetes/admin.conf"

// CACert is the certificate of the cluster's authority on every node.
const CACert = "/etc/kubernetes/pki/ca.crt"

// An earlier join ended after it may have made the host a part of the cluster. The caller takes it out of the cluster, resets it and tries
// again.
var (
	ErrHalfJoined       = errors.New("half joined")                    // it may be a node
	ErrHalfControlPlane = errors.New("half joined as a control plane") // and a member of etcd, whatever it is to become now
)

// The statuses of kubeadm.sh for them.
const (
	exitHalfJoined       = 76
	exitHalfControlPlane = 77
)

// Kubeadm runs kubeadm init or join with this configuration, to its end even when the connection is lost; called again it waits for
// the run that is under way. The configuration holds a token and stays on a tmpfs while kubeadm runs. The marker "done" is written by
// the run itself. What an earlier attempt of ours left half done is reset first, unless ErrHalfJoined or ErrHalfControlPlane. A join leaves the
// cluster's mark before it begins; that of an init is known only when it has ended: nil, and WriteClusterMark.
func (h *Host) Kubeadm(ctx context.Context, verb, digest string, config []byte, mark *ClusterMark) error {
	args := []string{verb, verb, digest}
	if mark != nil {
		args = append(args, mark.CA, mark.Name)
	}
	_, err := h.script(ctx, "kubeadm", bytes.NewReader(config), args...)
	var exit *remote.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	switch exit.Status {
	case exitHalfJoined:
		return fmt.Errorf("%w: %w", ErrHalfJoined, err)
	case exitHalfControlPlane:
		return fmt.Errorf("%w: %w", ErrHalfControlPlane, err)
	}
	return err
}

// Ended reports whether a command on the host ran to its end: else it may still be at work.
func Ended(err error) bool {
	var exit *remote.ExitError
	return err == nil || errors.As(err, &exit)
}

// ErrOthers: the host shows another cluster than those it may be of. Nothing was done there; who looks at it once more judges it as it is then.
var ErrOthers = errors.New("nothing was done there")

// exitOthers is the status of reset.sh and remove.sh for it.
const exitOthers = 80

// UnknownPin stands among pins for a cluster whose authority cannot be told.
const UnknownPin = "unknown"

// Reset takes away what kubeadm, the kubelet, pods and the pod network left, with the markers of init and join. pins are of the authorities
// that the host may be of, as it shows at that moment. Errors: ErrOthers.
func (h *Host) Reset(ctx context.Context, pins []string) error {
	if _, err := h.script(ctx, "reset", nil, pins...); err != nil {
		return fmt.Errorf("reset: %w", ofOthers(err))
	}
	return nil
}

// Remove takes away what a step put there: its units, the files of its marker and, where that cannot be read, those given, and whole directories.
// left are the given files that stay, as the step did not put them there. pins and errors are as Reset's.
func (h *Host) Remove(ctx context.Context, step string, units, files, directories, pins []string) (left []string, err error) {
	out, err := h.script(ctx, "remove", nil, step, strings.Join(units, " "), strings.Join(files, " "), strings.Join(directories, " "), strings.Join(pins, " "))
	if err != nil {
		return nil, fmt.Errorf("remove %s: %w", step, ofOthers(err))
	}
	for line := range strings.Lines(string(out.Stdout)) {
		path, is := strings.CutPrefix(strings.TrimSpace(line), "left ")
		if is && slices.Contains(files, path) && !slices.Contains(left, path) {
			left = append(left, path)
		}
	}
	return left, nil
}

func ofOthers(err error) error {
	var exit *remote.ExitError
	if errors.As(err, &exit) && exit.Status == exitOthers {
		return fmt.Errorf("%w: %w", ErrOthers, err)
	}
	return err
}

// StartUnit starts a unit that should run and does not.
func (h *Host) StartUnit(ctx context.Context, unit string) error {
	if _, err := h.runner.Run(ctx, remote.Command{Argv: []string{"systemctl", "start", unit}, Sudo: true}); err != nil {
		return fmt.Errorf("start %s: %w", unit, err)
	}
	return nil
}
