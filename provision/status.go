package provision

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/survey"
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

// Status looks at hosts and API and says what is there. Unreachable hosts are part of the answer, not an error.
func Status(ctx context.Context, o Options) (StatusReport, error) {
	o = o.withDefaults()
	out := StatusReport{Cluster: o.Cluster.Metadata.Name, Version: o.Cluster.Spec.Kubernetes.Version}
	r, err := look(ctx, o)
	if err != nil {
		return out, err
	}
	defer r.end()
	files, err := survey.ReadFiles(r.Cluster)
	if err != nil {
		return out, err
	}
	seen, err := r.surveyHosts()
	if err != nil {
		return out, err
	}
	if seen.Fetch.Err != nil {
		return out, fmt.Errorf("%w: %w", ErrBundle, seen.Fetch.Err)
	}
	seen.Files = files
	reader := r.reader()
	reader.NoPrograms = true
	reader.Site(r.reading, &seen)
	r.observe(&seen)
	p, err := build(seen.Input())
	if err != nil {
		return out, err
	}
	switch _, there, err := seen.API.Get(); {
	case err != nil:
		out.API = err.Error()
	case there:
		out.API = "answers"
	default:
		out.API = "no cluster yet"
	}
	for _, h := range o.Cluster.Spec.Hosts {
		out.Hosts = append(out.Hosts, hostStatus(h, seen.Hosts[h.Name], survey.Told(seen.API), p))
	}
	out.Notes = p.Notes
	for _, ch := range r.problems(seen) {
		if ch.Name == preflight.Certificates {
			out.Notes = append(out.Notes, strings.TrimPrefix(fmt.Sprintf("%s: certificates: %s (%s)", ch.Host, ch.Message, ch.Hint), ": "))
		}
	}
	return out, nil
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
// ErrRefused: that host bears the mark of another cluster.
func Kubeconfig(ctx context.Context, o Options) ([]byte, error) {
	r, err := look(ctx, o.withDefaults())
	if err != nil {
		return nil, err
	}
	defer r.end()
	b, err := r.fleet.Kept()
	if !errors.Is(err, fleet.ErrNoKubeconfig) {
		return b, err
	}
	r.fleet.Only() // no host is of interest but for it
	b, by, err := r.fleet.Given(r.reading, nil)
	if err == nil {
		err = r.sameName(r.reading, nil, by)
	}
	if err != nil {
		return nil, err
	}
	return kube.RenameContext(b, r.Cluster.Metadata.Name)
}
