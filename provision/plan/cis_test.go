package plan

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/render"
)

// hardened is what the example inventory for the CIS benchmark comes to.
type hardened struct {
	init, cluster, kubelet map[string]any
	texts                  map[string]Text // by path, of the control plane
	sysctls                map[string]string
	files                  map[string]map[string]any // of control planes, by path
	modules                []string
}

func renderHardened(t *testing.T, change func(*inventory.Cluster)) hardened {
	t.Helper()
	c, err := inventory.Load("../../inventories/example-cis.yaml")
	if err != nil {
		t.Fatal(err)
	}
	change(c)
	in := Input{Cluster: c, Bundle: testBundle(), Files: map[string]inventory.Secret{}, Hosts: []facts.Host{{Name: "arm-1", Arch: platform.ARM64}, {Name: "x86-1", Arch: platform.AMD64}}}
	for _, f := range c.Spec.Kubernetes.Files {
		body := "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - secretbox: {keys: [{name: first, secret: c2VjcmV0}]}\n  - identity: {}\n"
		if f.Source != "" {
			b, err := os.ReadFile(f.Source)
			if err != nil {
				t.Fatal(err)
			}
			body = string(b)
		}
		in.Files[f.Name] = inventory.Secret(body)
	}
	p := mustBuild(t, in)
	h := hardened{texts: map[string]Text{}, sysctls: map[string]string{}, files: map[string]map[string]any{}}
	for _, s := range p.Steps {
		switch in := s.Inputs.(type) {
		case InitInputs:
			docs := bytes.Split(render.KubeadmInitConfig(in.Config), []byte("\n---\n"))
			for i, to := range []*map[string]any{&h.init, &h.cluster, &h.kubelet} {
				if err := yaml.Unmarshal(docs[i], to); err != nil {
					t.Fatal(err)
				}
			}
		case FilesInputs:
			if s.Host != "arm-1" {
				continue
			}
			for _, x := range in.Texts {
				h.texts[x.Path] = x
				if s.Kind == Files {
					var doc map[string]any
					if err := yaml.Unmarshal(x.Body, &doc); err != nil {
						t.Errorf("%s: %v", x.Path, err)
					}
					h.files[x.Path] = doc
				}
			}
			for _, x := range in.Sysctls {
				h.sysctls[x.Name] = x.Value
			}
			h.modules = append(h.modules, in.Modules...)
		}
	}
	return h
}

// arg is a component's argument; "" = it has none.
func (h hardened) arg(component, name string) string {
	c, _ := h.cluster[component].(map[string]any)
	args, _ := c["extraArgs"].([]any)
	for _, a := range args {
		if m := a.(map[string]any); m["name"] == name {
			return m["value"].(string)
		}
	}
	return ""
}

// mounted reports whether kube-apiserver has a path from the host, and may write there.
func (h hardened) mounted(path string) (there, writable bool) {
	c, _ := h.cluster["apiServer"].(map[string]any)
	volumes, _ := c["extraVolumes"].([]any)
	for _, v := range volumes {
		m := v.(map[string]any)
		if at := m["mountPath"].(string); m["hostPath"] == at && (path == at || strings.HasPrefix(path, at+"/")) {
			return true, m["readOnly"] != true
		}
	}
	return false, false
}

// file is a file that an argument of kube-apiserver names: carried to the host for root alone, and mounted.
func (h hardened) file(argument, kind string) (map[string]any, error) {
	path := h.arg("apiServer", argument)
	there, writable := h.mounted(path)
	switch doc, carried := h.files[path]; {
	case path == "" || !carried || !there || writable:
		return nil, fmt.Errorf("%s=%s: carried %v, mounted %v, writable %v", argument, path, carried, there, writable)
	case h.texts[path].Mode != "0600":
		return nil, fmt.Errorf("%s has the mode %s", path, h.texts[path].Mode)
	case doc["kind"] != kind:
		return nil, fmt.Errorf("%s is a %v", path, doc["kind"])
	default:
		return doc, nil
	}
}

func is(got, want any) error {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("is %v, want %v", got, want)
	}
	return nil
}

func strong(suites []string) error {
	for _, s := range suites {
		if !strings.HasPrefix(s, "TLS_ECDHE_") || !strings.Contains(s, "GCM") && !strings.Contains(s, "POLY1305") {
			return fmt.Errorf("weak: %q", s)
		}
	}
	if len(suites) == 0 {
		return fmt.Errorf("none is named")
	}
	return nil
}

