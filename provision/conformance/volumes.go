package conformance

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/probe"
)

// StorageDriver is a kind of volumes that ceph-csi makes.
type StorageDriver string

// The drivers: block devices for one node at a time, and directories that nodes share.
const (
	RBD    StorageDriver = "rbd"
	CephFS StorageDriver = "cephfs"
)

// csiName is what the driver is called in the API.
func (d StorageDriver) csiName() string { return string(d) + ".csi.ceph.com" }

// StorageClass is a class of volumes that check S9 proves.
type StorageClass struct {
	Name      string
	Driver    StorageDriver
	Grows     bool              // its claims may
	Retains   bool              // what is released stays: the run's own volumes are told to go
	Namespace string            // of the driver's pods
	Without   map[string]string // by node name, why the driver is not wanted there
}

// The sizes of S9: of a claim (xfs wants 300 MiB), and of one that has grown; and how many lines each writer of a shared volume appends.
const (
	claimSize   = "512Mi"
	grownSize   = "1Gi"
	sharedLines = 100
)

// Where pods find their volume.
const (
	volumeDir    = "/volume"
	volumeDevice = "/dev/volume"
)

// fillTime is how long writing or reading a volume may take.
const fillTime = 5 * time.Minute

// volumeTrier tries volumes of the storage classes.
type volumeTrier struct {
	asker
	api     API
	maker   *maker
	storage []StorageClass
	claims  atomic.Int64 // how many volumes were asked for
}

// volume is a claim of one cell, with the pods that use it.
type volume struct {
	t     *volumeTrier
	class StorageClass
	claim string
	block bool
	made  []object // in the order in which they were made
}

// user is a pod that has the volume, and its agent.
type user struct {
	kube.Pod
	*agent
}

// withVolume makes a claim, has do use it, and takes everything away again.
func (t *volumeTrier) withVolume(ctx context.Context, c Cell, block bool, do func(v *volume) outcome) outcome {
	v := &volume{t: t, class: t.class(c.storage), claim: fmt.Sprint("volume-", t.claims.Add(1)), block: block}
	if err := v.create(ctx, v.claimOf(claimSize)); err != nil {
		return wrong(err)
	}
	o := do(v)
	for _, made := range v.made {
		if err := t.view.alteration(nameOf(made)); err != nil {
			o = wrong(err)
		}
	}
	if err := v.remove(context.WithoutCancel(ctx)); err != nil && o.reason == "" {
		return failed("%v", err)
	}
	return o
}

func (t *volumeTrier) class(name string) StorageClass {
	for _, s := range t.storage {
		if s.Name == name {
			return s
		}
	}
	return StorageClass{}
}

func (v *volume) create(ctx context.Context, o object) error {
	v.made = append(v.made, o)
	if o["kind"] != "Pod" {
		return v.t.api.Create(ctx, manifests(o))
	}
	if err := v.t.maker.pod(ctx, o); err != nil {
		return err
	}
	return v.t.maker.policies.forbid(nameOf(o))
}

// claimOf is the claim with a size. Block devices are for one node, directories for all.
func (v *volume) claimOf(size string) object {
	mode := "ReadWriteMany"
	if v.class.Driver == RBD {
		mode = "ReadWriteOnce"
	}
	return v.t.claim(v.claim, v.class.Name, mode, size, v.block)
}

