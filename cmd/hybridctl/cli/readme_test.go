package cli

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// readme returns the README and its fenced blocks of a language that contain a text.
func readme(t *testing.T) (text string, blocks func(language, with string) []string) {
	t.Helper()
	b, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	fence := regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")
	return string(b), func(language, with string) []string {
		var found []string
		for _, m := range fence.FindAllStringSubmatch(string(b), -1) {
			if m[1] == language && strings.Contains(m[2], with) {
				found = append(found, m[2])
			}
		}
		return found
	}
}

func TestReadme_InventoriesAreValid(t *testing.T) {
	_, blocks := readme(t)
	found := blocks("yaml", "kind: Cluster")
	if len(found) == 0 {
		t.Fatal("the README shows no inventory")
	}
	for _, doc := range found {
		r := newRun(t)
		r.file("inventory.yaml", doc)
		r.want("inventory validate", 0)
	}
}

// TestReadme_BundleSourceLacksOnlyTheFiles: the files it names are not there, but nothing else is wrong with it.
func TestReadme_BundleSourceLacksOnlyTheFiles(t *testing.T) {
	_, blocks := readme(t)
	found := blocks("yaml", "kind: BundleSource")
	if len(found) != 1 {
		t.Fatalf("%d bundle sources in the README, want 1", len(found))
	}
	r := newRun(t)
	r.file("bundle.yaml", found[0])
	r.want("bundle create new", 2)
	absent := regexp.MustCompile(`does not exist|no such file`)
	consequence := regexp.MustCompile(`the binary \S+ of the component (\S+) is missing`)
	for line := range strings.Lines(r.stderr.String()) {
		m := consequence.FindStringSubmatch(line)
		named := m != nil && strings.Contains(found[0], "component: "+m[1])
		if !absent.MatchString(line) && !named {
			t.Errorf("also wrong: %s", line)
		}
	}
}

func TestReadme_CommandsExist(t *testing.T) {
	text, blocks := readme(t)
	n := 0
	for _, block := range blocks("sh", "hybridctl") {
		for line := range strings.Lines(block) {
			command, _, _ := strings.Cut(line, "#")
			args, ok := strings.CutPrefix(strings.TrimSpace(command), "hybridctl ")
			if !ok {
				continue
			}
			n++
			newRun(t).want(args+" --help", 0)
		}
	}
	if n < 5 {
		t.Errorf("only %d commands found", n)
	}
	for _, cmd := range newRoot(&app{}).Commands() {
		if !strings.Contains(text, "`"+cmd.Name()) {
			t.Errorf("the README does not name %s", cmd.Name())
		}
	}
}
