package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/pkg/v3/engine"
	pkgresource "github.com/pulumi/pulumi/pkg/v3/resource"
	"github.com/pulumi/pulumi/pkg/v3/resource/stack"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/urn"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/plan"
)

func read(t testing.TB, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	ok(t, err)
	return string(b)
}

func write(t testing.TB, content string, path ...string) {
	t.Helper()
	ok(t, os.WriteFile(filepath.Join(path...), []byte(content), 0o600))
}

func TestOpenStore_IsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s, w, p := open(t, dir), newWorld(), fleet(1)
	_, err := up(t, s, w, p)
	ok(t, err)
	_, err = up(t, s, w, change(p, "host-0/os")) // leaves an old state
	ok(t, err)
	for path, want := range modes(t, dir) {
		if want != "-rw-------" {
			t.Errorf("%s has mode %s", path, want)
		}
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if info, err := os.Stat(d); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", d, info.Mode(), err)
		}
	}
}

func modes(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	ok(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			info, err := d.Info()
			found[d.Name()] = info.Mode().String()
			return err
		}
		return err
	}))
	for _, name := range []string{"state.json", "state.json.1", "secret.key", "lock"} {
		if found[name] == "" {
			t.Errorf("%s is missing", name)
		}
	}
	return found
}

func TestOpenStore_MendsModes(t *testing.T) {
	dir := t.TempDir()
	s, w, p := open(t, dir), newWorld(), fleet(1)
	_, err := up(t, s, w, p)
	ok(t, err)
	ok(t, s.Close())
	ok(t, os.Chmod(dir, 0o755))
	ok(t, os.Chmod(filepath.Join(dir, "state.json"), 0o644))
	ok(t, os.Chmod(filepath.Join(dir, "secret.key"), 0o640))
	open(t, dir)
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v", info.Mode())
	}
	for _, name := range []string{"state.json", "secret.key"} {
		if info, _ := os.Stat(filepath.Join(dir, name)); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

func TestOpenStore_NotADirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, "", file)
	if _, err := OpenStore(file); err == nil || !strings.Contains(err.Error(), "state directory") {
		t.Errorf("error is %v", err)
	}
}

func TestOpenStore_LockedByThisProcess(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	host, err := os.Hostname()
	ok(t, err)
	_, err = OpenStore(dir)
	is(t, err, ErrLocked)
	if want := fmt.Sprintf("another hybridctl is at work on this cluster: pid %d on %s", os.Getpid(), host); err.Error() != want {
		t.Errorf("got  %q\nwant %q", err, want)
	}
	ok(t, s.Close())
	open(t, dir)
}

// A lock file that was removed with its directory locks nothing.
func TestLock_OfARemovedFileIsNotTaken(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "lock"))
	ok(t, err)
	defer f.Close()
	if !sameFile(f, f.Name()) {
		t.Error("the file is not itself")
	}
	ok(t, os.Remove(f.Name()))
	if sameFile(f, f.Name()) {
		t.Error("a removed file passes")
	}
	write(t, "", dir, "lock")
	if sameFile(f, f.Name()) {
		t.Error("another file of the same name passes")
	}
}

func TestOpenStore_UnreadableState(t *testing.T) {
	for name, c := range map[string]struct{ content, want string }{
		"torn":       {`{"version":3,"deploy`, "it is safe to delete "},
		"empty":      {"", "it is safe to delete "},
		"wrong type": {`{"version":3,"deployment":{"resources":7}}`, "it is safe to delete "},
		"newer":      {`{"version":9,"deployment":{}}`, "has version 9, this hybridctl reads 3 to 4"},
		"no version": {`{}`, "has version 0, this hybridctl reads 3 to 4"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, c.content, dir, "state.json")
			_, err := OpenStore(dir)
			if err == nil || !strings.Contains(err.Error()+"\n"+hint.Text(err), c.want) || !strings.Contains(err.Error(), dir) {
				t.Fatalf("error is %v, want %q", err, c.want)
			}
			if strings.Contains(c.want, "safe to delete") && !strings.HasSuffix(hint.Text(err), "delete "+filepath.Join(dir, "state.json")+
				" and run again, as the truth is on the hosts and the state is rebuilt from there; leave the other files of "+dir+": known_hosts among them holds the hosts' keys") {
				t.Errorf("the advice is another: %v", err)
			}
			if got := read(t, dir, "state.json"); got != c.content {
				t.Errorf("the state was changed to %q", got)
			}
			ok(t, os.Remove(filepath.Join(dir, "state.json"))) // and the lock is free again
			open(t, dir)
		})
	}
}

