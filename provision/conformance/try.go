package conformance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

// pace is how long one attempt may take, and how long rules that follow a change of the cluster (kube-proxy's, the endpoint
// controller's) may need before an attempt counts.
type pace struct {
	attempt    time.Duration
	stream     time.Duration // for payloads of many packets
	answer     time.Duration // how long after the time of its order an agent may answer
	rulesLag   time.Duration
	rulesPause time.Duration
}

// usual is the pace outside tests.
var usual = pace{attempt: 5 * time.Second, stream: 40 * time.Second, answer: 30 * time.Second, rulesLag: 60 * time.Second, rulesPause: 500 * time.Millisecond}

// tries says how each kind of cell is found out.
var tries = map[kind]func(*run, context.Context, Cell) outcome{
	kindReady: (*run).tryReady, kindArch: (*run).tryArch, kindDaemons: (*run).tryDaemons, kindAddress: (*run).tryAddress,
	kindOwn: (*run).tryOwn, kindForeign: (*run).tryForeign,
	kindSelector: (*run).tryDirected, kindAffinity: (*run).tryDirected, kindNowhere: (*run).tryNowhere,
	kindLoopback: (*run).tryLoopback, kindEmptyDir: (*run).tryEmptyDir, kindSameNode: (*run).trySameNode, kindPodIP: (*run).tryPodIP,
	kindService: (*run).tryService, kindServiceName: (*run).tryService, kindHairpin: (*run).tryHairpin, kindDNS: (*run).tryDNS,
	kindRemoved:  (*run).tryRemoved,
	kindNodePort: (*run).tryNodePort, kindLocal: (*run).tryNodePort, kindNotLocal: (*run).tryNotLocal, kindClosed: (*run).tryClosed,
	kindPodWrites: (*run).tryPodWrites, kindHostWrites: (*run).tryHostWrites, kindElsewhere: (*run).tryElsewhere, kindNoDirectory: (*run).tryNoDirectory,
	kindPull: (*run).tryPull, kindNoPull: (*run).tryNoPull, kindGuard: (*run).tryGuard,
}

func (r *run) try(ctx context.Context, c Cell) outcome {
	f, ok := tries[c.kind]
	if !ok {
		return blocked("this hybridctl does not know how to try %q", c.kind)
	}
	if err := r.hostError(c); err != nil {
		return failed("the host: %v", err)
	}
	return f(r, ctx, c)
}

// startable waits for the probes a cell uses. A node whose probes do not start fails in its own cells; what needs them is blocked.
func (r *run) startable(ctx context.Context, c Cell) error {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	for _, pod := range r.uses(c) {
		if _, err := r.view.ready(ctx, pod); err != nil {
			return err
		}
	}
	return nil
}

// uses are the probe pods that a cell needs before it can begin.
func (r *run) uses(c Cell) []string {
	a := func(node string) string { return slot(podA, r.place(node)) }
	b := func(node string) string { return slot(podB, r.place(node)) }
	switch c.kind {
	case kindLoopback, kindEmptyDir, kindHairpin, kindDNS, kindRemoved, kindPodWrites, kindClosed:
		return []string{a(c.Dst)}
	case kindSameNode, kindHostWrites:
		return []string{a(c.Dst), b(c.Dst)}
	case kindPodIP, kindService, kindServiceName, kindElsewhere:
		if c.Src == c.Dst {
			return []string{a(c.Dst), b(c.Dst)}
		}
		return []string{a(c.Src), a(c.Dst)}
	case kindNodePort, kindLocal, kindNotLocal:
		return []string{a(c.Dst)}
	}
	return nil
}

// nonces are new for every attempt of every cell of every run.
func (r *run) nonces(c Cell) []string {
	var out []string
	for i := range c.times {
		out = append(out, fmt.Sprintf("%s/%s/%s/%s>%s/%s/%d", r.RunID, c.Check, c.Name, c.Src, c.Dst, c.Vantage, i))
	}
	return out
}

