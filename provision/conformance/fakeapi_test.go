package conformance

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/probe"
)

func (c *fake) Nodes(context.Context) ([]kube.Node, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []kube.Node
	for _, n := range c.nodes {
		out = append(out, kube.Node{
			Name: n.name, Ready: n.ready, Arch: string(n.arch), ArchLabel: string(n.arch), InternalIPs: []string{cmp.Or(n.internal, n.address)}, KernelVersion: "6.12",
			PodCIDR: cmp.Or(n.podCIDR, c.ip(fmt.Sprintf("%d.0/24", n.place))), ControlPlane: n.place == 0, OS: n.os,
		})
	}
	slices.SortFunc(out, func(a, b kube.Node) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (c *fake) Namespaces(_ context.Context, label string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if label != RunLabel {
		c.t.Errorf("asked for namespaces with the label %q", label)
	}
	return slices.Sorted(maps.Keys(c.spaces)), nil
}

func (c *fake) parse(b []byte) []manifest {
	var out []manifest
	for _, document := range bytes.Split(b, []byte("---\n")) {
		if len(document) == 0 {
			continue
		}
		var m manifest
		if err := json.Unmarshal(document, &m); err != nil {
			c.t.Errorf("%v in %s", err, document)
		}
		if m.Kind != "PersistentVolume" && m.Metadata.Labels[RunLabel] == "" || m.Kind != "Namespace" && m.Kind != "PersistentVolume" && m.Metadata.Namespace == "" {
			c.t.Errorf("%s %s lacks its label or namespace", m.Kind, m.Metadata.Name)
		}
		out = append(out, m)
	}
	return out
}

func (c *fake) Create(ctx context.Context, manifests []byte) error {
	for _, m := range c.parse(manifests) {
		if c.denies != nil {
			if err := c.denies(m); err != nil {
				return err
			}
		}
	}
	_, err := c.Apply(ctx, manifests, kube.ApplyOptions{})
	return err
}

func (c *fake) Apply(ctx context.Context, b []byte, _ kube.ApplyOptions) ([]kube.ObjectChange, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, m := range c.parse(b) {
		if c.onApply != nil {
			c.onApply(m.Kind, m.Metadata.Name)
		}
		c.mu.Lock()
		err := c.forbidden[m.Kind]
		if err == nil && m.Kind != "Namespace" && m.Kind != "PersistentVolume" && !c.spaces[m.Metadata.Namespace] {
			err = fmt.Errorf("namespace %s not found", m.Metadata.Namespace)
		}
		if err == nil && m.Kind == "Pod" && !c.accounts[m.Metadata.Namespace] { // no one else makes it here
			err = fmt.Errorf("pods %q is forbidden: error looking up service account %s/default: serviceaccount \"default\" not found", m.Metadata.Name, m.Metadata.Namespace)
		}
		if err == nil {
			switch m.Kind {
			case "ServiceAccount":
				c.accounts[m.Metadata.Namespace] = m.Metadata.Name == "default"
			case "Namespace":
				c.spaces[m.Metadata.Name] = true
			case "Secret":
				c.secrets[m.Metadata.Name] = cmp.Or(m.StringData[".dockerconfigjson"], m.StringData[secretKey])
			case "Service":
				err = c.applyService(m)
			case "Pod":
				c.applyPod(m)
			case "EndpointSlice":
				c.slices[m.Metadata.Labels["kubernetes.io/service-name"]] = m.Endpoints[0].Addresses[0]
			case "PersistentVolumeClaim":
				c.applyClaim(m)
			case "PersistentVolume":
				c.letGo(m)
			default:
				err = fmt.Errorf("no kind %s", m.Kind)
			}
		}
		c.notify()
		c.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (c *fake) applyService(m manifest) error {
	s := c.svcs[m.Metadata.Name]
	if s == nil {
		s = &fakeService{ip: c.ip(fmt.Sprintf("210.%d", c.next())), made: time.Now()}
	} else {
		s.was, s.changed = &fakeService{selector: s.selector, policy: s.policy}, time.Now()
	}
	s.selector, s.policy = m.Spec.Selector, m.Spec.ExternalTrafficPolicy
	if m.Spec.Type == "NodePort" {
		wanted := m.Spec.Ports[0].NodePort
		for name, o := range c.svcs {
			if wanted != 0 && o.port == wanted && name != m.Metadata.Name || c.ports[wanted] {
				return fmt.Errorf("provided port is already allocated: %d", wanted)
			}
		}
		switch {
		case wanted != 0:
			s.port = wanted
		case s.port == 0:
			s.port = 30000 + c.next()
		}
	}
	c.svcs[m.Metadata.Name] = s
	return nil
}

// applyPod schedules a pod and leaves it to its node.
func (c *fake) applyPod(m manifest) {
	if c.pods[m.Metadata.Name] != nil {
		return
	}
	if c.alters != nil {
		c.alters(&m)
	}
	p := &fakePod{manifest: m, root: filepath.Join(c.dir, "pods", m.Metadata.Name+fmt.Sprint(c.next()))}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.Pod = kube.Pod{
		Namespace: m.Metadata.Namespace, Name: m.Metadata.Name, UID: fmt.Sprintf("uid-%s-%d", m.Metadata.Name, c.next()), Labels: m.Metadata.Labels,
		Problem: "its kubelet has not started it yet", HostNetwork: m.Spec.HostNetwork, Images: map[string]string{},
	}
	for _, one := range m.Spec.Containers {
		p.containers = append(p.containers, one.Name)
		p.Images[one.Name] = one.Image
	}
	c.pods[p.Name] = p
	for _, n := range c.nodes {
		if m.Spec.NodeName == n.name || m.Spec.NodeName == "" && n.fits(m) { // a pod that tolerates everything gets to nodes that are not Ready too
			p.node, p.Node = n, n.name
			break
		}
	}
	if p.node == nil {
		p.Unschedulable = cmp.Or(c.nowhere, "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.")
		p.Problem = "not scheduled: " + p.Unschedulable
		return
	}
	c.done.Go(func() { c.start(p, m) })
}

func (n *fakeNode) fits(m manifest) bool {
	for key, value := range m.Spec.NodeSelector {
		if key != "kubernetes.io/arch" || value != string(n.arch) {
			return false
		}
	}
	if m.Spec.Affinity == nil {
		return true
	}
	term := m.Spec.Affinity.NodeAffinity.Required.NodeSelectorTerms[0]
	for _, f := range term.MatchFields {
		if f.Key != "metadata.name" || f.Operator != "NotIn" || len(f.Values) != 1 || f.Values[0] == n.name {
			return false
		}
	}
	for _, e := range term.MatchExpressions {
		if e.Key != "kubernetes.io/arch" || e.Operator != "In" || !slices.Contains(e.Values, string(n.arch)) {
			return false
		}
	}
	return true
}

// start is what a kubelet does with a pod.
func (c *fake) start(p *fakePod, m manifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.notify()
	n := p.node
	if n.gone || n.stuck || p.ctx.Err() != nil {
		return
	}
	p.HostIP = n.address
	if n.sandbox != "" {
		c.event(p, "Warning", "FailedCreatePodSandBox", n.sandbox)
		return
	}
	main := m.Spec.Containers[0]
	if !slices.Equal(main.Command, []string{probePath}) || !slices.Equal(main.Args, []string{"serve"}) || m.Spec.HostNetwork && c.alters == nil {
		c.t.Errorf("pod %s does not serve: %+v", p.Name, m.Spec)
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(p.root, "shared"), 0o755)); err != nil {
		c.t.Error(err)
	}
	for _, v := range m.Spec.Volumes {
		if v.HostPath == nil {
			continue
		}
		path := n.path(v.HostPath.Path)
		if _, err := os.Stat(path); err != nil && v.HostPath.Type == "Directory" {
			c.event(p, "Warning", "FailedMount", cmp.Or(c.mountSays, "MountVolume.SetUp failed for volume \"host\" : hostPath type check failed: "+v.HostPath.Path+" is not a directory"))
			return
		}
		if c.ownDirs {
			path = filepath.Join(p.root, "own")
		}
		if err := errors.Join(os.MkdirAll(path, 0o755), os.Symlink(path, filepath.Join(p.root, "host"))); err != nil {
			c.t.Error(err)
		}
	}
	if !c.attach(p, m) {
		return
	}
	machine, ok := n.images[main.Image]
	switch {
	case main.Image == privateImage && main.ImagePullPolicy == "Always":
		allowed := c.leaky
		allowed = allowed || c.cached
		for _, s := range m.Spec.ImagePullSecrets {
			allowed = allowed || !c.closes && strings.Contains(c.secrets[s.Name], `"`+password+`"`) && strings.Contains(c.secrets[s.Name], `"private.test"`)
		}
		if !allowed {
			c.event(p, "Warning", "Failed", cmp.Or(c.refusal, "failed to pull image: failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://private.test/token: 401 Unauthorized"))
			p.Problem, p.Words = "container probe: ErrImagePull", "container probe: ErrImagePull"
			return
		}
		said := "Successfully pulled image \"" + privateImage + "\" in 1.2s (1.2s including waiting). Image size: 1 bytes."
		if c.cached {
			said = "Container image \"" + privateImage + "\" already present on machine and can be accessed by the pod"
		}
		c.event(p, "Normal", "Pulled", said)
		machine = n.arch
	case !ok:
		p.Problem, p.Words = "container probe: ErrImageNeverPull", "container probe: ErrImageNeverPull"
		c.event(p, "Warning", "ErrImageNeverPull", "the image is not there")
		return
	}
	if machine != n.arch && !n.emulates {
		p.log = "exec /probe: exec format error"
		p.Words = "container probe: last ended with exit code 255"
		if !c.wordless {
			p.Words += ": " + p.log
		}
		p.Problem = p.Words
		if c.flashes {
			p.Ready, p.IP, p.dies = true, "127.9.9.9", p.Words
			p.Problem, p.Words = "", ""
		}
		return
	}
	tcp, udp := c.listen(p)
	if tcp == nil {
		return
	}
	profile := platform.ProfileFor(machine)
	p.who = probe.Who{
		Version: probe.Version, UID: p.UID, Pod: p.Name, Node: n.name, Container: mainContainer, UnameM: n.uname, ELF: int(profile.ELFMachine), PageSize: 4096,
	}
	who := p.who
	if c.lie != nil {
		c.lie(&who)
	}
	p.Ready, p.Problem = true, ""
	secret := probe.Secret(c.secrets[secretName])
	c.done.Go(func() {
		if err := probe.Serve(p.ctx, who, secret, tcp, udp); err != nil {
			c.t.Errorf("%s: %v", p.Name, err)
		}
	})
}

// listen gives a pod an address and opens its sockets.
func (c *fake) listen(p *fakePod) (net.Listener, net.PacketConn) {
	p.IP = c.ip(fmt.Sprintf("%d.%d", p.node.place, c.next()%250+1))
	tcp, err := net.Listen("tcp", at(p.IP, probe.Port))
	if err != nil {
		c.t.Error(err)
		return nil, nil
	}
	udp, err := net.ListenPacket("udp", at(p.IP, probe.Port))
	if err != nil {
		c.t.Error(err)
		return nil, nil
	}
	c.used = append(c.used, p.IP)
	return tcp, udp
}

func (c *fake) Delete(_ context.Context, b []byte) ([]kube.ObjectChange, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.notify()
	for _, m := range c.parse(b) {
		switch name := m.Metadata.Name; {
		case m.Kind == "Pod":
			c.deletePod(name)
		case m.Kind == "PersistentVolumeClaim":
			c.deleteClaim(name)
		case m.Kind != "Service" || c.svcs[name] == nil:
			return nil, fmt.Errorf("no %s %s", m.Kind, name)
		case !strings.HasPrefix(name, c.lingers) || c.lingers == "":
			delete(c.svcs, name)
		}
	}
	return nil, nil
}

// deletePod ends a pod, and has others try again that waited for its volume.
func (c *fake) deletePod(name string) {
	p := c.pods[name]
	if p == nil {
		return
	}
	p.stop()
	delete(c.pods, name)
	for _, o := range c.pods {
		if o.waits {
			o.waits = false
			c.done.Go(func() { c.start(o, o.manifest) })
		}
	}
}

func (c *fake) DeleteNamespace(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.forbidden["delete"]; err != nil {
		return err
	}
	if !c.spaces[name] {
		return nil
	}
	delete(c.spaces, name)
	delete(c.leases, name+"/"+atWork)
	for _, p := range c.pods {
		p.stop()
	}
	clear(c.pods)
	clear(c.svcs)
	clear(c.secrets)
	clear(c.slices)
	c.events = nil
	c.notify()
	return nil
}

// all lists the pods of a namespace, or of all; c.mu is held.
func (c *fake) all(namespace string) []kube.Pod {
	var out []kube.Pod
	for _, name := range slices.Sorted(maps.Keys(c.pods)) {
		out = append(out, c.pods[name].Pod)
	}
	out = append(out, c.others...)
	return slices.DeleteFunc(out, func(p kube.Pod) bool { return namespace != "" && p.Namespace != namespace })
}

func (c *fake) Pods(_ context.Context, namespace, labels string) ([]kube.Pod, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if namespace == "" {
		c.lists++
	}
	key, value, _ := strings.Cut(labels, "=")
	return slices.DeleteFunc(c.all(namespace), func(p kube.Pod) bool { return key != "" && p.Labels[key] != value }), nil
}

func (c *fake) WaitPods(ctx context.Context, namespace string, missing func([]kube.Pod, []kube.Event) []kube.Missing, o kube.WaitOptions) error {
	if o.Progress == nil {
		return errors.New("a watch that lasts as long as its run would be told as a wait")
	}
	for {
		c.mu.Lock()
		pods, events, changed := c.all(namespace), slices.Clone(c.events), c.changed
		c.mu.Unlock()
		if len(missing(pods, events)) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *fake) Services(_ context.Context, namespace string) ([]kube.Service, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []kube.Service
	if namespace == "kube-system" {
		return []kube.Service{
			{Name: "other", Ports: []kube.ServicePort{{Protocol: "UDP", Port: 53, Target: "5353"}}},
			{Name: cmp.Or(c.dnsService, "kube-dns"), Ports: []kube.ServicePort{{Protocol: "TCP", Port: 53, Target: "5300"}, {Protocol: "UDP", Port: 9153, Target: "9153"}, {Protocol: "UDP", Port: 53, Target: cmp.Or(c.dnsTarget, "53")}}},
		}, nil
	}
	for name, s := range c.svcs {
		out = append(out, kube.Service{Name: name, ClusterIP: s.ip, NodePorts: map[string]int{"TCP": s.port, "UDP": s.port}})
	}
	return out, nil
}

func (c *fake) WaitNodesReady(_ context.Context, names []string, _ kube.WaitOptions) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		if n := c.node(name); n == nil || !n.ready {
			return &kube.NotReadyError{What: "nodes", Missing: []kube.Missing{{Object: "node " + name, Node: name, Reason: "NotReady: kubelet stopped posting status"}}, Cause: context.DeadlineExceeded}
		}
	}
	return nil
}

// NodeLeases are later at each look, but for kubelets that do not run.
func (c *fake) NodeLeases(context.Context) (map[string]time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beats++
	if c.noLeases != nil {
		if err := c.noLeases(c.beats); err != nil {
			return nil, err
		}
	}
	out := map[string]time.Time{}
	for _, n := range c.nodes {
		if out[n.name] = time.Unix(1000, 0); !n.dead && !n.gone {
			out[n.name] = time.Unix(1000+int64(c.beats), 0)
		}
	}
	return out, nil
}

func (c *fake) WaitDaemonSets(ctx context.Context, nodes []string, o kube.WaitOptions) error {
	if c.unwanted[nodes[0]] && len(o.DaemonSets) > 0 || slices.Contains(o.DaemonSets, "kube-system/hybridctl-self-test") || c.lacks != "" && slices.Contains(o.DaemonSets, c.lacks) {
		return &kube.NotReadyError{What: "DaemonSet pods", Missing: []kube.Missing{{Object: "daemonset " + o.DaemonSets[0] + " on " + nodes[0], Node: nodes[0], Reason: "it wants no pod there"}}, Cause: context.DeadlineExceeded}
	}
	return c.WaitNodesReady(ctx, nodes, o)
}
