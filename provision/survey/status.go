package survey

import (
	"fmt"
	"slices"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/plan"
)

// Status is what there is of a cluster, for people: its hosts with their nodes, and what differs from the inventory.
type Status struct {
	Cluster string       `json:"cluster"`
	API     string       `json:"api"`               // "answers", or why not
	Version string       `json:"version,omitempty"` // of the API server, as it says; "" = it did not
	Wanted  string       `json:"wanted,omitempty"`  // the version that the inventory says
	Hosts   []HostStatus `json:"hosts"`
	Notes   []string     `json:"notes,omitempty"` // what differs from the inventory
}

// HostStatus is one host with its node.
type HostStatus struct {
	Name    string   `json:"name"`
	Address string   `json:"address"`
	Role    string   `json:"role"`
	Arch    string   `json:"arch"` // as the host says, or its node; "unknown" = neither did
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
	out := Status{Cluster: s.Cluster.Metadata.Name, Wanted: s.Cluster.Spec.Kubernetes.Version, Notes: p.Notes}
	switch _, there, err := s.API.Get(); {
	case err != nil:
		out.API = err.Error()
	case there:
		out.API, out.Version = "answers", s.Version
		if s.Version != out.Wanted {
			out.Notes = append(slices.Clone(out.Notes), fmt.Sprintf("the API server is %s, and the inventory says %s", s.Version, out.Wanted))
		}
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
		st.Host = "not managed"
	case f.Err != nil:
		st.Host = f.Err.Error()
	}
	if api.Observed || api.Err == nil {
		st.Node = "not joined"
	}
	for _, n := range api.Nodes {
		if n.Name != h.Name {
			continue
		}
		st.Node, st.Kubelet = "NotReady", n.KubeletVersion
		if f.Arch == "" && n.Arch != "" {
			st.Arch = n.Arch
		}
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
