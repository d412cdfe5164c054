package kube

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// pingPeriod keeps an idle stream alive through firewalls and load balancers.
const pingPeriod = 5 * time.Second

// Pod is what the API server tells of a pod.
type Pod struct {
	Namespace string
	Name      string
	UID       string
	Node      string // where it is scheduled; empty = nowhere yet
	IP        string
	HostIP    string
	Labels    map[string]string
	Ready     bool
	Problem   string // why it is not Ready, in one line
	Words     string // what its containers wait for or died of, in one line
	Restarts  int    // of all its containers that run, native sidecars too
	// Controller is the kind of what made it: "ReplicaSet", "Job"; empty = nothing that would make it again.
	Controller string
	MayEnd     bool // by itself, as its restart policy lets it
	// Unschedulable is the scheduler's reason for leaving it Pending; empty when it does not say so.
	Unschedulable string
	Started       time.Time
	Ended         bool // it ran, or was refused by its kubelet, and will not run again
	Deleting      bool
	HostNetwork   bool              // it has its node's network and address
	Images        map[string]string // of its containers, by their names; those that run before the others too
	Ports         []ContainerPort   // that its containers name
}

// ContainerPort is a port that a container names.
type ContainerPort struct {
	Name     string
	Protocol string // "TCP", "UDP"
	Port     int
}

func podOf(p *corev1.Pod) Pod {
	out := Pod{
		Namespace: p.Namespace, Name: p.Name, UID: string(p.UID), Node: p.Spec.NodeName, IP: p.Status.PodIP, HostIP: p.Status.HostIP,
		Labels: p.Labels, Problem: podProblem(p), Deleting: p.DeletionTimestamp != nil,
		Controller: controllerOf(p).Kind, MayEnd: p.Spec.RestartPolicy != corev1.RestartPolicyAlways,
		HostNetwork: p.Spec.HostNetwork, Images: map[string]string{},
	}
	out.Ready, out.Words = out.Problem == "", containerProblem(p)
	for _, s := range slices.Concat(sidecars(p), p.Status.ContainerStatuses) {
		out.Restarts += int(s.RestartCount)
	}
	out.Ended = p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
	if p.Status.StartTime != nil {
		out.Started = p.Status.StartTime.Time
	}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		out.Images[c.Name] = c.Image
		for _, port := range c.Ports {
			out.Ports = append(out.Ports, ContainerPort{port.Name, string(port.Protocol), int(port.ContainerPort)})
		}
	}
	if c := podCondition(p, corev1.PodScheduled); c != nil && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
		out.Unschedulable = oneLine(c.Message)
	}
	return out
}

// sidecars are the init containers that run beside the others and are started again as they are.
func sidecars(p *corev1.Pod) []corev1.ContainerStatus {
	var out []corev1.ContainerStatus
	for _, s := range p.Status.InitContainerStatuses {
		if slices.ContainsFunc(p.Spec.InitContainers, func(c corev1.Container) bool {
			return c.Name == s.Name && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		}) {
			out = append(out, s)
		}
	}
	return out
}

// Pods lists the pods of a namespace that have the labels ("app=probe,run=x"; "" = all), sorted by name. An empty namespace is all.
func (c *Client) Pods(ctx context.Context, namespace, labels string) ([]Pod, error) {
	var pods []Pod
	err := c.do(ctx, "list the pods", func(ctx context.Context) error {
		list, err := c.core.Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: labels})
		if err != nil {
			return err
		}
		pods = make([]Pod, 0, len(list.Items))
		for i := range list.Items {
			pods = append(pods, podOf(&list.Items[i]))
		}
		return nil
	})
	slices.SortFunc(pods, func(a, b Pod) int { return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name) })
	return pods, err
}

// WaitPods watches the pods and events of a namespace until missing has nothing to say. missing is called whenever anything changed,
// never twice at once, and must not block. NotReadyError tells what it said last.
func (c *Client) WaitPods(ctx context.Context, namespace string, missing func([]Pod, []Event) []Missing, o WaitOptions) error {
	return c.await(ctx, "pods", o, func(stores []*viewStore) check {
		return func(time.Time) ([]Missing, time.Duration) {
			var pods []Pod
			for _, p := range listOf[corev1.Pod](stores[0]) {
				pods = append(pods, podOf(p))
			}
			var events []Event
			for _, e := range listOf[corev1.Event](stores[1]) {
				events = append(events, eventOf(e))
			}
			return missing(pods, events), 0
		}
	},
		sourceOf(c.core.Pods(namespace), &corev1.Pod{}, "", func(runtime.Object) bool { return true }),
		sourceOf(c.core.Events(namespace), &corev1.Event{}, "", func(runtime.Object) bool { return true }))
}

