package kube

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// ErrNotKubeadm: the cluster has no configuration of kubeadm. The user has a cluster of another kind, which kubeadm cannot join hosts to.
var ErrNotKubeadm = errors.New("not a cluster that kubeadm made")

// ClusterConfiguration is what kubeadm noted of the cluster that it made: its own ClusterConfiguration, in kube-system/kubeadm-config.
type ClusterConfiguration struct {
	ClusterName  string
	Endpoint     string // host:port that joining hosts are sent to
	Shared       bool   // the endpoint was chosen for the cluster (controlPlaneEndpoint), and is not merely the first API server's
	PodCIDR      string // empty when none was given; several are joined by commas
	ServiceCIDR  string
	DNSDomain    string
	ExternalEtcd bool
	ResolvConf   string // of the kubelet's configuration for all nodes; "" = none: each node has its own
}

// ClusterConfiguration reads kubeadm's notes. ErrNotKubeadm: there are none.
func (c *Client) ClusterConfiguration(ctx context.Context) (ClusterConfiguration, error) {
	notes, err := c.configMap(ctx, "kube-system", "kubeadm-config")
	if errors.Is(err, ErrNotFound) {
		return ClusterConfiguration{}, fmt.Errorf("%w: there is no ConfigMap kube-system/kubeadm-config", ErrNotKubeadm)
	}
	if err != nil {
		return ClusterConfiguration{}, err
	}
	var config struct {
		ClusterName          string `json:"clusterName"`
		ControlPlaneEndpoint string `json:"controlPlaneEndpoint"`
		Networking           struct {
			PodSubnet     string `json:"podSubnet"`
			ServiceSubnet string `json:"serviceSubnet"`
			DNSDomain     string `json:"dnsDomain"`
		} `json:"networking"`
		Etcd struct {
			External *struct{} `json:"external"`
		} `json:"etcd"`
	}
	if err := yaml.Unmarshal([]byte(notes["ClusterConfiguration"]), &config); err != nil {
		return ClusterConfiguration{}, fmt.Errorf("ConfigMap kube-system/kubeadm-config: %w", err)
	}
	if notes["ClusterConfiguration"] == "" {
		return ClusterConfiguration{}, fmt.Errorf("%w: the ConfigMap kube-system/kubeadm-config has no ClusterConfiguration", ErrNotKubeadm)
	}
	out := ClusterConfiguration{
		ClusterName: config.ClusterName, Endpoint: config.ControlPlaneEndpoint, Shared: config.ControlPlaneEndpoint != "",
		PodCIDR: config.Networking.PodSubnet, ServiceCIDR: config.Networking.ServiceSubnet, DNSDomain: config.Networking.DNSDomain,
		ExternalEtcd: config.Etcd.External != nil,
	}
	if out.ResolvConf, err = c.resolvConf(ctx); err != nil {
		return ClusterConfiguration{}, err
	}
	if out.Endpoint == "" {
		out.Endpoint, err = c.discoveryEndpoint(ctx)
	}
	return out, err
}

// resolvConf is what the kubelet's configuration, which every joining host gets, says of name servers. kubeadm before 1.30 wrote there what the
// first host has.
func (c *Client) resolvConf(ctx context.Context) (string, error) {
	notes, err := c.configMap(ctx, "kube-system", "kubelet-config")
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var config struct {
		ResolvConf string `json:"resolvConf"`
	}
	if err := yaml.Unmarshal([]byte(notes["kubelet"]), &config); err != nil {
		return "", fmt.Errorf("ConfigMap kube-system/kubelet-config: %w", err)
	}
	return config.ResolvConf, nil
}

// discoveryEndpoint is where kubeadm sends joining hosts: the server of the kubeconfig in kube-public/cluster-info.
func (c *Client) discoveryEndpoint(ctx context.Context) (string, error) {
	info, err := c.configMap(ctx, "kube-public", "cluster-info")
	if err != nil {
		return "", err
	}
	config, err := clientcmd.Load([]byte(info["kubeconfig"]))
	if err != nil {
		return "", fmt.Errorf("ConfigMap kube-public/cluster-info: %w", err)
	}
	for _, cluster := range config.Clusters {
		return hostPort(cluster.Server), nil
	}
	return "", errors.New("ConfigMap kube-public/cluster-info: it names no server")
}

// configMap reads a ConfigMap's text. ErrNotFound: there is none.
func (c *Client) configMap(ctx context.Context, namespace, name string) (map[string]string, error) {
	var data map[string]string
	err := c.do(ctx, "read the ConfigMap "+namespace+"/"+name, func(ctx context.Context) error {
		m, err := c.core.ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		data = m.Data
		return nil
	})
	return data, err
}
