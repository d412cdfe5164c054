package access

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/kube/fakeapi"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
	"github.com/hybridctl/hybridctl/provision/survey"
	"github.com/hybridctl/hybridctl/templates"
)

// world is a cluster with one control plane, which gives a kubeconfig of its own authority, and an API server behind each kubeconfig.
type world struct {
	*Server
	fleet  *fleet.Fleet
	hosts  *remotetest.Fleet
	api    *fakeapi.API
	kept   []byte // what is kept, if it is to be
	gives  string // the control plane's kubeconfig; "" = it has none
	mark   string // of the control plane
	refuse func(kubeconfig []byte) error
	made   []string // the kubeconfigs that clients were made of: kept or given
	marked int      // how often the lock's mark was read
}

// counting is the API server, which counts.
type counting struct {
	*fakeapi.API
	w       *world
	refuses error
}

func (c counting) LeaseMark(ctx context.Context, name string) (string, error) {
	c.w.marked++
	if c.refuses != nil {
		return "", c.refuses
	}
	return c.API.LeaseMark(ctx, name)
}

func newWorld(t *testing.T, change func(*world)) *world {
	t.Helper()
	w := &world{hosts: remotetest.NewFleet(t, 1, remotetest.Options{}), api: fakeapi.New(bundletest.Version), kept: []byte(fakeapi.Kubeconfig()), gives: fakeapi.KubeconfigOf(fakeapi.OtherCA())}
	change(w)
	h := w.hosts.Hosts[0]
	c := &inventory.Cluster{}
	c.Metadata.Name = "sim"
	c.Spec.SSH.IdentityFiles = []string{w.hosts.KeyFile()}
	c.Spec.Hosts = []inventory.Host{{Name: h.Name, Address: h.Address, Port: h.Port, Role: inventory.ControlPlane}}
	inventory.Default(c)
	dir := t.TempDir()
	if w.kept != nil {
		if err := os.WriteFile(filepath.Join(dir, fleet.KubeconfigFile), w.kept, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.hosts.On(remotetest.Prefix("cat -- /etc/kubernetes/admin.conf"), func(s *remotetest.Session) int {
		if w.gives == "" {
			return 1
		}
		fmt.Fprint(s.Stdout, w.gives)
		return 0
	})
	w.hosts.On(remotetest.Is(templates.Script("cluster-mark")), func(s *remotetest.Session) int {
		fmt.Fprint(s.Stdout, w.mark)
		return 0
	})
	var err error
	if w.fleet, err = fleet.New(fleet.Options{Cluster: c, StateDir: dir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.fleet.Close)
	w.fleet.Only()
	w.Server = New(Options{Cluster: c, StateDir: dir, Fleet: w.fleet, New: func(kubeconfig []byte, _ kube.Options) (API, error) {
		from := "given"
		if pins, _ := kube.CAHashes(kubeconfig); pins[0] == w.api.CAHashes()[0] {
			from = "kept"
		}
		w.made = append(w.made, from)
		api := counting{API: w.api, w: w}
		if w.refuse != nil {
			api.refuses = w.refuse([]byte(from))
		}
		return api, nil
	}})
	return w
}

// refusing is an API server that answers so to the kubeconfig that is kept.
func refusing(err error) func(*world) {
	return func(w *world) {
		w.refuse = func(from []byte) error {
			if string(from) == "kept" {
				return err
			}
			return nil
		}
	}
}

// markOf is the mark of a cluster's hosts.
func markOf(name string) string {
	return "ca " + fakeapi.New(bundletest.Version).CAHashes()[0] + "\nname " + name + "\n"
}

// bootstrap is the control plane as it was asked, with its authority.
func bootstrap(ca string, marked ...string) survey.Hosts {
	pins, err := kube.CAHashes([]byte(fakeapi.KubeconfigOf(ca)))
	if err != nil {
		panic(err)
	}
	f := facts.Host{Name: "host-1"}
	f.Kubeadm.CACertHash = pins[0]
	f.Kubeadm.AdminConf = true
	f.Markers = map[string]facts.Marker{"init": {}}
	m := f.Markers["init"]
	m.State = "done"
	f.Markers["init"] = m
	for _, name := range marked {
		f.Belongs = facts.ReadBelonging([]byte(markOf(name)))
	}
	return survey.Hosts{"host-1": f}
}

func TestReach_OneWay(t *testing.T) {
	away := errors.New("connection refused")
	none := func(w *world) { w.kept = nil }
	both := func(all ...func(*world)) func(*world) {
		return func(w *world) {
			for _, f := range all {
				f(w)
			}
		}
	}
	silent := func(w *world) { w.gives = "" }
	shared := func(w *world) { w.gives = fakeapi.KubeconfigOf(fakeapi.OtherCA() + fakeapi.CA()) }
	for name, c := range map[string]struct {
		change func(*world)
		hosts  survey.Hosts
		made   string // of which kubeconfigs, in order
		want   error
		says   string
	}{
		"with the one that is kept":                         {change: func(*world) {}, made: "kept"},
		"hosts were asked, and agree":                       {change: func(*world) {}, hosts: bootstrap(fakeapi.CA()), made: "kept"},
		"the hosts were initialised again since":            {change: func(*world) {}, hosts: bootstrap(fakeapi.OtherCA()), made: "given"},
		"it has ended":                                      {change: both(refusing(kube.ErrUnauthorized), shared), made: "kept given"},
		"it has ended, and the giver is of another cluster": {change: refusing(kube.ErrUnauthorized), made: "kept", want: ending.ErrRefused, says: "host-1 is of another cluster"},
		"what is kept is none, and the mark is another's":   {change: both(func(w *world) { w.kept = []byte{} }, func(w *world) { w.mark = markOf("b") }), hosts: bootstrap(fakeapi.OtherCA(), "b"), want: ending.ErrRefused, says: "bears the mark of cluster b"},
		"it has ended, and there is no other":               {change: both(refusing(kube.ErrUnauthorized), silent), made: "kept", want: kube.ErrUnauthorized, says: "no control plane gives another"},
		"the API server is away":                            {change: refusing(away), made: "kept", want: away},
		"none is kept":                                      {change: none, made: "given"},
		"none is kept, and none is given":                   {change: both(none, silent), want: fleet.ErrNoKubeconfig},
		"none is kept, and the mark is the cluster's":       {change: both(none, func(w *world) { w.mark = markOf("sim") }), made: "given"},
		"none is kept, and the mark is another's":           {change: both(none, func(w *world) { w.mark = markOf("b") }), want: ending.ErrRefused, says: "bears the mark of cluster b"},
		"one is kept, and the mark of the giver counts":     {change: both(refusing(kube.ErrUnauthorized), shared, func(w *world) { w.mark = markOf("b") }), made: "kept given"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.change)
			err := w.Reach(t.Context(), c.hosts)
			if !errors.Is(err, c.want) || c.want == nil && err != nil || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if got := strings.Join(w.made, " "); got != c.made {
				t.Errorf("made %q, want %q", got, c.made)
			}
			if err == nil && (w.API == nil || w.Mark == "" || !bytes.Contains(w.Config, []byte("sim"))) {
				t.Errorf("API %v, mark %q", w.API, w.Mark)
			}
		})
	}
}

// A kubeconfig that cannot be read is not taken for none: the control plane's may be another cluster's.
func TestReach_KeptThatCannotBeRead(t *testing.T) {
	w := newWorld(t, func(w *world) { w.kept = nil })
	if err := os.Mkdir(filepath.Join(w.options.StateDir, fleet.KubeconfigFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := w.Reach(t.Context(), nil); err == nil || errors.Is(err, fleet.ErrNoKubeconfig) || len(w.made) > 0 {
		t.Errorf("error %v, made %q", err, w.made)
	}
}

// The mark of before the hosts are looked at counts, and is not read again; one that was read with another kubeconfig does not.
func TestMarkEarly_CountsForItsKubeconfigAlone(t *testing.T) {
	w := newWorld(t, func(*world) {})
	w.MarkEarly(t.Context())
	if w.API != nil || w.Mark == "" {
		t.Errorf("API %v, mark %q: whose kubeconfig it is, the hosts have to tell", w.API, w.Mark)
	}
	w.api.Held++ // another run was at work
	early := w.Mark
	if err := w.Reach(t.Context(), nil); err != nil || w.Mark != early || w.marked != 1 {
		t.Errorf("%v, mark %q, read %d times", err, w.Mark, w.marked)
	}
	if err := w.Reach(t.Context(), bootstrap(fakeapi.OtherCA())); err != nil || w.Mark == early || w.marked != 2 {
		t.Errorf("another cluster: %v, mark %q, read %d times", err, w.Mark, w.marked)
	}
	none := newWorld(t, func(w *world) { w.kept = nil })
	if none.MarkEarly(t.Context()); none.Mark != "" || len(none.made) > 0 {
		t.Errorf("none is kept: mark %q", none.Mark)
	}
}

// ended is a kubeconfig whose user's certificate is good no more.
func ended(t *testing.T) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return []byte(strings.Replace(fakeapi.Kubeconfig(), "token: not-a-secret", "client-certificate-data: "+text, 1))
}

func TestKubeconfig_KeptOrGiven(t *testing.T) {
	w := newWorld(t, func(*world) {})
	if b, err := w.Kubeconfig(t.Context()); err != nil || !bytes.Equal(b, w.kept) || w.hosts.Stats().Connections != 0 {
		t.Errorf("kept: %v, %d connections", err, w.hosts.Stats().Connections)
	}
	w = newWorld(t, func(w *world) { w.kept = []byte{} }) // a disk was full
	if b, err := w.Kubeconfig(t.Context()); !errors.Is(err, kube.ErrKubeconfig) || len(b) > 0 || !strings.Contains(err.Error(), w.options.StateDir) {
		t.Errorf("kept, and none: %q, %v", b, err)
	}
	w = newWorld(t, func(w *world) { w.kept = nil })
	if b, err := w.Kubeconfig(t.Context()); err != nil || !bytes.Contains(b, []byte("sim")) {
		t.Errorf("given: %v", err)
	}
	shared := fakeapi.KubeconfigOf(fakeapi.OtherCA() + fakeapi.CA())
	for name, c := range map[string]struct {
		gives string
		want  string // "" = what the control plane gives
	}{
		"it has ended":                                {shared, ""},
		"it has ended, and none gives another":        {"", "no control plane gives another"},
		"it has ended, and the giver is of another's": {fakeapi.KubeconfigOf(fakeapi.OtherCA()), "host-1 is of another cluster"},
	} {
		w := newWorld(t, func(w *world) { w.kept, w.gives = ended(t), c.gives })
		b, err := w.Kubeconfig(t.Context())
		if c.want == "" && (err != nil || bytes.Equal(b, w.kept) || !bytes.Contains(b, []byte("sim"))) {
			t.Errorf("%s: %v", name, err)
		}
		if c.want != "" && (len(b) > 0 || err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "which ended on 20")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.mark = markOf("b")
	if b, err := w.Kubeconfig(t.Context()); !errors.Is(err, ending.ErrRefused) || len(b) > 0 {
		t.Errorf("of a cluster with another name: %v", err)
	}
	w.gives = ""
	if _, err := w.Kubeconfig(t.Context()); !errors.Is(err, fleet.ErrNoKubeconfig) {
		t.Errorf("none: %v", err)
	}
}

// A cluster that begins has no API server until its first control plane gives a kubeconfig, which is kept at once.
func TestInitialised_KeepsIt(t *testing.T) {
	w := newWorld(t, func(w *world) { w.kept = nil })
	if _, err := w.Kube(t.Context()); err == nil || w.Known() != nil {
		t.Errorf("before it: %v", err)
	}
	if path, err := w.KeepKubeconfig(); path != "" || err != nil {
		t.Errorf("nothing is to be kept: %q, %v", path, err)
	}
	if err := w.Merge(""); err != nil {
		t.Errorf("nowhere: %v", err)
	}
	if err := w.Merge(filepath.Join(t.TempDir(), "config")); err == nil {
		t.Error("nothing was merged, and no error told of it")
	}
	if err := w.Initialised([]byte(w.gives)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Kube(t.Context()); err != nil || w.Known() == nil {
		t.Errorf("after it: %v", err)
	}
	if b, err := w.fleet.Kept(); err != nil || !bytes.Contains(b, []byte("sim")) {
		t.Errorf("kept: %v", err)
	}
	path := filepath.Join(t.TempDir(), "config")
	if err := w.Merge(path); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Contains(b, []byte("sim")) {
		t.Errorf("merged: %v", err)
	}
}

func TestNoWay_IsOneLine(t *testing.T) {
	many := fmt.Errorf("%w\nhost-1: no\nhost-2: no", fleet.ErrNoKubeconfig)
	if err := NoWay(many); err != fleet.ErrNoKubeconfig {
		t.Error(err)
	}
	if other := errors.New("refused"); NoWay(other) != other {
		t.Error("another error is lost")
	}
}
