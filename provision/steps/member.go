package steps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/render"
)

func (x *Steps) applyInit(ctx context.Context, s plan.Step, h *host.Host) (string, error) {
	in, ok := s.Inputs.(plan.InitInputs)
	if !ok {
		return "", fmt.Errorf("inputs of kind %T", s.Inputs)
	}
	if s.Action == plan.Update {
		return startAgain(ctx, x.env, s, h)
	}
	if err := x.clear(ctx, s, in.Files, h, nil); err != nil {
		return "", err
	}
	token := kube.NewToken()
	config := in.Config
	config.Token = token.Reveal()
	x.say(s, "kubeadm init")
	if err := h.Kubeadm(ctx, host.KubeadmInit, s.Digest, render.KubeadmInitConfig(config), nil); err != nil {
		return "", err
	}
	kubeconfig, err := h.ReadFile(ctx, host.AdminConf)
	if err != nil {
		return "", err
	}
	if err := x.env.Initialised(kubeconfig); err != nil {
		return "", err
	}
	api, err := x.env.Kube(ctx)
	if err != nil {
		return "", err
	}
	if err := h.WriteClusterMark(ctx, x.mark(api)); err != nil {
		return "", err
	}
	x.say(s, "waiting for the API server")
	if err := api.WaitAPI(ctx); err != nil {
		return "", err
	}
	if x.env.Serves != nil {
		x.env.Serves(ctx)
	}
	if err := api.DeleteToken(ctx, token.ID); err != nil {
		return "", err
	}
	told, err := x.serve(ctx, api, s, nil)
	return with("initialised", told), err
}

func (x *Steps) applyJoin(ctx context.Context, s plan.Step, h *host.Host) (string, error) {
	in, ok := s.Inputs.(plan.JoinInputs)
	if !ok {
		return "", fmt.Errorf("inputs of kind %T", s.Inputs)
	}
	if s.Action == plan.Update {
		return startAgain(ctx, x.env, s, h)
	}
	api, err := x.env.Kube(ctx)
	if err != nil {
		return "", err
	}
	if in.Config.ControlPlane {
		if err := x.etcdIsWell(ctx, api, s, in.Config.NodeIP); err != nil {
			return "", err
		}
	}
	if in.Registers && x.env.JoinTaint == nil { // a kubelet has the taints that its node registers with from kubeadm
		if there, err := x.registersYet(ctx, api, s, h); there || err != nil {
			if err != nil {
				return "", err
			}
			told, err := x.serve(ctx, api, s, nil)
			return with("its kubelet registered the node", told), err
		}
	}
	old, err := x.decided(ctx, api)
	if err != nil {
		return "", err
	}
	// Before anything is reset: an API server whose etcd began again with nothing knows no node any more, and takes none, as it has no cluster-info.
	j, err := beginJoining(ctx, x, api, s, h)
	if err != nil {
		return "", err
	}
	if err := x.clear(ctx, s, in.Files, h, api.CAHashes()); err != nil {
		return "", err
	}
	err = j.kubeadm(ctx)
	if was := errors.Is(err, host.ErrHalfControlPlane); was || errors.Is(err, host.ErrHalfJoined) {
		err = j.afresh(ctx, was)
	}
	if err != nil {
		return "", err
	}
	if in.Config.ControlPlane {
		x.changedMembers.Store(true)
	}
	told, err := x.serve(ctx, api, s, old)
	return with("joined", told), err
}

// startAgain starts the kubelet of a host that is a node. A marker that does not say so, or cannot be read, is written again.
func startAgain(ctx context.Context, env Env, s plan.Step, h *host.Host) (string, error) {
	const unit = "kubelet.service"
	if err := h.StartUnit(ctx, unit); err != nil || env.Facts(s.Host).Markers[string(s.Kind)].State == host.MarkerDone {
		return "kubelet started", err
	}
	return "marker written again", h.Mark(ctx, host.Marker{Step: string(s.Kind), State: host.MarkerDone, Digest: s.Digest, Units: []string{unit}})
}

// joining is a host that joins, with what kubeadm is told there.
type joining struct {
	*Steps
	step   plan.Step
	host   *host.Host
	api    API
	config render.KubeadmJoin
	until  time.Time // the token of config is good
}

func beginJoining(ctx context.Context, x *Steps, api API, s plan.Step, h *host.Host) (joining, error) {
	token, err := x.token.get(ctx, api, func(missing []kube.Missing) {
		for _, m := range missing {
			x.say(s, m.String())
		}
	})
	if err != nil {
		return joining{}, err
	}
	in, _ := s.Inputs.(plan.JoinInputs)
	config := in.Config
	config.Token = token.Reveal()
	config.CACertHashes = api.CAHashes()
	if x.env.JoinTaint != nil {
		config.Registration.Taints = append(slices.Clone(config.Registration.Taints), *x.env.JoinTaint)
	}
	return joining{x, s, h, api, config, token.Expires}, nil
}

