package foreign

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

// groups is an Ansible inventory, however it was written.
type groups struct {
	file   string
	byName map[string]*group
	hosts  map[string]*groupHost

	known  map[string][]string // what members found out: asked when all groups are read
	visits int                 // of groups in YAML, where aliases may stand for very many
	told   []Leftover          // beside what the groups themselves show
}

type group struct {
	name     string
	line     int
	hosts    []string // in the order of the file
	has      map[string]bool
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
		g.byName[name] = &group{name: name, line: line, has: map[string]bool{}}
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
	if !in.has[name] {
		in.has[name] = true
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
	bastionGroup       = "bastion" // kubespray goes through its first host to all others
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
	g.leftHosts(planes, nodes, left)
	g.leftGroups(left)
	g.leftVariables(left)
	isPlane := set(planes)
	told := map[string]bool{} // of which hosts the login is given, or told that it cannot be read
	for _, name := range union(planes, nodes) {
		role := inventory.Worker
		if isPlane[name] {
			role = inventory.ControlPlane
		}
		if connection := variables[name]["ansible_connection"]; !overSSH(connection) {
			left(g.hosts[name].line, "host "+name, "is not reached over SSH ("+connection.name+"): it is left out")
			continue
		}
		var notes []Leftover
		h, lines := g.host(name, variables[name], func(line int, what, why string) { notes = append(notes, Leftover{g.file, line, what, why}) })
		if why := unusable(h.Address); why != "" {
			left(g.hosts[name].line, "host "+name, why)
			continue
		}
		d.Left = append(d.Left, notes...)
		h.Role = role
		_, told[h.Name] = lines["user"]
		d.add(h, g.hosts[name].line, lines)
		for _, word := range slices.Sorted(maps.Keys(variables[name])) {
			if field, err := setClusterVariable(&d.Cluster.Spec.Kubernetes, variables[name][word]); err == nil {
				d.from(field, variables[name][word].line)
			}
		}
	}
	if !slices.ContainsFunc(d.Cluster.Spec.Hosts, func(h inventory.Host) bool { return h.Role == inventory.ControlPlane }) {
		return d, problem(g.file, g.hosts[planes[0]].line, "every host of the group "+controlPlaneGroups[0]+" is left out, beginning with "+planes[0], aControlPlane)
	}
	g.jump(&d, variables, left)
	leftUser(g.file, &d, func(h inventory.Host) bool { return told[h.Name] })
	return d, nil
}

// aControlPlane is the hint where none is left.
const aControlPlane = "a control plane has to be reached over SSH, at an IPv4 address or a name of its own"

// host makes one of ours of a host, with the lines of what its variables say.
func (g *groups) host(name string, variables map[string]variable, left func(int, string, string)) (inventory.Host, map[string]int) {
	h := inventory.Host{Address: name}
	var changed bool
	if h.Name, changed = nodeName(name); changed {
		left(g.hosts[name].line, "host "+name, "is called "+h.Name+" here, as nodes are named")
	}
	lines := map[string]int{}
	for _, word := range slices.Sorted(maps.Keys(variables)) {
		field, err := setHostVariable(&h, variables[word])
		if field != "" && err != errUnknown {
			lines[field] = variables[word].line
		}
		if err != nil && field == "address" {
			left(variables[word].line, "host "+name, "has no address here but its name: "+word+" could not be read")
		}
	}
	return h, lines
}

// overSSH reports whether a host's ansible_connection is one by SSH, which it is where nothing is said.
func overSSH(v variable) bool {
	switch textOf(v.value) {
	case "", "ssh", "smart", "paramiko", "paramiko_ssh", "ansible.netcommon.libssh", "libssh", "ansible.builtin.ssh", "ansible.builtin.paramiko_ssh":
		return true
	}
	return false
}

// jump lets all hosts be reached through the bastion, as kubespray does.
func (g *groups) jump(d *Draft, variables map[string]map[string]variable, left func(int, string, string)) {
	bastions := g.members(bastionGroup)
	if len(bastions) == 0 {
		return
	}
	first := bastions[0]
	h, lines := g.host(first, variables[first], func(int, string, string) {})
	lost := false
	for word, v := range variables[first] {
		if field, err := setHostVariable(&inventory.Host{}, v); err != nil && (field == "address" || field == "user" || field == "port") {
			left(v.line, "the jump over "+first, word+" "+err.Error())
			lost = lost || field == "address"
		}
	}
	if lost {
		left(g.hosts[first].line, "the jump over "+first, "has no address that can be read here: the hosts have no jump")
		return
	}
	if isIPv6(h.Address) {
		left(g.hosts[first].line, "the jump over "+first, noIPv6)
		return
	}
	direct := map[string]bool{} // hosts that are bastions themselves
	for _, name := range bastions {
		ours, _ := nodeName(name)
		direct[ours] = true
	}
	own := len(h.IdentityFiles) > 0
	for i := range d.Cluster.Spec.Hosts {
		node := &d.Cluster.Spec.Hosts[i]
		if direct[node.Name] {
			continue
		}
		node.Jump = hop(h.User, h.Address, h.Port)
		d.from(fmt.Sprintf("spec.hosts[%d].jump", i), cmp.Or(lines["address"], g.hosts[first].line))
		own = own && !slices.Equal(node.IdentityFiles, h.IdentityFiles)
	}
	if own {
		left(g.hosts[first].line, "the key file of the jump over "+first, "is not the hosts' own: name it in ~/.ssh/config, or among identityFiles")
	}
	for _, name := range bastions[1:] {
		left(g.hosts[name].line, "host "+name, "is a further bastion: the way goes over "+first)
	}
}

const noIPv6 = "has an address of IPv6, which is not supported yet: the hosts have no jump"

// hop is [user@]address:port as jump takes it.
func hop(user, address string, port int) string {
	if user != "" {
		user += "@"
	}
	return user + net.JoinHostPort(address, strconv.Itoa(cmp.Or(port, 22)))
}

// leftUser tells who logs in where the file does not say so: Ansible takes the operator's own name, and hybridctl root.
func leftUser(file string, d *Draft, told func(inventory.Host) bool) {
	var without []string
	for _, h := range d.Cluster.Spec.Hosts {
		if h.User == "" && !told(h) {
			without = append(without, h.Name)
		}
	}
	if len(without) == 0 {
		return
	}
	who := "the login of " + without[0]
	if len(without) > 1 {
		who += fmt.Sprintf(" and %d more", len(without)-1)
	}
	d.Left = append(d.Left, Leftover{file, 0, who, "is not given: root logs in unless ~/.ssh/config says otherwise, where Ansible takes your own name; see spec.ssh.user"})
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

func set(names []string) map[string]bool {
	in := make(map[string]bool, len(names))
	for _, name := range names {
		in[name] = true
	}
	return in
}

// leftHosts tells of hosts that are none here, and of those that were more.
func (g *groups) leftHosts(planes, nodes []string, left func(int, string, string)) {
	isPlane, isNode, isWorker := set(planes), set(nodes), set(g.membersOf(nodeGroups[:2]))
	isEtcd, isBastion := set(g.members("etcd")), set(g.members(bastionGroup))
	for _, name := range slices.Sorted(maps.Keys(g.hosts)) {
		line := g.hosts[name].line
		switch isPlane := isPlane[name]; {
		case isPlane && isWorker[name]:
			left(line, "host "+name, "is a node for pods too: here it gets kubeadm's taint as a control plane")
		case !isPlane && isEtcd[name]:
			left(line, "host "+name, "holds etcd and no control plane: here etcd runs on the control-plane hosts")
		case !isPlane && !isNode[name] && !isBastion[name]:
			left(line, "host "+name, "is in no group of Kubernetes nodes")
		}
	}
}

func (g *groups) leftGroups(left func(int, string, string)) {
	known := slices.Concat(controlPlaneGroups, nodeGroups, otherGroups, []string{bastionGroup})
	for name, in := range g.byName {
		if !slices.Contains(known, name) {
			left(in.line, "group "+name, noCounterpart+"; a label may serve")
		}
	}
}

func (g *groups) leftVariables(left func(int, string, string)) {
	tell := func(vars []variable) {
		for _, v := range vars {
			_, err := setHostVariable(&inventory.Host{}, v)
			if err == errUnknown {
				_, err = setClusterVariable(&inventory.Kubernetes{}, v)
			}
			if err != nil {
				left(v.line, "variable "+v.name, whyLeft(v, err))
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
func whyLeft(v variable, err error) string {
	if err == errUnknown {
		if because := readable(v.value); because != nil {
			err = because
		}
	}
	switch {
	case strings.HasSuffix(v.name, "_pass"), strings.HasSuffix(v.name, "_password"):
		return "passwords do not stand in inventories: see sudoPasswordFile and identityFiles"
	case err != errUnknown:
		return err.Error()
	case v.name == "ansible_ssh_common_args" || v.name == "ansible_ssh_extra_args":
		return noCounterpart + "; a jump host is written as jump, the rest belongs into ~/.ssh/config"
	}
	return noCounterpart
}
