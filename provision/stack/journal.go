package stack

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/pulumi/pulumi/pkg/v3/engine"
	"github.com/pulumi/pulumi/pkg/v3/resource/deploy"
	"github.com/pulumi/pulumi/pkg/v3/resource/stack"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"

	"github.com/hybridctl/hybridctl/provision/plan"
)

// journal writes one line for everything the engine has done, and has each on the disk before the engine goes on.
//
// It never reports its errors to the engine, which is not prepared for them when it goes on after failures: it halts the run,
// and close returns the error.
type journal struct {
	manager *engine.JournalSnapshotManager
	enc     config.Encrypter
	halt    func()

	mu     sync.Mutex
	f      *os.File
	lines  int // written
	err    error
	closed bool

	syncMu sync.Mutex
	synced int // lines known to be on the disk
}

// startJournal begins a new journal. Its first line is the base itself, so that it can be replayed whatever state.json says; before it
// stands what the plan names, when that is a part.
func (s *Store) startJournal(base *deploy.Snapshot, p plan.Plan, halt func()) (*journal, error) {
	f, err := os.OpenFile(filepath.Join(s.dir, journalFile), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return nil, err
	}
	j := &journal{enc: base.SecretsManager.Encrypter(), halt: halt, f: f}
	if err := writePart(f, p); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	j.manager, err = engine.NewJournalSnapshotManager(j, base, base.SecretsManager)
	if err == nil {
		err = j.manager.Write(base)
	}
	if err = errors.Join(err, j.err, syncDir(s.dir)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

// AddJournalEntry implements engine.Journal.
func (j *journal) AddJournalEntry(e engine.JournalEntry) error {
	if e.Kind == engine.JournalEntryBegin || e.Kind == engine.JournalEntryFailure {
		return nil // replayed, they would only make pending operations, which we have no use for
	}
	line, err := j.encode(e)
	if err == nil {
		err = j.append(line, !e.ElideWrite)
	}
	if err != nil {
		j.fail(err)
	}
	return nil
}

// Close implements engine.Journal. The engine leaves closing to us.
func (j *journal) Close() error { return nil }

// encode writes an entry as Pulumi's own journals have it, but for what no run of ours has.
func (j *journal) encode(e engine.JournalEntry) ([]byte, error) {
	if !foldable(apitype.JournalEntryKind(e.Kind)) {
		return nil, fmt.Errorf("the engine journals %q, which this program cannot read again", e.Kind)
	}
	entry := apitype.JournalEntry{
		Version: 1, Kind: apitype.JournalEntryKind(e.Kind), SequenceID: e.SequenceID, OperationID: e.OperationID,
		RemoveOld: e.RemoveOld, RemoveNew: e.RemoveNew, DeleteOld: e.DeleteOld, DeleteNew: e.DeleteNew,
		PendingReplacementOld: e.PendingReplacementOld, PendingReplacementNew: e.PendingReplacementNew,
	}
	if e.State != nil {
		state, bytes, err := stack.SerializeResource(context.Background(), e.State, j.enc, false)
		if err != nil {
			return nil, err
		}
		entry.State, entry.RequiresByteString = &state, bytes
	}
	if e.SecretsManager != nil {
		entry.SecretsProvider = &apitype.SecretsProvidersV1{Type: e.SecretsManager.Type(), State: e.SecretsManager.State()}
	}
	if e.NewSnapshot != nil {
		base, _, features, err := stack.SerializeDeploymentWithMetadata(context.Background(), e.NewSnapshot, false)
		if err != nil {
			return nil, err
		}
		entry.NewSnapshot = base
		entry.RequiresByteString = entry.RequiresByteString || slices.Contains(features, "byteString")
	}
	line, err := json.Marshal(entry)
	return append(line, '\n'), err
}

func (j *journal) append(line []byte, durable bool) error {
	j.mu.Lock()
	if j.closed || j.err != nil {
		j.mu.Unlock()
		return nil // the run was abandoned, or has failed already
	}
	_, err := j.f.Write(line)
	j.lines++
	mine := j.lines
	j.mu.Unlock()
	if err != nil || !durable {
		return err
	}
	return j.sync(mine)
}

// sync waits until that line is on the disk. Steps that end together share one fsync.
func (j *journal) sync(line int) error {
	j.syncMu.Lock()
	defer j.syncMu.Unlock()
	if j.synced >= line {
		return nil
	}
	j.mu.Lock()
	written, closed := j.lines, j.closed
	j.mu.Unlock()
	if closed {
		return nil
	}
	err := j.f.Sync()
	j.synced = written
	return err
}

func (j *journal) fail(err error) {
	j.mu.Lock()
	first := j.err == nil
	if first {
		j.err = err
	}
	j.mu.Unlock()
	if first {
		j.halt()
	}
}

// close ends the journal and returns why it could not be written, if so.
func (j *journal) close() error {
	j.syncMu.Lock()
	defer j.syncMu.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	if err := errors.Join(j.err, j.f.Sync(), j.f.Close()); err != nil {
		return fmt.Errorf("the state could not be written, some of what was done is not in it: %w", err)
	}
	return nil
}

// replay builds the state from a journal, and tells which part of the cluster that is; nil = all. It returns nil when there is no
// journal, or none that had really begun, and ends at the first torn line: what was being written when the process or the machine died.
func replay(path string) (d *apitype.TypedDeployment, p *part, err error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	f := folded{}
	for lines := bufio.NewReader(file); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, nil, err
		}
		if p == nil && !f.begun {
			if p = readPart(line); p != nil {
				continue
			}
		}
		var e apitype.JournalEntry
		if err != nil || json.Unmarshal(line, &e) != nil {
			break
		}
		if !f.begun && e.Kind != apitype.JournalEntryKindWrite {
			continue
		}
		if err := f.add(e); err != nil {
			return nil, nil, err
		}
	}
	if !f.begun {
		return nil, nil, nil
	}
	d, err = f.deployment()
	return d, p, err
}

// hasSecrets reports whether anything in the deployment is encrypted.
func hasSecrets(d *apitype.DeploymentV3) bool {
	for _, r := range d.Resources {
		for _, properties := range []map[string]any{r.Inputs, r.Outputs} {
			text, err := json.Marshal(properties)
			if err != nil || strings.Contains(string(text), resource.SecretSig) {
				return true
			}
		}
	}
	return false
}
