package cli

import (
	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// The values below are what the engine might return for a cluster of one host of each architecture.

func somePlan() plan.Plan {
	return plan.Plan{
		Cluster: "lab",
		Steps: []plan.Step{
			{ID: "arm-1/os", Kind: plan.OS, Host: "arm-1", Digest: "sha256:aa", Action: plan.Unchanged, Reason: "in place"},
			{ID: "arm-1/runtime", Kind: plan.Runtime, Host: "arm-1", Digest: "sha256:ab", Action: plan.Update, DependsOn: []plan.ID{"arm-1/os"},
				Reason:  "/etc/containerd/config.toml is not as it was left",
				Details: []string{"write /etc/containerd/config.toml", "restart containerd.service"}},
			{ID: "x86-1/os", Kind: plan.OS, Host: "x86-1", Digest: "sha256:ba", Action: plan.Create, Reason: "not done here yet",
				Details: []string{"load overlay, br_netfilter"}},
			{ID: "cluster/cni", Kind: plan.CNI, Digest: "sha256:ca", Action: plan.Create, Reason: "there is no pod network yet"},
			{ID: "x86-2/os", Kind: plan.OS, Host: "x86-2", Digest: "sha256:da", Action: plan.Unknown, Reason: "the host could not be asked"},
		},
		Notes: []string{"x86-2 does not answer: dial tcp 192.0.2.12:22: connection refused"},
	}
}

func settledPlan() plan.Plan {
	p := somePlan()
	p.Notes = nil
	for i := range p.Steps {
		p.Steps[i].Action, p.Steps[i].Details = plan.Unchanged, nil
	}
	return p
}

func someChecks() []report.Check {
	return []report.Check{
		{Host: "arm-1", Name: "arch", Status: report.Pass, Message: "as declared"},
		{Host: "arm-1", Name: "swap", Status: report.Ignored, Message: "512 MB of swap are active", Hint: "run swapoff -a"},
		{Host: "x86-1", Name: "memory", Status: report.Fail, Message: "1.0 GB, needs 1.8 GB", Hint: "give the host more memory"},
	}
}

func goodResult() provision.Result {
	return provision.Result{
		Cluster: "lab",
		Plan:    somePlan(),
		Changes: []report.Change{
			{Host: "arm-1", Step: "arm-1/os", Kind: "os", Action: report.Unchanged},
			{Host: "arm-1", Step: "arm-1/runtime", Kind: "runtime", Action: report.Configured},
			{Host: "x86-1", Step: "x86-1/os", Kind: "os", Action: report.Created},
			{Step: "cluster/cni", Kind: "cni", Action: report.Created},
		},
		Hosts: []provision.HostResult{
			{Name: "arm-1", Arch: "arm64", Action: report.Configured},
			{Name: "x86-1", Arch: "amd64", Action: report.Created},
		},
		Kubeconfig: "/home/me/my clusters/.hybridctl/lab/kubeconfig",
	}
}

func partialResult() provision.Result {
	r := goodResult()
	r.Kubeconfig = ""
	r.Changes[2].Action, r.Changes[2].Error = report.Failed, "modprobe: not found"
	r.Changes[3].Action, r.Changes[3].Error = report.Failed, "the API server does not answer"
	r.Hosts[1] = provision.HostResult{
		Name: "x86-1", Arch: "amd64", Action: report.Failed, Error: "os: modprobe: not found", Next: "hybridctl up -f /home/me/lab.yaml",
	}
	return r
}

func unchangedResult() provision.Result {
	r := goodResult()
	for i := range r.Changes {
		r.Changes[i].Action = report.Unchanged
	}
	for i := range r.Hosts {
		r.Hosts[i].Action = report.Unchanged
	}
	return r
}

func destroyedResult() provision.Result {
	r := goodResult()
	r.Kubeconfig = ""
	for i := range r.Changes {
		r.Changes[i].Action = report.Deleted
	}
	for i := range r.Hosts {
		r.Hosts[i].Action = report.Deleted
	}
	return r
}

func someStatus() provision.StatusReport {
	return provision.StatusReport{
		Cluster: "lab", API: "answers", Version: "v1.36.3",
		Hosts: []provision.HostStatus{
			{Name: "arm-1", Address: "192.0.2.21", Role: "control-plane", Arch: "arm64", OS: "Debian GNU/Linux 13", Kernel: "6.12.48-arm64-16k",
				Page: 16384, Host: "reachable", Node: "Ready", Kubelet: "v1.36.3"},
			{Name: "x86-1", Address: "192.0.2.11", Role: "worker", Arch: "amd64", Host: "connection refused", Node: "NotReady", Kubelet: "v1.36.2",
				Differs: []string{"kubelet is v1.36.2, the inventory says v1.36.3"}},
		},
		Notes: []string{"node old-1 is in no inventory"},
	}
}
