package fakeapi

import (
	"context"
	"errors"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
)

// errNoPods is the answer to whoever wants pods to run: package conformance has a cluster in this process for that.
var errNoPods = errors.New("this API server runs no pods")

func (*API) Namespaces(context.Context, string) ([]string, error)        { return nil, errNoPods }
func (*API) Create(context.Context, []byte) error                        { return errNoPods }
func (*API) Delete(context.Context, []byte) ([]kube.ObjectChange, error) { return nil, errNoPods }
func (*API) DeleteNamespace(context.Context, string) error               { return errNoPods }
func (*API) Services(context.Context, string) ([]kube.Service, error)    { return nil, errNoPods }
func (*API) Events(context.Context, string) ([]kube.Event, error)        { return nil, errNoPods }
func (*API) NodeLeases(context.Context) (map[string]time.Time, error)    { return nil, errNoPods }
func (*API) Exec(context.Context, kube.ExecOptions) error                { return errNoPods }
func (*API) PodLog(context.Context, string, string, string, int64) ([]byte, error) {
	return nil, errNoPods
}
func (*API) WaitNoVolumes(context.Context, string, string, kube.WaitOptions) error {
	return errNoPods
}
func (*API) WaitPods(context.Context, string, func([]kube.Pod, []kube.Event) []kube.Missing, kube.WaitOptions) error {
	return errNoPods
}
