package facts

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hybridctl/hybridctl/provision/golden"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// parsed is what the script's answer says, which stays as it is.
func parsed(data []byte) (Host, error) {
	h, _, err := parse(bytes.Clone(data))
	return h, err
}

// TestParse_Golden reads what real machines answered.
func TestParse_Golden(t *testing.T) {
	for _, path := range documents(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			h, err := parsed(read(t, path))
			if err != nil {
				t.Fatal(err)
			}
			got := asJSON(t, h) + "\n"
			golden.Check(t, strings.TrimSuffix(filepath.Base(path), ".json")+".golden", got)
		})
	}
}

func documents(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no documents in testdata: %v", err)
	}
	return paths
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParse_NoDocument(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":          "",
		"a menu":           "Welcome! Choose: 1) reboot",
		"cut off":          `{"clock":"1","machine":"x86_64`,
		"no machine":       `{"clock":"1"}`,
		"values no string": `{"clock":"1","machine":{}}`,
		"no value":         `{"clock":"1","machine"}`,
		"a list":           `{"clock":"1","machine":["x86_64"]}`,
		"strange escapes":  `{"clock":"1","machine":"x86\u005f64"}`,
		"no comma":         `{"clock":"1""machine":"x86_64"}`,
		"a comma too many": `{"clock":"1","machine":"x86_64",}`,
		"open to the end":  `{"clock":"1","machine":"x86_64}`,
		"a second brace":   `{"clock":"1","machine":"x86_64"}}`,
		"ends escaped":     `{"clock":"1","machine":"x86_64\}`,
	} {
		if h, err := parsed([]byte(text)); err == nil || !strings.Contains(err.Error(), "not whole") || !reflect.DeepEqual(h, Host{}) {
			t.Errorf("%s: got %v, %v", name, h, err)
		}
	}
}

func TestParse_ToleratesNoise(t *testing.T) {
	h, err := parsed([]byte("stdin: is not a tty\nWelcome {\n" + `{"clock":"1","machine":"arm64` + "\n" + `","machine-id":"` + "\x00\x00" + `"}` + "\ngood bye"))
	if err != nil || h.Arch != platform.ARM64 || h.MachineID != "" {
		t.Errorf("got %v, %v", h, err)
	}
	if want := "stdin: is not a tty Welcome {"; h.LoginPrints != want {
		t.Errorf("the login prints %q, want %q", h.LoginPrints, want)
	}
	if h, _ := parsed([]byte(strings.Repeat("=", 1<<20) + `{"clock":"1","machine":"arm64"}`)); len(h.LoginPrints) != maxPrints {
		t.Errorf("%d bytes of what the login prints are kept", len(h.LoginPrints))
	}
}