// wantedOf is who has to answer for a pod.
func (r *run) wantedOf(pod string) (kube.Pod, wanted, error) {
	p, err := r.view.now(pod)
	if err != nil {
		return p, wanted{}, err
	}
	arch, err := platform.Parse(r.node(p.Node).Arch)
	return p, wanted{podUID: p.UID, node: p.Node, container: mainContainer, arch: arch}, err
}

// dial has a container dial an address as often as the cell wants.
func (r *run) dial(ctx context.Context, c Cell, pod, container, addr string, w wanted) outcome {
	agent, err := r.agent(pod, container)
	if err != nil {
		return blocked("%v", err)
	}
	nonces := r.nonces(c)
	answer, err := agent.ask(ctx, r.order(c, addr, nonces))
	if err != nil {
		return failed("%v", err)
	}
	return judge(answer.Attempts, nonces, w)
}

func (r *run) order(c Cell, addr string, nonces []string) probe.Order {
	return probe.Order{
		Op: probe.OpDial, Network: c.network, Addr: addr, Nonces: nonces, Size: c.size,
		TimeoutMillis: int(r.timeoutOf(c).Milliseconds()),
	}
}

func (r *run) timeoutOf(c Cell) time.Duration {
	if c.size >= sizeStream {
		return r.pace.stream
	}
	return r.pace.attempt
}

func at(ip string, port int) string { return net.JoinHostPort(ip, strconv.Itoa(port)) }

func (r *run) tryReady(ctx context.Context, c Cell) outcome {
	ctx, cancel := context.WithTimeout(ctx, r.Window+30*time.Second)
	defer cancel()
	if err := r.API.WaitNodesReady(ctx, []string{c.Dst}, kube.WaitOptions{Window: r.Window}); err != nil {
		return failed("not Ready without a break for %s: %v", r.Window, err)
	}
	return passed()
}

func (r *run) tryDaemons(ctx context.Context, c Cell) outcome {
	ctx, cancel := context.WithTimeout(ctx, r.Window+30*time.Second)
	defer cancel()
	if err := r.API.WaitDaemonSets(ctx, []string{c.Dst}, kube.WaitOptions{Window: r.Window}); err != nil {
		return failed("%v", err)
	}
	return passed()
}

func (r *run) tryArch(ctx context.Context, c Cell) outcome {
	nodes, err := r.API.Nodes(ctx)
	if err != nil {
		return failed("%v", err)
	}
	i := slices.IndexFunc(nodes, func(n kube.Node) bool { return n.Name == c.Dst })
	if i < 0 {
		return failed("the node is gone")
	}
	machine, err := r.Machines[c.Dst].UnameM(ctx)
	if err != nil {
		return failed("ask the host: %v", err)
	}
	n := nodes[i]
	real, err := platform.Parse(machine)
	switch {
	case err != nil:
		return failed("the host says it is %q: %v", machine, err)
	case n.ArchLabel != n.Arch || n.Arch != string(real):
		return failed("label kubernetes.io/arch is %q, the kubelet says %q, the host %q", n.ArchLabel, n.Arch, machine)
	}
	return passed()
}

func (r *run) tryAddress(ctx context.Context, c Cell) outcome {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	pod, err := r.view.ready(ctx, slot(podA, r.place(c.Dst)))
	if err != nil {
		return failed("a new pod does not start there: %v", err)
	}
	n := r.node(c.Dst)
	if pod.Node != n.Name {
		return failed("the pod is on %s", pod.Node)
	}
	if n.PodCIDR == "" {
		return passed() // the pod network does not use the nodes' ranges
	}
	_, network, err := net.ParseCIDR(n.PodCIDR)
	if err != nil {
		return failed("the node's podCIDR %q: %v", n.PodCIDR, err)
	}
	if ip := net.ParseIP(pod.IP); ip == nil || !network.Contains(ip) {
		return failed("a new pod got the address %s, which is not of the node's podCIDR %s", pod.IP, n.PodCIDR)
	}
	return passed()
}

