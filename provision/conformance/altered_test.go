package conformance

import (
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/report"
)

// A pod that a webhook made another of shows nothing of what was asked for: the cells that use it are blocked, whatever it answers.
func TestRun_APodThatIsNotAsItWasAskedFor(t *testing.T) {
	const a, own, pull, directed, stays = "a-0", "own-0", "pull-0", "selector-arm64", "nowhere"
	ofA := []string{
		"N1/pod-address: arm-1 (arm64)", "S4/tcp/podIP: arm-1 (arm64) → arm-1 (arm64)", "S5/udp/1400/podIP: arm-1 (arm64) → x86-1 (amd64)", "S5/udp/1400/podIP: x86-1 (amd64) → arm-1 (arm64)",
		"S6/tcp/hairpin: arm-1 (arm64) → arm-1 (arm64)", "S7/tcp/nodePort/local-backend: operator via arm-1 → arm-1 (arm64)", "S8/pod-writes-host-reads: arm-1 (arm64)",
	}
	for name, k := range map[string]struct {
		pod    string
		alter  func(c *fake, m *manifest)
		reason string
		cells  []string // among others
	}{
		"the node's network": {a, func(_ *fake, m *manifest) { m.Spec.HostNetwork = true }, "hostNetwork is set", ofA},
		"another node":       {a, func(_ *fake, m *manifest) { m.Spec.NodeName = "x86-1" }, "its node is x86-1 instead of arm-1", ofA},
		"another image": {a, func(c *fake, m *manifest) {
			m.Spec.Containers[0].Image = "mirror.test/probe:1"
		}, "container probe has the image mirror.test/probe:1 instead of registry.test/probe:1", ofA},
		"a container more": {a, func(_ *fake, m *manifest) {
			m.Spec.Containers = append(m.Spec.Containers, fakeContainer{Name: "proxy", Image: "proxy.test/p:1"})
		}, "container proxy was added", ofA},
		"a container less": {a, func(_ *fake, m *manifest) { m.Spec.Containers = m.Spec.Containers[:1] }, "container peer is missing", ofA},
		"another label":    {a, func(_ *fake, m *manifest) { m.Metadata.Labels[slotLabel] = "a-9" }, `its label hybridctl.dev/probe is "a-9" instead of "a-0"`, ofA},
		"the image's pod":  {own, func(_ *fake, m *manifest) { m.Spec.HostNetwork = true }, "hostNetwork is set", []string{"N2/own-image: arm-1 (arm64)"}},
		"the one that pulls": {pull, func(_ *fake, m *manifest) { m.Spec.HostNetwork = true }, "hostNetwork is set",
			[]string{"R/with-secret: arm-1 (arm64)", "R/without-secret-fails: arm-1 (arm64)"}},
		"the scheduler's":       {directed, func(_ *fake, m *manifest) { m.Spec.HostNetwork = true }, "hostNetwork is set", []string{"D/nodeSelector/arm64"}},
		"the one without place": {stays, func(_ *fake, m *manifest) { m.Spec.HostNetwork = true }, "hostNetwork is set", []string{"D/unsatisfiable-stays-pending"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFake(t, amd64, arm64)
			c.alters = func(m *manifest) {
				if m.Metadata.Name == k.pod {
					k.alter(c, m)
				}
			}
			d, err := fullRun(t, c.options())
			if err != nil || d.Verdict() != report.Passed {
				t.Errorf("%s, %v", d.Verdict(), err)
			}
			var got []string
			for _, cell := range d.Cells {
				switch {
				case cell.Verdict == report.Passed, always(cell):
				case cell.Verdict != report.Blocked, !strings.Contains(cell.Reason, "pod "+k.pod+" is not as it was asked for"), !strings.HasSuffix(cell.Reason, ": "+k.reason):
					t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
				default:
					got = append(got, cell.ID())
				}
			}
			for _, want := range k.cells {
				if !slices.Contains(got, want) {
					t.Errorf("%s is not blocked", want)
				}
			}
			if len(k.cells) < len(ofA) && len(got) != len(k.cells) {
				t.Errorf("blocked are %q", got)
			}
		})
	}
}

// The same holds for the pods that a volume's cell makes: neither what they did with it, nor that one stays out, is proven by another pod.
func TestRun_AVolumesPodThatIsNotAsItWasAskedFor(t *testing.T) {
	for _, which := range []string{"writer", "reader", "first", "second", "writer-1", "user"} {
		t.Run(which, func(t *testing.T) {
			c := newFake(t, amd64, arm64)
			c.alters = func(m *manifest) {
				if strings.HasPrefix(m.Metadata.Name, "volume-") && strings.HasSuffix(m.Metadata.Name, "-"+which) {
					m.Spec.HostNetwork = true
				}
			}
			blocked := 0
			for _, cell := range volumesRun(t, c).Cells {
				switch {
				case cell.Verdict == report.Passed:
				case cell.Verdict != report.Blocked, !strings.HasSuffix(cell.Reason, "-"+which+" is not as it was asked for, which an admission webhook may be the reason of: hostNetwork is set"):
					t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
				default:
					blocked++
				}
			}
			if blocked == 0 {
				t.Error("no cell is blocked")
			}
			c.wantNothingLeft(t)
		})
	}
}