// kubeadm runs kubeadm join. The token is kept when kubeadm may be at work still. Errors: host.ErrHalfJoined and host.ErrHalfControlPlane
// when an earlier attempt ended half-way.
func (j joining) kubeadm(ctx context.Context) error {
	if j.config.ControlPlane {
		if err := j.sharePKI(ctx, j.host); err != nil {
			return err
		}
	}
	j.say(j.step, "kubeadm join")
	mark := j.mark(j.api)
	err := j.host.Kubeadm(ctx, host.KubeadmJoin, j.step.Digest, render.KubeadmJoinConfig(j.config), &mark)
	if !host.Ended(err) {
		j.token.keep()
		return fmt.Errorf("%w; kubeadm may be at work there still: the join token stays good until %s, and the next run waits for kubeadm",
			err, j.until.Format(time.TimeOnly))
	}
	return err
}

// afresh joins a host on which an earlier attempt ended half-way, after the cluster has forgotten it and it was reset.
func (j joining) afresh(ctx context.Context, wasControlPlane bool) error {
	j.say(j.step, "taking out of the cluster what an earlier attempt began")
	if err := j.forget(ctx, j.api, j.step.Host, j.config.NodeIP, wasControlPlane); err != nil {
		return fmt.Errorf("an earlier attempt ended half-way, and the host was left as it is: %w", err)
	}
	in, _ := j.step.Inputs.(plan.JoinInputs)
	if err := lookAgain(j.host.Reset(ctx, mayBeOf(j.env.Facts(j.step.Host), in.Forced, j.api.CAHashes())), j.step.Host); err != nil {
		return err
	}
	if err := j.bringBack(ctx, j.step, in.Files, j.host); err != nil {
		return err
	}
	return j.kubeadm(ctx)
}

// mark is what every host of the cluster bears.
func (x *Steps) mark(api API) host.ClusterMark {
	m := host.ClusterMark{Name: x.env.Cluster}
	if pins := api.CAHashes(); len(pins) > 0 {
		m.CA = pins[0]
	}
	return m
}

// registersYet waits for the node of a host that has joined, and reports whether its kubelet registers it. It leaves the step enough time to
// reset the host and to join it again.
func (x *Steps) registersYet(ctx context.Context, api API, s plan.Step, h *host.Host) (bool, error) {
	x.say(s, "waiting for the kubelet to register the node")
	if err := h.StartUnit(ctx, "kubelet.service"); !host.Ended(err) {
		return false, err
	}
	within := x.env.RegisterWithin
	if end, ok := ctx.Deadline(); ok {
		within = min(within, time.Until(end)/4)
	}
	return registered(ctx, within, func(ctx context.Context) (bool, error) { return api.HasNode(ctx, s.Host) })
}

// etcdIsWell returns when every member of etcd but the host's own is well: none is added beside one that is not. One that this run has added
// may take a while.
func (x *Steps) etcdIsWell(ctx context.Context, api API, s plan.Step, nodeIP string) error {
	own, end := x.env.addresses(s.Host, nodeIP), x.settles()
	for {
		members, err := api.EtcdMembers(ctx, x.env.Bootstrap)
		if err != nil {
			return fmt.Errorf("etcd has to be well before it gets another member: %w", err)
		}
		i := slices.IndexFunc(members, func(m kube.EtcdMember) bool { return !m.IsOf(s.Host, own...) && !m.Well() })
		switch {
		case i < 0:
			return nil
		case !time.Now().Before(end):
			return hint.With(fmt.Errorf("etcd's member %s is not well, and none is added beside it", members[i]),
				`bring it back, or take its host out with "hybridctl remove HOST --offline"`)
		}
		x.say(s, "waiting for etcd's member "+members[i].String())
		if err := pause(ctx, x.etcdAsked); err != nil {
			return err
		}
	}
}

// addresses are those under which etcd may know a host's member that has not started yet.
func (e Env) addresses(name, nodeIP string) []string {
	if nodeIP != "" {
		return []string{nodeIP}
	}
	return e.Facts(name).Addresses
}

// forget takes a host that is half joined out of the cluster: its member of etcd, when the others can do without, and its node. The host
// itself is not touched: a member that is wiped before etcd forgets it may cost etcd its quorum.
func (x *Steps) forget(ctx context.Context, api API, name, nodeIP string, wasControlPlane bool) error {
	if wasControlPlane {
		members, err := api.EtcdMembers(ctx, x.env.Bootstrap)
		if err != nil {
			return err
		}
		for _, m := range members {
			if !m.IsOf(name, x.env.addresses(name, nodeIP)...) {
				continue
			}
			if !m.Learner {
				if err := plan.KeepsQuorum(plan.Voters(Members(members)), []string{m.Name}); err != nil {
					return err
				}
			}
			if err := api.RemoveEtcdMember(ctx, x.env.Bootstrap, m.ID); err != nil {
				return err
			}
		}
	}
	return api.DeleteNode(ctx, name)
}