func (r *run) tryOwn(ctx context.Context, c Cell) outcome {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	name := slot(podOwn, r.place(c.Dst))
	var pod kube.Pod
	err := r.view.until(ctx, func(pods map[string]kube.Pod, events []kube.Event) (string, bool) {
		pod = pods[name]
		if pod.Ready {
			return "", false
		}
		text := pod.Words + "\n" + warnings(events, "Pod/"+name)
		return "a pod of a new image does not run: " + orDefault(pod.Problem, "it does not exist yet") + "; " + lastWarning(events, "Pod/"+name), refusesFormat(text)
	})
	if err != nil {
		return failed("%v", err)
	}
	a, err := r.agent(name, mainContainer)
	if err != nil {
		return failed("%v", err)
	}
	arch, err := platform.Parse(r.node(c.Dst).Arch)
	if err != nil {
		return failed("%v", err)
	}
	o := passed()
	reply := &probe.Reply{Who: a.who}
	o.responder(reply)
	if wrong := (wanted{podUID: pod.UID, node: c.Dst, container: mainContainer, arch: arch}).mismatch(reply); wrong != "" {
		o.fail("%s", wrong)
	}
	return o
}

// refusesFormat tells whether a text is of a kernel that refused a program of another architecture.
func refusesFormat(text string) bool {
	return strings.Contains(text, "exec format error") || strings.Contains(text, "no match for platform")
}

func (r *run) tryForeign(ctx context.Context, c Cell) outcome {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	name := slot(podWrong, r.place(c.Dst))
	var text string
	ended := func(orReady bool) func(map[string]kube.Pod, []kube.Event) (string, bool) {
		return func(pods map[string]kube.Pod, events []kube.Event) (string, bool) {
			p := pods[name]
			text = p.Problem + "\n" + p.Words + "\n" + warnings(events, "Pod/"+name)
			if refusesFormat(text) || strings.Contains(p.Words, "exit code") || orReady && p.Ready {
				return "", false
			}
			return "a program of another architecture neither runs nor is refused: " + orDefault(p.Problem, "the pod does not exist yet"), false
		}
	}
	if err := r.view.until(ctx, ended(true)); err != nil {
		return failed("%v", err)
	}
	// A container counts as running, and its pod as Ready, before its program is loaded. Whether it runs, its own answer tells.
	if _, err := r.agent(name, mainContainer); err == nil {
		return failed("a program of another architecture runs here: an emulator hides wrong images")
	}
	if err := r.view.until(ctx, ended(false)); err != nil {
		return failed("%v", err)
	}
	if refusesFormat(text) {
		return passed()
	}
	// Some runtimes let the program's end tell: it is in the container's log.
	log, err := r.API.PodLog(ctx, r.objects.namespace, name, mainContainer, 4<<10)
	if err != nil || !refusesFormat(string(log)) {
		return failed("the container ended, but not because of its format: %s %s", strings.Join(strings.Fields(text), " "), log)
	}
	return passed()
}

func (r *run) tryDirected(ctx context.Context, c Cell) outcome {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	name := "selector-" + c.Class
	if c.kind == kindAffinity {
		name = "affinity-" + c.Class
	}
	pod, err := r.view.ready(ctx, name)
	if err != nil {
		return failed("%v", err)
	}
	if r.place(pod.Node) < 0 {
		return failed("the pod is on %s, which was not there when the run began", pod.Node)
	}
	if n := r.node(pod.Node); n.Arch != c.Class {
		return failed("the pod is on %s, which is %s", pod.Node, n.Arch)
	}
	return passed()
}

func (r *run) tryNowhere(ctx context.Context, _ Cell) outcome {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	err := r.view.until(ctx, func(pods map[string]kube.Pod, _ []kube.Event) (string, bool) {
		p := pods["nowhere"]
		switch {
		case p.Node != "":
			return "a pod that no node can satisfy was put on " + p.Node, true
		case p.Unschedulable != "":
			return "", false
		}
		return "the scheduler does not say that the pod cannot be placed", false
	})
	if err != nil {
		return failed("%v", err)
	}
	return passed()
}

