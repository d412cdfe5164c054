package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// dnsPatience bounds one question; a pod network that drops packets never answers.
const dnsPatience = 5 * time.Second

// CheckDNS asks the cluster's DNS service for the API server's own name, through dial: a control-plane host's connection, since
// service addresses exist only inside the cluster. It asks over TCP, at the service address, so that the answer proves
// kube-proxy, the pod network and CoreDNS at once, and asks again until the answer is right or ctx ends, then with ErrNotReady.
func (c *Client) CheckDNS(ctx context.Context, dial DialFunc, clusterDomain string) error {
	server, err := c.clusterIPs(ctx, metav1.NamespaceSystem, "kube-dns")
	if err != nil {
		return err
	}
	want, err := c.clusterIPs(ctx, metav1.NamespaceDefault, "kubernetes")
	if err != nil {
		return err
	}
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dial(ctx, "tcp", net.JoinHostPort(server[0], "53"))
	}}
	name := "kubernetes.default.svc." + strings.TrimSuffix(clusterDomain, ".") + "." // absolute: no search domains of ours
	pause := newBackoff(250*time.Millisecond, 3*time.Second)
	last := errNoAnswer
	for {
		err := askDNS(ctx, &resolver, name, want)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		if stopped := sleep(ctx, pause.Step()); stopped != nil {
			cause := ended(stopped, last)
			return &failure{ErrNotReady, fmt.Sprintf("cluster DNS at %s does not resolve %s: %v", server[0], name, cause), cause}
		}
	}
}

func askDNS(ctx context.Context, resolver *net.Resolver, name string, want []string) error {
	bounded, cancel := context.WithTimeout(ctx, dnsPatience)
	defer cancel()
	got, err := resolver.LookupHost(bounded, name)
	var dns *net.DNSError
	switch {
	case err == nil && slices.ContainsFunc(got, func(ip string) bool { return slices.Contains(want, ip) }):
		return nil
	case err == nil:
		return fmt.Errorf("it answers %s instead of %s", strings.Join(got, ", "), strings.Join(want, ", "))
	case errors.As(err, &dns) && dns.IsTimeout:
		return errNoAnswer
	case errors.As(err, &dns):
		return errors.New(dns.Err)
	}
	return err
}

// clusterIPs are the addresses of a Service.
func (c *Client) clusterIPs(ctx context.Context, namespace, name string) ([]string, error) {
	var ips []string
	err := c.do(ctx, "read service "+namespace+"/"+name, func(ctx context.Context) error {
		service, err := c.core.Services(namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			ips = service.Spec.ClusterIPs
		}
		return err
	})
	if err == nil && (len(ips) == 0 || net.ParseIP(ips[0]) == nil) {
		err = &failure{kind: ErrInvalid, text: "service " + namespace + "/" + name + " has no cluster IP"}
	}
	return ips, err
}