// start runs a pod with the volume on a node, and waits for it.
func (v *volume) start(ctx context.Context, node, which string) (user, error) {
	name := v.claim + "-" + which
	if err := v.create(ctx, v.t.pod(podSpec{name: name, node: node, claim: v.claim, block: v.block})); err != nil {
		return user{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, v.t.view.patience)
	defer cancel()
	pod, err := v.t.view.ready(ctx, name)
	if err != nil {
		return user{}, fmt.Errorf("on %s: %w%s", node, err, v.claimWarning())
	}
	if v.class.Retains {
		if err := v.letGo(ctx); err != nil {
			return user{}, err
		}
	}
	a, err := v.t.agents.of(ctx, name, mainContainer)
	if err != nil {
		return user{}, err
	}
	return user{pod, a}, v.mounted(ctx, pod, a)
}

// claimWarning is what the provisioner says of the claim.
func (v *volume) claimWarning() string {
	if w := v.t.view.warning("PersistentVolumeClaim/" + v.claim); w != "" {
		return "; the claim: " + w
	}
	return ""
}

// letGo has the volume deleted with its claim, whatever its class says: nothing of a run stays in the pool.
func (v *volume) letGo(ctx context.Context) error {
	all, err := v.t.api.Volumes(ctx, []string{v.class.Driver.csiName()})
	if err != nil {
		return err
	}
	for _, pv := range all {
		if pv.Claim == v.t.namespace+"/"+v.claim && pv.Retained {
			return release(ctx, v.t.api, pv)
		}
	}
	return nil
}

// stop ends a pod and waits until the API server has forgotten it.
func (v *volume) stop(ctx context.Context, u user) error {
	if _, err := v.t.api.Delete(ctx, manifests(object{"apiVersion": "v1", "kind": "Pod", "metadata": v.t.meta(u.Name, nil)})); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, v.t.view.patience)
	defer cancel()
	return v.t.view.until(ctx, func(pods map[string]kube.Pod, _ []kube.Event) (string, bool) {
		if _, there := pods[u.Name]; there {
			return "pod " + u.Name + " does not end", false
		}
		return "", false
	})
}

// remove takes away what was made for the cell; the volume goes when no one has it any more.
func (v *volume) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanFor)
	defer cancel()
	_, err := v.t.api.Delete(ctx, manifests(v.made...))
	return err
}

// mounted looks on the node whether the pod's volume is what its class says. A driver whose mounts do not reach the host answers OK to
// everything, and the pod writes to the node's own disk.
// A host that cannot be asked is passed over: the cell has another end.
func (v *volume) mounted(ctx context.Context, pod kube.Pod, a *agent) error {
	if v.t.maker.hosts.machines[pod.Node] == nil {
		return nil
	}
	if v.block {
		return v.isDevice(ctx, pod, a)
	}
	text, _, err := v.t.maker.hosts.machines[pod.Node].ReadFile(ctx, "/proc/self/mounts")
	if err != nil {
		return fmt.Errorf("ask %s for its mounts: %w", pod.Node, err)
	}
	device, fstype := mountOf(text, pod.UID)
	switch {
	case device == "":
		return fmt.Errorf("on %s no volume of the pod is mounted: what it writes goes to the node's own disk (the node plugin's mountPropagation has to be Bidirectional)", pod.Node)
	case v.class.Driver == RBD && !strings.HasPrefix(device, "/dev/rbd") && !strings.HasPrefix(device, "/dev/nbd"),
		v.class.Driver == CephFS && fstype != "ceph" && fstype != "fuse.ceph-fuse":
		return fmt.Errorf("on %s the pod's volume is %s of type %s, and not of Ceph", pod.Node, device, fstype)
	}
	return nil
}

// isDevice looks whether the pod's block device is one of Ceph's: the host's /proc/devices names its major number.
func (v *volume) isDevice(ctx context.Context, pod kube.Pod, a *agent) error {
	got, err := a.ask(ctx, probe.Order{Op: probe.OpSpace, Path: volumeDevice})
	if err != nil {
		return err
	}
	text, _, err := v.t.maker.hosts.machines[pod.Node].ReadFile(ctx, "/proc/devices")
	if err != nil {
		return fmt.Errorf("ask %s for its devices: %w", pod.Node, err)
	}
	if name := deviceName(text, got.Major); name != "rbd" && name != "nbd" {
		return fmt.Errorf("on %s the pod's device has the major number %d (%q), and is not of Ceph", pod.Node, got.Major, name)
	}
	return nil
}