func (r *run) tryLoopback(ctx context.Context, c Cell) outcome {
	name := slot(podA, r.place(c.Dst))
	_, w, err := r.wantedOf(name)
	if err != nil {
		return blocked("%v", err)
	}
	addr := at("127.0.0.1", probe.Port)
	if strings.HasSuffix(c.network, "6") {
		addr = at("::1", probe.Port)
	}
	o := r.dial(ctx, c, name, peerContainer, addr, w)
	if strings.HasSuffix(c.network, "6") && noIPv6(o.reason) {
		return blocked("the pod has no IPv6")
	}
	return o
}

// noIPv6 tells whether an error is of a network namespace without IPv6.
func noIPv6(reason string) bool {
	return strings.Contains(reason, "cannot assign requested address") || strings.Contains(reason, "address family not supported") ||
		strings.Contains(reason, "network is unreachable")
}

func (r *run) tryEmptyDir(ctx context.Context, c Cell) outcome {
	name := slot(podA, r.place(c.Dst))
	writer, err := r.agent(name, mainContainer)
	if err != nil {
		return blocked("%v", err)
	}
	reader, err := r.agent(name, peerContainer)
	if err != nil {
		return blocked("%v", err)
	}
	text := r.nonces(Cell{Check: c.Check, Name: c.Name, Dst: c.Dst, times: 1})[0]
	if _, err := writer.ask(ctx, probe.Order{Op: probe.OpWrite, Path: "/shared/from-the-other", Text: text}); err != nil {
		return failed("one container cannot write: %v", err)
	}
	got, err := reader.ask(ctx, probe.Order{Op: probe.OpRead, Path: "/shared/from-the-other"})
	if err != nil {
		return failed("the other container cannot read: %v", err)
	}
	return same(got.Text, text, "one container wrote", "the other read")
}

// same compares a text with the one that was written.
func same(got, want, wrote, read string) outcome {
	if got != want {
		return failed("%s %q, %s %q", wrote, want, read, got)
	}
	return passed()
}

func (r *run) trySameNode(ctx context.Context, c Cell) outcome {
	server, w, err := r.wantedOf(slot(podA, r.place(c.Dst)))
	if err != nil {
		return blocked("%v", err)
	}
	client, err := r.view.now(slot(podB, r.place(c.Dst)))
	if err != nil {
		return blocked("%v", err)
	}
	if client.Node != server.Node || client.HostIP != server.HostIP {
		return failed("the pods are on %s (%s) and %s (%s)", client.Node, client.HostIP, server.Node, server.HostIP)
	}
	w.clientIP = client.IP
	return r.dial(ctx, c, client.Name, mainContainer, at(server.IP, probe.Port), w)
}

func (r *run) tryPodIP(ctx context.Context, c Cell) outcome {
	server, w, err := r.wantedOf(slot(podA, r.place(c.Dst)))
	if err != nil {
		return blocked("%v", err)
	}
	client, err := r.view.now(slot(podA, r.place(c.Src)))
	if err != nil {
		return blocked("%v", err)
	}
	w.clientIP = client.IP
	return r.dial(ctx, c, client.Name, mainContainer, at(server.IP, probe.Port), w)
}

// client is the pod that dials for a cell: another one where the server is on the same node.
func (r *run) client(c Cell) string {
	if c.Src == c.Dst {
		return slot(podB, r.place(c.Src))
	}
	return slot(podA, r.place(c.Src))
}

func (r *run) tryService(ctx context.Context, c Cell) outcome {
	_, w, err := r.wantedOf(slot(podA, r.place(c.Dst)))
	if err != nil {
		return blocked("%v", err)
	}
	name := slot(svcTo, r.place(c.Dst))
	addr := at(r.svc[name].ClusterIP, probe.Port)
	if c.kind == kindServiceName {
		addr = at(r.fullName(name), probe.Port)
	}
	return r.dialSettled(ctx, c, r.client(c), addr, w)
}

func (r *run) fullName(service string) string {
	return service + "." + r.objects.namespace + ".svc." + r.DNSDomain + "."
}