// clear resets a host that was a member once and is no longer: kubeadm refuses to run over what an earlier membership left. What an
// interrupted attempt left is the kubeadm script's, or ErrHalfJoined. A host of another cluster is reset when the user named it. own are the pins
// of the cluster that it joins; nil = there is none yet.
func (x *Steps) clear(ctx context.Context, s plan.Step, files plan.FilesInputs, h *host.Host, own []string) error {
	m, marked := x.env.Facts(s.Host).Markers[string(s.Kind)]
	in, _ := s.Inputs.(plan.JoinInputs)
	if !in.Forced && (!marked || m.State != host.MarkerDone) {
		return nil
	}
	x.say(s, "clearing up the earlier membership")
	if err := lookAgain(h.Reset(ctx, mayBeOf(x.env.Facts(s.Host), in.Forced || s.Kind == plan.Init, own)), s.Host); err != nil {
		return err
	}
	return x.bringBack(ctx, s, files, h)
}

// mayBeOf are the pins of the clusters that a host may be of when it is reset: this one's and, where it was judged by what it showed, or the
// user named it, of what it showed then. Between that and the reset another cluster may take it.
func mayBeOf(f facts.Host, asSeen bool, own []string) []string {
	if !asSeen {
		return own
	}
	pins := slices.Clone(own)
	for _, ca := range []string{f.Kubeadm.CACertHash, f.Belongs.CA} {
		if ca != "" && !slices.Contains(pins, ca) {
			pins = append(pins, ca)
		}
	}
	if f.Kubeadm.KubeletConf && f.Kubeadm.CACertHash == "" || f.Belongs.Marked && f.Belongs.CA == "" {
		pins = append(pins, host.UnknownPin)
	}
	return pins
}

// own are the pins of this cluster, as far as they are known: a host whose step is undone may have joined it since it was looked at, in this run.
func own(ctx context.Context, env Env) []string {
	api, err := env.Kube(ctx)
	if err != nil {
		return nil // there is none, or none yet
	}
	return api.CAHashes()
}

// lookAgain says what to do about a host that is another cluster's by now.
func lookAgain(err error, name string) error {
	if errors.Is(err, host.ErrOthers) {
		return hint.With(err, "run it again, which looks at %s once more; where that cluster is not needed, --force=%[1]s of scale-out, remove and destroy resets the host", name)
	}
	return err
}

// sharePKI takes the shared certificates from the bootstrap host to a further control plane, through this process's memory only.
func (x *Steps) sharePKI(ctx context.Context, h *host.Host) error {
	first, err := x.env.Host(x.env.Bootstrap)
	if err != nil {
		return err
	}
	tar, err := first.SharedPKI(ctx)
	if err != nil {
		return err
	}
	return h.PlaceSharedPKI(ctx, bytes.NewReader(tar))
}

func (x *Steps) undoMember(ctx context.Context, s plan.Step, h *host.Host) (string, error) {
	return "", lookAgain(h.Reset(ctx, mayBeOf(x.env.Facts(s.Host), true, own(ctx, x.env))), s.Host)
}

// tokenTTL outlives the joins of one run; the token is deleted when the run ends.
const tokenTTL = 30 * time.Minute

// tokenSource makes one join token for a run, when the first join needs it, and another when a long run has used half of its life.
type tokenSource struct {
	mu     sync.Mutex
	api    API
	tokens []kube.Token
	signed bool // hosts can join with the last of them
	kept   bool // one is in use still
}

// keep leaves the tokens to their ends: kubeadm may be at work with one on a host that does not answer any more.
func (t *tokenSource) keep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = true
}

func (t *tokenSource) get(ctx context.Context, api API, progress func([]kube.Missing)) (kube.Token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.tokens); n == 0 || time.Until(t.tokens[n-1].Expires) <= tokenTTL/2 {
		if err := t.make(ctx, api); err != nil {
			return kube.Token{}, err
		}
	}
	token := t.tokens[len(t.tokens)-1]
	if t.signed {
		return token, nil
	}
	if err := api.WaitSigned(ctx, token.ID, kube.WaitOptions{Progress: progress}); err != nil {
		return kube.Token{}, err
	}
	t.signed = true
	return token, nil
}

func (t *tokenSource) make(ctx context.Context, api API) error {
	if err := api.WaitAPI(ctx); err != nil {
		return err
	}
	token, err := api.CreateToken(ctx, tokenTTL, plan.TokenDescription)
	if err != nil {
		return fmt.Errorf("make a join token: %w", err)
	}
	t.api, t.tokens, t.signed = api, append(t.tokens, token), false
	return nil
}

func (t *tokenSource) revoke(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept {
		return nil
	}
	var errs []error
	t.tokens = slices.DeleteFunc(t.tokens, func(token kube.Token) bool {
		err := t.api.DeleteToken(ctx, token.ID)
		errs = append(errs, err)
		return err == nil
	})
	return errors.Join(errs...)
}