// mountOf finds a pod's CSI volume in the text of /proc/self/mounts.
func mountOf(mounts, podUID string) (device, fstype string) {
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) >= 3 && strings.Contains(f[1], "/pods/"+podUID+"/volumes/kubernetes.io~csi/") {
			device, fstype = f[0], f[2] // the last one mounted is the one that is seen
		}
	}
	return device, fstype
}

// deviceName finds a block device's name in the text of /proc/devices.
func deviceName(devices string, major int) string {
	_, block, _ := strings.Cut(devices, "Block devices:")
	for line := range strings.Lines(block) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == strconv.Itoa(major) {
			return f[1]
		}
	}
	return ""
}

// file is where the pod's bytes go.
func (v *volume) file() string {
	if v.block {
		return volumeDevice
	}
	return path.Join(volumeDir, "data")
}

// tryMoves writes on one node and reads on the other: the bytes have to be those that were written, from the same volume.
func (t *volumeTrier) tryMoves(ctx context.Context, c Cell) outcome {
	return t.withVolume(ctx, c, c.kind == kindVolumeBlock, func(v *volume) outcome {
		writer, err := v.start(ctx, c.Src, "writer")
		if err != nil {
			return wrong(err)
		}
		nonce := t.nonces(Cell{Check: c.Check, Name: c.Name, Src: c.Src, Dst: c.Dst, times: 1})
		wrote, err := writer.ask(ctx, probe.Order{Op: probe.OpFill, Path: v.file(), Nonces: nonce, Size: t.pace.volume, TimeoutMillis: int(fillTime.Milliseconds())})
		if err != nil {
			return failed("write on %s: %v", c.Src, err)
		}
		if err := v.stop(ctx, writer); err != nil {
			return failed("%v", err)
		}
		reader, err := v.start(ctx, c.Dst, "reader")
		if err != nil {
			return wrong(err)
		}
		read, err := reader.ask(ctx, probe.Order{Op: probe.OpSum, Path: v.file(), Size: t.pace.volume, TimeoutMillis: int(fillTime.Milliseconds())})
		if err != nil {
			return failed("read on %s: %v", c.Dst, err)
		}
		return same(read.SHA256, wrote.SHA256, c.Src+" wrote bytes of digest", c.Dst+" read")
	})
}

// multiAttach is what the attach controller says of a volume that another node has (attachdetach/reconciler: "Multi-Attach error for volume").
// Other reasons why a volume is not attached say nothing of that.
const multiAttach = "Multi-Attach error"

// tryAlone has a pod on another node want a block device that is in use: it has to stay out.
func (t *volumeTrier) tryAlone(ctx context.Context, c Cell) outcome {
	return t.withVolume(ctx, c, false, func(v *volume) outcome {
		if _, err := v.start(ctx, c.Src, "first"); err != nil {
			return wrong(err)
		}
		second, claim := v.claim+"-second", v.claim
		if t.fault != nil && t.fault.Name == faultShared {
			claim = "" // it does not need the device, so that nothing keeps it out
		}
		if err := v.create(ctx, t.pod(podSpec{name: second, node: c.Dst, claim: claim})); err != nil {
			return wrong(err)
		}
		return t.view.shows(ctx, func(pods map[string]kube.Pod, events []kube.Event) (string, bool) {
			switch {
			case pods[second].Ready:
				return "a second pod on another node has the device too", true
			case saidOf(events, "Pod/"+second, "FailedAttachVolume", multiAttach):
				return "", false
			}
			return "no one says that the device is in use; " + lastWarning(events, "Pod/"+second), false
		})
	})
}

