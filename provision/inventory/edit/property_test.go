package edit

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

// stepOf is an edit with the one that takes it back.
type stepOf struct {
	name       string
	do, undo   Edit
	goes, come int    // how many lines at most
	mentioning string // instead: as many lines as there are that say this
}

// TestApply_EditsAndTheirUndoing walks through every example with random edits: all lines but those of the edit stay byte for byte, and
// taking the edits back, in reverse, gives the same bytes.
func TestApply_EditsAndTheirUndoing(t *testing.T) {
	const walks, length = 3, 6
	for _, file := range examples(t) {
		original, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(walks) {
			r := rand.New(rand.NewPCG(seed, 1))
			text := original
			switch seed % 3 {
			case 1:
				text = []byte(strings.ReplaceAll(string(original), "\n", "\r\n"))
			case 2:
				text = []byte(strings.TrimSuffix(string(original), "\n"))
			}
			type done struct {
				stepOf
				before []byte
			}
			var all []done
			for n := range length {
				s := randomStep(t, r, file, text, n)
				after := must(t, file, text, s.do, s.name)
				checkLines(t, file, s, string(text), string(after))
				all = append(all, done{s, text})
				text = after
			}
			for _, d := range slices.Backward(all) {
				text = must(t, file, text, d.undo, "undo "+d.name)
				if string(text) != string(d.before) {
					t.Fatalf("%s, seed %d: after undoing %q:\n%s", file, seed, d.name, changes(string(d.before), string(text)))
				}
			}
		}
	}
}

func must(t *testing.T, file string, text []byte, e Edit, name string) []byte {
	t.Helper()
	out, err := Apply(file, text, e)
	if err != nil {
		t.Fatalf("%s: %s: %v\n%s", file, name, err, text)
	}
	return out
}

// checkLines holds an edit to its lines: without those that went and those that came, the texts are the same.
func checkLines(t *testing.T, file string, s stepOf, before, after string) {
	t.Helper()
	old, now := strings.Split(before, "\n"), strings.Split(after, "\n")
	if s.mentioning != "" {
		for i := range old {
			if old[i] != now[i] && !strings.Contains(old[i], s.mentioning) {
				t.Fatalf("%s: %s changes a line that does not mention it: %s", file, s.name, old[i])
			}
		}
		return
	}
	first := 0
	for first < min(len(old), len(now)) && old[first] == now[first] {
		first++
	}
	last := 0
	for last < min(len(old), len(now))-first && old[len(old)-1-last] == now[len(now)-1-last] {
		last++
	}
	if gone, came := len(old)-first-last, len(now)-first-last; gone > s.goes || came > s.come {
		t.Fatalf("%s: %s changes %d lines into %d, at most %d and %d are its own:\n%s", file, s.name, gone, came, s.goes, s.come, changes(before, after))
	}
}

func randomStep(t *testing.T, r *rand.Rand, file string, text []byte, n int) stepOf {
	t.Helper()
	c, err := inventory.Parse(file, text)
	if err != nil {
		t.Fatal(err)
	}
	h := c.Spec.Hosts[r.IntN(len(c.Spec.Hosts))].Name
	fresh := fmt.Sprintf("new-%d", n)
	switch r.IntN(5) {
	case 0:
		added := inventory.Host{Name: fresh, Address: fmt.Sprintf("198.51.100.%d", n+1), Taints: []string{"a=b:NoSchedule"}}
		return stepOf{"add " + fresh, AddHost(added), RemoveHost(fresh), 0, 5, ""}
	case 1:
		return stepOf{"rename " + h, RenameHost(h, fresh), RenameHost(fresh, h), 0, 0, h}
	case 2:
		path := fmt.Sprintf("spec.hosts[%s].labels[example.com/%s]", h, fresh)
		return stepOf{"set " + path, Set(path, "true"), Unset(path), 1, 2, ""}
	case 3:
		path, value := absentField(r, string(text))
		return stepOf{"set " + path, Set(path, value), Unset(path), 1, 3, ""}
	}
	path, old, value := presentField(r, c, h)
	return stepOf{"set " + path, Set(path, value), Set(path, old), 1, 1, ""}
}

