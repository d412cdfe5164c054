package stack

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hybridctl/hybridctl/provision/plan"
)

// start runs this test binary as another process that works on the cluster in root.
func start(t *testing.T, root string, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	ok(t, err)
	c := exec.Command(exe)
	c.Env = append(os.Environ(), append(env, childEnv+"="+root)...)
	return c
}

// killAfter lets the process say so many lines and kills it then, wherever it is; the process may be faster and end well.
func killAfter(t *testing.T, c *exec.Cmd, lines int) {
	t.Helper()
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	ok(t, err)
	ok(t, c.Start())
	for said := bufio.NewScanner(out); lines > 0 && said.Scan(); lines-- {
	}
	ok(t, c.Process.Kill())
	if err := c.Wait(); err != nil && err.Error() != "signal: killed" {
		t.Fatalf("the process failed by itself: %v: %s", err, &stderr)
	}
}

// A process is killed at some moment, several times over; the next run finishes, without doing again what was done.
func TestCrash_KilledAtAnyMoment(t *testing.T) {
	rounds := 24
	if testing.Short() {
		rounds = 4
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	recovered := 0
	for round := range rounds {
		root := t.TempDir()
		ok(t, os.Mkdir(filepath.Join(root, "world"), 0o700))
		what := fmt.Sprintf("seed %d, round %d", seed, round)
		for range 1 + random.IntN(3) {
			killAfter(t, start(t, root), random.IntN(2*len(fleet(8).Steps)+2))
		}
		if info, err := os.Stat(filepath.Join(root, "state", journalFile)); err == nil && info.Size() > 0 {
			recovered++
		}
		s, err := OpenStore(filepath.Join(root, "state"))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		w, p := diskWorld{dir: filepath.Join(root, "world")}, fleet(8)
		for id := range s.done {
			if _, err := os.Stat(w.path(id)); err != nil {
				t.Errorf("%s: the state claims %s, which was never done", what, id)
			}
		}
		before := left(w.look(p))
		changes, err := Up(context.Background(), s, w.look(p), w, Options{}) // diskWorld refuses to do a step twice
		if err != nil {
			t.Fatalf("%s: %v: %v", what, err, changes)
		}
		if got := len(summary(t, p, changes)); got != before {
			t.Errorf("%s: %d steps were left, %d were done", what, before, got)
		}
		if !s.InSync(w.look(p)) {
			t.Errorf("%s: not in sync afterwards", what)
		}
		ok(t, s.Close())
	}
	if recovered == 0 {
		t.Error("no kill left a journal: they all came too early or too late")
	}
}

func left(p plan.Plan) int { return p.Changes() }

func TestCrash_KilledWhileDestroying(t *testing.T) {
	p := fleet(8)
	for round := range 4 {
		root := t.TempDir()
		ok(t, os.Mkdir(filepath.Join(root, "world"), 0o700))
		write(t, "", root, "destroy")
		killAfter(t, start(t, root), 2*len(p.Steps)+1+round*len(p.Steps)/2)
		s, err := OpenStore(filepath.Join(root, "state"))
		ok(t, err)
		w := diskWorld{dir: filepath.Join(root, "world")}
		_, err = Destroy(context.Background(), s, w.look(p), w, Options{})
		ok(t, err)
		if n := left(w.look(p)); n != len(p.Steps) || len(s.done) != 0 {
			t.Errorf("round %d: %d steps are left on the hosts, %d in the state", round, len(p.Steps)-n, len(s.done))
		}
		ok(t, s.Close())
	}
}

// The journal may end anywhere, in the middle of a line too.
func TestCrash_TornJournal(t *testing.T) {
	dir := t.TempDir()
	s, w, p := open(t, dir), newWorld(), fleet(2)
	first := p
	first.Steps = p.Steps[:2]
	_, err := up(t, s, w, first) // so that there is a state before the journal
	ok(t, err)
	before := read(t, dir, stateFile)
	var journal string
	w.onApply = func(_ context.Context, s plan.Step) {
		if s.ID == "host-1/join" {
			journal = read(t, dir, journalFile)
		}
	}
	_, err = Up(context.Background(), s, w.look(p), w, Options{Parallel: 1})
	ok(t, err)
	most := 0
	for cut := 0; cut <= len(journal); cut += 97 {
		for _, tail := range []string{"", "\x00\x00\x00\x00", "{}\n{\"kind\":"} {
			torn := t.TempDir()
			write(t, before, torn, stateFile)
			write(t, journal[:cut]+tail, torn, journalFile)
			s, err := OpenStore(torn)
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			if len(s.done) < 2 {
				t.Fatalf("cut at %d: the state lost what it had before: %v", cut, s.done)
			}
			for id, r := range s.done {
				if w.there[id] != r.Digest {
					t.Fatalf("cut at %d: the state claims %s", cut, id)
				}
			}
			most = max(most, len(s.done))
			ok(t, s.Close())
		}
	}
	if most < 4 {
		t.Errorf("the whole journal brought the state to %d steps only", most)
	}
}

// A crash between writing state.json and removing the journal makes the journal be replayed onto its own result.
func TestCrash_JournalIsReplayedTwice(t *testing.T) {
	dir := t.TempDir()
	s, w, p := open(t, dir), newWorld(), fleet(2)
	_, err := up(t, s, w, p)
	ok(t, err)
	p = change(p, "host-0/os")
	var journal string
	w.onApply = func(context.Context, plan.Step) { journal = read(t, dir, journalFile) }
	_, err = up(t, s, w, change(p, "cluster/cni"))
	ok(t, err)
	done := fmt.Sprint(s.done)
	ok(t, s.Close())
	write(t, journal, dir, journalFile)
	s = open(t, dir)
	if len(s.done) != len(p.Steps) {
		t.Errorf("the state holds %v, before %v", s.done, done)
	}
	_, err = up(t, s, w, change(p, "cluster/cni"))
	ok(t, err)
}

// The state cannot be written any more: no new steps are started, the reason is given, and the next run goes on.
func TestCrash_DiskIsFull(t *testing.T) {
	for _, size := range []int{100, 4000, 12000, 20000} {
		root := t.TempDir()
		ok(t, os.Mkdir(filepath.Join(root, "world"), 0o700))
		out, err := start(t, root, "STACK_TEST_SILENT=1", fmt.Sprintf("STACK_TEST_FILE_SIZE=%d", size)).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "file too large") {
			t.Errorf("with %d bytes: %v, output %q", size, err, out)
		}
		w, p := diskWorld{dir: filepath.Join(root, "world")}, fleet(8)
		if n := left(w.look(p)); n == 0 {
			t.Errorf("with %d bytes: all was done, nobody heeded the journal", size)
		}
		s := open(t, filepath.Join(root, "state"))
		_, err = Up(context.Background(), s, w.look(p), w, Options{})
		ok(t, err)
		if !s.InSync(w.look(p)) {
			t.Errorf("with %d bytes: not in sync afterwards", size)
		}
	}
}

