package proof

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// UnprovenFile, in the state directory, holds the names of hosts, one a line, that scale-out has begun to join and not come to the end with:
// that their nodes are Ready, and the proof. A run that is killed between the last step and that end leaves nothing else to tell of it.
const UnprovenFile = "unproven"

// Unproven are the hosts that an earlier scale-out did not come to the end with.
func Unproven(stateDir string) ([]string, error) {
	b, err := os.ReadFile(filepath.Join(stateDir, UnprovenFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return strings.Fields(string(b)), err
}

// NoteUnproven adds hosts to them, or takes them away.
func NoteUnproven(stateDir string, hosts []string, are bool) error {
	known, err := Unproven(stateDir)
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(known, func(name string) bool { return slices.Contains(hosts, name) })
	if are {
		left = append(left, hosts...)
	}
	path := filepath.Join(stateDir, UnprovenFile)
	if len(left) == 0 {
		return Forget(stateDir)
	}
	if err := os.WriteFile(path+".new", []byte(strings.Join(left, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("note which hosts are to be proven: %w", err)
	}
	return os.Rename(path+".new", path)
}

// Forget notes that no host is to be proven any more.
func Forget(stateDir string) error {
	if err := os.Remove(filepath.Join(stateDir, UnprovenFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
