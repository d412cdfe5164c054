package workload

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

func arm(name string, taints ...Taint) Node {
	return Node{Name: name, Arch: platform.ARM64, Labels: map[string]string{archLabel: "arm64", "disk": "ssd", "size": "7"}, Taints: taints}
}

func TestMayRunOn(t *testing.T) {
	control := Taint{Key: "role", Value: "x", Effect: "NoSchedule"}
	in := func(values ...string) []Term { return []Term{{{Key: archLabel, Operator: "In", Values: values}}} }
	for name, c := range map[string]struct {
		w    Workload
		n    Node
		want bool
	}{
		"no constraint":                {Workload{}, arm("a"), true},
		"selector matches":             {Workload{Selector: map[string]string{archLabel: "arm64"}}, arm("a"), true},
		"selector of another":          {Workload{Selector: map[string]string{archLabel: "amd64"}}, arm("a"), false},
		"selector of a missing label":  {Workload{Selector: map[string]string{"gpu": ""}}, arm("a"), false},
		"affinity In":                  {Workload{Terms: in("amd64", "arm64")}, arm("a"), true},
		"affinity In of another":       {Workload{Terms: in("amd64")}, arm("a"), false},
		"one of two terms":             {Workload{Terms: append(in("amd64"), in("arm64")...)}, arm("a"), true},
		"an empty term matches none":   {Workload{Terms: []Term{{}}}, arm("a"), false},
		"NotIn":                        {Workload{Terms: []Term{{{Key: archLabel, Operator: "NotIn", Values: []string{"arm64"}}}}}, arm("a"), false},
		"NotIn of a missing label":     {Workload{Terms: []Term{{{Key: "gpu", Operator: "NotIn", Values: []string{"no"}}}}}, arm("a"), true},
		"Exists":                       {Workload{Terms: []Term{{{Key: "disk", Operator: "Exists"}}}}, arm("a"), true},
		"DoesNotExist":                 {Workload{Terms: []Term{{{Key: "disk", Operator: "DoesNotExist"}}}}, arm("a"), false},
		"Gt":                           {Workload{Terms: []Term{{{Key: "size", Operator: "Gt", Values: []string{"6"}}}}}, arm("a"), true},
		"Lt":                           {Workload{Terms: []Term{{{Key: "size", Operator: "Lt", Values: []string{"7"}}}}}, arm("a"), false},
		"both of a term":               {Workload{Terms: []Term{{{Key: "disk", Operator: "Exists"}, {Key: "gpu", Operator: "Exists"}}}}, arm("a"), false},
		"a node's name":                {Workload{Terms: []Term{{{Key: "metadata.name", Operator: "In", Values: []string{"a"}, Field: true}}}}, arm("a"), true},
		"another node's name":          {Workload{Terms: []Term{{{Key: "metadata.name", Operator: "In", Values: []string{"b"}, Field: true}}}}, arm("a"), false},
		"taint":                        {Workload{}, arm("a", control), false},
		"taint that only prefers":      {Workload{}, arm("a", Taint{Key: "role", Effect: "PreferNoSchedule"}), true},
		"everything tolerated":         {Workload{Tolerations: []Toleration{{Operator: "Exists"}}}, arm("a", control), true},
		"tolerated by value":           {Workload{Tolerations: []Toleration{{Key: "role", Operator: "Equal", Value: "x"}}}, arm("a", control), true},
		"tolerated by another value":   {Workload{Tolerations: []Toleration{{Key: "role", Value: "y"}}}, arm("a", control), false},
		"tolerated for another effect": {Workload{Tolerations: []Toleration{{Key: "role", Operator: "Exists", Effect: "NoExecute"}}}, arm("a", control), false},
	} {
		if got := c.w.MayRunOn(c.n); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestAudit_UnknownIsNeverFine(t *testing.T) {
	made := map[string]Made{"both:1": Yes, "x86only:1": No}
	all := []Workload{
		{Object: "Deployment default/web", Images: []string{"x86only:1", "both:1"}},
		{Object: "DaemonSet kube-system/agent", Daemon: true, Images: []string{"x86only:1"}},
		{Object: "DaemonSet kube-system/safe", Daemon: true, Images: []string{"x86only:1"}, Selector: map[string]string{archLabel: "amd64"}},
		{Object: "DaemonSet kube-system/odd", Daemon: true, Images: []string{"nobody-knows:1", "nobody-knows:1"}},
		{Object: "DaemonSet kube-system/good", Daemon: true, Images: []string{"both:1"}},
	}
	findings := Audit(all, []Node{arm("arm-1"), arm("arm-2")}, func(i string, _ platform.Arch) (Made, error) {
		return made[i], hint.With(errors.New("nobody told"), "ask again")
	})
	var got []string
	for _, f := range findings {
		c := f.Check(true, platform.All())
		got = append(got, string(c.Status)+" "+f.Object+" "+f.Image)
	}
	want := []string{
		"fail DaemonSet kube-system/agent x86only:1",
		"warn Deployment default/web x86only:1",
		"warn DaemonSet kube-system/odd nobody-knows:1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	c := findings[0].Check(true, platform.All())
	for _, part := range []string{"linux/arm64", "arm-1, arm-2", "nodeSelector: {kubernetes.io/arch: amd64}"} {
		if !strings.Contains(c.Message+c.Hint, part) {
			t.Errorf("%q is not in %+v", part, c)
		}
	}
	if c := findings[2].Check(true, platform.All()); !strings.HasSuffix(c.Message, "linux/arm64 is not known: nobody told") || !strings.HasSuffix(c.Hint, "before pods fail; ask again") {
		t.Errorf("without the reason: %+v", c)
	}
	if c := findings[0].Check(false, platform.All()); c.Status != report.Warn {
		t.Errorf("with --audit=warn it is %s", c.Status)
	}
}

func TestAudit_TellsOfAnObjectOnce(t *testing.T) {
	rollout := func(image string, selector map[string]string) Workload {
		return Workload{Object: "Rollout.argoproj.io team/web", Images: []string{image}, Selector: selector}
	}
	findings := Audit([]Workload{rollout("x:1", nil), rollout("x:2", nil), rollout("x:1", map[string]string{"disk": "ssd"})}, []Node{arm("arm-1")},
		func(string, platform.Arch) (Made, error) { return No, nil })
	if len(findings) != 2 || findings[0].Image != "x:1" || findings[1].Image != "x:2" {
		t.Errorf("%+v", findings)
	}
}
