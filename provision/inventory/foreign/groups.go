package foreign

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

// groups is an Ansible inventory, however it was written.
type groups struct {
	file   string
	byName map[string]*group
	hosts  map[string]*groupHost

	known  map[string][]string // what members found out: asked when all groups are read
	visits int                 // of groups in YAML, where aliases may stand for very many
}

type group struct {
	name     string
	line     int
	hosts    []string // in the order of the file
	children []string
	vars     []variable
}

type groupHost struct {
	line int
	vars []variable
}

// variable is name=value in the place that says so.
type variable struct {
	name  string
	value *yaml.Node
	line  int
}

func newGroups(file string) *groups {
	return &groups{file: file, byName: map[string]*group{}, hosts: map[string]*groupHost{}, known: map[string][]string{}}
}

// group returns the group of that name, made when it is new.
func (g *groups) group(name string, line int) *group {
	if g.byName[name] == nil {
		g.byName[name] = &group{name: name, line: line}
	}
	return g.byName[name]
}

// addHost puts a host into a group; in the end its variables are those of all places that name it.
func (g *groups) addHost(in *group, name string, line int, vars []variable) {
	if g.hosts[name] == nil {
		g.hosts[name] = &groupHost{line: line}
	}
	h := g.hosts[name]
	h.vars = append(h.vars, vars...)
	if !slices.Contains(in.hosts, name) {
		in.hosts = append(in.hosts, name)
	}
}

// members lists the hosts of a group and of its children, in their order.
func (g *groups) members(name string) []string {
	if g.known[name] == nil {
		g.known[name] = g.list(name)
	}
	return g.known[name]
}

func (g *groups) list(name string) []string {
	all := []string{}
	seen, listed := map[string]bool{}, map[string]bool{}
	var walk func(name string)
	walk = func(name string) {
		in := g.byName[name]
		if in == nil || seen[name] {
			return
		}
		seen[name] = true
		for _, h := range in.hosts {
			if !listed[h] {
				listed[h] = true
				all = append(all, h)
			}
		}
		for _, c := range in.children {
			walk(c)
		}
	}
	walk(name)
	return all
}

// depths tells how deep each group lies beneath "all", in which every group lies; of two groups the deeper one's variables win.
func (g *groups) depths() (map[string]int, error) {
	depth := map[string]int{}
	var walk func(name string, at int) error
	walk = func(name string, at int) error {
		if at > len(g.byName)+1 || name == "all" && at > 0 {
			return problem(g.file, g.byName[name].line, fmt.Sprintf("the group %s lies within itself", name), "")
		}
		if was, known := depth[name]; known && at <= was {
			return nil
		}
		depth[name] = at
		for _, c := range g.byName[name].children {
			if err := walk(c, at+1); err != nil {
				return err
			}
		}
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(g.byName)) {
		top := 1
		if name == "all" {
			top = 0
		}
		if err := walk(name, top); err != nil {
			return nil, err
		}
	}
	return depth, nil
}