func (r *run) tryHairpin(ctx context.Context, c Cell) outcome {
	name := slot(podA, r.place(c.Dst))
	_, w, err := r.wantedOf(name)
	if err != nil {
		return blocked("%v", err)
	}
	return r.dialSettled(ctx, c, name, at(r.svc[slot(svcTo, r.place(c.Dst))].ClusterIP, probe.Port), w)
}

// dialSettled dials a Service. Its rules follow its pods with a delay: until there is any answer, attempts do not count.
func (r *run) dialSettled(ctx context.Context, c Cell, pod, addr string, w wanted) outcome {
	a, err := r.agent(pod, mainContainer)
	if err != nil {
		return blocked("%v", err)
	}
	r.settle(ctx, r.asks(a, c, addr))
	return r.dial(ctx, c, pod, mainContainer, addr, w)
}

// attempt is one attempt; an error is one that nobody could make, from which nothing follows.
type attempt func(ctx context.Context, nonce string) (probe.Attempt, error)

// asks is an attempt of an agent.
func (r *run) asks(a *agent, c Cell, addr string) attempt {
	c.size, c.times = sizeOne, 1
	return func(ctx context.Context, nonce string) (probe.Attempt, error) {
		answer, err := a.ask(ctx, r.order(c, addr, []string{nonce}))
		if err == nil && len(answer.Attempts) != 1 {
			err = errors.New("the probe made no attempt")
		}
		if err != nil {
			return probe.Attempt{}, err
		}
		return answer.Attempts[0], nil
	}
}

// settle attempts until anything answers, or the rules' lag is over.
func (r *run) settle(ctx context.Context, try attempt) bool {
	ctx, cancel := context.WithTimeout(ctx, r.pace.rulesLag)
	defer cancel()
	for i := 0; ; i++ {
		switch a, err := try(ctx, fmt.Sprint("settle/", i)); {
		case err != nil:
			return false
		case a.Reply != nil:
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(r.pace.rulesPause):
		}
	}
}

func (r *run) tryDNS(ctx context.Context, c Cell) outcome {
	a, err := r.agent(slot(podA, r.place(c.Dst)), mainContainer)
	if err != nil {
		return blocked("%v", err)
	}
	name := slot(svcTo, r.place(c.Dst))
	want, servers := r.svc[name].ClusterIP, []string{""}
	if c.network == "pods" {
		pods, err := r.API.Pods(ctx, "kube-system", "k8s-app=kube-dns")
		if err != nil {
			return failed("%v", err)
		}
		servers = nil
		for _, p := range pods {
			if p.IP != "" && !p.Deleting {
				servers = append(servers, at(p.IP, 53))
			}
		}
		if len(servers) == 0 {
			return blocked("there are no pods with the label k8s-app=kube-dns in kube-system")
		}
	}
	o := outcome{first: true}
	var last, dead string
	for _, server := range servers {
		before := o.ok
		for i := range c.times {
			o.planned++
			got, err := a.ask(ctx, probe.Order{Op: probe.OpLookup, Server: server, Name: r.fullName(name), TimeoutMillis: int(r.pace.attempt.Milliseconds())})
			switch {
			case err != nil:
				last = strings.TrimPrefix(orDefault(server, "the pod's own server")+": ", ": ") + err.Error()
			case !slices.Contains(got.Addresses, want):
				last = fmt.Sprintf("%s answers %s instead of %s", orDefault(server, "the pod's own server"), strings.Join(got.Addresses, ", "), want)
			default:
				o.ok++
				continue
			}
			o.first = o.first && i > 0
		}
		if o.ok == before {
			dead = last
		}
	}
	switch {
	case o.ok == o.planned:
		o.verdict = report.Passed
	case dead != "": // others that answer do not make up for it
		o.fail("%s", dead)
	default:
		o.verdict, o.reason = report.Flaky, fmt.Sprintf("%d of %d questions were answered; the last that was not: %s", o.ok, o.planned, last)
	}
	return o
}

