// Package kube speaks to the cluster's API server: nodes, join tokens, labels and taints, server-side apply, and waits that
// watch. It is the only writer to the API. Where the endpoint does not answer from here it dials through a control-plane
// host's SSH connection, which it is handed as a plain dial function. It knows nothing of hosts, plans or inventories, and never
// logs, wraps or prints what a kubeconfig holds.
package kube

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/dynamic"
	appsv1client "k8s.io/client-go/kubernetes/typed/apps/v1"
	batchv1client "k8s.io/client-go/kubernetes/typed/batch/v1"
	certificatesv1client "k8s.io/client-go/kubernetes/typed/certificates/v1"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	storagev1client "k8s.io/client-go/kubernetes/typed/storage/v1"
	"k8s.io/client-go/rest"
)

// DialFunc opens a connection, as net.Dialer.DialContext does. It must give up when its context ends.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// Options tell New how to reach the API server. The zero value works.
type Options struct {
	Dial           DialFunc      // through a control-plane host's SSH connection; nil = there is no such way
	DirectTimeout  time.Duration // for the TCP handshake without the tunnel; default 2s
	RequestTimeout time.Duration // for one request; default 30s
	RetryFor       time.Duration // how long a request that meets transient errors is repeated; default 30s
	UserAgent      string        // default hybridctl

	// Waiting is told of a request or a wait that may take long, and may ask at any time what it is for by then; what it returns is called at the
	// end. nil = it is not told.
	Waiting func(what func() string) (over func())

	mostBytes int64 // of an answer; 0 = maxAnswer
}

// Client is a connection to one cluster's API server, safe for concurrent use. All requests share one HTTP/2 connection.
type Client struct {
	server         string // host:port, for messages
	routes         *router
	config         *rest.Config
	http           *http.Client
	core           *corev1client.CoreV1Client
	apps           *appsv1client.AppsV1Client
	storage        *storagev1client.StorageV1Client
	batch          *batchv1client.BatchV1Client
	coordination   *coordinationv1client.CoordinationV1Client
	certificates   *certificatesv1client.CertificatesV1Client
	dynamic        *dynamic.DynamicClient
	mapper         mapper
	caHashes       []string
	requestTimeout time.Duration
	retryFor       time.Duration
	waiting        func(what func() string) (over func())
}

// New prepares a client for the current context of the kubeconfig. It connects to nothing yet.
// ErrKubeconfig: the document is not usable.
func New(kubeconfig []byte, o Options) (*Client, error) {
	redirectLogs()
	config, err := restConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	hashes, err := CAHashes(kubeconfig)
	if err != nil {
		return nil, err
	}
	c := &Client{
		server: hostPort(config.Host), config: config, caHashes: hashes,
		routes:         newRouter(o.Dial, cmp.Or(max(o.DirectTimeout, 0), 2*time.Second)),
		requestTimeout: cmp.Or(max(o.RequestTimeout, 0), 30*time.Second),
		retryFor:       cmp.Or(max(o.RetryFor, 0), 30*time.Second),
		waiting:        o.Waiting,
	}
	config.UserAgent = o.UserAgent
	if config.UserAgent == "" {
		config.UserAgent = "hybridctl"
	}
	// Enough for one read and one write per node in seconds; the server's own priority and fairness is the real limit.
	config.QPS, config.Burst = 300, 600
	config.Dial = c.routes.dial
	config.Wrap(c.routes.wrap)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &busy{next, c.server, c.requestTimeout} })
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &bounded{next, cmp.Or(o.mostBytes, maxAnswer)} })
	// The environment's proxy is for the internet: a cluster that is not reached directly is reached through the tunnel.
	config.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	return c, c.connect()
}

// connect makes the clients. They share one http.Client, and with it one connection; config.Timeout stays unset, because it
// would end watches too.
func (c *Client) connect() error {
	var err error
	if c.http, err = rest.HTTPClientFor(c.config); err != nil {
		return &failure{kind: ErrKubeconfig, text: "kubeconfig: its certificates are not usable"}
	}
	c.http.CheckRedirect = func(to *http.Request, _ []*http.Request) error { // no one is asked whom the kubeconfig does not name
		return &failure{ErrUntrusted, fmt.Sprintf("the server at %s sends requests on to %q, which no API server does", c.server, to.URL.Host), nil}
	}
	typed := rest.CopyConfig(c.config)
	typed.ContentType = runtime.ContentTypeProtobuf
	typed.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	if c.core, err = corev1client.NewForConfigAndClient(typed, c.http); err != nil {
		return err
	}
	if c.apps, err = appsv1client.NewForConfigAndClient(typed, c.http); err != nil {
		return err
	}
	if c.storage, err = storagev1client.NewForConfigAndClient(typed, c.http); err != nil {
		return err
	}
	if c.batch, err = batchv1client.NewForConfigAndClient(typed, c.http); err != nil {
		return err
	}
	if c.coordination, err = coordinationv1client.NewForConfigAndClient(typed, c.http); err != nil {
		return err
	}
	if c.certificates, err = certificatesv1client.NewForConfigAndClient(typed, c.http); err != nil {
		return err
	}
	c.dynamic, err = dynamic.NewForConfigAndClient(c.config, c.http)
	return err
}

// Close ends the connection, so that the tunnel's host does not keep it open.
func (c *Client) Close() { utilnet.CloseIdleConnectionsFor(c.http.Transport) }

// Server is the API server's host:port.
func (c *Client) Server() string { return c.server }

// Route tells which way answered last: "direct", "through SSH", or "" before the first answer.
func (c *Client) Route() Route { return c.routes.current() }

// CAHashes are the pins of the kubeconfig's certificate authorities, as the function CAHashes gives them.
func (c *Client) CAHashes() []string { return c.caHashes }

// Version asks for the API server's version, with the v.
func (c *Client) Version(ctx context.Context) (string, error) {
	var version struct {
		GitVersion string `json:"gitVersion"`
	}
	err := c.do(ctx, "read the API server's version", func(ctx context.Context) error {
		body, err := c.core.RESTClient().Get().AbsPath("/version").SetHeader("Accept", runtime.ContentTypeJSON).Do(ctx).Raw()
		if err != nil {
			return err
		}
		return unmarshalJSON(body, &version)
	})
	return version.GitVersion, err
}

// waits tells whom it concerns that something is waited for, until the returned function is called.
func (c *Client) waits(what string) (over func()) {
	if c.waiting == nil {
		return func() {}
	}
	return c.waiting(func() string { return what })
}

// hostPort is the address in a kubeconfig's server, for messages.
func hostPort(server string) string {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" {
		return server
	}
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "443")
	}
	return u.Host
}
