package conformance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
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
	start      time.Duration // for an agent to be there: the kubelet starts a program in a container
	again      time.Duration // before one that has ended is started again; twice as long each time
	answer     time.Duration // how long after the time of its order an agent may answer
	rulesLag   time.Duration // how long kube-proxy may take to notice a Service or its endpoint
	rulesPause time.Duration
	guardPause time.Duration // from one look at the old nodes to the next, while something is not Ready
	volume     int           // bytes that are written to a volume
	launch     time.Duration // how long a pod that starts counts as one
	nodes      time.Duration // from one look at the nodes to the next
	away       time.Duration // see Away
	lease      time.Duration // within which a kubelet renews its lease
	silence    time.Duration // how long nothing is said while no cell ends
	atWork     time.Duration // how long the run is believed to be at work without renewing its lease; 0 = atWorkFor
}

// nodeLease is the kubelet's nodeLeaseDurationSeconds; it renews four times as often.
const nodeLease = 40 * time.Second

// Away is how long a node may be not Ready before nothing on it is waited for.
const Away = 2 * time.Minute

// kubeProxyLag is what Kubernetes' own tests let kube-proxy have: KubeProxyLagTimeout in kubernetes/test/e2e/framework/service/const.go.
const kubeProxyLag = 45 * time.Second

// usual is the pace outside tests.
var usual = pace{attempt: 5 * time.Second, stream: 40 * time.Second, start: 2 * time.Minute, again: 2 * time.Second, answer: 30 * time.Second, rulesLag: kubeProxyLag, rulesPause: 500 * time.Millisecond, guardPause: 10 * time.Second,
	volume: 64 << 20, launch: 20 * time.Second, nodes: 15 * time.Second, away: Away, lease: nodeLease, silence: report.Patience}

// timeoutOf is how long an attempt of a cell may take.
func (p pace) timeoutOf(c Cell) time.Duration {
	if c.size >= sizeStream {
		return p.stream
	}
	return p.attempt
}

// order has a probe dial an address, once with each nonce.
func (p pace) order(c Cell, addr string, nonces []string) probe.Order {
	return probe.Order{
		Op: probe.OpDial, Network: c.network, Addr: addr, Nonces: nonces, Size: c.size,
		TimeoutMillis: int(p.timeoutOf(c).Milliseconds()),
	}
}

// triers try cells: each has those of its subject, and what they use.
type triers struct {
	nodeTrier
	imageTrier
	registryTrier
	placeTrier
	podTrier
	serviceTrier
	outsideTrier
	directoryTrier
	volumeTrier
	guardTrier
}

// lost is the outcome of a cell whose probe is not there, or not any more. It is the failure of the probe's own node, so that no run
// passes without it; what two nodes are needed for, or a probe that was heard before, is blocked, unless there is no such failure (see failUnowned).
func lost(c Cell, err error) outcome {
	if forbids(err) {
		return blocked("%v", err)
	}
	if c.ofOne() && !unheard(err) {
		return failed("%v", err)
	}
	o := blocked("%v", err)
	o.lost = true
	return o
}

// ofOne reports whether a cell is of one node alone.
func (c Cell) ofOne() bool { return c.Src == "" || c.Src == c.Dst }

// probesOf are the probe pods that a cell uses.
func probesOf(n roster, c Cell) []string {
	if probes := kinds[c.kind].probes; probes != nil {
		return probes(n, c)
	}
	return nil
}

// nonces are new for every attempt of every cell of every run.
func (o objects) nonces(c Cell) []string {
	var out []string
	for i := range c.times {
		out = append(out, fmt.Sprintf("%s/%s/%s/%s>%s/%s/%d", o.runID, c.Check, c.Name, c.Src, c.Dst, c.Vantage, i))
	}
	return out
}

// asker has probes ask others, and knows who has to answer.
type asker struct {
	*draft
	rules
	view   *view
	agents *agents
}

// wantedOf is who has to answer for a pod.
func (a *asker) wantedOf(pod string) (kube.Pod, wanted, error) {
	p, err := a.view.now(pod)
	if err != nil {
		return p, wanted{}, err
	}
	arch, err := platform.Parse(a.node(p.Node).Arch)
	return p, wanted{podUID: p.UID, node: p.Node, container: mainContainer, arch: arch}, err
}

// dial has a container dial an address as often as the cell wants.
func (a *asker) dial(ctx context.Context, c Cell, pod, container, addr string, w wanted) outcome {
	agent, err := a.agents.of(ctx, pod, container)
	if err != nil {
		return lost(c, err)
	}
	nonces := a.nonces(c)
	answer, err := agent.ask(ctx, a.pace.order(c, addr, nonces))
	if err != nil {
		return failed("%v", err)
	}
	return judge(answer.Attempts, nonces, w)
}

// asks is an attempt of an agent. To away it adds how long none ran that could make it.
func (a *asker) asks(agent *agent, c Cell, addr string, away *time.Duration) attempt {
	c.size, c.times = sizeOne, 1
	return func(ctx context.Context, nonce string) (probe.Attempt, error) {
		answer, none, err := agent.askOf(ctx, a.pace.order(c, addr, []string{nonce}))
		*away += none
		if err == nil && len(answer.Attempts) != 1 {
			err = errors.New("the probe made no attempt")
		}
		if err != nil {
			return probe.Attempt{}, err
		}
		return made(answer.Attempts[0])
	}
}

func at(ip string, port int) string { return net.JoinHostPort(ip, strconv.Itoa(port)) }
