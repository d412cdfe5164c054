package conformance

import "context"

// kind is what a cell finds out. All else that is known of it is its row in kinds.
type kind string

const (
	kindReady       kind = "ready"
	kindArch        kind = "arch"
	kindDaemons     kind = "daemons"
	kindAddress     kind = "address"
	kindOwn         kind = "own"
	kindForeign     kind = "foreign"
	kindSelector    kind = "selector"
	kindAffinity    kind = "affinity"
	kindNowhere     kind = "nowhere"
	kindLoopback    kind = "loopback"
	kindEmptyDir    kind = "emptyDir"
	kindSameNode    kind = "sameNode"
	kindPodIP       kind = "podIP"
	kindService     kind = "service"
	kindServiceName kind = "serviceName"
	kindHairpin     kind = "hairpin"
	kindDNS         kind = "dns"
	kindEachDNS     kind = "eachDNS"
	kindRemoved     kind = "removed"
	kindNodePort    kind = "nodePort"
	kindLocal       kind = "local"
	kindNotLocal    kind = "notLocal"
	kindClosed      kind = "closed"
	kindPodWrites   kind = "podWrites"
	kindHostWrites  kind = "hostWrites"
	kindElsewhere   kind = "elsewhere"
	kindNoDirectory kind = "noDirectory"
	kindPull        kind = "pull"
	kindNoPull      kind = "noPull"
	kindGuard       kind = "guard"

	kindVolumeMoves   kind = "volumeMoves"
	kindVolumeBlock   kind = "volumeBlock"
	kindVolumeAlone   kind = "volumeAlone"
	kindVolumeShared  kind = "volumeShared"
	kindVolumeGrows   kind = "volumeGrows"
	kindVolumeDeleted kind = "volumeDeleted"

	kindNever kind = "never" // blocked whatever happens
)

// traits are what is known of a kind of cell. Their zero values are what most cells need.
type traits struct {
	// try finds a cell out. Only kindNever has none.
	try func(*run, context.Context, Cell) outcome
	// needs is what the cell's nodes have to be before it can be tried.
	needs condition
	// probes are the probe pods that have to run before the cell is tried; its nodes get probes because of them.
	probes func(*run, Cell) []string
	// load is what the cell puts a load on while it is tried: so many others wait.
	load load
	// makes are the cell's own objects, beside the probes; those of one name are made once. Pods of a kind with images come after these.
	makes func(*run, Cell) []object
	// host is what the hosts of the cell's nodes are prepared with. A host that could not be prepared fails the cell.
	host preparation
	// whileAway: the cell is about what becomes of its nodes, and is found out while they are away too.
	whileAway bool
	// last: the cell is about what the others must not have changed, and is tried after them.
	last bool
	// red are the faults of a self-test that must turn the cell red, each with where the cell has to be for that.
	red map[FaultName]where
}

// condition is what nodes have to be.
type condition int

// The conditions.
const (
	nodesRunProbes condition = iota
	nodesAreReady
	nodesAsTheyAre
)

// missing is why the nodes are not what they have to be; empty when they are.
func (c condition) missing(nodes ...Node) string {
	switch c {
	case nodesAsTheyAre:
		return ""
	case nodesAreReady:
		return notReady(nodes...)
	default:
		return noPods(nodes...)
	}
}

// load is what cells put a load on: see places.
type load int

// The loads.
const (
	loadsNodes load = iota
	loadsStorage
	loadsNothing // it only looks at the API server
)

// preparation is what a host gets before cells are tried there.
type preparation int

// The preparations.
const (
	withNothing preparation = iota
	withDirectory
	withImages
)

// where tells whether a fault is where a cell is.
type where func(Fault, Cell) bool

func atServer(f Fault, c Cell) bool { return c.Dst == f.Node }

func everywhere(Fault, Cell) bool { return true }

func betweenBoth(f Fault, c Cell) bool {
	return c.Src == f.Node && c.Dst == f.Other || c.Src == f.Other && c.Dst == f.Node
}