func (r *run) tryRemoved(ctx context.Context, c Cell) outcome {
	i := r.place(c.Dst)
	name, pod := slot(svcStay, i), slot(podA, i)
	client, err := r.agent(pod, mainContainer)
	if err != nil {
		return blocked("%v", err)
	}
	addr := at(r.svc[name].ClusterIP, probe.Port)
	if !r.settle(ctx, r.asks(client, c, addr)) {
		return failed("the service never answered, so that nothing can be said of its end")
	}
	gone := r.objects.service(name, map[string]string{slotLabel: "none"}, "", 0)
	if _, err := r.API.Apply(ctx, manifests(gone), kube.ApplyOptions{Force: true}); err != nil {
		return failed("%v", err)
	}
	return r.untilClosed(ctx, r.asks(client, c, addr), "the service still answers although it has no endpoint any more")
}

// silences is how many attempts in a row have to stay without an answer: one packet may be lost.
const silences = 3

// untilClosed attempts until nothing answers any more. A refusal says so at once.
func (r *run) untilClosed(ctx context.Context, try attempt, otherwise string) outcome {
	ctx, cancel := context.WithTimeout(ctx, r.pace.rulesLag)
	defer cancel()
	silent := 0
	for i := 0; ; i++ {
		a, err := try(ctx, fmt.Sprint("closed/", i))
		switch {
		case ctx.Err() != nil:
			return failed("%s, %s later", otherwise, r.pace.rulesLag)
		case err != nil:
			return failed("whether it is closed cannot be seen: %v", err)
		case a.Closed:
			return passed()
		case a.Reply != nil:
			silent = 0
		default:
			if silent++; silent == silences {
				return passed()
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(r.pace.rulesPause):
		}
	}
}

func (r *run) tryPodWrites(ctx context.Context, c Cell) outcome {
	a, err := r.agent(slot(podA, r.place(c.Dst)), mainContainer)
	if err != nil {
		return blocked("%v", err)
	}
	text := r.nonces(Cell{Check: c.Check, Name: c.Name, Dst: c.Dst, times: 1})[0]
	if _, err := a.ask(ctx, probe.Order{Op: probe.OpWrite, Path: "/host/by-pod", Text: text}); err != nil {
		return failed("the pod cannot write: %v", err)
	}
	inPod, err := a.ask(ctx, probe.Order{Op: probe.OpRead, Path: "/host/by-pod"})
	if err != nil {
		return failed("the pod cannot read what it wrote: %v", err)
	}
	path := hostDirs + r.RunID + "/by-pod"
	if r.Fault.is(faultByte, c.Dst) {
		if err := r.Machines[c.Dst].WriteFile(ctx, path, flip(text)); err != nil {
			return failed("the fault could not be made: %v", err)
		}
	}
	got, id, err := r.Machines[c.Dst].ReadFile(ctx, path)
	switch {
	case err != nil:
		return failed("the host does not have what the pod wrote: %v", err)
	case got == text && id != inPod.FileID:
		return failed("the host's file is another one: device and inode %s, the pod's %s", id, inPod.FileID)
	}
	return same(got, text, "the pod wrote", "the host has")
}

func (r *run) tryHostWrites(ctx context.Context, c Cell) outcome {
	a, err := r.agent(slot(podB, r.place(c.Dst)), mainContainer)
	if err != nil {
		return blocked("%v", err)
	}
	text := r.nonces(Cell{Check: c.Check, Name: c.Name, Dst: c.Dst, times: 1})[0]
	if err := r.Machines[c.Dst].WriteFile(ctx, hostDirs+r.RunID+"/by-host", text); err != nil {
		return failed("the host cannot write: %v", err)
	}
	got, err := a.ask(ctx, probe.Order{Op: probe.OpRead, Path: "/host/by-host"})
	if err != nil {
		return failed("another pod cannot read what the host wrote: %v", err)
	}
	return same(got.Text, text, "the host wrote", "the pod read")
}

func (r *run) tryElsewhere(ctx context.Context, c Cell) outcome {
	name := fmt.Sprintf("only-on-%d", r.place(c.Dst))
	if err := r.Machines[c.Dst].WriteFile(ctx, hostDirs+r.RunID+"/"+name, r.RunID); err != nil {
		return failed("the host cannot write: %v", err)
	}
	a, err := r.agent(slot(podA, r.place(c.Src)), mainContainer)
	if err != nil {
		return blocked("%v", err)
	}
	_, err = a.ask(ctx, probe.Order{Op: probe.OpRead, Path: "/host/" + name})
	var refused *orderError
	switch {
	case err == nil:
		return failed("a pod on %s sees the file of %s: the directory is shared", c.Src, c.Dst)
	case errors.As(err, &refused) && refused.answer.NotExist:
		return passed()
	}
	return failed("a pod on %s cannot look: %v", c.Src, err)
}

func (r *run) tryNoDirectory(ctx context.Context, c Cell) outcome {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	name := slot(podNoDir, r.place(c.Dst))
	err := r.view.until(ctx, func(pods map[string]kube.Pod, events []kube.Event) (string, bool) {
		switch {
		case pods[name].Ready:
			return "a pod runs although the directory it wants does not exist", true
		case said(events, "Pod/"+name, "FailedMount"):
			return "", false
		}
		return "the kubelet does not say that the directory is missing", false
	})
	if err != nil {
		return failed("%v", err)
	}
	return passed()
}

func (r *run) tryPull(ctx context.Context, c Cell) outcome {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	name := slot(podPull, r.place(c.Dst))
	err := r.view.until(ctx, func(_ map[string]kube.Pod, events []kube.Event) (string, bool) {
		if said(events, "Pod/"+name, "Pulled") {
			return "", false
		}
		return "the image was not pulled; " + lastWarning(events, "Pod/"+name), false
	})
	if err != nil {
		return failed("%v", err)
	}
	return passed()
}

func (r *run) tryNoPull(ctx context.Context, c Cell) outcome {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	name := slot(podNoPull, r.place(c.Dst))
	err := r.view.until(ctx, func(_ map[string]kube.Pod, events []kube.Event) (string, bool) {
		text := strings.ToLower(warnings(events, "Pod/"+name))
		switch {
		case said(events, "Pod/"+name, "Pulled"):
			return "the image was pulled without the secret: the registry is not private, or the node knows it", true
		case strings.Contains(text, "401"), strings.Contains(text, "403"), strings.Contains(text, "unauthorized"), strings.Contains(text, "denied"), strings.Contains(text, "authorization failed"):
			return "", false
		}
		return "the registry does not refuse; " + lastWarning(events, "Pod/"+name), false
	})
	if err != nil {
		return failed("%v", err)
	}
	return passed()
}

func (r *run) tryGuard(ctx context.Context, c Cell) outcome {
	now, err := r.API.Pods(ctx, "", "")
	if err != nil {
		return failed("%v", err)
	}
	return unchanged(c.Dst, r.before, now, r.objects.namespace)
}

// unchanged compares the pods that ran on a node before with those that run now.
func unchanged(node string, before, now []kube.Pod, ours string) outcome {
	byUID := map[string]kube.Pod{}
	for _, p := range now {
		byUID[p.UID] = p
	}
	o := outcome{verdict: report.Passed}
	for _, p := range before {
		if p.Node != node || p.Namespace == ours || !p.Ready {
			continue
		}
		o.planned++
		n, ok := byUID[p.UID]
		switch {
		case !ok:
			o.fail("pod %s/%s is gone", p.Namespace, p.Name)
		case n.Node != p.Node:
			o.fail("pod %s/%s moved to %s", p.Namespace, p.Name, n.Node)
		case n.Restarts != p.Restarts:
			o.fail("pod %s/%s was restarted: %d times before, %d now", p.Namespace, p.Name, p.Restarts, n.Restarts)
		default:
			o.ok++
		}
	}
	if o.planned == 0 {
		return blocked("no pod ran there before")
	}
	o.first = o.ok == o.planned
	return o
}