// variables returns what holds for each host: its groups' variables from the outermost group to the innermost, then its own.
func (g *groups) variables(depth map[string]int) map[string]map[string]variable {
	all := map[string]map[string]variable{}
	for name := range g.hosts {
		all[name] = map[string]variable{}
	}
	give := func(host string, vars []variable) {
		for _, v := range vars {
			all[host][v.name] = v
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(g.byName), func(a, b string) int {
		return cmp.Or(cmp.Compare(depth[a], depth[b]), cmp.Compare(a, b))
	}) {
		hosts := g.members(name)
		if name == "all" {
			hosts = slices.Collect(maps.Keys(g.hosts))
		}
		for _, host := range hosts {
			give(host, g.byName[name].vars)
		}
	}
	for host, h := range g.hosts {
		give(host, h.vars)
	}
	return all
}

// Names of groups that kubespray and others use.
var (
	controlPlaneGroups = []string{"kube_control_plane", "kube-control-plane", "kube_master", "kube-master"}
	nodeGroups         = []string{"kube_node", "kube-node", "k8s_cluster", "k8s-cluster"}
	otherGroups        = []string{"all", "ungrouped", "etcd"}
)

// draft makes one of ours of the groups.
func (g *groups) draft() (Draft, error) {
	depth, err := g.depths()
	if err != nil {
		return Draft{}, err
	}
	planes, nodes := g.membersOf(controlPlaneGroups), g.membersOf(nodeGroups)
	if len(planes) == 0 {
		return Draft{}, problem(g.file, 1, "no host is in the group "+controlPlaneGroups[0],
			"hosts get their roles from the groups "+controlPlaneGroups[0]+" and "+nodeGroups[0])
	}
	d := Draft{}
	left := func(line int, what, why string) { d.Left = append(d.Left, Leftover{g.file, line, what, why}) }
	variables := g.variables(depth)
	for _, name := range union(planes, nodes) {
		h := inventory.Host{Role: inventory.Worker}
		if slices.Contains(planes, name) {
			h.Role = inventory.ControlPlane
		}
		var changed bool
		if h.Name, changed = nodeName(name); changed {
			left(g.hosts[name].line, "host "+name, "is called "+h.Name+" here, as nodes are named")
		}
		h.Address = name
		for _, word := range slices.Sorted(maps.Keys(variables[name])) {
			setHostVariable(&h, variables[name][word])
			setClusterVariable(&d.Cluster.Spec.Kubernetes, variables[name][word])
		}
		d.Cluster.Spec.Hosts = append(d.Cluster.Spec.Hosts, h)
	}
	g.leftHosts(planes, nodes, left)
	g.leftGroups(left)
	g.leftVariables(left)
	return d, nil
}

func (g *groups) membersOf(names []string) []string {
	var all []string
	for _, name := range names {
		all = union(all, g.members(name))
	}
	return all
}

func union(a, b []string) []string {
	seen := map[string]bool{}
	var all []string
	for _, s := range slices.Concat(a, b) {
		if !seen[s] {
			seen[s] = true
			all = append(all, s)
		}
	}
	return all
}

// leftHosts tells of hosts that are none here, and of those that were more.
func (g *groups) leftHosts(planes, nodes []string, left func(int, string, string)) {
	workers := g.membersOf(nodeGroups[:2])
	for _, name := range slices.Sorted(maps.Keys(g.hosts)) {
		line := g.hosts[name].line
		switch isPlane := slices.Contains(planes, name); {
		case isPlane && slices.Contains(workers, name):
			left(line, "host "+name, "is a node for pods too: here it gets kubeadm's taint as a control plane")
		case !isPlane && slices.Contains(g.members("etcd"), name):
			left(line, "host "+name, "holds etcd and no control plane: here etcd runs on the control-plane hosts")
		case !isPlane && !slices.Contains(nodes, name):
			left(line, "host "+name, "is in no group of Kubernetes nodes")
		}
	}
}

func (g *groups) leftGroups(left func(int, string, string)) {
	known := slices.Concat(controlPlaneGroups, nodeGroups, otherGroups)
	for name, in := range g.byName {
		if !slices.Contains(known, name) {
			left(in.line, "group "+name, noCounterpart+"; a label may serve")
		}
	}
}

func (g *groups) leftVariables(left func(int, string, string)) {
	tell := func(vars []variable) {
		for _, v := range vars {
			var h inventory.Host
			var k inventory.Kubernetes
			if !setHostVariable(&h, v) && !setClusterVariable(&k, v) {
				left(v.line, "variable "+v.name, whyLeft(v))
			}
		}
	}
	for _, in := range g.byName {
		tell(in.vars)
	}
	for _, h := range g.hosts {
		tell(h.vars)
	}
}

// whyLeft never repeats a value: it may be a password.
func whyLeft(v variable) string {
	switch {
	case strings.Contains(textOf(v.value), "{{"):
		return "is a template, which only Ansible can fill in"
	case strings.HasSuffix(v.name, "_pass"), strings.HasSuffix(v.name, "_password"):
		return "passwords do not stand in inventories: see sudoPasswordFile and identityFiles"
	case v.name == "ansible_ssh_common_args" || v.name == "ansible_ssh_extra_args":
		return noCounterpart + "; a jump host is written as jump, the rest belongs into ~/.ssh/config"
	}
	return noCounterpart
}
