package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/probe"
)

// Exec runs an agent in this process. On a node that is gone nothing is heard any more, until the context ends.
func (c *fake) Exec(ctx context.Context, o kube.ExecOptions) error {
	c.mu.Lock()
	inPod, inContainer := o.Pod, o.Container
	if c.strays != nil {
		inPod, inContainer = c.strays(o.Pod, o.Container)
	}
	p, hook, secret := c.pods[inPod], c.onExec, probe.Secret(c.secrets[secretName])
	c.mu.Unlock()
	switch {
	case p != nil && p.dies != "":
		c.mu.Lock()
		defer c.mu.Unlock()
		p.Ready, p.Problem, p.Words, p.dies = false, p.dies, p.dies, ""
		c.notify()
		return errors.New("cannot exec in a stopped container")
	case p == nil || !slices.Contains(p.containers, inContainer):
		return fmt.Errorf("no container %s/%s", o.Pod, o.Container)
	case !slices.Equal(o.Argv, []string{probePath, "agent"}):
		return fmt.Errorf("cannot run %v", o.Argv)
	case hook != nil:
		if err := hook(o.Pod, o.Container); err != nil {
			return err
		}
	}
	life, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	c.mu.Lock()
	p.node.execs = append(p.node.execs, cut)
	c.mu.Unlock()
	who := p.who
	who.Container = inContainer
	agent := probe.Agent{Who: who, Secret: secret, Dialer: podDialer{p, c}, Lookup: c.lookupFrom(p), Root: p.root, Space: func(string) (int64, int, error) { return c.space(p) }}
	ended := make(chan error, 1)
	go func() { ended <- agent.Run(life, o.Stdin, podWriter{life, p, c, o.Stdout}) }()
	select {
	case err := <-ended:
		if c.isGone(p.node) {
			<-ctx.Done()
			return ctx.Err()
		}
		return err
	case <-life.Done():
		return cmp.Or(ctx.Err(), context.Cause(life))
	case <-p.ctx.Done():
		return errors.New("the container has ended")
	}
}

// cutExecs ends what runs by execs on a node, as a kubelet does that is started again.
func (c *fake) cutExecs(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.node(name)
	for _, cut := range n.execs {
		cut(errKubelet)
	}
	n.execs = nil
}

var errKubelet = errors.New("error dialing backend: EOF")

// podWriter is a pod's way to who listens: what a node says that is gone is lost, and what is said after the end of the exec.
type podWriter struct {
	life context.Context
	p    *fakePod
	c    *fake
	out  io.Writer
}

func (w podWriter) Write(b []byte) (int, error) {
	if w.c.isGone(w.p.node) || w.life.Err() != nil {
		return len(b), nil
	}
	return w.out.Write(b)
}
