package inventory

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whatever bytes come: no panic, problems have places, and what loads loads again from what Show prints of it, the same.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"../../inventories/*.yaml", "testdata/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add([]byte(valid))
	f.Add([]byte("\uFEFF" + valid))
	f.Add([]byte(valid + "---\n"))
	f.Add([]byte("a: 1.50\nb: [0x1f, ~, 'x: y', {c: d}]\n? e\n: |\n  text\n\ng: &g {h: !!str 1}\ni: *g\nj: {<<: *g}"))
	f.Add([]byte("a: \"\\x00\\u2028\\uFEFF\\t \"\nb: 2026-01-02\nc: 1e20\nd: -0.0\ne: 18446744073709551615"))

	f.Fuzz(func(t *testing.T, data []byte) {
		checkRoundTrip(t, data)
		checkRoundTrip(t, inFragment(data))
	})
}

// inFragment puts bytes where any YAML may stand.
func inFragment(data []byte) []byte {
	fragment := "version: v1.36.3\n    kubelet:\n      " + strings.ReplaceAll(string(data), "\n", "\n      ")
	return []byte(strings.Replace(valid, "version: v1.36.3", fragment, 1))
}

func checkRoundTrip(t *testing.T, data []byte) {
	const file = "../../inventories/fuzz.yaml"
	home := func() (string, error) { return "/home/me", nil }
	c, err := parse(file, data, home)
	if err != nil {
		for _, problem := range err.(*Problems).List {
			if problem.Line < 1 || problem.Column < 1 || problem.Message == "" {
				t.Errorf("a problem without a place: %s", problem)
			}
		}
		return
	}
	if _, err := json.Marshal(c); err != nil {
		t.Errorf("it is not JSON: %v", err)
	}
	for _, defaults := range []bool{false, true} {
		shown, err := Show(c, defaults)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parse(file, shown, home)
		if err != nil {
			t.Fatalf("defaults %v: what is shown does not load: %v\n%s", defaults, err, shown)
		}
		if diff := cmp.Diff(c, again, ignoreDocument); diff != "" {
			t.Errorf("defaults %v: what is shown means something else:\n%s", defaults, diff)
		}
	}
}

// FuzzCephKey: a key comes from a file, the environment or a program. One that is taken is a key again, and an error does not repeat it.
func FuzzCephKey(f *testing.F) {
	f.Add("AQBSdFhmAAAAABAAp1Mcm6JQYGVUFQVmYzHvTw==")
	f.Add("[client.csi]\n\tkey = AQBSdFhmAAAAABAAp1Mcm6JQYGVUFQVmYzHvTw==\n")
	f.Add("key = \nkey =\n")
	f.Add("\n\tkey = AQBSdFhmAA\r\r\rAAABAAp1Mcm6JQYGVUFQVmYzHvTw==")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParseCephKey(text)
		if err == nil {
			if again, err := ParseCephKey(string(key.Secret)); err != nil || again != key {
				t.Errorf("%q is taken, and alone it is not: %v", text, err)
			}
		} else if len(text) > 20 && strings.Contains(err.Error(), text) {
			t.Errorf("the error repeats it: %v", err)
		}
	})
}