// What OpenStore does not look at is found when the engine is to start, and nothing is done then.
func TestUp_UnreadableState(t *testing.T) {
	dir := t.TempDir()
	write(t, `{"version":3,"deployment":{"resources":[],"manifest":{"time":"yesterday"}}}`, dir, "state.json")
	s, w, p := open(t, dir), newWorld(), fleet(1)
	_, err := up(t, s, w, p)
	if err == nil || !strings.Contains(hint.Text(err), "it is safe to delete ") {
		t.Errorf("error is %v", err)
	}
	equal(t, "done", w.done(), nil)
}

func TestStore_KeepsTheLastStates(t *testing.T) {
	dir := t.TempDir()
	s, w, p := open(t, dir), newWorld(), fleet(1)
	var saved []string
	for range 8 {
		p = change(p, "host-0/os")
		_, err := up(t, s, w, p)
		ok(t, err)
		saved = append(saved, read(t, dir, "state.json"))
	}
	for n := 1; n <= 5; n++ {
		if read(t, dir, fmt.Sprintf("state.json.%d", n)) != saved[len(saved)-1-n] {
			t.Errorf("state.json.%d is not the state of %d runs ago", n, n)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "state.json.6")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("state.json.6: %v", err)
	}
}

// The state is what "pulumi stack import" takes: stock code reads it without our secrets manager and finds it sound.
func TestState_IsStockPulumis(t *testing.T) {
	dir := t.TempDir()
	s, w, p := open(t, dir), newWorld(), fleet(2)
	_, err := up(t, s, w, p)
	ok(t, err)
	w.errs["host-1/os"] = errors.New("no")
	_, err = up(t, s, w, change(p, "host-1/os")) // a state that was written after a failure
	is(t, err, ErrFailed)
	var d apitype.UntypedDeployment
	ok(t, json.Unmarshal([]byte(read(t, dir, "state.json")), &d))
	snap, err := stack.DeserializeUntypedDeployment(t.Context(), &d, nil)
	ok(t, err)
	ok(t, snap.VerifyIntegrity())
	kinds := map[string]int{}
	for _, r := range snap.Resources {
		kinds[string(r.Type)]++
		if r.Type == stepType && len(r.Inputs) != 5 {
			t.Errorf("%s has inputs %v", r.ID, r.Inputs)
		}
		if r.Type == stepType && r.Inputs["host"].StringValue() != "" && r.Parent.Name() != r.Inputs["host"].StringValue() {
			t.Errorf("%s belongs to %s", r.ID, r.Parent)
		}
	}
	want := map[string]int{"pulumi:pulumi:Stack": 1, "pulumi:providers:hybridctl": 1, hostType: 2, stepType: len(p.Steps)}
	if fmt.Sprint(kinds) != fmt.Sprint(want) {
		t.Errorf("resources %v, want %v", kinds, want)
	}
}

// Another tool may have left pending operations in the state; the engine would warn of them for ever.
func TestState_PendingOperationsAreDropped(t *testing.T) {
	dir := t.TempDir()
	s, w, p := open(t, dir), newWorld(), fleet(1)
	_, err := up(t, s, w, p)
	ok(t, err)
	ok(t, s.Close())
	pending := `"pending_operations":[{"type":"creating","resource":{"custom":true,"type":"hybridctl:index:Step",` +
		`"urn":"urn:pulumi:test::hybridctl::hybridctl:index:Step::x"}}],`
	write(t, strings.Replace(read(t, dir, stateFile), `"resources"`, pending+`"resources"`, 1), dir, stateFile)
	_, err = up(t, open(t, dir), w, p)
	ok(t, err)
	if strings.Contains(read(t, dir, stateFile), "pending_operations") {
		t.Error("they are still there")
	}
}

func TestState_HoldsNoBodiesAndNoTraces(t *testing.T) {
	dir := t.TempDir()
	s, w, p := open(t, dir), newWorld(), fleet(2)
	var journal string
	w.onApply = func(_ context.Context, step plan.Step) {
		if step.ID == "host-1/join" {
			journal = read(t, dir, "journal.jsonl")
		}
	}
	_, err := up(t, s, w, p)
	ok(t, err)
	for name, content := range map[string]string{"journal": journal, "state": read(t, dir, "state.json")} {
		if !strings.Contains(content, "host-0/os") {
			t.Errorf("the %s is empty", name)
		}
		for _, bad := range []string{"swordfish", "stackTrace", "sourcePosition", "program.go"} {
			if strings.Contains(content, bad) {
				t.Errorf("%q stands in the %s", bad, name)
			}
		}
	}
}

