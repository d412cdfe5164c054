package kube

import "testing"

// FuzzKubeconfig: a kubeconfig comes from a host. One that is taken names no program and no file, and renamed it is taken too.
func FuzzKubeconfig(f *testing.F) {
	f.Add([]byte("apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: https://a:6443, certificate-authority-data: bm8=}}]\nusers: [{name: u, user: {token: x}}]\n"))
	f.Add([]byte("contexts: [{name: a, context: {cluster: c, user: u}}]\ncurrent-context: a\nclusters: [{name: c, cluster: {server: x}}]\nusers: [{name: u, user: {exec: {command: sh, apiVersion: client.authentication.k8s.io/v1}}}]\n"))
	f.Add([]byte("current-context: a\ncontexts: [{name: a}]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		_, _ = CAHashes(text)
		_, _ = restConfig(text)
		renamed, err := RenameContext(text, "lab")
		if err != nil {
			return
		}
		config, err := parseKubeconfig(renamed)
		if err != nil || config.CurrentContext != "lab" || len(config.Clusters) != 1 || len(config.AuthInfos) != 1 {
			t.Errorf("%v\n%s", err, renamed)
			return
		}
		if u := config.AuthInfos["lab"]; u.Exec != nil || u.AuthProvider != nil || u.ClientKey != "" || u.TokenFile != "" {
			t.Errorf("%+v", u)
		}
	})
}

// FuzzEtcd: what a container of etcd prints.
func FuzzEtcd(f *testing.F) {
	f.Add([]byte(`{"members":[{"ID":1,"name":"a","peerURLs":["https://10.0.0.1:2380"],"clientURLs":["https://10.0.0.1:2379"]}]}`), []byte(`[{"endpoint":"https://10.0.0.1:2379","health":true}]`))
	f.Add([]byte(`{"members":[null,{"peerURLs":["%"]}]}`), []byte(`null`))
	f.Fuzz(func(t *testing.T, list, health []byte) {
		members, err := parseEtcd(list, health)
		for _, m := range members {
			if err != nil || m.Well() && m.Learner || m.String() == "" {
				t.Errorf("%+v, %v", m, err)
			}
		}
	})
}

// FuzzManifests: manifests are anybody's. Those that are taken are objects with a kind, and written they are taken again.
func FuzzManifests(f *testing.F) {
	f.Add([]byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n# nothing\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("kind: List\napiVersion: v1\nitems: [1, null, {}]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		objects, err := parseManifests(text)
		for _, o := range objects {
			if err != nil || o.GetKind() == "" || o.GetAPIVersion() == "" {
				t.Errorf("%v: %v", err, o)
			}
		}
	})
}