// kinds is everything that is known of each kind. A new kind is a constant, a row here, and the function that tries it.
var kinds = map[kind]traits{
	// The nodes.
	kindReady:   {try: (*run).tryReady, needs: nodesAsTheyAre, load: loadsNothing, whileAway: true},
	kindArch:    {try: (*run).tryArch, needs: nodesAreReady},
	kindDaemons: {try: (*run).tryDaemons, needs: nodesAreReady, load: loadsNothing, whileAway: true, red: map[FaultName]where{faultDaemonSet: everywhere}},
	kindAddress: {try: (*run).tryAddress, load: loadsNothing, probes: server},
	kindGuard:   {try: (*run).tryGuard, needs: nodesAsTheyAre, load: loadsNothing, whileAway: true, last: true},

	// Images, and where pods come to be.
	kindOwn:      {try: (*run).tryOwn, load: loadsNothing, host: withImages, makes: (*run).ownPod, red: map[FaultName]where{faultWrongImage: atServer}},
	kindForeign:  {try: (*run).tryForeign, load: loadsNothing, host: withImages, makes: (*run).foreignPod},
	kindPull:     {try: (*run).tryPull, load: loadsNothing, makes: (*run).pullPod},
	kindNoPull:   {try: (*run).tryNoPull, load: loadsNothing, makes: (*run).pullPods, red: map[FaultName]where{faultPull: atServer}},
	kindSelector: {try: (*run).tryDirected, load: loadsNothing, makes: (*run).directedPod},
	kindAffinity: {try: (*run).tryDirected, load: loadsNothing, makes: (*run).directedPod},
	kindNowhere:  {try: (*run).tryNowhere, load: loadsNothing, makes: (*run).nowherePod},

	// Pods and their network.
	kindLoopback: {try: (*run).tryLoopback, probes: server},
	kindEmptyDir: {try: (*run).tryEmptyDir, probes: server},
	kindSameNode: {try: (*run).trySameNode, probes: clientAndServer},
	kindPodIP:    {try: (*run).tryPodIP, probes: clientAndServer, red: map[FaultName]where{faultOverlay: betweenBoth}},

	// Services.
	kindService:     {try: (*run).tryService, probes: clientAndServer, red: map[FaultName]where{faultEndpoint: atServer, faultWrongPod: atServer}},
	kindServiceName: {try: (*run).tryService, probes: clientAndServer, red: map[FaultName]where{faultEndpoint: atServer, faultWrongPod: atServer}},
	kindHairpin:     {try: (*run).tryHairpin, probes: server, red: map[FaultName]where{faultEndpoint: atServer, faultWrongPod: atServer}},
	kindDNS:         {try: (*run).tryDNS, probes: server},
	kindEachDNS:     {try: (*run).tryDNS, probes: server},
	kindRemoved:     {try: (*run).tryRemoved, probes: bothOfServersNode, makes: (*run).stayService, red: map[FaultName]where{faultStays: atServer}},

	// From outside the cluster.
	kindNodePort: {try: (*run).tryNodePort, probes: server, red: map[FaultName]where{faultMovedPort: atServer}},
	kindLocal:    {try: (*run).tryNodePort, probes: server, makes: (*run).localService, red: map[FaultName]where{faultNotLocal: atServer}},
	kindNotLocal: {try: (*run).tryNotLocal, probes: clientAndServer, makes: (*run).localService, red: map[FaultName]where{faultNotLocal: atServer}},
	kindClosed:   {try: (*run).tryClosed, probes: server},

	// Directories of the host.
	kindPodWrites:   {try: (*run).tryPodWrites, probes: server, host: withDirectory, red: map[FaultName]where{faultByte: atServer}},
	kindHostWrites:  {try: (*run).tryHostWrites, probes: bothOfServersNode, host: withDirectory},
	kindElsewhere:   {try: (*run).tryElsewhere, probes: clientAndServer, host: withDirectory},
	kindNoDirectory: {try: (*run).tryNoDirectory, load: loadsNothing, makes: (*run).noDirectoryPod, red: map[FaultName]where{faultDirectory: atServer}},

	// Volumes.
	kindVolumeMoves:   {try: (*run).tryMoves, load: loadsStorage},
	kindVolumeBlock:   {try: (*run).tryMoves, load: loadsStorage},
	kindVolumeAlone:   {try: (*run).tryAlone, load: loadsStorage},
	kindVolumeShared:  {try: (*run).tryShared, load: loadsStorage},
	kindVolumeGrows:   {try: (*run).tryGrows, load: loadsStorage},
	kindVolumeDeleted: {try: (*run).tryDeleted, load: loadsStorage},

	kindNever: {needs: nodesAsTheyAre, load: loadsNothing},
}

// The probes that cells use: a serves, and b asks where the server is on the same node.

func server(r *run, c Cell) []string { return []string{r.slot(podA, c.Dst)} }

func bothOfServersNode(r *run, c Cell) []string {
	return []string{r.slot(podA, c.Dst), r.slot(podB, c.Dst)}
}

func clientAndServer(r *run, c Cell) []string { return []string{r.client(c), r.slot(podA, c.Dst)} }