// secretState writes a state with a secret through the journal, as the engine would, and returns all that is then on the disk.
func secretState(t *testing.T, dir string) string {
	t.Helper()
	s := open(t, dir)
	base, err := s.base(t.Context(), fleet(1))
	ok(t, err)
	j, err := s.startJournal(base, plan.Plan{}, func() { t.Error("halted") })
	ok(t, err)
	state := &pkgresource.State{
		Type: "pulumi:pulumi:Stack", URN: urn.New("test", pkg, "", "pulumi:pulumi:Stack", "hybridctl-test"),
		Inputs: resource.PropertyMap{}, Outputs: resource.PropertyMap{
			"token": resource.MakeSecret(resource.NewStringProperty("swordfish")),
		},
	}
	ok(t, j.AddJournalEntry(engine.JournalEntry{Kind: engine.JournalEntrySuccess, SequenceID: 9, OperationID: 9, State: state}))
	ok(t, j.close())
	journal := read(t, dir, "journal.jsonl")
	ok(t, s.fold())
	ok(t, s.Close())
	return journal + read(t, dir, "state.json")
}

func TestSecrets_AreCiphertextOnTheDisk(t *testing.T) {
	for name, phrase := range map[string]string{"key file": "", "passphrase": "correct horse"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(PassphraseEnv, phrase)
			dir := t.TempDir()
			disk := secretState(t, dir)
			if strings.Contains(disk, "swordfish") || !strings.Contains(disk, "ciphertext") {
				t.Errorf("on the disk: %s", disk)
			}
			snap, err := open(t, dir).snapshot(t.Context())
			ok(t, err)
			if got := snap.Resources[0].Outputs["token"].SecretValue().Element.StringValue(); got != "swordfish" {
				t.Errorf("read back as %q", got)
			}
		})
	}
}

func TestSecrets_WrongOrLostKeys(t *testing.T) {
	for name, c := range map[string]struct {
		wrote, reads string
		spoil        func(dir string) error
		want         string
	}{
		"other passphrase": {"one", "two", nil, "HYBRIDCTL_PASSPHRASE is not the passphrase"},
		"no passphrase":    {"one", "", nil, "; set HYBRIDCTL_PASSPHRASE"},
		"lost key": {"", "", func(dir string) error { return os.Remove(filepath.Join(dir, keyFile)) },
			"it is safe to delete "},
		"bad key": {"", "", func(dir string) error { return os.WriteFile(filepath.Join(dir, keyFile), []byte("x"), 0o600) },
			"is not a key of this program"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv(PassphraseEnv, c.wrote)
			secretState(t, dir)
			t.Setenv(PassphraseEnv, c.reads)
			if c.spoil != nil {
				ok(t, c.spoil(dir))
			}
			_, err := open(t, dir).snapshot(t.Context())
			if err == nil || !strings.Contains(err.Error()+"\n"+hint.Text(err), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
		})
	}
}

func TestSecrets_PassphraseMayBeSetLater(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(PassphraseEnv, "")
	secretState(t, dir)
	t.Setenv(PassphraseEnv, "correct horse")
	s := open(t, dir)
	_, err := up(t, s, newWorld(), fleet(1))
	ok(t, err)
	var d apitype.UntypedDeployment
	ok(t, json.Unmarshal([]byte(read(t, dir, "state.json")), &d))
	_, err = stack.DeserializeUntypedDeployment(t.Context(), &d, s.keys)
	ok(t, err)
}

// The state holds keys, and lies beside inventories, which lie in repositories: git passes over it.
func TestOpenStore_IsIgnoredByGit(t *testing.T) {
	root := t.TempDir()
	beside, elsewhere := filepath.Join(root, ".hybridctl", "lab"), filepath.Join(root, "state")
	open(t, beside)
	open(t, elsewhere)
	for _, file := range []string{filepath.Join(root, ".hybridctl", ".gitignore"), filepath.Join(elsewhere, ".gitignore")} {
		if text, err := os.ReadFile(file); err != nil || !strings.HasSuffix(string(text), "\n*\n") {
			t.Errorf("%s: %q, %v", file, text, err)
		}
	}
	if _, err := os.Stat(filepath.Join(beside, ".gitignore")); err == nil {
		t.Error("there are two of them")
	}
	write(t, "mine\n", root, ".hybridctl", ".gitignore")
	open(t, filepath.Join(root, ".hybridctl", "other"))
	if text, _ := os.ReadFile(filepath.Join(root, ".hybridctl", ".gitignore")); string(text) != "mine\n" {
		t.Errorf("what an administrator wrote became %q", text)
	}
}