// tryShared has pods on two nodes append to the same file at the same time, under its lock: both have to see every line once.
func (t *volumeTrier) tryShared(ctx context.Context, c Cell) outcome {
	return t.withVolume(ctx, c, false, func(v *volume) outcome {
		nodes := []string{c.Src, c.Dst}
		var users []user
		for i, node := range nodes {
			u, err := v.start(ctx, node, fmt.Sprintf("writer-%d", i))
			if err != nil {
				return wrong(err)
			}
			users = append(users, u)
		}
		g, writing := errgroup.WithContext(ctx)
		for i, u := range users {
			g.Go(func() error {
				_, err := u.ask(writing, probe.Order{Op: probe.OpAppend, Path: v.file(), Name: nodes[i], Size: sharedLines, TimeoutMillis: int(fillTime.Milliseconds())})
				if err != nil {
					return fmt.Errorf("append on %s: %w", nodes[i], err)
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return failed("%v", err)
		}
		for i, u := range users {
			got, err := u.ask(ctx, probe.Order{Op: probe.OpRead, Path: v.file(), TimeoutMillis: int(fillTime.Milliseconds())})
			if err != nil {
				return failed("read on %s: %v", nodes[i], err)
			}
			if wrong := notEvery(got.Text, nodes, sharedLines); wrong != "" {
				return failed("%s sees %s", nodes[i], wrong)
			}
		}
		return passed()
	})
}

// notEvery tells what is wrong with a file to which each writer appended so many lines; empty when each is there once.
func notEvery(text string, writers []string, count int) string {
	seen := map[string]int{}
	for line := range strings.Lines(text) {
		seen[strings.TrimSuffix(line, "\n")]++
	}
	for _, w := range writers {
		for i := range count {
			line := fmt.Sprintf("%s %d", w, i)
			if n := seen[line]; n != 1 {
				return fmt.Sprintf("line %q %d times instead of once", line, n)
			}
			delete(seen, line)
		}
	}
	if len(seen) > 0 {
		return fmt.Sprintf("%d lines that no one wrote", len(seen))
	}
	return ""
}

// tryGrows asks for a larger volume while a pod has it, and waits for the pod to see it.
func (t *volumeTrier) tryGrows(ctx context.Context, c Cell) outcome {
	return t.withVolume(ctx, c, false, func(v *volume) outcome {
		u, err := v.start(ctx, c.Dst, "user")
		if err != nil {
			return wrong(err)
		}
		space := func() (int64, error) {
			got, err := u.ask(ctx, probe.Order{Op: probe.OpSpace, Path: volumeDir, TimeoutMillis: int(fillTime.Milliseconds())})
			return got.Bytes, err
		}
		before, err := space()
		if err != nil {
			return failed("%v", err)
		}
		if _, err := t.api.Apply(ctx, manifests(v.claimOf(grownSize)), kube.ApplyOptions{Force: true}); err != nil {
			return failed("%v", err)
		}
		ctx, cancel := context.WithTimeout(ctx, t.view.patience)
		defer cancel()
		for {
			now, err := space()
			switch {
			case err != nil && !errors.Is(err, context.DeadlineExceeded):
				return failed("%v", err)
			case now > before+before/2: // from 512 MiB to 1 GiB, less what a file system keeps for itself
				return passed()
			}
			select {
			case <-ctx.Done():
				return failed("the pod still sees %d bytes, as before%s", before, v.claimWarning())
			case <-time.After(t.pace.rulesPause):
			}
		}
	})
}

// tryDeleted deletes a claim that was used: the driver has to say that its image or directory is gone.
func (t *volumeTrier) tryDeleted(ctx context.Context, c Cell) outcome {
	return t.withVolume(ctx, c, false, func(v *volume) outcome {
		u, err := v.start(ctx, c.Dst, "user")
		if err != nil {
			return wrong(err)
		}
		if err := v.stop(ctx, u); err != nil {
			return failed("%v", err)
		}
		if err := v.remove(ctx); err != nil {
			return failed("%v", err)
		}
		ctx, cancel := context.WithTimeout(ctx, t.view.patience)
		defer cancel()
		if err := t.api.WaitNoVolumes(ctx, t.namespace, v.claim, kube.WaitOptions{}); err != nil {
			return failed("%v", err)
		}
		return passed()
	})
}
