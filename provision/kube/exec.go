package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
	spdystream "k8s.io/streaming/pkg/httpstream/spdy"
)

// ExecOptions tell Exec where and what.
type ExecOptions struct {
	Namespace, Pod, Container string
	Argv                      []string
	Stdin                     io.Reader // read until the program or the context ends; nil = none
	Stdout, Stderr            io.Writer // nil = thrown away
}

// ExitError is a program that ended with a code other than zero.
type ExitError struct{ Code int }

func (e *ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// Exec runs a program in a container, as kubectl exec does: by way of the API server and the node's kubelet, and so without the pod
// network. It returns when the program has ended, with an *ExitError when it says so, or when the context ends.
func (c *Client) Exec(ctx context.Context, o ExecOptions) error {
	request := c.core.RESTClient().Post().Resource("pods").Namespace(o.Namespace).Name(o.Pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{
			Container: o.Container, Command: o.Argv,
			Stdin: o.Stdin != nil, Stdout: true, Stderr: true,
		}, scheme.ParameterCodec)
	transport, upgrader, err := c.streaming()
	if err != nil {
		return err
	}
	executor, err := remotecommand.NewSPDYExecutorForTransports(transport, upgrader, http.MethodPost, request.URL())
	if err != nil {
		return err
	}
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{
		Stdin: o.Stdin, Stdout: orDiscard(o.Stdout), Stderr: orDiscard(o.Stderr),
	})
	var exit utilexec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &exit):
		return &ExitError{Code: exit.ExitStatus()}
	}
	return fmt.Errorf("run %s in pod %s/%s: %w", o.Argv[0], o.Namespace, o.Pod, c.explain(err))
}

// streaming makes a transport for one exec. client-go's own would dial by itself: this one takes the client's ways to the server.
func (c *Client) streaming() (http.RoundTripper, spdy.Upgrader, error) {
	tlsConfig, err := rest.TLSConfigFor(c.config)
	if err != nil {
		return nil, nil, err
	}
	dialing, err := spdystream.NewRoundTripperWithConfig(spdystream.RoundTripperConfig{
		UpgradeTransport: &http.Transport{DialContext: c.routes.dial, TLSClientConfig: tlsConfig},
		PingPeriod:       pingPeriod,
	})
	if err != nil {
		return nil, nil, err
	}
	wrapped, err := rest.HTTPWrappersForConfig(c.config, dialing)
	return wrapped, spdy.NewUpgraderForStreaming(dialing), err
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}
