package conformance

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/hybridctl/hybridctl/provision/probe"
)

// RunLabel is on every object a run makes; its value is the run's ID.
const RunLabel = "hybridctl.dev/conformance-run"

// slotLabel is what Services find pods by.
const slotLabel = "hybridctl.dev/probe" // "a-0": which probe

// hostDirs is where the runs' directories are on hosts. It is below hybridctl's own, which destroy removes.
const hostDirs = "/var/lib/hybridctl/conformance/"

// The names of a probe pod's containers: the one that serves, and the one that shares its network.
const (
	mainContainer = "probe"
	peerContainer = "peer"
)

// hostVolume is what a pod calls the directory of its host, and secretName the Secret that the probes of a run share, with its key.
const (
	hostVolume = "host"
	secretName = "probe"
	secretKey  = "secret"
)

type object = map[string]any

// objects are the manifests of a run.
type objects struct {
	namespace string
	runID     string
	image     string
}

func manifests(all ...object) []byte {
	var b bytes.Buffer
	for _, o := range all {
		b.WriteString("---\n")
		e := json.NewEncoder(&b) // JSON is YAML
		if err := e.Encode(o); err != nil {
			panic(err) // maps of strings and numbers
		}
	}
	return b.Bytes()
}

func (o objects) meta(name string, labels map[string]string) object {
	all := object{RunLabel: o.runID}
	for k, v := range labels {
		all[k] = v
	}
	m := object{"name": name, "labels": all}
	if name != o.namespace {
		m["namespace"] = o.namespace
	}
	return m
}

// space is the run's namespace. Probes mount a directory of the host, which the stricter pod security levels forbid.
func (o objects) space() object {
	return object{"apiVersion": "v1", "kind": "Namespace", "metadata": o.meta(o.namespace, map[string]string{
		"pod-security.kubernetes.io/enforce": "privileged",
		"pod-security.kubernetes.io/warn":    "privileged",
		"pod-security.kubernetes.io/audit":   "privileged",
	})}
}

// podSpec is what pods differ by.
type podSpec struct {
	name     string
	labels   map[string]string
	image    string // default: the probe's
	node     string // by name, past the scheduler; empty = the scheduler decides
	pull     string // imagePullPolicy; default IfNotPresent
	hostDir  string // mounted at /host
	hostType string // of the hostPath volume
	reserves bool   // asks for a share of a processor
	peer     bool   // with a second container, and a directory that both share at /shared
	affinity object
	selector object
	secret   string // imagePullSecret
	restart  string // default Always
	claim    string // whose volume is mounted at volumeDir, or is the device volumeDevice
	block    bool
}

// everything is tolerated: a node is proven whatever its taints keep away.
var everything = []object{{"operator": "Exists"}}

func (o objects) pod(p podSpec) object {
	image := cmp.Or(p.image, o.image)
	main := o.container(mainContainer, image, "serve", p)
	containers := []object{main}
	volumes := []object{}
	mounts := []object{}
	if p.hostDir != "" {
		volumes = append(volumes, object{"name": hostVolume, "hostPath": object{"path": p.hostDir, "type": p.hostType}})
		mounts = append(mounts, object{"name": hostVolume, "mountPath": "/host"})
	}
	if p.peer {
		volumes = append(volumes, object{"name": "shared", "emptyDir": object{}})
		mounts = append(mounts, object{"name": "shared", "mountPath": "/shared"})
		peer := o.container(peerContainer, image, "sleep", p)
		peer["volumeMounts"] = []object{{"name": "shared", "mountPath": "/shared"}}
		containers = append(containers, peer)
	}
	grace := 0
	if p.claim != "" {
		volumes = append(volumes, object{"name": "volume", "persistentVolumeClaim": object{"claimName": p.claim}})
		grace = 1 // the pod is gone when its kubelet says so, and not at once: until then its volume is in use
	}
	switch {
	case p.block:
		main["volumeDevices"] = []object{{"name": "volume", "devicePath": volumeDevice}}
	case p.claim != "":
		mounts = append(mounts, object{"name": "volume", "mountPath": volumeDir})
	}
	main["volumeMounts"] = mounts
	spec := object{
		"containers": containers, "volumes": volumes, "tolerations": everything,
		"automountServiceAccountToken": false, "enableServiceLinks": false, "terminationGracePeriodSeconds": grace,
		"restartPolicy": cmp.Or(p.restart, "Always"),
	}
	if p.node != "" {
		spec["nodeName"] = p.node
	}
	if p.affinity != nil {
		spec["affinity"] = p.affinity
	}
	if p.selector != nil {
		spec["nodeSelector"] = p.selector
	}
	if p.secret != "" {
		spec["imagePullSecrets"] = []object{{"name": p.secret}}
	}
	return object{"apiVersion": "v1", "kind": "Pod", "metadata": o.meta(p.name, p.labels), "spec": spec}
}

