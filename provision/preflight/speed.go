package preflight

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

var speedChecks = []check{
	{"process-speed", "a process takes less than 20 ms, or the inventory's timeouts leave time for more", checkProcesses, onFacts},
	{"disk-speed", "on a control plane, no synced write takes longer than 10 ms, or etcd is told to wait", checkSyncedWrites, onFacts},
}

const etcdDirectory = "/var/lib/etcd"

const (
	// slowProcess is what a processor that is emulated takes, and no other: kubeadm's own limits are meant for others.
	slowProcess = 20 * time.Millisecond
	// hopelessProcess is where an API server ends itself before it has started, and is started again: its hooks and its
	// own handshakes have limits that no setting changes.
	hopelessProcess = 100 * time.Millisecond
	// slowSync is etcd's own limit for the 99th percentile of its synced writes (etcd's FAQ, "what does the etcd warning
	// failed to send out heartbeat on time mean").
	slowSync = 10 * time.Millisecond
)

// wait is a limit of the inventory, its default, and what a host of slow processes wants.
type wait struct {
	field        string
	set          func(inventory.Spec) inventory.Duration
	usual, wants time.Duration
	controlPlane bool // matters on control planes alone
}

// waits are in the order of the inventory. What is usual are kubeadm's defaults (v1beta4, SetDefaultsTimeouts), and ours.
var waits = []wait{
	{"spec.kubernetes.timeouts.controlPlaneComponentHealthCheck",
		func(s inventory.Spec) inventory.Duration {
			return s.Kubernetes.Timeouts.ControlPlaneComponentHealthCheck
		}, 4 * time.Minute, 10 * time.Minute, true},
	{"spec.kubernetes.timeouts.kubeletHealthCheck",
		func(s inventory.Spec) inventory.Duration { return s.Kubernetes.Timeouts.KubeletHealthCheck }, 4 * time.Minute, 10 * time.Minute, false},
	{"spec.kubernetes.timeouts.kubernetesAPICall",
		func(s inventory.Spec) inventory.Duration { return s.Kubernetes.Timeouts.KubernetesAPICall }, time.Minute, 5 * time.Minute, true},
	{"spec.kubernetes.timeouts.etcdAPICall",
		func(s inventory.Spec) inventory.Duration { return s.Kubernetes.Timeouts.EtcdAPICall }, 2 * time.Minute, 5 * time.Minute, true},
	{"spec.kubernetes.timeouts.tlsBootstrap",
		func(s inventory.Spec) inventory.Duration { return s.Kubernetes.Timeouts.TLSBootstrap }, 5 * time.Minute, 10 * time.Minute, false},
	{"spec.kubernetes.timeouts.discovery",
		func(s inventory.Spec) inventory.Duration { return s.Kubernetes.Timeouts.Discovery }, 5 * time.Minute, 10 * time.Minute, false},
	{"spec.timeouts.step",
		func(s inventory.Spec) inventory.Duration { return s.Timeouts.Step }, 15 * time.Minute, 30 * time.Minute, false},
	{"spec.timeouts.ready",
		func(s inventory.Spec) inventory.Duration { return s.Timeouts.Ready }, 10 * time.Minute, 15 * time.Minute, false},
}

func checkProcesses(v view) verdict {
	took := v.facts.Speed.Process
	switch {
	case took == 0:
		return unknown("how long a process takes was not measured: the host's date has no fractions of a second")
	case took < slowProcess:
		return pass("a process takes %s", milliseconds(took))
	}
	var short []string
	for _, w := range waits {
		if w.controlPlane && !v.controlPlane() {
			continue
		}
		has := w.set(v.cluster.Spec).Std()
		if has == 0 {
			has = w.usual
		}
		if has < w.wants {
			short = append(short, fmt.Sprintf("%s: %s", w.field, inventory.Duration(w.wants)))
		}
	}
	switch {
	case v.controlPlane() && took >= hopelessProcess:
		return warn("a process takes %s: an API server may end itself here before it has started, again and again", milliseconds(took)).
			hinted("give the role to another host, or the machine hardware virtualization; or let the API server's startupProbe "+
				"fail more often (a patch in spec.kubernetes.patches)%s", strings.Join(slices.Concat([]string{""}, short), "; "))
	case len(short) > 0:
		return warn("a process takes %s: kubeadm's limits and hybridctl's are too short for that", milliseconds(took)).
			hinted("set %s", strings.Join(short, ", "))
	}
	return pass("a process takes %s, and the inventory's timeouts leave time for that", milliseconds(took))
}

func checkSyncedWrites(v view) verdict {
	s := v.facts.Speed
	switch {
	case !v.controlPlane():
		return pass("no etcd runs on a worker")
	case v.etcd("unsafe-no-fsync") == "true":
		return pass("etcd does not wait for the disk: the inventory sets its unsafe-no-fsync")
	case s.SDCard && !v.patient():
		return warn("%s is on an SD card or eMMC: etcd waits for it at every change, and it is worn out by that", etcdDirectory).
			hinted("%s", v.etcdHint())
	case s.Stalled > 0 && !v.patient():
		return warn("a synced write was not done after %s; etcd wants 99 of 100 within %s, or it changes leaders and answers late", s.Stalled, milliseconds(slowSync)).
			hinted("%s", v.etcdHint())
	case s.Stalled > 0:
		return pass("a synced write was not done after %s, and etcd is told to wait longer", s.Stalled)
	case len(s.Synced) == 0:
		return unknown("how long a synced write takes was not measured").
			hinted("measure it, for instance with fio: etcd wants 99 of 100 within %s", milliseconds(slowSync))
	}
	measured := fmt.Sprintf("the slowest of %d synced writes took %s", len(s.Synced), milliseconds(s.Slowest()))
	switch {
	case s.Slowest() <= slowSync:
		return pass("%s", measured)
	case v.patient():
		return pass("%s, and etcd is told to wait longer", measured)
	}
	return warn("%s; etcd wants 99 of 100 within %s, or it changes leaders and answers late", measured, milliseconds(slowSync)).
		hinted("%s", v.etcdHint())
}

// patience are etcd's own settings for slow members; its defaults are a tenth of the heartbeat's and of the election's.
const heartbeat, election = 500, 5000

func (v view) etcdHint() string {
	return fmt.Sprintf("put %s on its own SSD, or set heartbeat-interval: \"%d\" and election-timeout: \"%d\" in spec.kubernetes.etcd.extraArgs",
		etcdDirectory, heartbeat, election)
}

// patient reports whether the inventory has etcd wait longer than by default.
func (v view) patient() bool {
	beat, err1 := strconv.Atoi(v.etcd("heartbeat-interval"))
	elect, err2 := strconv.Atoi(v.etcd("election-timeout"))
	return err1 == nil && err2 == nil && beat >= heartbeat && elect >= election
}

// etcd is an argument that the inventory gives etcd; of one that stands twice, the last, as etcd has it.
func (v view) etcd(name string) string {
	value := ""
	for _, a := range v.cluster.Spec.Kubernetes.Etcd.ExtraArgs {
		if a.Name == name {
			value = a.Value
		}
	}
	return value
}

// milliseconds is a short time for people.
func milliseconds(d time.Duration) string {
	if d < 10*time.Millisecond {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}
