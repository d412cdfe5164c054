package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/plan"
)

// StatusReport is what Status finds.
type StatusReport struct {
	Cluster string       `json:"cluster"`
	API     string       `json:"api"` // "answers", or why not
	Version string       `json:"version,omitempty"`
	Hosts   []HostStatus `json:"hosts"`
	Notes   []string     `json:"notes,omitempty"` // what differs from the inventory
}

// HostStatus is one host with its node.
type HostStatus struct {
	Name    string   `json:"name"`
	Address string   `json:"address"`
	Role    string   `json:"role"`
	Arch    string   `json:"arch"`
	OS      string   `json:"os,omitempty"`
	Kernel  string   `json:"kernel,omitempty"`
	Page    int      `json:"pageSize,omitempty"` // bytes
	Host    string   `json:"host"`               // "reachable" or why not
	Node    string   `json:"node"`               // Ready, NotReady, "not joined", "unknown"
	Kubelet string   `json:"kubelet,omitempty"`  // version
	Differs []string `json:"differs,omitempty"`
}

// Status looks at hosts and API and tells what is there. Unreachable hosts are part of the answer, not an error.
func Status(ctx context.Context, o Options) (StatusReport, error) {
	o = o.withDefaults()
	r := StatusReport{Cluster: o.Cluster.Metadata.Name, Version: o.Cluster.Spec.Kubernetes.Version}
	s, err := open(o)
	if err != nil {
		return r, err
	}
	defer s.close()
	ctx, cancel := o.stoppable(ctx)
	defer cancel()
	if err := s.openBundle(); err != nil {
		return r, err
	}
	in, err := s.files()
	if err != nil {
		return r, err
	}
	in.Hosts = s.gather(ctx)
	if err := ctx.Err(); err != nil {
		return r, err
	}
	in.API = s.observeAPI(ctx, in)
	p, err := build(in)
	if err != nil {
		return r, err
	}
	switch {
	case in.API.Observed:
		r.API = "answers"
	case in.API.Err != nil:
		r.API = in.API.Err.Error()
	default:
		r.API = "no cluster yet"
	}
	for _, h := range o.Cluster.Spec.Hosts {
		r.Hosts = append(r.Hosts, hostStatus(h, s.facts[h.Name], in.API, p))
	}
	r.Notes = p.Notes
	return r, nil
}

func hostStatus(h inventory.Host, f facts.Host, api facts.Cluster, p plan.Plan) HostStatus {
	st := HostStatus{Name: h.Name, Address: h.Address, Role: string(h.Role), Arch: f.Arch.String(), OS: f.OS.PrettyName, Kernel: f.Kernel,
		Page: f.PageSize, Host: "reachable", Node: "unknown"}
	switch {
	case !h.IsManaged():
		st.Host, st.Arch = "not managed", string(h.Arch)
	case f.Err != nil:
		st.Host, st.Arch = f.Err.Error(), string(h.Arch)
	}
	if api.Observed || api.Err == nil {
		st.Node = "not joined"
	}
	for _, n := range api.Nodes {
		if n.Name != h.Name {
			continue
		}
		st.Node, st.Kubelet = "NotReady", n.KubeletVersion
		if n.Ready {
			st.Node = "Ready"
		}
		if n.Unschedulable {
			st.Node += ", cordoned"
		}
		if f.Arch != "" && n.Arch != f.Arch.String() {
			st.Differs = append(st.Differs, fmt.Sprintf("the node says %s, the host is %s", n.Arch, f.Arch))
		}
	}
	for _, step := range p.Steps {
		if step.Host == h.Name && (step.Action == plan.Create || step.Action == plan.Update) {
			st.Differs = append(st.Differs, fmt.Sprintf("%s: %s", step.Kind, step.Reason))
		}
	}
	return st
}

// Kubeconfig returns the admin kubeconfig: from the state, else from a control-plane host. It is a secret.
func Kubeconfig(ctx context.Context, o Options) ([]byte, error) {
	o = o.withDefaults()
	b, err := os.ReadFile(filepath.Join(o.StateDir, kubeconfigFile))
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return b, err
	}
	s, err := open(o)
	if err != nil {
		return nil, err
	}
	defer s.close()
	ctx, cancel := o.stoppable(ctx)
	defer cancel()
	var errs []error
	for _, h := range s.controlPlanes() {
		r, err := s.dial(ctx, h)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", h.Name, err))
			continue
		}
		b, err := host.New(r).ReadFile(ctx, host.AdminConf)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", h.Name, err))
			continue
		}
		if err := s.useKubeconfig(b); err != nil {
			return nil, err
		}
		return s.config, nil
	}
	return nil, fmt.Errorf("no control-plane host has an admin kubeconfig: %w", errors.Join(errs...))
}
