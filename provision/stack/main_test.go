package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// childEnv makes the test binary another process that works on the cluster: it names the directory with its world and state.
const childEnv = "STACK_TEST_CHILD"

func TestMain(m *testing.M) {
	if root := os.Getenv(childEnv); root != "" {
		limitFiles()
		if err := child(root); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// limitFiles plays a disk that fills up: no file may become larger.
func limitFiles() {
	size, err := strconv.ParseUint(os.Getenv("STACK_TEST_FILE_SIZE"), 10, 64)
	if err != nil {
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: size}); err != nil {
		panic(err)
	}
}

// child builds the cluster, and takes it away again if the file "destroy" is there.
func child(root string) error {
	s, err := OpenStore(filepath.Join(root, "state"))
	if err != nil {
		return err
	}
	w, p := diskWorld{dir: filepath.Join(root, "world"), say: os.Getenv("STACK_TEST_SILENT") == ""}, fleet(8)
	if _, err := Up(context.Background(), s, w.look(p), w, Options{Parallel: 4}); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(root, "destroy")); err == nil {
		if _, err := Destroy(context.Background(), s, w.look(p), w, Options{Parallel: 4}); err != nil {
			return err
		}
	}
	return s.Close()
}

// diskWorld is a world that outlives the process: a file per step that is in place.
type diskWorld struct {
	dir string
	say bool // a line on stdout for all that happens
}

func (w diskWorld) path(id plan.ID) string {
	return filepath.Join(w.dir, strings.ReplaceAll(string(id), "/", "_"))
}

func (w diskWorld) tell(what string, id plan.ID) {
	if w.say {
		fmt.Println(what, id)
	}
}

func (w diskWorld) look(p plan.Plan) plan.Plan {
	for i, s := range p.Steps {
		p.Steps[i].Action = plan.Create
		if _, err := os.Stat(w.path(s.ID)); err == nil {
			p.Steps[i].Action = plan.Unchanged
		}
	}
	return p
}

// Apply fails when the step has been done already, or one it needs has not.
func (w diskWorld) Apply(_ context.Context, s plan.Step) (report.Change, error) {
	w.tell("begin", s.ID)
	for _, d := range s.DependsOn {
		if _, err := os.Stat(w.path(d)); err != nil {
			return report.Change{}, fmt.Errorf("%s is done before %s", s.ID, d)
		}
	}
	f, err := os.OpenFile(w.path(s.ID), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return report.Change{}, err
	}
	w.tell("end", s.ID)
	return report.Change{}, f.Close()
}

func (w diskWorld) Undo(_ context.Context, s plan.Step) (report.Change, error) {
	w.tell("begin", s.ID)
	err := os.Remove(w.path(s.ID))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	w.tell("end", s.ID)
	return report.Change{}, err
}
