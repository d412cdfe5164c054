package workload

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	schedulinghelper "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	volumehelper "k8s.io/component-helpers/storage/volume"
	"k8s.io/klog/v2"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// World is what a pod would be scheduled into.
type World struct {
	Nodes   []corev1.Node
	Claims  []corev1.PersistentVolumeClaim
	Volumes []corev1.PersistentVolume
	Known   Known
	Starts  Starts // nil = no one looks into images
}

// Verdict is whether a pod may run on a node, and if not, the first thing that keeps it off.
type Verdict struct {
	Node    string `json:"node"`
	Arch    string `json:"arch"`
	Fits    bool   `json:"fits"`
	Unknown bool   `json:"unknown,omitempty"` // nothing keeps it off, and whether an image is made for the node is not known
	By      string `json:"by,omitempty"`      // selector, affinity, taint, cordon, volume, image, program
	Message string `json:"message"`
}

// The things that may keep a pod off a node, in the order in which they are looked at.
const (
	bySelector = "selector"
	byAffinity = "affinity"
	byTaint    = "taint"
	byCordon   = "cordon"
	byVolume   = "volume"
	byImage    = "image"
	byProgram  = "program"
)

// Explain tells for every node whether a template's pod may run there, by the scheduler's own predicates. Free resources are not looked at. The
// error is about a template that is no pod spec.
func Explain(t *Template, w World) ([]Verdict, error) {
	pod, err := t.pod()
	if err != nil {
		return nil, err
	}
	w.Known = remember(w.Known)
	var out []Verdict
	for i := range w.Nodes {
		out = append(out, w.judge(t, pod, &w.Nodes[i]))
	}
	return out, nil
}

// pod is the template as the API has it.
func (t *Template) pod() (*corev1.Pod, error) {
	var values any
	if err := safely(func() error { return t.spec.Decode(&values) }); err != nil {
		return nil, manifestError(t.Object.File, t.spec.Line, t.spec.Column, t.Object.String()+": "+firstLine(err), "")
	}
	text, err := json.Marshal(values)
	if err != nil {
		return nil, manifestError(t.Object.File, t.spec.Line, t.spec.Column, t.Object.String()+": "+err.Error(), "")
	}
	pod := &corev1.Pod{}
	pod.Namespace = t.Object.Namespace
	if err := json.Unmarshal(text, &pod.Spec); err != nil {
		return nil, manifestError(t.Object.File, t.spec.Line, t.spec.Column, t.Object.String()+" has no pod spec: "+err.Error(), "")
	}
	if t.Daemon {
		pod.Spec.Tolerations = append(pod.Spec.Tolerations, daemonTolerations(pod.Spec.HostNetwork)...)
	}
	return pod, nil
}

