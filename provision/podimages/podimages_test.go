package podimages

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/workload"
)

// clusterSecrets are a cluster's, which counts how often it is asked.
type clusterSecrets struct{ asked int }

func (c *clusterSecrets) PullSecret(_ context.Context, namespace, name string) ([]byte, error) {
	c.asked++
	if name == "forbidden" {
		return nil, errors.New("may not be read")
	}
	return []byte(`{"auths":{"registry.test":{"username":"` + namespace + "-" + name + `","password":"p"}}}`), nil
}

func (c *clusterSecrets) AccountSecrets(_ context.Context, _, account string) ([]string, error) {
	return []string{"of-" + account}, nil
}

func TestPullKeys_AsTheKubeletHasThem(t *testing.T) {
	source := &clusterSecrets{}
	k := &pullKeys{source: source, secrets: map[string]*foundKeys{}}
	repo, err := name.NewRepository("registry.test/team/app")
	if err != nil {
		t.Fatal(err)
	}
	use := func(account string, secrets ...string) kube.ImageUse {
		return kube.ImageUse{Template: kube.PodTemplate{Namespace: "team"}, Account: account, PullSecrets: secrets}
	}
	for want, u := range map[string]kube.ImageUse{"team-own": use("builder", "own"), "team-of-builder": use("builder")} {
		for range 2 {
			if got := k.of(t.Context(), u).secrets.For(repo); len(got) != 1 || got[0].Username != want {
				t.Errorf("%s: %d credentials", want, len(got))
			}
		}
	}
	if source.asked != 2 {
		t.Errorf("asked %d times", source.asked)
	}
	if f := k.of(t.Context(), use("", "forbidden")); len(f.why) != 1 || !strings.Contains(f.why[0], "team/forbidden was of no use: may not be read") {
		t.Errorf("%q", f.why)
	}
}

func TestAuditedNodes(t *testing.T) {
	nodes := []kube.Node{{Name: "a", Arch: "amd64", Labels: map[string]string{"x": "y"}, Taints: []string{"k=v:NoSchedule"}}, {Name: "odd", Arch: "riscv64"}}
	if got := auditedNodes(nodes, nil); len(got) != 1 || got[0].Taints[0].Value != "v" || got[0].Labels["x"] != "y" {
		t.Errorf("%+v", got)
	}
	got := auditedNodes(nodes, []platform.Arch{platform.ARM64})
	if len(got) != 1 || got[0].Labels["kubernetes.io/arch"] != "arm64" {
		t.Errorf("%+v", got)
	}
}

// A pod without a required affinity may go anywhere; one whose required affinity is empty may go nowhere.
func TestWorkloadOf_Affinity(t *testing.T) {
	arm := workload.Node{Name: "a", Arch: platform.ARM64, Labels: map[string]string{"k": "v"}, Taints: workload.ParseTaints([]string{"k=v:NoSchedule"})}
	tolerates := []kube.Toleration{{Key: "k", Value: "v"}}
	for name, c := range map[string]struct {
		template kube.PodTemplate
		may      bool
	}{
		"tolerates the taint":   {kube.PodTemplate{Tolerations: tolerates}, true},
		"tolerates another":     {kube.PodTemplate{Tolerations: []kube.Toleration{{Key: "k", Value: "w"}}}, false},
		"a term that holds":     {kube.PodTemplate{Tolerations: tolerates, Required: [][]kube.NodeRequirement{{{Key: "k", Operator: "In", Values: []string{"v"}}}}}, true},
		"no term":               {kube.PodTemplate{Tolerations: tolerates, Required: [][]kube.NodeRequirement{}}, false},
		"a term that says none": {kube.PodTemplate{Tolerations: tolerates, Required: [][]kube.NodeRequirement{{}}}, false},
		"another selector":      {kube.PodTemplate{Tolerations: tolerates, Selector: map[string]string{"k": "w"}}, false},
	} {
		if got := WorkloadOf(c.template).MayRunOn(arm); got != c.may {
			t.Errorf("%s: %t", name, got)
		}
	}
}
