// Package plan is pure: Build(inventory, facts, bundle) gives a Plan, a DAG of keyed steps with reasons. It touches no network,
// no file and no clock, so a dry run is the plan printed.
package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// ID names a step: "<host>/<kind>" or "cluster/<name>".
type ID string

// Kind says what a step does; one executor carries out each.
type Kind string

const (
	OS         Kind = "os"         // kernel modules, sysctls
	Runtime    Kind = "runtime"    // containerd, runc, CNI plugins, and crictl where the bundle has it
	Registries Kind = "registries" // how containerd and the kubelet reach registries
	Kubernetes Kind = "kubernetes" // kubelet, kubeadm, kubectl
	Images     Kind = "images"     // container images of the host's architecture
	Files      Kind = "files"      // files of a control plane that kube-apiserver reads
	Init       Kind = "init"       // kubeadm init
	Join       Kind = "join"       // kubeadm join
	Node       Kind = "node"       // labels and taints of the Node object
	CNI        Kind = "cni"        // the pod network
	CSI        Kind = "csi"        // Ceph's volumes

	Cordon    Kind = "cordon"    // no new pod comes to the node
	Drain     Kind = "drain"     // the node's pods are evicted
	Etcd      Kind = "etcd"      // the host's member of etcd
	Inventory Kind = "inventory" // the host's place in the inventory
)

// Action says what has to be done for a step.
type Action string

const (
	Create    Action = "create"
	Update    Action = "update"
	Delete    Action = "delete"
	Unchanged Action = "unchanged"
	Unknown   Action = "unknown" // the host or the API could not be asked
)

// Step is one thing to be true on one host, or of the cluster. It is data: printed, diffed, saved.
type Step struct {
	ID        ID       `json:"id"`
	Kind      Kind     `json:"kind"`
	Host      string   `json:"host,omitempty"` // empty for cluster steps
	DependsOn []ID     `json:"dependsOn,omitempty"`
	Behind    []ID     `json:"behind,omitempty"` // wait for these too, in this run only: see roll
	Digest    string   `json:"digest"`           // of Inputs, "sha256:<hex>"
	Action    Action   `json:"action"`
	Reason    string   `json:"reason"`            // why it is to be done, or why it stays
	Details   []string `json:"details,omitempty"` // what will be done, a line each
	Inputs    any      `json:"inputs,omitempty"`  // one of the …Inputs types; digests of file bodies, never the bodies
}

// Plan is all steps, in an order that respects DependsOn.
type Plan struct {
	Cluster string   `json:"cluster"`
	Part    bool     `json:"part,omitempty"` // some hosts' steps alone: what they depend on besides is done
	Steps   []Step   `json:"steps"`
	Notes   []string `json:"notes,omitempty"` // what the user should know: nodes that are in no inventory, hosts not reached
}

// Changes counts the steps that are not Unchanged.
func (p Plan) Changes() int {
	n := 0
	for _, s := range p.Steps {
		if s.Action != Unchanged {
			n++
		}
	}
	return n
}

// Step returns the step of that ID.
func (p Plan) Step(id ID) (Step, bool) {
	for _, s := range p.Steps {
		if s.ID == id {
			return s, true
		}
	}
	return Step{}, false
}

// Digest hashes any value by its JSON form.
func Digest(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("plan: inputs that are not JSON: " + err.Error()) // a programming error: inputs are our own types
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