// Event is what a component of the cluster said about an object.
type Event struct {
	Object  string // "Pod/probe-a"
	Type    string // "Normal" or "Warning"
	Reason  string // "FailedMount"
	Message string
	Count   int
	Last    time.Time
}

func eventOf(e *corev1.Event) Event {
	out := Event{
		Object: e.InvolvedObject.Kind + "/" + e.InvolvedObject.Name, Type: e.Type, Reason: e.Reason, Message: e.Message,
		Count: int(e.Count), Last: e.LastTimestamp.Time,
	}
	if e.Series != nil {
		out.Count, out.Last = int(e.Series.Count), e.Series.LastObservedTime.Time
	}
	if out.Last.IsZero() {
		out.Last = e.EventTime.Time
	}
	return out
}

// Events lists the events of a namespace, the oldest first.
func (c *Client) Events(ctx context.Context, namespace string) ([]Event, error) {
	var events []Event
	err := c.do(ctx, "list the events", func(ctx context.Context) error {
		list, err := c.core.Events(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		events = make([]Event, 0, len(list.Items))
		for i := range list.Items {
			events = append(events, eventOf(&list.Items[i]))
		}
		return nil
	})
	slices.SortFunc(events, func(a, b Event) int { return a.Last.Compare(b.Last) })
	return events, err
}

// maxLog bounds what is read of a log, whose lines may be of any length.
const maxLog = 4 << 20

// PodLog returns the end of what a container wrote: whole lines, at most limit bytes.
func (c *Client) PodLog(ctx context.Context, namespace, pod, container string, limit int64) ([]byte, error) {
	var log []byte
	err := c.do(ctx, "read the log of pod "+namespace+"/"+pod, func(ctx context.Context) error {
		lines := int64(200)
		r, err := c.core.Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container, TailLines: &lines}).Stream(ctx)
		if err != nil {
			return err
		}
		defer r.Close()
		log, err = io.ReadAll(io.LimitReader(r, maxLog))
		return err
	})
	if over := int64(len(log)) - limit; over > 0 { // the server's own limit would take away the end
		log = log[over:]
		if i := bytes.IndexByte(log, '\n'); i >= 0 {
			log = log[i+1:]
		}
	}
	return log, err
}

// Service is what the API server tells of a Service.
type Service struct {
	Name       string
	ClusterIP  string
	ClusterIPs []string       // of both families, where it has them; the first is ClusterIP
	NodePorts  map[string]int // by protocol: "TCP", "UDP"
	Ports      []ServicePort
}

// ServicePort is a port of a Service.
type ServicePort struct {
	Protocol string // "TCP", "UDP"
	Port     int
	Target   string // that of its pods: a number, or what a container calls it
}

// Services lists the Services of a namespace.
func (c *Client) Services(ctx context.Context, namespace string) ([]Service, error) {
	var out []Service
	err := c.do(ctx, "list the services", func(ctx context.Context) error {
		list, err := c.core.Services(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		out = make([]Service, 0, len(list.Items))
		for _, item := range list.Items {
			s := Service{Name: item.Name, ClusterIP: item.Spec.ClusterIP, ClusterIPs: item.Spec.ClusterIPs, NodePorts: map[string]int{}}
			for _, p := range item.Spec.Ports {
				s.NodePorts[string(p.Protocol)] = int(p.NodePort)
				s.Ports = append(s.Ports, ServicePort{string(p.Protocol), int(p.Port), p.TargetPort.String()})
			}
			out = append(out, s)
		}
		return nil
	})
	return out, err
}

// Namespaces lists the names of the namespaces that have the label.
func (c *Client) Namespaces(ctx context.Context, label string) ([]string, error) {
	var names []string
	err := c.do(ctx, "list the namespaces", func(ctx context.Context) error {
		list, err := c.core.Namespaces().List(ctx, metav1.ListOptions{LabelSelector: label})
		if err != nil {
			return err
		}
		names = nil
		for _, n := range list.Items {
			names = append(names, n.Name)
		}
		return nil
	})
	return names, err
}

// DeleteNamespace removes a namespace with everything in it and waits until it is gone. One that is not there is no error.
func (c *Client) DeleteNamespace(ctx context.Context, name string) error {
	manifest := []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + "}\n")
	objects, err := parseManifests(manifest)
	if err != nil {
		return err
	}
	started := time.Now()
	resource, err := c.resource(ctx, objects[0], started)
	if err != nil {
		return err
	}
	there, err := c.live(ctx, resource, name)
	if err != nil || there == nil {
		return err
	}
	if _, err := c.deleteObject(ctx, objects[0], started); err != nil {
		return err
	}
	return c.waitGone(ctx, resource, there)
}