func (o objects) container(name, image, command string, p podSpec) object {
	field := func(path string) object { return object{"fieldRef": object{"fieldPath": path}} }
	c := object{
		"name": name, "image": image, "imagePullPolicy": cmp.Or(p.pull, "IfNotPresent"),
		"command": []string{probePath}, "args": []string{command},
		"env": []object{
			{"name": probe.EnvUID, "valueFrom": field("metadata.uid")},
			{"name": probe.EnvPod, "valueFrom": field("metadata.name")},
			{"name": probe.EnvNode, "valueFrom": field("spec.nodeName")},
			{"name": probe.EnvContainer, "value": name},
			{"name": probe.EnvSecret, "valueFrom": object{"secretKeyRef": object{"name": secretName, "key": secretKey}}},
		},
		"resources": object{"limits": object{"memory": "64Mi"}, "requests": object{"memory": "16Mi"}},
		// It reads and writes its own directories, and nothing else.
		"securityContext": object{
			"runAsUser": 0, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
			"capabilities": object{"drop": []string{"ALL"}},
		},
	}
	if p.reserves && command == "serve" { // the others come and go: a small control plane has no processor to promise them
		c["resources"] = object{"limits": object{"memory": "64Mi"}, "requests": object{"cpu": "10m", "memory": "16Mi"}}
	}
	if command == "serve" {
		c["ports"] = []object{
			{"containerPort": probe.Port, "protocol": "TCP", "name": "tcp"},
			{"containerPort": probe.Port, "protocol": "UDP", "name": "udp"},
		}
	}
	return c
}

// service is a Service with one probe behind it: a ClusterIP one without a policy, else a NodePort one; a nodePort of 0 lets the API
// server choose.
func (o objects) service(name string, selector map[string]string, policy string, nodePort int) object {
	port := func(protocol string) object {
		p := object{"name": strings.ToLower(protocol), "protocol": protocol, "port": probe.Port, "targetPort": probe.Port}
		if nodePort > 0 {
			p["nodePort"] = nodePort
		}
		return p
	}
	spec := object{"selector": selector, "ports": []object{port("TCP"), port("UDP")}, "type": "ClusterIP"}
	if policy != "" {
		spec["type"], spec["externalTrafficPolicy"] = "NodePort", policy
	}
	return object{"apiVersion": "v1", "kind": "Service", "metadata": o.meta(name, nil), "spec": spec}
}

// endpoint is an address behind a Service that no controller looks after.
func (o objects) endpoint(service, ip string) object {
	meta := o.meta(service+"-by-hand", map[string]string{"kubernetes.io/service-name": service})
	port := func(protocol string) object {
		return object{"name": strings.ToLower(protocol), "protocol": protocol, "port": probe.Port}
	}
	return object{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta, "addressType": "IPv4",
		"endpoints": []object{{"addresses": []string{ip}, "conditions": object{"ready": true}}}, "ports": []object{port("TCP"), port("UDP")},
	}
}

// claim asks for a volume.
func (o objects) claim(name, class, accessMode, size string, block bool) object {
	mode := "Filesystem"
	if block {
		mode = "Block"
	}
	return object{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": o.meta(name, nil), "spec": object{
		"storageClassName": class, "accessModes": []string{accessMode}, "volumeMode": mode,
		"resources": object{"requests": object{"storage": size}},
	}}
}

// account is the service account that pods have without naming one. The API server refuses pods until it is there, and the
// controller-manager, which would make it, may be slow or have just begun.
func (o objects) account() object {
	return object{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": o.meta("default", nil)}
}

// probeSecret is what the probes answer to.
func (o objects) probeSecret(s probe.Secret) object {
	return object{
		"apiVersion": "v1", "kind": "Secret", "metadata": o.meta(secretName, nil), "type": "Opaque", "immutable": true,
		"stringData": object{secretKey: string(s)},
	}
}

// pullSecret is a registry's credentials, as the kubelet reads them.
func (o objects) pullSecret(name, registry, user, password string) object {
	auths, err := json.Marshal(object{"auths": object{registry: object{"username": user, "password": password}}})
	if err != nil {
		panic(err) // strings
	}
	return object{
		"apiVersion": "v1", "kind": "Secret", "metadata": o.meta(name, nil),
		"type": "kubernetes.io/dockerconfigjson", "stringData": object{".dockerconfigjson": string(auths)},
	}
}

func archSelector(arch string) object { return object{"kubernetes.io/arch": arch} }

func nodeAffinity(term object) object {
	return object{"nodeAffinity": object{"requiredDuringSchedulingIgnoredDuringExecution": object{"nodeSelectorTerms": []object{term}}}}
}

// slot names a probe: which of a node's, and the node's place in the list.
func slot(which string, i int) string { return fmt.Sprintf("%s-%d", which, i) }