func TestLock_OfAnotherProcess(t *testing.T) {
	root := t.TempDir()
	ok(t, os.Mkdir(filepath.Join(root, "world"), 0o700))
	c := start(t, root)
	out, err := c.StdoutPipe()
	ok(t, err)
	ok(t, c.Start())
	said := bufio.NewReader(out)
	_, err = said.ReadString('\n') // it is at work; while we do not read on, it may not be done
	ok(t, err)
	ok(t, c.Process.Signal(syscall.SIGSTOP))
	_, err = OpenStore(filepath.Join(root, "state"))
	is(t, err, ErrLocked)
	if !strings.Contains(fmt.Sprint(err), fmt.Sprintf("pid %d on ", c.Process.Pid)) {
		t.Errorf("the holder is not named: %v", err)
	}
	ok(t, c.Process.Kill())
	if err := c.Wait(); err == nil {
		t.Error("the process ended before it was killed")
	}
	open(t, filepath.Join(root, "state")) // the lock died with its holder
}

// Nothing is printed, nothing is written but the state directory, and nothing is asked of the environment.
func TestUp_KeepsToItsDirectory(t *testing.T) {
	root, elsewhere := t.TempDir(), t.TempDir()
	ok(t, os.Mkdir(filepath.Join(root, "world"), 0o700))
	write(t, "", root, "destroy")
	c := start(t, root)
	c.Dir = elsewhere
	c.Env = []string{childEnv + "=" + root, "STACK_TEST_SILENT=1", "HOME=" + elsewhere, "TMPDIR=" + elsewhere,
		"PULUMI_HOME=" + filepath.Join(elsewhere, "pulumi"), "PULUMI_PLUGINS=true", "PULUMI_EXPERIMENTAL=true",
		"PULUMI_DEBUG_PROVIDERS=hybridctl:1", "http_proxy=http://127.0.0.1:9", "https_proxy=http://127.0.0.1:9"}
	out, err := c.CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v, output %q", err, out)
	}
	found, err := os.ReadDir(elsewhere)
	ok(t, err)
	for _, f := range found {
		t.Errorf("%s was written", f.Name())
	}
	if _, err := os.Stat("/nonexistent"); err == nil {
		t.Error("/nonexistent was made")
	}

	c = start(t, t.TempDir()) // its world is missing, so that every step fails
	c.Env = []string{childEnv + "=" + c.Env[len(c.Env)-1][len(childEnv)+1:], "STACK_TEST_SILENT=1"}
	out, err = c.CombinedOutput()
	if err == nil || strings.Count(string(out), "\n") != 1 || !strings.HasPrefix(string(out), "some steps failed") {
		t.Errorf("with no environment and failures: %v, output %q", err, out)
	}
}
