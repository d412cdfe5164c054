package survey

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

func TestPlaneFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("HYBRIDCTL_TEST_FILE", "from the environment")
	for name, c := range map[string]struct {
		file    inventory.ControlPlaneFile
		text    string // "" = it is not read
		problem string
		plan    bool // a verb that runs no programs
	}{
		"a file":                    {file: inventory.ControlPlaneFile{Source: write("a", "rules: []\n")}, text: "rules: []\n"},
		"a secret's file":           {file: inventory.ControlPlaneFile{SecretFile: write("b", "key: x\n")}, text: "key: x\n"},
		"a variable":                {file: inventory.ControlPlaneFile{SecretEnv: "HYBRIDCTL_TEST_FILE"}, text: "from the environment"},
		"a program":                 {file: inventory.ControlPlaneFile{SecretCommand: []string{"cat", "a"}}, text: "rules: []\n"},
		"a program, in a plan":      {file: inventory.ControlPlaneFile{SecretCommand: []string{"cat", "a"}}, plan: true},
		"a file, in a plan":         {file: inventory.ControlPlaneFile{SecretFile: write("b", "key: x\n")}, plan: true, text: "key: x\n"},
		"no such file":              {file: inventory.ControlPlaneFile{SecretFile: filepath.Join(dir, "none")}, problem: "spec.kubernetes.files[0], it: " + dir + "/none: no such file or directory"},
		"no such variable":          {file: inventory.ControlPlaneFile{SecretEnv: "HYBRIDCTL_TEST_NONE"}, problem: "the environment variable HYBRIDCTL_TEST_NONE, which is to hold the content, is not set"},
		"a program that fails":      {file: inventory.ControlPlaneFile{SecretCommand: []string{"sh", "-c", "echo hunter2; exit 3"}}, problem: "spec.kubernetes.files[0], it: secretCommand sh: exit status 3"},
		"an empty one":              {file: inventory.ControlPlaneFile{Source: write("c", "")}, problem: "it is empty"},
		"one that is no small file": {file: inventory.ControlPlaneFile{Source: write("d", strings.Repeat("x", maxPlaneFile+1))}, problem: "has more than 1048576 bytes"},
	} {
		c.file.Name = "it"
		cluster := &inventory.Cluster{Path: filepath.Join(dir, "inventory.yaml")}
		cluster.Spec.Kubernetes.Files = []inventory.ControlPlaneFile{c.file}
		var s Seen
		err := Reader{Cluster: cluster, NoPrograms: c.plan}.PlaneFiles(t.Context(), &s)
		if (err == nil) != (c.problem == "") || err != nil && (!strings.Contains(err.Error(), c.problem) || strings.Contains(err.Error(), "hunter2") || hint.Text(err) == "") {
			t.Errorf("%s: %v, want %q", name, err, c.problem)
		}
		if got, read := s.Files.Planes["it"]; string(got) != c.text || read != (c.text != "") {
			t.Errorf("%s: %q, %v", name, string(got), read)
		}
	}
}
