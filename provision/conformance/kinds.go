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
	kindRefuses     kind = "refuses"
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
	try func(*triers, context.Context, Cell) outcome
	// needs is what the cell's nodes have to be before it can be tried.
	needs condition
	// probes are the probe pods that have to run before the cell is tried; its nodes get probes because of them.
	probes func(roster, Cell) []string
	// load is what the cell puts a load on while it is tried: so many others wait.
	load load
	// makes are the cell's own objects, beside the probes; those of one name are made once. Pods of a kind with images come after these.
	makes func(*draft, Cell) []object
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

const (
	loadsNodes load = iota
	loadsStorage
	loadsNothing // it only looks at the API server
)

// preparation is what a host gets before cells are tried there.
type preparation int

const (
	withNothing preparation = iota
	withDirectory
	withImages
)

// where reports whether a fault is where a cell is.
type where func(Fault, Cell) bool

func atServer(f Fault, c Cell) bool { return c.Dst == f.Node }

func everywhere(Fault, Cell) bool { return true }

func betweenBoth(f Fault, c Cell) bool {
	return c.Src == f.Node && c.Dst == f.Other || c.Src == f.Other && c.Dst == f.Node
}

// kinds is everything that is known of each kind. A new kind is a constant, a row here, and the function that tries it.
var kinds = map[kind]traits{
	// The nodes.
	kindReady:   {try: (*triers).tryReady, needs: nodesAsTheyAre, load: loadsNothing, whileAway: true},
	kindArch:    {try: (*triers).tryArch, needs: nodesAreReady},
	kindDaemons: {try: (*triers).tryDaemons, needs: nodesAreReady, load: loadsNothing, whileAway: true, red: map[FaultName]where{faultDaemonSet: everywhere}},
	kindAddress: {try: (*triers).tryAddress, load: loadsNothing, probes: server},
	kindGuard:   {try: (*triers).tryGuard, needs: nodesAsTheyAre, load: loadsNothing, whileAway: true, last: true},

	// Images, and where pods come to be.
	kindOwn:      {try: (*triers).tryOwn, load: loadsNothing, host: withImages, makes: (*draft).ownPod, red: map[FaultName]where{faultWrongImage: atServer}},
	kindForeign:  {try: (*triers).tryForeign, load: loadsNothing, host: withImages, makes: (*draft).foreignPod},
	kindPull:     {try: (*triers).tryPull, load: loadsNothing, makes: (*draft).pullPod},
	kindNoPull:   {try: (*triers).tryNoPull, load: loadsNothing, makes: (*draft).pullPods, red: map[FaultName]where{faultPull: atServer}},
	kindRefuses:  {try: (*triers).tryRefuses, needs: nodesAsTheyAre, load: loadsNothing, whileAway: true},
	kindSelector: {try: (*triers).tryDirected, load: loadsNothing, makes: (*draft).directedPod},
	kindAffinity: {try: (*triers).tryDirected, load: loadsNothing, makes: (*draft).directedPod},
	kindNowhere:  {try: (*triers).tryNowhere, load: loadsNothing, makes: (*draft).nowherePod},

	// Pods and their network.
	kindLoopback: {try: (*triers).tryLoopback, probes: server},
	kindEmptyDir: {try: (*triers).tryEmptyDir, probes: server},
	kindSameNode: {try: (*triers).trySameNode, probes: clientAndServer},
	kindPodIP:    {try: (*triers).tryPodIP, probes: clientAndServer, red: map[FaultName]where{faultOverlay: betweenBoth}},

	// Services.
	kindService:     {try: (*triers).tryService, probes: clientAndServer, red: map[FaultName]where{faultEndpoint: atServer, faultWrongPod: atServer}},
	kindServiceName: {try: (*triers).tryService, probes: clientAndServer, red: map[FaultName]where{faultEndpoint: atServer, faultWrongPod: atServer}},
	kindHairpin:     {try: (*triers).tryHairpin, probes: server, red: map[FaultName]where{faultEndpoint: atServer, faultWrongPod: atServer}},
	kindDNS:         {try: (*triers).tryDNS, probes: server},
	kindEachDNS:     {try: (*triers).tryDNS, probes: server},
	kindRemoved:     {try: (*triers).tryRemoved, probes: bothOfServersNode, makes: (*draft).stayService, red: map[FaultName]where{faultStays: atServer}},

	// From outside the cluster.
	kindNodePort: {try: (*triers).tryNodePort, probes: server, red: map[FaultName]where{faultMovedPort: atServer}},
	kindLocal:    {try: (*triers).tryNodePort, probes: server, makes: (*draft).localService, red: map[FaultName]where{faultNotLocal: atServer}},
	kindNotLocal: {try: (*triers).tryNotLocal, probes: clientAndServer, makes: (*draft).localService, red: map[FaultName]where{faultNotLocal: atServer}},
	kindClosed:   {try: (*triers).tryClosed, probes: server, red: map[FaultName]where{faultPortOpen: atServer}},

	// Directories of the host.
	kindPodWrites:   {try: (*triers).tryPodWrites, probes: server, host: withDirectory, red: map[FaultName]where{faultByte: atServer}},
	kindHostWrites:  {try: (*triers).tryHostWrites, probes: bothOfServersNode, host: withDirectory},
	kindElsewhere:   {try: (*triers).tryElsewhere, probes: clientAndServer, host: withDirectory},
	kindNoDirectory: {try: (*triers).tryNoDirectory, load: loadsNothing, makes: (*draft).noDirectoryPod, red: map[FaultName]where{faultDirectory: atServer}},

	// Volumes.
	kindVolumeMoves:   {try: (*triers).tryMoves, load: loadsStorage},
	kindVolumeBlock:   {try: (*triers).tryMoves, load: loadsStorage},
	kindVolumeAlone:   {try: (*triers).tryAlone, load: loadsStorage, red: map[FaultName]where{faultShared: everywhere}},
	kindVolumeShared:  {try: (*triers).tryShared, load: loadsStorage},
	kindVolumeGrows:   {try: (*triers).tryGrows, load: loadsStorage},
	kindVolumeDeleted: {try: (*triers).tryDeleted, load: loadsStorage},

	kindNever: {needs: nodesAsTheyAre, load: loadsNothing},
}

// The probes that cells use: a serves, and b asks where the server is on the same node.

func server(n roster, c Cell) []string { return []string{n.slot(podA, c.Dst)} }

func bothOfServersNode(n roster, c Cell) []string {
	return []string{n.slot(podA, c.Dst), n.slot(podB, c.Dst)}
}

func clientAndServer(n roster, c Cell) []string { return []string{n.client(c), n.slot(podA, c.Dst)} }