func list(v any) (out []string) {
	items, _ := v.([]any)
	for _, i := range items {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

// cis are the items of the benchmark that kubeadm leaves to the operator, and that the example answers.
var cis = []struct {
	item, wants string
	check       func(h hardened) error
}{
	{"1.2.3", "DenyServiceExternalIPs", func(h hardened) error { return plugin(h, "DenyServiceExternalIPs") }},
	{"1.2.5", "the API server checks kubelets' certificates", func(h hardened) error {
		return is(h.arg("apiServer", "kubelet-certificate-authority"), "/etc/kubernetes/pki/ca.crt")
	}},
	{"1.2.9", "EventRateLimit, with its limits", func(h hardened) error {
		doc, err := h.file("admission-control-config-file", "AdmissionConfiguration")
		if err == nil && !strings.Contains(fmt.Sprint(doc["plugins"]), "name:EventRateLimit") {
			err = fmt.Errorf("no limits")
		}
		if err != nil {
			return err
		}
		return plugin(h, "EventRateLimit")
	}},
	{"1.2.14", "NodeRestriction stays", func(h hardened) error { return plugin(h, "NodeRestriction") }},
	{"1.2.15", "no profiling", func(h hardened) error { return is(h.arg("apiServer", "profiling"), "false") }},
	{"1.2.16", "an audit log that can be written", func(h hardened) error {
		path := h.arg("apiServer", "audit-log-path")
		if there, writable := h.mounted(path); path == "" || !there || !writable {
			return fmt.Errorf("%q: mounted %v, writable %v", path, there, writable)
		}
		return nil
	}},
	{"1.2.17", "30 days of it", func(h hardened) error { return is(h.arg("apiServer", "audit-log-maxage"), 30) }},
	{"1.2.18", "10 files of it", func(h hardened) error { return is(h.arg("apiServer", "audit-log-maxbackup"), 10) }},
	{"1.2.19", "of 100 MB", func(h hardened) error { return is(h.arg("apiServer", "audit-log-maxsize"), 100) }},
	{"1.2.27", "encryption at rest", func(h hardened) error {
		_, err := h.file("encryption-provider-config", "EncryptionConfiguration")
		return err
	}},
	{"1.2.29", "strong ciphers of the API server", func(h hardened) error { return strong(strings.Split(h.arg("apiServer", "tls-cipher-suites"), ",")) }},
	{"1.2.30", "no tokens of a year", func(h hardened) error {
		return is(h.arg("apiServer", "service-account-extend-token-expiration"), "false")
	}},
	{"1.3.1", "a limit of ended pods", func(h hardened) error { return is(h.arg("controllerManager", "terminated-pod-gc-threshold"), 1000) }},
	{"1.3.2", "no profiling", func(h hardened) error { return is(h.arg("controllerManager", "profiling"), "false") }},
	{"1.4.1", "no profiling", func(h hardened) error { return is(h.arg("scheduler", "profiling"), "false") }},
	{"3.2.1", "an audit policy", func(h hardened) error { _, err := h.file("audit-policy-file", "Policy"); return err }},
	{"3.2.2", "that notes who reads secrets, and no secret", func(h hardened) error {
		doc, err := h.file("audit-policy-file", "Policy")
		if err != nil {
			return err
		}
		for _, r := range doc["rules"].([]any) {
			rule := r.(map[string]any)
			names := fmt.Sprint(rule["resources"])
			switch {
			case strings.Contains(names, "secrets"):
				return is(rule["level"], "Metadata")
			case rule["resources"] == nil && rule["nonResourceURLs"] == nil:
				return fmt.Errorf("a rule before that of secrets holds for them: %v", rule)
			}
		}
		return fmt.Errorf("no rule is of secrets")
	}},
	{"4.1.1", "the kubelet's unit is root's alone", func(h hardened) error {
		for _, path := range []string{unitDir + "/kubelet.service", unitDir + "/kubelet.service.d/10-kubeadm.conf"} {
			if err := is(h.texts[path].Landed(), "0600"); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		return nil
	}},
	{"4.2.5", "idle connections end", func(h hardened) error { return is(h.kubelet["streamingConnectionIdleTimeout"], "5m") }},
	{"4.2.6", "the kernel is as the kubelet wants it", func(h hardened) error {
		for name, want := range map[string]string{"vm.overcommit_memory": "1", "vm.panic_on_oom": "0", "kernel.panic": "10", "kernel.panic_on_oops": "1",
			"kernel.keys.root_maxkeys": "1000000", "kernel.keys.root_maxbytes": "25000000"} {
			if err := is(h.sysctls[name], want); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return is(h.kubelet["protectKernelDefaults"], true)
	}},
	{"4.2.8", "events are bounded", func(h hardened) error { return is(h.kubelet["eventRecordQPS"], 50) }},
	{"4.2.9", "serving certificates of the cluster", func(h hardened) error { return is(h.kubelet["serverTLSBootstrap"], true) }},
	{"4.2.12", "strong ciphers of the kubelet", func(h hardened) error { return strong(list(h.kubelet["tlsCipherSuites"])) }},
	{"4.2.13", "a limit of processes", func(h hardened) error { return is(h.kubelet["podPidsLimit"], 4096) }},
	{"4.2.14", "seccomp by default", func(h hardened) error { return is(h.kubelet["seccompDefault"], true) }},
}

func plugin(h hardened, name string) error {
	if !slices.Contains(strings.Split(h.arg("apiServer", "enable-admission-plugins"), ","), name) {
		return fmt.Errorf("%s is not enabled", name)
	}
	return nil
}

func TestExampleCIS(t *testing.T) {
	h := renderHardened(t, func(*inventory.Cluster) {})
	text, err := os.ReadFile("../../inventories/example-cis.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range cis {
		if err := x.check(h); err != nil {
			t.Errorf("%s %s: %v", x.item, x.wants, err)
		}
		if x.item != "4.1.1" && !strings.Contains(string(text), x.item) {
			t.Errorf("%s is not named in the example", x.item)
		}
	}
	if !slices.Contains(h.modules, "wireguard") {
		t.Errorf("modules %v", h.modules)
	}
	// Each of the checks can fail: an inventory that says nothing passes none but those that hybridctl sees to itself.
	bare := renderHardened(t, func(c *inventory.Cluster) {
		k := &c.Spec.Kubernetes
		k.APIServer, k.ControllerManager, k.Scheduler, k.Kubelet, k.Files, k.ServerTLSBootstrap = inventory.Component{}, inventory.Component{}, inventory.Component{}, nil, nil, false
	})
	for _, x := range cis {
		if err := x.check(bare); err == nil && x.item != "4.1.1" {
			t.Errorf("%s %s: passes without the inventory's word", x.item, x.wants)
		}
	}
	if left, err := filepath.Glob("../../inventories/example-cis/*"); err != nil || len(left) != 2 {
		t.Errorf("files beside it: %v %v", left, err)
	}
}
