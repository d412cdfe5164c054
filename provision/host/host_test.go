package host

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hybridctl/hybridctl/provision/golden"
)

func TestDirectives(t *testing.T) {
	golden.Check(t, "directives.txt", Files{
		Step: "runtime", Digest: "sha256:d1",
		Binaries: []Binary{{Path: "/usr/local/bin/containerd", Mode: "0755", SHA256: "aa", Size: 4}},
		Texts:    []Text{{Path: "/etc/containerd/config.toml", Mode: "0644", Body: []byte("version = 3\n\"quoted\" $x `y`\n")}},
		Modules:  []string{"overlay"},
		Sysctls:  []Sysctl{{Name: "net.ipv4.ip_forward", Value: "1"}, {Name: "net.bridge.bridge-nf-call-ip6tables", Value: "1", Optional: true}},
		Units:    []string{"containerd.service"},
		Enable:   []string{"kubelet.service"},
	}.directives())
}

func TestMarker_RoundTrip(t *testing.T) {
	m := Marker{Step: "runtime", State: MarkerDone, Digest: "sha256:d1",
		Files:   []MarkerFile{{SHA256: "aa", Size: 4, Mode: "755", ModTime: 1763712345123456789, Path: "/usr/local/bin/a file"}},
		Units:   []string{"containerd.service"},
		Modules: []string{"overlay"},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
	}
	got, err := ParseMarker("runtime", m.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(m, got); d != "" {
		t.Error(d)
	}
}

func TestParseMarker_Refuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":          "",
		"no state":       "digest sha256:d1\n",
		"unknown state":  "state perhaps\n",
		"unknown word":   "state done\nmagic 7\n",
		"zeroed":         "        ",
		"zeroed below":   "state done\ndigest sha256:d1\n        \n", // its files would be forgotten
		"short file":     "state done\nfile aa 4 755\n",
		"relative path":  "state done\nfile aa 4 755 1 etc/x\n",
		"size no number": "state done\nfile aa x 755 1 /etc/x\n",
		"time no number": "state done\nfile aa 4 755 x /etc/x\n",
	} {
		if m, err := ParseMarker("x", []byte(text)); err == nil {
			t.Errorf("%s: parsed as %+v", name, m)
		}
	}
}

func FuzzParseMarker(f *testing.F) {
	f.Add([]byte("state done\nfile aa 4 755 1 /etc/x\nunit a\nmodule b\nsysctl c d\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseMarker("x", text)
		if err != nil {
			return
		}
		if again, err := ParseMarker("x", m.Encode()); err != nil || cmp.Diff(m, again) != "" {
			t.Errorf("%v: %s", err, cmp.Diff(m, again))
		}
	})
}

func TestParseImages(t *testing.T) {
	table := `REF                                    TYPE                                    DIGEST                                                                  SIZE     PLATFORMS   LABELS
registry.example/kube/pause:3.10.2     application/vnd.oci.image.manifest.v1+json sha256:1111111111111111111111111111111111111111111111111111111111111111 1.2 MiB  linux/arm64 io.cri-containerd.image=managed
registry.example/kube/etcd:3.6.8-0     application/vnd.oci.image.manifest.v1+json sha256:2222222222222222222222222222222222222222222222222222222222222222 150.0 MiB linux/arm64 -
`
	want := map[string]string{
		"registry.example/kube/pause:3.10.2": "sha256:1111111111111111111111111111111111111111111111111111111111111111",
		"registry.example/kube/etcd:3.6.8-0": "sha256:2222222222222222222222222222222222222222222222222222222222222222",
	}
	if d := cmp.Diff(want, parseImages([]byte(table))); d != "" {
		t.Error(d)
	}
}
