package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/pkg/v3/resource/deploy"
	"github.com/pulumi/pulumi/pkg/v3/resource/stack"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/plan"
)

const (
	stateFile   = "state.json"    // a deployment in the format of "pulumi stack export"
	journalFile = "journal.jsonl" // what was done since
	lockFile    = "lock"
	oldStates   = 5 // kept as state.json.1, the newest, to state.json.5
)

// Store is the state directory of one cluster, held by this process until Close.
type Store struct {
	dir  string
	keys keyring
	lock *os.File
	done map[plan.ID]record // the steps state.json holds
}

// record is what the state says of a step.
type record struct {
	Digest    string    `json:"digest"`
	DependsOn []plan.ID `json:"dependsOn"`
}

// OpenStore takes the state directory, makes it if there is none, and recovers what an interrupted run left in its journal.
// Errors: ErrLocked; others, for the user, when the directory or the state in it cannot be used.
func OpenStore(dir string) (*Store, error) {
	if err := private(dir, stateFile, journalFile, keyFile); err != nil {
		return nil, hint.With(fmt.Errorf("state directory: %w", err), "--state-dir DIR puts it where you may write")
	}
	f, err := lock(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, keys: keyring{dir: dir, phrase: os.Getenv(PassphraseEnv)}, lock: f}
	if err := s.fold(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close lets the directory go.
func (s *Store) Close() error {
	return errors.Join(s.lock.Truncate(0), s.lock.Close())
}

// InSync says that Up would find nothing to do: the plan has no changes, and the state holds exactly its steps; of a part, at least
// those.
func (s *Store) InSync(p plan.Plan) bool {
	return p.Changes() == 0 && s.holds(p)
}

func (s *Store) holds(p plan.Plan) bool {
	if !p.Part && len(p.Steps) != len(s.done) {
		return false
	}
	for _, step := range p.Steps {
		r, ok := s.done[step.ID]
		if !ok || r.Digest != step.Digest || !slices.Equal(r.DependsOn, step.DependsOn) {
			return false
		}
	}
	return true
}

// Has reports whether the state has a step as done.
func (s *Store) Has(id plan.ID) bool {
	_, done := s.done[id]
	return done
}

// Unfinished reports whether earlier runs began with a host and did not come to its end: the state has some of its steps, but not the one
// that labels its node, which is its last.
func (s *Store) Unfinished(host string) bool {
	if _, ended := s.done[plan.HostID(host, plan.Node)]; ended {
		return false
	}
	for id := range s.done {
		if name, _, _ := strings.Cut(string(id), "/"); name == host {
			return true
		}
	}
	return false
}

// fold brings what the journal says into state.json and removes the journal. Every run ends with it, so that recovering from a
// crash is nothing special. It may itself be interrupted anywhere: the journal begins with the state it builds on.
func (s *Store) fold() error {
	journal := filepath.Join(s.dir, journalFile)
	d, part, err := replay(journal)
	if err != nil {
		return damaged(journal, s.dir, err)
	}
	if d != nil {
		if err := s.join(d, part); err != nil {
			return err
		}
		if err := s.save(*d); err != nil {
			return fmt.Errorf("save the state: %w", err)
		}
	}
	if err := remove(journal); err != nil {
		return err
	}
	s.done, err = s.records()
	return err
}

// save writes the state and keeps the one before it.
func (s *Store) save(d apitype.TypedDeployment) error {
	if !hasSecrets(d.Deployment) {
		d.Deployment.SecretsProviders = nil // then stock Pulumi can import the state
	}
	raw, err := json.Marshal(d.Deployment)
	if err != nil {
		return err
	}
	content, err := json.Marshal(apitype.UntypedDeployment{Version: d.Version, Features: d.Features, Deployment: raw})
	if err != nil {
		return err
	}
	path := filepath.Join(s.dir, stateFile)
	if err := keepOld(path); err != nil {
		return err
	}
	return replace(path, append(content, '\n'))
}

// keepOld makes state.json.1 a copy of state.json, after moving each older one a place down.
func keepOld(path string) error {
	old, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for n := oldStates; n > 1; n-- {
		err := os.Rename(fmt.Sprintf("%s.%d", path, n-1), fmt.Sprintf("%s.%d", path, n))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return replace(path+".1", old)
}

// records reads the steps from state.json, and nothing else: a run with nothing to do needs no more.
func (s *Store) records() (map[plan.ID]record, error) {
	path := filepath.Join(s.dir, stateFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var state struct {
		Version    int `json:"version"`
		Deployment struct {
			Resources []struct {
				Type   string  `json:"type"`
				ID     plan.ID `json:"id"`
				Inputs record  `json:"inputs"`
			} `json:"resources"`
		} `json:"deployment"`
	}
	if err := json.Unmarshal(content, &state); err != nil {
		return nil, damaged(path, s.dir, err)
	}
	if v := state.Version; v < apitype.DeploymentSchemaVersionCurrent || v > apitype.DeploymentSchemaVersionLatest {
		return nil, hint.With(fmt.Errorf("%s has version %d, this hybridctl reads %d to %d",
			path, v, apitype.DeploymentSchemaVersionCurrent, apitype.DeploymentSchemaVersionLatest), "use the hybridctl that wrote it, or a newer one")
	}
	done := map[plan.ID]record{}
	for _, r := range state.Deployment.Resources {
		if r.Type == stepType {
			done[r.ID] = r.Inputs
		}
	}
	return done, nil
}

// snapshot reads all of state.json as the engine wants it.
func (s *Store) snapshot(ctx context.Context) (*deploy.Snapshot, error) {
	path := filepath.Join(s.dir, stateFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return deploy.NewSnapshot(deploy.Manifest{}, nil, nil, nil, deploy.SnapshotMetadata{}, nil, nil), nil
	}
	if err != nil {
		return nil, err
	}
	var d apitype.UntypedDeployment
	if err := json.Unmarshal(content, &d); err != nil {
		return nil, damaged(path, s.dir, err)
	}
	snap, err := stack.DeserializeUntypedDeployment(ctx, &d, s.keys)
	if err != nil {
		return nil, damaged(path, s.dir, err)
	}
	return snap, nil
}

func damaged(path, dir string, err error) error {
	return hint.With(fmt.Errorf("%s cannot be read: %w", path, err), "it is safe to delete %s and run again, "+
		"as the truth is on the hosts and the state is rebuilt from there; leave the other files of %s: known_hosts among them holds the hosts' keys", path, dir)
}
