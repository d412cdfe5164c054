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

// Wherever a marker was cut, also at a line's end, its list of files is not taken for all of them. Only its last line break is not missed.
func TestParseMarker_OneThatWasCutCannotBeRead(t *testing.T) {
	m := Marker{State: MarkerDone, Digest: "sha256:d1", Files: []MarkerFile{{"aa", 4, "755", 1, "/usr/local/bin/a"}, {"bb", 4, "755", 1, "/usr/local/bin/b"}},
		Units: []string{"containerd.service"}, Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}}
	whole := m.Encode()
	for n := range len(whole) - 1 {
		if got, err := ParseMarker("x", whole[:n]); err == nil {
			t.Errorf("%q: parsed as %+v", whole[:n], got)
		}
	}
	if _, err := ParseMarker("x", append(whole, "file cc 4 755 1 /usr/local/bin/c\n"...)); err == nil {
		t.Error("what stands behind the end was taken for a part of it")
	}
}

// An earlier hybridctl's markers have no end.
func TestParseMarker_OfAnEarlierOneIsRead(t *testing.T) {
	m, err := ParseMarker("x", []byte("state done\ndigest sha256:d1\nfile aa 4 755 1 /usr/local/bin/a\nunit containerd.service\n"))
	if err != nil || m.State != MarkerDone || len(m.Files) != 1 || len(m.Units) != 1 {
		t.Errorf("%+v, %v", m, err)
	}
}

func FuzzParseMarker(f *testing.F) {
	f.Add([]byte("state done\nfile aa 4 755 1 /etc/x\nunit a\nmodule b\nsysctl c d\n"))
	f.Add([]byte("begin\nstate done\nunit a\nend\n"))
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
