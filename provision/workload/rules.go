package workload

import "strings"

// rules are all there are, in the order of their numbers: a new one is a row here, a function, and two tests.
var rules []Rule

func init() { // the functions look rules up themselves
	rules = []Rule{
		{ID: "L1", Title: "An image is not made for an architecture that the pod may land on", Level: LevelError, check: fits,
			Help: "Require kubernetes.io/arch of the pod's nodes (hybridctl workload patch), or build the image for the architecture too."},
		{ID: "L2", Title: "Constraints contradict each other: the pod fits no node", Level: LevelError, check: contradiction,
			Help: "All of nodeSelector and one of the node selector terms have to match the same node."},
		{ID: "L3", Title: "A node selector term lets the pod onto an architecture that another one keeps it off", Level: LevelError, check: fits,
			Help: "Terms are ORed: each of them needs the requirement of the architecture."},
		{ID: "L4", Title: "A label of before Kubernetes 1.14", Level: LevelWarning, check: oldLabels,
			Help: "Write kubernetes.io/arch and kubernetes.io/os."},
		{ID: "L5", Title: "The pod is kept off an architecture that its images are made for", Level: LevelNote, check: narrow,
			Help: "If the images were the reason, widen the constraint. Nothing widens it by itself."},
		{ID: "L6", Title: "A preference where a requirement is needed", Level: LevelError, check: fits,
			Help: "The scheduler goes against a preference when preferred nodes are full: make it required."},
		{ID: "L7", Title: "No architecture that all images of a pod are made for", Level: LevelError, check: fits,
			Help: "Split the pod, or build the images for one architecture in common."},
		{ID: "L8", Title: "A DaemonSet that tolerates everything, with an image for some architectures only", Level: LevelError, check: fits,
			Help: "Require the architecture, or have a DaemonSet for each."},
		{ID: "L9", Title: "A Job or hook without the constraint that the workload beside it has", Level: LevelError, check: fits,
			Help: "Hooks, Jobs and CronJobs need the same constraint as the main workload."},
		{ID: "L10", Title: "A digest of one platform's manifest", Level: LevelError, check: fits,
			Help: "Name the digest of the image index, or require the architecture."},
		{ID: "L11", Title: "A name that tells an architecture, and no constraint that does", Level: LevelError, check: fits,
			Help: "Require the architecture, or use an image index."},
		{ID: "L12", Title: "A toleration where a requirement is needed", Level: LevelError, check: fits,
			Help: "A toleration lets a pod onto tainted nodes, and keeps it off no others: require the architecture too."},
		{ID: "L13", Title: "A private image without a pull secret", Level: LevelWarning, check: pullSecret,
			Help: "Name a secret in imagePullSecrets of the pod or of its service account."},
		{ID: "L14", Title: "A tag that may move, pulled only where it is not present", Level: LevelNote, OnRequest: true, check: movingTag,
			Help: "Nodes of two architectures may run two versions: name the digest of the index."},
		{ID: "L15", Title: "Bound to a node, or to files, of one architecture", Level: LevelNote, check: bound,
			Help: "See that the node or the files are of the image's architecture."},
		{ID: "L16", Title: "Resources or flags that differ between architectures", Level: LevelNote, OnRequest: true, check: tuned,
			Help: "Page sizes and instruction sets differ: set them for each architecture."},
		{ID: "L17", Title: "A label or value that no node has", Level: LevelError, check: misspelt,
			Help: "The key is kubernetes.io/arch, and its values are those of GOARCH."},
		{ID: "L18", Title: "An image volume that is not made for an architecture that the pod may land on", Level: LevelWarning, check: imageVolumes,
			Help: "An image volume is pulled as an image of the node's platform."},
		{ID: "L19", Title: "A container that was injected at admission is not made for where the pod may land", Level: LevelError, made: injected,
			Help: "Configure the injector, or keep the pod off the architecture."},
		{ID: "L20", Title: "An owner overwrites changes of the object", Level: LevelNote,
			Help: "Change the owner's own configuration."},
		{ID: "L21", Title: "The same key twice", Level: LevelError, object: twice,
			Help: "One of the values is lost without a word."},
	}
}

// Rules lists all rules.
func Rules() []Rule { return rules }

// ruleOf finds a rule by its ID; the zero value when there is none.
func ruleOf(id string) Rule {
	for _, r := range rules {
		if strings.EqualFold(r.ID, id) {
			return r
		}
	}
	return Rule{}
}

// IsRule reports whether there is a rule with an ID, in whatever case it is written.
func IsRule(id string) bool { return ruleOf(id).ID != "" }