// one returns the facts of a document with these values and nothing else.
func one(t *testing.T, values map[string]string) Host {
	t.Helper()
	d := map[string]string{"machine": "x86_64\n"}
	for k, v := range values {
		d[k] = v
	}
	h, err := parsed(encode(d))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// encode prints a document as the script does.
func encode(values map[string]string) []byte {
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	b := []byte(documentStart + `"1"`)
	for k, v := range values {
		b = append(b, `,"`+quoted.Replace(k)+`":"`+quoted.Replace(v)+`"`...)
	}
	return append(b, '}')
}

func TestParse_IPTables(t *testing.T) {
	for text, want := range map[string]string{
		"iptables v1.8.9 (nf_tables)\n": "nft", "iptables v1.8.9 (legacy)\n": "legacy", "iptables v1.6.1\n": "legacy", "": "none", "not found": "none",
	} {
		if got := one(t, map[string]string{"iptables": text}).IPTables; got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestParse_Binfmt(t *testing.T) {
	const header = "enabled\ninterpreter /q\nflags: F\noffset "
	h := one(t, map[string]string{
		"binfmt/arm":     header + "0\nmagic 7f454c460201010000000000000000000200b700\n",
		"binfmt/big":     header + "0\nmagic 7f454c4602020100000000000000000000020015\n",
		"binfmt/short":   header + "0\nmagic 7f454c46\n",
		"binfmt/shifted": header + "4\nmagic 7f454c460201010000000000000000000200b700\n",
		"binfmt/suffix":  "disabled\ninterpreter /s\nextension .x\n",
		"binfmt/status":  "enabled\n",
	})
	want := []Binfmt{{"arm", true, "/q", 183}, {"big", true, "/q", 21}, {"shifted", true, "/q", 0}, {"short", true, "/q", 0}, {"suffix", false, "/s", 0}}
	if !reflect.DeepEqual(h.Binfmt, want) {
		t.Errorf("got %v, want %v", h.Binfmt, want)
	}
	h = one(t, map[string]string{"binfmt/arm": header + "0\nmagic 00\n", "binfmt/status": "disabled\n"})
	if len(h.Binfmt) != 1 || h.Binfmt[0].Enabled {
		t.Errorf("all handlers are switched off, but: %v", h.Binfmt)
	}
}

func TestParse_Kubeadm(t *testing.T) {
	for name, c := range map[string]struct {
		values map[string]string
		want   Kubeadm
	}{
		"nothing":     {nil, Kubeadm{}},
		"it had pods": {map[string]string{"pods": ""}, Kubeadm{Pods: true}},
		"worker": {map[string]string{"kubelet.conf": "    server: \"https://k8s.example:6443\"\n", "ca.crt": "no certificate\n"},
			Kubeadm{KubeletConf: true, Server: "https://k8s.example:6443", Certificates: []Certificate{{Name: "ca"}}}},
		"control plane": {map[string]string{"admin.conf": "", "etcd": "", "apiserver": "    image: registry.example:5000/kube-apiserver:v1.36.3\n"},
			Kubeadm{AdminConf: true, Etcd: true, Version: "v1.36.3"}},
		"image without a tag": {map[string]string{"apiserver": "    image: registry.example:5000/kube-apiserver\n"}, Kubeadm{}},
	} {
		if got := one(t, c.values).Kubeadm; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestParse_Installed(t *testing.T) {
	const mark = "state done\ndigest d\nfile aa 1 755 1 /usr/local/bin/containerd\n"
	for name, c := range map[string]struct {
		values map[string]string
		want   Installed
	}{
		"none": {map[string]string{"marker/runtime": mark}, Installed{}},
		"of the distribution": {map[string]string{"tools": "containerd /usr/bin/containerd\n", "marker/runtime": mark},
			Installed{Path: "/usr/bin/containerd"}},
		"ours, stopped": {map[string]string{"tools": "containerd /usr/local/bin/containerd\n", "marker/runtime": mark,
			"units": "containerd.service\n", "states": "inactive\n"}, Installed{Path: "/usr/local/bin/containerd", Ours: true}},
		"ours, half done": {map[string]string{"tools": "containerd /usr/local/bin/containerd\n", "marker/runtime": "state started\n"},
			Installed{Path: "/usr/local/bin/containerd", Ours: true}},
		"another step half done": {map[string]string{"tools": "containerd /usr/local/bin/containerd\n", "marker/os": "state started\n"},
			Installed{Path: "/usr/local/bin/containerd"}},
		"running": {map[string]string{"tools": "containerd /usr/bin/containerd\n", "units": "containerd.service\n", "states": "active\n"},
			Installed{Path: "/usr/bin/containerd", Running: true}},
	} {
		if got := one(t, c.values).Containerd; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestClock(t *testing.T) {
	for text, want := range map[string]clock{
		"1700000000.123456789": {time: time.Unix(1700000000, 123456789)},
		"1700000000.000000001": {time: time.Unix(1700000000, 1)},
		"1700000000.":          {time.Unix(1700000000, 0), time.Second},
		"1700000000.%N":        {time.Unix(1700000000, 0), time.Second},
		"1700000000":           {time.Unix(1700000000, 0), time.Second},
		"":                     {},
		"noon":                 {},
	} {
		if got := (document{"clock": text}).clock(); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

// FuzzParse looks for answers that Parse cannot bear. It also feeds single values, which reach deeper than broken JSON.
func FuzzParse(f *testing.F) {
	for _, path := range documents(f) {
		b := read(f, path)
		f.Add(b, "", "")
		d, err := decode(b)
		if err != nil {
			f.Fatal(err)
		}
		for key, value := range d {
			f.Add([]byte(nil), key, value)
		}
	}
	f.Add([]byte(nil), "marker/x", "state done\nfile aa 1 644 1 /x\nsysctl a\nunit\nmodule\n")
	f.Add([]byte(nil), "files", "81a4 1 1.5 /x\nzz 1 1 /y\n81a4 -1 1 /z\n")
	f.Add([]byte(nil), "ca.crt", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
	for key, value := range map[string]string{"mounts": "/usr ro,rw\n/usr rw\n /x\n", "resolv": "nameserver\nnameserver ::1 x\n", "ufw": "ENABLED=\"yes\"", "page-of-maps": "KernelPageSize: 4 kB",
		"without": "awk", "network-manager": "unmanaged-devices\n=\n", "cni-configs": "b\na\n", "model": "x\x00"} {
		f.Add([]byte(nil), key, value)
	}
	f.Fuzz(func(t *testing.T, data []byte, key, value string) {
		if key != "" {
			data = encode(map[string]string{"machine": "aarch64", "units": "a\nb\n", "states": "active\nfailed\n",
				"marker/y": "state done\nfile aa 1 644 1 /x\nunit a\nmodule m\nsysctl k v\n", "files": "81a4 1 1.5 /x\n", key: value})
		}
		h, err := parsed(data)
		if err != nil && !reflect.DeepEqual(h, Host{}) {
			t.Errorf("an error and facts: %v, %+v", err, h)
		}
		var whole document
		if d, err := decode(data); err == nil && json.Unmarshal(data, &whole) == nil && utf8.Valid(data) && !reflect.DeepEqual(d, whole) {
			t.Errorf("read %q, it is %q", d, whole)
		}
		if err == nil && (h.UnameMachine == "" || h.Modules == nil || h.Markers == nil) {
			t.Errorf("facts are missing: %+v", h)
		}
	})
}

// BenchmarkParse reads a working node's answer.
func BenchmarkParse(b *testing.B) {
	data := read(b, "testdata/debian-13-arm64-worker.json")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parsed(data); err != nil {
			b.Fatal(err)
		}
	}
}