// absentField is a field that the text does not have.
func absentField(r *rand.Rand, text string) (path, value string) {
	fields := [][2]string{
		{"spec.timeouts.ready", "1h"}, {"spec.ssh.keepAlive", "77s"}, {"spec.kubernetes.timeouts.discovery", "9m"},
		{"spec.kubernetes.dnsDomain", "k8s.example"}, {"spec.conformance.registry", "{image: r.example/a:1, username: me, passwordEnv: P}"},
		{"spec.kubernetes.etcd.extraArgs[0]", "{name: snapshot-count, value: \"5\"}"}, {"spec.preflight.ignore[0]", "swap"},
	}
	var root yaml.Node
	if yaml.Unmarshal([]byte(text), &root) != nil {
		return "", ""
	}
	d := newDocument("", []byte(text), root.Content[0])
	if err := root.Content[0].Decode(&d.values); err != nil {
		return "", ""
	}
	for {
		f := fields[r.IntN(len(fields))]
		if steps, err := d.resolve(f[0]); err == nil && !d.has(steps) {
			return f[0], f[1]
		}
		fields = append(fields, [2]string{fmt.Sprintf("spec.kubernetes.kubelet.field%d", r.IntN(1000)), "-5"})
	}
}

// presentField is a field that the text has, with another value for it.
func presentField(r *rand.Rand, c *inventory.Cluster, host string) (path, old, value string) {
	h, _ := c.Host(host)
	f := [][3]string{
		{"metadata.name", c.Metadata.Name, "other"},
		{"spec.kubernetes.version", c.Spec.Kubernetes.Version, "v1.35.0"},
		{"spec.hosts[" + host + "].address", h.Address, "198.51.100.200"},
	}[r.IntN(3)]
	return f[0], f[1], f[2]
}

// Whatever document and edit come: no panic, and what is returned is an inventory.
func FuzzApply(f *testing.F) {
	for _, text := range []string{block, flowing, jsonText} {
		f.Add([]byte(text), uint8(0), "spec.hosts[x86-1].labels.zone", "b")
		f.Add([]byte(text), uint8(1), "spec.hosts[x86-2].taints[0]", "")
		f.Add([]byte(text), uint8(2), "n=192.0.2.50,label=a=b", "")
		f.Add([]byte(text), uint8(3), "x86-2", "")
		f.Add([]byte(text), uint8(4), "arm-1", "n")
		f.Add([]byte(text), uint8(5), "", "")
	}
	f.Add([]byte(strings.Replace(block, "./bundle", "|\n      a\n\n    # x", 1)), uint8(0), "spec.bundle", "b")
	f.Add([]byte(strings.Replace(stored, "keyFile: rbd.key", "key: &k '"+cephKey("a")+"'", 1)), uint8(0), "spec.storage.ceph.rbd.key", cephKey("b"))
	f.Add([]byte("spec: &a {hosts: [*a]}"), uint8(3), "a", "")
	f.Fuzz(func(t *testing.T, text []byte, kind uint8, a, b string) {
		e := []Edit{Set(a, b), Unset(a), nil, RemoveHost(a), RenameHost(a, b), Format()}[kind%6]
		if e == nil {
			h, err := ParseHost(a)
			if err != nil {
				return
			}
			e = AddHost(h)
		}
		out, err := Apply("F", text, e)
		if err != nil {
			if out != nil {
				t.Error("text and an error")
			}
			return
		}
		if _, err := inventory.Parse("F", out); err != nil {
			t.Errorf("the result does not load: %v\n%s", err, out)
		}
		if json.Valid(text) && !json.Valid(out) {
			t.Errorf("it is JSON no more:\n%s", out)
		}
		if shown := (&File{Name: "F", before: text, after: out}).Diff(); strings.Contains(shown, "\x00") {
			t.Errorf("a mark is left in %q", shown)
		}
	})
}