// daemonTolerations are what the DaemonSet controller adds (kubernetes/kubernetes, pkg/controller/daemon/util/daemonset_util.go).
func daemonTolerations(hostNetwork bool) []corev1.Toleration {
	out := []corev1.Toleration{
		{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
		{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
		{Key: corev1.TaintNodeDiskPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
		{Key: corev1.TaintNodeMemoryPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
		{Key: corev1.TaintNodePIDPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
		{Key: corev1.TaintNodeUnschedulable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
	}
	if hostNetwork {
		out = append(out, corev1.Toleration{Key: corev1.TaintNodeNetworkUnavailable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule})
	}
	return out
}

func (w World) judge(t *Template, pod *corev1.Pod, n *corev1.Node) Verdict {
	v := Verdict{Node: n.Name, Arch: n.Labels[archLabel]}
	keptOff := func(by, message string) Verdict {
		v.By, v.Message = by, message
		return v
	}
	if name := pod.Spec.NodeName; name != "" && name != n.Name && t.pinnedByName() {
		return keptOff(bySelector, "spec.nodeName is "+name)
	}
	for _, key := range sortedKeys(pod.Spec.NodeSelector) {
		if is, there := n.Labels[key]; !there || is != pod.Spec.NodeSelector[key] {
			return keptOff(bySelector, fmt.Sprintf("nodeSelector wants %s=%s, %s", key, pod.Spec.NodeSelector[key], labelOf(n, key)))
		}
	}
	if fits, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(n); err != nil {
		return keptOff(byAffinity, "the required node affinity is not valid: "+err.Error())
	} else if !fits {
		return keptOff(byAffinity, "no term of the required node affinity matches: "+whyNot(pod, n))
	}
	taint, untolerated := schedulinghelper.FindMatchingUntoleratedTaint(klog.Background(), n.Spec.Taints, pod.Spec.Tolerations, func(taint *corev1.Taint) bool {
		return taint.Effect != corev1.TaintEffectPreferNoSchedule && taint.Key != corev1.TaintNodeUnschedulable
	}, false)
	if untolerated {
		return keptOff(byTaint, "the taint "+taint.ToString()+" is not tolerated")
	}
	unschedulable := corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}
	if n.Spec.Unschedulable && !schedulinghelper.TolerationsTolerateTaint(klog.Background(), pod.Spec.Tolerations, &unschedulable, false) {
		return keptOff(byCordon, "the node is cordoned (kubectl uncordon "+n.Name+")")
	}
	if why := w.volumeKeepsOff(pod, n); why != "" {
		return keptOff(byVolume, why)
	}
	return w.judgeImages(t, n, v)
}

// pinnedByName reports whether the name of a node in the pod's spec is of those who wrote it: of a running pod it is the scheduler's, which
// could have chosen another, unless a kubelet made the pod.
func (t *Template) pinnedByName() bool {
	return t.Object.Line > 0 || t.Object.Kind != "Pod" || strings.HasPrefix(t.Object.Owner, "Node/")
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// labelOf says what a node's label is.
func labelOf(n *corev1.Node, key string) string {
	if value, there := n.Labels[key]; there {
		return "the node has " + key + "=" + value
	}
	return "the node has no label " + key
}

// whyNot names, for each term, the first requirement that the node does not meet.
func whyNot(pod *corev1.Pod, n *corev1.Node) string {
	var out []string
	node := Node{Name: n.Name, Labels: n.Labels}
	for _, term := range pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		if len(term.MatchExpressions)+len(term.MatchFields) == 0 {
			out = append(out, "an empty term matches nothing")
			continue
		}
		check := func(list []corev1.NodeSelectorRequirement, field bool) bool {
			for _, r := range list {
				if !(Requirement{Key: r.Key, Operator: string(r.Operator), Values: r.Values, Field: field}).matches(node) {
					wants := fmt.Sprintf("%s %s [%s]", r.Key, r.Operator, strings.Join(r.Values, ", "))
					is := "the node is " + n.Name
					if !field {
						is = labelOf(n, r.Key)
					}
					out = append(out, wants+", "+is)
					return false
				}
			}
			return true
		}
		if check(term.MatchExpressions, false) {
			check(term.MatchFields, true)
		}
	}
	return strings.Join(out, "; or ")
}

// volumeKeepsOff names the volume whose node affinity does not match.
func (w World) volumeKeepsOff(pod *corev1.Pod, n *corev1.Node) string {
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		for _, claim := range w.Claims {
			if claim.Namespace != pod.Namespace || claim.Name != v.PersistentVolumeClaim.ClaimName {
				continue
			}
			for i := range w.Volumes {
				if w.Volumes[i].Name == claim.Spec.VolumeName && volumehelper.CheckNodeAffinity(&w.Volumes[i], n.Labels) != nil {
					return fmt.Sprintf("the volume %s of claim %s is not for this node", w.Volumes[i].Name, claim.Name)
				}
			}
		}
	}
	return ""
}

// judgeImages ends the verdict with what is known of the images.
func (w World) judgeImages(t *Template, n *corev1.Node, v Verdict) Verdict {
	arch, err := platform.Parse(v.Arch)
	if os := n.Labels[osLabel]; os != "" && os != linux {
		v.Unknown, v.Message = true, "nothing keeps it off; its images are not judged for "+os
		return v
	}
	if err != nil {
		v.Unknown, v.Message = true, "nothing keeps it off; its images are not judged for "+labelOf(n, archLabel)
		return v
	}
	var unknown []string
	for _, u := range t.uses() {
		f := w.Known(u.image)
		switch {
		case u.role == roleVolume && f.Single:
		case f.Made(arch) == No:
			v.By, v.Message = byImage, fmt.Sprintf("the image %s of %s %s is not made for %s", u.image, u.role, u.name, arch)
			return v
		case f.Err != nil:
			unknown = append(unknown, u.image+" ("+f.Err.Error()+")")
		}
	}
	if len(unknown) > 0 {
		v.Unknown, v.Message = true, "nothing keeps it off; whether it is made for "+arch.String()+" is not known of "+strings.Join(unknown, ", ")
		return v
	}
	v.Fits, v.Message = true, "nothing keeps it off"
	if w.Starts != nil {
		return w.judgePrograms(t, arch, v)
	}
	return v
}

// judgePrograms ends the verdict of images that are made for a node with what their containers start there.
func (w World) judgePrograms(t *Template, arch platform.Arch, v Verdict) Verdict {
	var unknown []string
	for _, u := range t.uses() {
		start := u.start()
		if start == nil {
			continue
		}
		wrong, why := w.Starts(u.image, *start, arch)
		if wrong != "" {
			v.Fits, v.By, v.Message = false, byProgram, fmt.Sprintf("%s %s does not run there: in %s, %s", u.role, u.name, u.image, wrong)
			return v
		}
		if why != "" {
			unknown = append(unknown, fmt.Sprintf("%s (%s)", u.name, why))
		}
	}
	if len(unknown) > 0 {
		v.Fits, v.Unknown, v.Message = false, true, "nothing keeps it off; whether it starts there is not known of "+strings.Join(unknown, ", ")
	}
	return v
}

// ArchsOf are the architectures of nodes, of those that hybridctl supports.
func ArchsOf(nodes []corev1.Node) []platform.Arch {
	return slices.DeleteFunc(platform.All(), func(a platform.Arch) bool {
		return !slices.ContainsFunc(nodes, func(n corev1.Node) bool { return n.Labels[archLabel] == a.String() })
	})
}

// Find returns the templates of the objects with a name: "web", "deploy/web" or "Deployment/web"; of a namespace, unless that is "".
func (s *Set) Find(name, namespace string) []*Template {
	kind, bare, has := strings.Cut(name, "/")
	if !has {
		kind, bare = "", name
	}
	var out []*Template
	for _, o := range s.Objects {
		if o.Name != bare || namespace != "" && o.Namespace != namespace || kind != "" && !kindMatches(o.Kind, kind) {
			continue
		}
		for i := range o.Templates {
			out = append(out, &o.Templates[i])
		}
	}
	return out
}

// short are the abbreviations that kubectl knows.
var short = map[string]string{
	"deploy": "Deployment", "ds": "DaemonSet", "sts": "StatefulSet", "rs": "ReplicaSet", "rc": "ReplicationController", "po": "Pod", "cj": "CronJob",
}

func kindMatches(kind, written string) bool {
	return strings.EqualFold(kind, written) || strings.EqualFold(kind+"s", written) || short[strings.ToLower(written)] == kind
}

// Templates lists all templates of the set.
func (s *Set) Templates() []*Template {
	var out []*Template
	for _, o := range s.Objects {
		for i := range o.Templates {
			out = append(out, &o.Templates[i])
		}
	}
	return out
}
