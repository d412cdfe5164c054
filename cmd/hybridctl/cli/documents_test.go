package cli

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hybridctl/hybridctl/provision/conformance"
)

// checkout is the top folder, as tests here see it when they begin.
const checkout = "../../.."

// document is a page beside what it describes.
type document struct {
	path   string // from the top folder
	text   string
	prose  string // the text without its fenced blocks
	blocks []block
}

// block is a fenced block: "sh" holds commands, "yaml" documents, one without a language what was printed.
type block struct{ language, text string }

var fenced = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

// documents reads every page of the project, by path.
func documents(t *testing.T) map[string]document {
	t.Helper()
	docs := map[string]document{}
	err := filepath.WalkDir(checkout, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			hidden := strings.HasPrefix(d.Name(), ".") && path != checkout && d.Name() != ".github"
			if hidden || d.Name() == "testdata" || d.Name() == "bin" {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(checkout, path)
		if err != nil {
			return err
		}
		doc := document{path: rel, text: string(b), prose: fenced.ReplaceAllString(string(b), "")}
		for _, m := range fenced.FindAllStringSubmatch(doc.text, -1) {
			doc.blocks = append(doc.blocks, block{m[1], m[2]})
		}
		docs[rel] = doc
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, must := range []string{"README.md", "CONTRIBUTING.md", "cmd/hybridctl/README.md", "inventories/README.md", "provision/README.md"} {
		if docs[must].text == "" {
			t.Fatalf("%s is missing", must)
		}
	}
	return docs
}

// inOrder yields the documents by path.
func inOrder(docs map[string]document) []document {
	var all []document
	for _, path := range slices.Sorted(maps.Keys(docs)) {
		all = append(all, docs[path])
	}
	return all
}

func TestDocuments_ReadmeIsOneScreen(t *testing.T) {
	const most = 7 << 10
	if n := len(documents(t)["README.md"].text); n > most {
		t.Errorf("README.md has %d bytes, more than %d: what is more than a first screen stands beside what it describes", n, most)
	}
}

// The binary embeds folders of templates whole: a page there would be part of it.
func TestDocuments_NoneIsEmbedded(t *testing.T) {
	for _, doc := range inOrder(documents(t)) {
		if strings.HasPrefix(doc.path, "templates/") {
			t.Errorf("%s would be part of the binary", doc.path)
		}
	}
}

func TestDocuments_InventoriesAreValid(t *testing.T) {
	shown := 0
	for _, doc := range inOrder(documents(t)) {
		for _, b := range doc.blocks {
			text := b.text
			switch {
			case b.language != "yaml":
				continue
			case strings.HasPrefix(text, "storage:"):
				text = lab + "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
			case !strings.Contains(text, "kind: Cluster"):
				continue
			}
			shown++
			r := newRun(t)
			r.file("inventory.yaml", text)
			if r.do("inventory validate") != 0 {
				t.Errorf("%s shows an inventory that is not valid:\n%s", doc.path, &r.stderr)
			}
		}
	}
	if shown < 2 {
		t.Errorf("only %d inventories are shown", shown)
	}
}

func TestDocuments_ExamplesAreValidAndListed(t *testing.T) {
	text := documents(t)["inventories/README.md"].text
	files, err := filepath.Glob(checkout + "/inventories/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("only %d inventories found", len(files))
	}
	for _, file := range files {
		base := filepath.Base(file)
		if strings.HasSuffix(base, ".lab.yaml") { // the lab writes them
			continue
		}
		if !strings.Contains(text, "("+base+")") {
			t.Errorf("inventories/README.md does not name %s", base)
		}
		path, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(base, func(t *testing.T) { newRun(t).want("inventory validate -f "+path, 0) })
	}
}

// Inventories that documents name exist, but for those that a command they show writes.
func TestDocuments_InventoriesExist(t *testing.T) {
	named := regexp.MustCompile(`\binventories/[\w-]+(?:\.[\w-]+)*\.yaml\b`)
	n := 0
	for _, doc := range inOrder(documents(t)) {
		for _, path := range named.FindAllString(doc.text, -1) {
			n++
			_, err := os.Stat(filepath.Join(checkout, path))
			written := strings.Contains(doc.text, "--out "+path) || strings.HasPrefix(path, "inventories/NAME.")
			if err != nil && !written {
				t.Errorf("%s names %s, which does not exist", doc.path, path)
			}
		}
	}
	if n < 5 {
		t.Errorf("only %d inventories are named", n)
	}
}

// The files that the bundle source names are not there, but nothing else is wrong with it.
func TestDocuments_BundleSourceLacksOnlyTheFiles(t *testing.T) {
	var found []string
	for _, doc := range documents(t) {
		for _, b := range doc.blocks {
			if b.language == "yaml" && strings.Contains(b.text, "kind: BundleSource") {
				found = append(found, b.text)
			}
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d bundle sources are shown, want 1", len(found))
	}
	r := newRun(t)
	r.file("bundle.yaml", found[0])
	r.want("bundle create new", 2)
	absent := regexp.MustCompile(`does not exist|no such file|^hint: `)
	for line := range strings.Lines(r.stderr.String()) {
		if !absent.MatchString(line) {
			t.Errorf("also wrong: %s", line)
		}
	}
}

// span is a piece of code within a sentence.
var span = regexp.MustCompile("`([^`]+)`")

// commandsOf are the command lines that a document shows: in blocks of commands, after prompts, and within sentences.
func commandsOf(doc document) []string {
	var lines []string
	for _, b := range doc.blocks {
		for line := range strings.Lines(b.text) {
			line, prompt := strings.CutPrefix(strings.TrimSpace(line), "$ ")
			if prompt || b.language == "sh" {
				lines = append(lines, line)
			}
		}
	}
	for _, m := range span.FindAllStringSubmatch(doc.prose, -1) {
		lines = append(lines, m[1])
	}
	var out []string
	for _, line := range lines {
		line, _, _ = strings.Cut(line, " #")
		if args, ok := strings.CutPrefix(line, "hybridctl "); ok && unicode.IsLower(rune(args[0])) {
			out = append(out, strings.Join(strings.Fields(args), " "))
		}
	}
	return out
}

// notYet are commands and flags that a page beside the code speaks of before the command line has them.
var notYet = []string{}

func TestDocuments_NotYet(t *testing.T) {
	flags := map[string]bool{}
	for _, cmd := range leaves(newRoot(&app{})) {
		addFlags(flags, cmd)
	}
	for _, name := range notYet {
		flag, isFlag := strings.CutPrefix(name, "--")
		if isFlag && flags[flag] || !isFlag && unknownWord(name) == "" {
			t.Errorf("%s is there now: take it off the list notYet", name)
		}
	}
}

func TestDocuments_CommandsExist(t *testing.T) {
	n := 0
	for _, doc := range inOrder(documents(t)) {
		for _, args := range commandsOf(doc) {
			n++
			if slices.ContainsFunc(notYet, func(c string) bool { return strings.HasPrefix(args, c) }) {
				continue
			}
			if word := unknownWord(args); word != "" {
				t.Errorf("%s shows \"hybridctl %s\": there is no command %s", doc.path, args, word)
			} else if r := newRun(t); r.do(args+" --help") != 0 {
				t.Errorf("%s shows \"hybridctl %s\": %s", doc.path, args, &r.stderr)
			}
		}
	}
	if n < 50 {
		t.Errorf("only %d commands found", n)
	}
}

// unknownWord is the word of a command line that should name a command, and does not: --help alone would not mind.
func unknownWord(args string) string {
	cmd := newRoot(&app{})
	for _, word := range strings.Fields(args) {
		if strings.HasPrefix(word, "-") || !cmd.HasSubCommands() {
			return ""
		}
		i := slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool { return c.Name() == word })
		if i < 0 {
			return word
		}
		cmd = cmd.Commands()[i]
	}
	return ""
}

// leaves are the commands that do something, by the words that call them.
func leaves(cmd *cobra.Command) map[string]*cobra.Command {
	found := map[string]*cobra.Command{}
	for _, c := range cmd.Commands() {
		if _, words, _ := strings.Cut(c.CommandPath(), " "); c.Runnable() && (!c.HasSubCommands() || words == "conformance") {
			found[words] = c
		}
		maps.Copy(found, leaves(c))
	}
	return found
}

// addFlags adds the names of a command's flags, also of those that it has from its parents.
func addFlags(names map[string]bool, cmd *cobra.Command) {
	add := func(f *pflag.Flag) { names[f.Name] = true }
	cmd.InheritedFlags().VisitAll(add)
	cmd.Flags().VisitAll(add)
}

// verbRow is a row of the table of verbs: its commands, which share their first word, and what it says of them.
var verbRow = regexp.MustCompile("(?m)^\\| (`[^|]*) \\| (.*) \\|$")

// The table of verbs names every command, and of each only flags that it has.
func TestDocuments_TableOfVerbs(t *testing.T) {
	_, table, _ := strings.Cut(documents(t)["cmd/hybridctl/README.md"].text, "\n## Verbs\n")
	table, _, _ = strings.Cut(table, "\n## ")
	all, named := leaves(newRoot(&app{})), map[string]bool{}
	for _, row := range verbRow.FindAllStringSubmatch(table, -1) {
		flags, group := map[string]bool{}, ""
		for i, m := range span.FindAllStringSubmatch(row[1], -1) {
			words := strings.TrimRight(regexp.MustCompile(`[^a-z -].*`).ReplaceAllString(m[1], ""), " ")
			if first, _, two := strings.Cut(words, " "); i == 0 && two {
				group = first
			} else if i > 0 && all[words] == nil {
				words = group + " " + words
			}
			cmd := all[words]
			if cmd == nil {
				t.Errorf("the table of verbs names %q, which is no command", words)
				continue
			}
			named[words] = true
			addFlags(flags, cmd)
		}
		for _, m := range regexp.MustCompile("--([a-z0-9-]+)").FindAllStringSubmatch(row[2], -1) {
			if !flags[m[1]] {
				t.Errorf("the table of verbs says --%s of %s, which has no such flag", m[1], row[1])
			}
		}
	}
	for words := range all {
		if !named[words] {
			t.Errorf("the table of verbs in cmd/hybridctl/README.md does not name %q", words)
		}
	}
}

// foreignFlags are flags of other programs that documents speak of.
var foreignFlags = []string{"immediate-topology"}

func TestDocuments_FlagsExist(t *testing.T) {
	known := map[string]bool{}
	for _, cmd := range leaves(newRoot(&app{})) {
		addFlags(known, cmd)
	}
	flag := regexp.MustCompile(`^--([a-z0-9-]+)`)
	n := 0
	for _, doc := range inOrder(documents(t)) {
		for _, m := range span.FindAllStringSubmatch(doc.prose, -1) {
			f := flag.FindStringSubmatch(m[1])
			if f == nil {
				continue
			}
			n++
			if !known[f[1]] && !slices.Contains(foreignFlags, f[1]) && !slices.Contains(notYet, "--"+f[1]) {
				t.Errorf("%s speaks of --%s, which no command has", doc.path, f[1])
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d flags found", n)
	}
}

func TestDocuments_ExitCodes(t *testing.T) {
	source, err := os.ReadFile("exit.go")
	if err != nil {
		t.Fatal(err)
	}
	text := documents(t)["cmd/hybridctl/README.md"].text
	codes := regexp.MustCompile(`(?m)^\texit\w+ += (\d+)`).FindAllStringSubmatch(string(source), -1)
	if len(codes) < 10 {
		t.Fatalf("only %d exit codes found", len(codes))
	}
	for _, m := range codes {
		if !strings.Contains(text, "\n| "+m[1]+" | ") {
			t.Errorf("the table of exit codes lacks %s", m[1])
		}
	}
}

// The page on conformance names every check of every scenario.
func TestDocuments_Checks(t *testing.T) {
	text := documents(t)["provision/conformance/README.md"].text
	_, table, _ := strings.Cut(text, "\n| check | proves |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	named := map[string]bool{}
	for row := range strings.Lines(table) {
		for _, id := range strings.Split(strings.SplitN(row, "|", 3)[1], ",") {
			named[strings.TrimSpace(id)] = true
		}
	}
	for _, s := range conformance.Scenarios() {
		for _, c := range conformance.ChecksOf(s) {
			if !named[c.ID] {
				t.Errorf("provision/conformance/README.md does not say what %s (%s) proves", c.ID, c.Title)
			}
		}
	}
}

func TestDocuments_LinksResolve(t *testing.T) {
	docs := documents(t)
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	n := 0
	for _, doc := range inOrder(docs) {
		for _, m := range link.FindAllStringSubmatch(span.ReplaceAllString(doc.prose, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			n++
			path, anchor, _ := strings.Cut(m[1], "#")
			target := filepath.Join(filepath.Dir(doc.path), path)
			if path == "" {
				target = doc.path
			}
			if _, err := os.Stat(filepath.Join(checkout, target)); err != nil {
				t.Errorf("%s links to %s, which does not exist", doc.path, m[1])
			} else if anchor != "" && !slices.Contains(anchors(docs[target]), anchor) {
				t.Errorf("%s links to %s, which has no such heading; it has %q", doc.path, m[1], anchors(docs[target]))
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d links found", n)
	}
}

// anchors are what GitHub calls a document's headings.
func anchors(doc document) []string {
	var out []string
	for line := range strings.Lines(doc.prose) {
		title, heading := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !heading || !strings.HasPrefix(line, "#") {
			continue
		}
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(title))
		for i, once := 1, slug; slices.Contains(out, slug); i++ {
			slug = fmt.Sprintf("%s-%d", once, i)
		}
		out = append(out, slug)
	}
	return out
}
