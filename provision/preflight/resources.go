package preflight

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/report"
)

var resourceChecks = []check{
	{"memory", "1.7 GiB on a control plane, 0.5 GiB on a worker", checkMemory, onFacts},
	{"cpus", "two processors on a control plane", checkCPUs, onFacts},
	{"disk", "room for images, binaries and pods", checkDisk, onFacts},
	{"clock-skew", "clocks differ by 5 seconds at most from this machine's and the bootstrap host's", checkClock, onFacts},
}

const gib = 1 << 30

// What kubeadm, etcd and the API server need to come up, and what kubelet, containerd and the pod network need.
const (
	controlPlaneMemory = gib * 17 / 10
	workerMemory       = gib / 2
	controlPlaneCPUs   = 2
)

func checkMemory(v view) verdict {
	want := int64(workerMemory)
	if v.controlPlane() {
		want = controlPlaneMemory
	}
	if v.facts.MemoryBytes < want {
		return fail("%s, wanted %s for a %s", size(v.facts.MemoryBytes), size(want), v.host.Role).
			hinted("give the host more memory, or another role")
	}
	return pass("%s", size(v.facts.MemoryBytes))
}

func checkCPUs(v view) verdict {
	if v.controlPlane() && v.facts.CPUs < controlPlaneCPUs {
		return v.unlessKubeadmIgnores("NumCPU", fail("processors: %d, wanted %d for a control plane", v.facts.CPUs, controlPlaneCPUs).
			hinted("give the host more processors, or put NumCPU into ignorePreflightErrors"))
	}
	return pass("processors: %d", v.facts.CPUs)
}

// unlessKubeadmIgnores is for what kubeadm checks as well: who told kubeadm to go on means us too.
func (v view) unlessKubeadmIgnores(name string, r verdict) verdict {
	for _, s := range slices.Concat(v.cluster.Spec.Kubernetes.IgnorePreflightErrors, v.host.IgnorePreflightErrors) {
		if strings.EqualFold(s, name) || strings.EqualFold(s, "all") {
			r.status = report.Ignored
		}
	}
	return r
}

// disk is a directory with what a host that is not set up yet needs there. The bundle's own size is not counted: several of
// them may be one file system.
type disk struct {
	path, what string
	bytes      int64
}

var disks = []disk{
	{"/var/lib/containerd", "images", 2 * gib},
	{"/var/lib/kubelet", "pods", gib / 2},
	{"/var/lib/hybridctl", "uploads", gib / 2},
	{"/usr/local/bin", "binaries", gib / 2},
}

// settled is what must be left on a host that has everything already: the kubelet starts to throw out pods and images below it.
const settled = gib / 10

func checkDisk(v view) verdict {
	var short, unread []string
	for _, d := range disks {
		want := d.bytes
		if v.member() || v.facts.Markers["images"].State == "done" {
			want = settled
		}
		switch free, known := v.facts.DiskFree[d.path]; {
		case !known:
			unread = append(unread, d.path)
		case free < want:
			short = append(short, fmt.Sprintf("%s free in %s, wanted %s for %s", size(free), d.path, size(want), d.what))
		}
	}
	if len(short) > 0 {
		return fail("%s", strings.Join(short, "; ")).hinted("make room, or mount a larger disk there")
	}
	switch len(unread) {
	case 0:
	case len(disks):
		return warn("the free space could not be read")
	default:
		return unknown("not known: the free space in %s could not be read", list(unread))
	}
	return pass("%s free for images", size(v.facts.DiskFree[disks[0].path]))
}

const (
	maxSkew       = 5 * time.Second
	roundTripUnit = time.Millisecond
)

// checkClock fails only on what is certain: an offset is exact to half its round trip. The certificates are made by the
// bootstrap host's clock, and the kubeconfig is used with ours.
func checkClock(v view) verdict {
	const hint = "set the clock, and install a time service (chrony, systemd-timesyncd)"
	own := v.facts
	if own.Time.IsZero() {
		return unknown("not tried: the host does not say what time it is").hinted("date on %s says what is wrong with its clock", v.host.Name)
	}
	if skew := own.ClockOffset.Abs(); skew-own.RoundTrip/2 > maxSkew {
		return fail("the clock is %s this machine's, wanted %v at most", apart(own.ClockOffset), maxSkew).hinted(hint)
	}
	also := ""
	switch boot := v.fleet.facts[v.cluster.Bootstrap().Name]; {
	case boot.Err != nil || boot.Time.IsZero():
		also = fmt.Sprintf("; that of %s was not there to compare with", boot.Name)
	default:
		between := own.ClockOffset - boot.ClockOffset
		if between.Abs()-(own.RoundTrip+boot.RoundTrip)/2 > maxSkew {
			return fail("the clock is %s that of %s, wanted %v at most", apart(between), boot.Name, maxSkew).hinted(hint)
		}
	}
	return pass("%s this machine's, exact to %v%s", apart(own.ClockOffset), (own.RoundTrip / 2).Round(roundTripUnit), also)
}

func apart(d time.Duration) string {
	if d < 0 {
		return fmt.Sprintf("%v behind", d.Abs().Round(roundTripUnit))
	}
	return fmt.Sprintf("%v ahead of", d.Round(roundTripUnit))
}

// member reports whether the host is a finished node of ours; where the marker cannot be read, whether it is a node.
func (v view) member() bool {
	return marker(v.facts, "done") || badMarker(v.facts) && v.facts.Kubeadm.KubeletConf
}

// begun reports whether it is, or was to become one when a run was interrupted.
func (v view) begun() bool { return marker(v.facts, "done", "started") || badMarker(v.facts) }

// badMarker reports whether hybridctl began to make the host a node, and the marker does not say more.
func badMarker(f facts.Host) bool { return f.BadMarker("init") || f.BadMarker("join") }

func marker(f facts.Host, states ...string) bool {
	for _, step := range []string{"init", "join"} {
		if slices.Contains(states, f.Markers[step].State) {
			return true
		}
	}
	return false
}

// size is a number of bytes for people.
func size(n int64) string {
	if n < 10*gib {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/gib)
}
