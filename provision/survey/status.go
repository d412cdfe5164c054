package survey

import (
	"fmt"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/plan"
)

// Status is what there is of a cluster, for people: its hosts with their nodes, and what differs from the inventory.
type Status struct {
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

// StatusOf tells what was seen, beside what a plan would do about it.
func StatusOf(s Seen, p plan.Plan) Status {
	out := Status{Cluster: s.Cluster.Metadata.Name, Version: s.Cluster.Spec.Kubernetes.Version, Notes: p.Notes}
	switch _, there, err := s.API.Get(); {
	case err != nil:
		out.API = err.Error()
	case there:
		out.API = "answers"
	default:
		out.API = "no cluster yet"
	}
	for _, h := range s.Cluster.Spec.Hosts {
		out.Hosts = append(out.Hosts, hostStatus(h, s.Hosts[h.Name], Told(s.API), p))
	}
	return out
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
