package preflight

import (
	"errors"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

func TestMayReset_UnknownIsNotOurs(t *testing.T) {
	lost := errors.New("no kubeconfig is kept")
	node := facts.Host{Name: "w-3", Markers: map[string]facts.Marker{"join": {}}, Kubeadm: facts.Kubeadm{CACertHash: "sha256:b", Server: "https://b:6443"}}
	clean := facts.Host{Name: "w-3", Markers: map[string]facts.Marker{"os": {}}}
	marked := func(ca, name string) facts.Host {
		return facts.Host{Name: "w-3", Belongs: facts.Belonging{Marked: true, ClusterMark: host.ClusterMark{CA: ca, Name: name}}}
	}
	unread, data := clean, clean
	unread.Kubeadm.KubeletConf, data.Kubeadm.Etcd = true, true
	spoilt := facts.Host{Name: "w-3", BadMarkers: []string{"join"}, Kubeadm: node.Kubeadm}
	renewed := node
	renewed.Belongs = marked("sha256:old", "lab").Belongs
	for name, c := range map[string]struct {
		of   Authority
		host facts.Host
		want string // "" = it may
	}{
		"ours":                                 {Authority{Hashes: []string{"sha256:a", "sha256:b"}}, node, ""},
		"another's":                            {Authority{Hashes: []string{"sha256:a"}}, node, "of another cluster (https://b:6443)"},
		"another's, its marker cannot be read": {Authority{Hashes: []string{"sha256:a"}}, spoilt, "of another cluster (https://b:6443)"},
		"not known":                            {Authority{Unknown: lost}, node, "is not known: no kubeconfig is kept"},
		"its kubelet.conf is gone, and it is ours":         {Authority{Hashes: []string{"sha256:c"}}, marked("sha256:c", "lab"), ""},
		"its kubelet.conf is gone, and it is not ours":     {Authority{Hashes: []string{"sha256:a"}}, marked("sha256:c", "lab"), "w-3 bears the mark of another cluster (lab, with the cluster CA sha256:c)"},
		"its kubelet.conf is gone, and no one knows":       {Authority{Unknown: lost}, marked("sha256:c", "lab"), "is not known: no kubeconfig is kept"},
		"its mark cannot be read":                          {Authority{Hashes: []string{"sha256:a"}}, marked("", ""), "w-3 has a mark that cannot be read"},
		"its authority was replaced since it was marked":   {Authority{Hashes: []string{"sha256:b"}}, renewed, ""},
		"its authority cannot be read, and it has no mark": {Authority{Hashes: []string{"sha256:a"}}, unread, "w-3 has a node's files, and no cluster CA that can be read"},
		"nor can its marker":                               {Authority{Hashes: []string{"sha256:a"}}, facts.Host{Name: "w-3", BadMarkers: []string{"join"}, Kubeadm: facts.Kubeadm{KubeletConf: true}}, "w-3 has a node's files, and no cluster CA that can be read"},
		"it cannot, and no one knows":                      {Authority{Unknown: lost}, unread, "is not known: no kubeconfig is kept"},
		"etcd's data of nobody knows whom":                 {Authority{Unknown: lost}, data, "is not known: no kubeconfig is kept"},
		"a node of nothing":                                {Authority{Unknown: lost}, clean, ""},
		"not reached":                                      {Authority{Unknown: lost}, facts.Host{Name: "w-3", Err: lost}, ""},
	} {
		err := c.of.MayReset(c.host)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAgrees_HostsOfTwoClustersAreNotOne(t *testing.T) {
	c := &inventory.Cluster{Spec: inventory.Spec{Hosts: []inventory.Host{{Name: "cp-1", Role: inventory.ControlPlane}, {Name: "w-2"}}}}
	with := func(name, ca string) facts.Host {
		f := facts.Host{Name: name, Markers: map[string]facts.Marker{"join": {}}}
		f.Kubeadm.CACertHash = ca
		return f
	}
	c.Metadata.Name = "lab"
	ours := Authority{Hashes: []string{"sha256:a"}}
	marked := func(name, ca, cluster string) facts.Host {
		return facts.Host{Name: name, Belongs: facts.Belonging{Marked: true, ClusterMark: host.ClusterMark{CA: ca, Name: cluster}}}
	}
	both := func(f facts.Host, cluster string) facts.Host {
		f.Belongs = marked(f.Name, f.Kubeadm.CACertHash, cluster).Belongs
		return f
	}
	lost := Authority{Unknown: errors.New("none")}
	unread := with("w-2", "")
	unread.Kubeadm.KubeletConf = true
	for name, x := range map[string]struct {
		of    Authority
		hosts []facts.Host
		want  string
	}{
		"all ours":                                {ours, []facts.Host{with("cp-1", "sha256:a"), with("w-2", "sha256:a")}, ""},
		"the first is of another":                 {ours, []facts.Host{with("cp-1", "sha256:b"), with("w-2", "sha256:a")}, "cp-1: of another cluster"},
		"a worker is of another":                  {ours, []facts.Host{with("cp-1", "sha256:a"), with("w-2", "sha256:b")}, "w-2: of another cluster"},
		"a worker, and the first has none":        {ours, []facts.Host{with("cp-1", ""), with("w-2", "sha256:b")}, "w-2: of another cluster"},
		"a worker, and the first is away":         {ours, []facts.Host{{Name: "cp-1", Err: errors.New("away")}, with("w-2", "sha256:b")}, "w-2: of another cluster"},
		"all were initialised again":              {ours, []facts.Host{with("cp-1", "sha256:b"), with("w-2", "sha256:b")}, ""},
		"all are of another cluster, by its name": {ours, []facts.Host{both(with("cp-1", "sha256:b"), "b"), both(with("w-2", "sha256:b"), "b")}, "cp-1 bears the mark of cluster b"},
		"all were initialised again, and marked":  {ours, []facts.Host{both(with("cp-1", "sha256:b"), "lab"), both(with("w-2", "sha256:b"), "lab")}, ""},
		"what is kept is not known: as ever":      {lost, []facts.Host{with("w-2", "sha256:b")}, ""},
		"a worker has another's mark":             {ours, []facts.Host{with("cp-1", "sha256:a"), marked("w-2", "sha256:b", "lab")}, "w-2: of another cluster"},
		"a worker's mark cannot be read":          {ours, []facts.Host{with("cp-1", "sha256:a"), marked("w-2", "", "")}, "w-2: of another cluster"},
		"another name, and the authority is ours": {ours, []facts.Host{marked("cp-1", "sha256:a", "earlier")}, ""},
		"another name, and none is kept":          {lost, []facts.Host{marked("cp-1", "sha256:a", "earlier")}, "cp-1 bears the mark of cluster earlier, and no kubeconfig of cluster lab is kept here\nhint: if they are one, write metadata.name: earlier"},
		"no name, and none is kept":               {lost, []facts.Host{marked("cp-1", "", "")}, "whose host it is is not known"},
		"a worker's authority cannot be read":     {ours, []facts.Host{with("cp-1", "sha256:a"), unread}, ""},
		"its name, and none is kept":              {lost, []facts.Host{marked("cp-1", "sha256:a", "lab")}, ""},
	} {
		err := x.of.Agrees(c, x.hosts)
		if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error()+"\nhint: "+hint.Text(err), x.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
