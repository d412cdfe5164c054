package report

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
)

// What a report directory holds. Whatever else lies there is not ours and is left alone.
const (
	runFile     = "report.json"
	junitFile   = "junit.xml"
	pageFile    = "report.html"
	evidenceDir = "evidence"
)

// evidenceLimit bounds a file of evidence. Of longer ones the beginning and the end are kept.
const evidenceLimit = 256 << 10

// Dir is a directory that takes the report of one run. Its methods may be called from several goroutines.
type Dir struct {
	path string

	mu    sync.Mutex
	old   map[string]bool // evidence of the report that is there, and will be replaced
	taken map[string]bool // evidence of this run
}

// OpenDir makes the directory where it is missing, and proves that a report can be written there: this is for before the run. The
// report that may lie there stays until Write replaces it. Files that are not a report of ours are never overwritten: they are an error.
func OpenDir(dir string) (*Dir, error) {
	if dir == "" {
		return nil, errors.New("the report directory has no name")
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("the report directory %s is a file", dir)
	}
	if err := os.MkdirAll(filepath.Join(dir, evidenceDir), 0o700); err != nil {
		return nil, cannotWrite(dir, err)
	}
	old, err := oldEvidence(dir)
	if err != nil {
		return nil, err
	}
	for _, place := range []string{dir, filepath.Join(dir, evidenceDir)} {
		probe, err := os.CreateTemp(place, temporary)
		if err != nil {
			return nil, cannotWrite(dir, err)
		}
		if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
			return nil, cannotWrite(dir, err)
		}
	}
	return &Dir{path: dir, old: old, taken: map[string]bool{}}, nil
}

// temporary is the pattern of names that files have until they are whole.
const temporary = ".hybridctl-report-*"

func cannotWrite(dir string, err error) error {
	var where *fs.PathError
	if errors.As(err, &where) {
		err = where.Err
	}
	return fmt.Errorf("the report directory %s cannot be written: %w", dir, err)
}

// oldEvidence returns the evidence of the report that lies in a directory. Files that have the names of ours, but are not, are an error.
func oldEvidence(dir string) (map[string]bool, error) {
	old := map[string]bool{}
	text, err := os.ReadFile(filepath.Join(dir, runFile))
	if errors.Is(err, fs.ErrNotExist) {
		for _, name := range []string{junitFile, pageFile} { // ours never lie there without report.json
			if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
				return nil, notOurs(dir, name)
			}
		}
		return old, nil
	}
	if err != nil {
		return nil, cannotWrite(dir, err)
	}
	if version, err := versionOf(text); err != nil || !strings.HasPrefix(version, path.Dir(RunVersion)+"/") {
		return nil, notOurs(dir, runFile)
	}
	if run, err := parseRun(text); err == nil {
		for _, c := range run.Cells {
			for _, e := range c.Evidence {
				old[e] = true
			}
		}
	}
	return old, nil
}

func notOurs(dir, name string) error {
	return wrongPlace{fmt.Sprintf("%s holds a file %s that is no conformance report", dir, name), "name another report directory"}
}

// wrongPlace is a directory that the user named and that is of no use, and what to do about it.
type wrongPlace struct{ what, hint string }

func (w wrongPlace) Error() string { return w.what }

// Hint says which directory to name.
func (w wrongPlace) Hint() string { return w.hint }

// Path is the directory's path.
func (d *Dir) Path() string { return d.path }

// Evidence keeps a file of evidence, and returns its path relative to the directory, for CellResult.Evidence. The name is made safe;
// where it is taken, it gets a number.
func (d *Dir) Evidence(name string, body []byte) (string, error) {
	d.mu.Lock()
	relative := d.free(safeName(name))
	d.taken[relative] = true
	d.mu.Unlock()
	if err := replaceFile(filepath.Join(d.path, filepath.FromSlash(relative)), middleOut(body, evidenceLimit)); err != nil {
		return "", fmt.Errorf("evidence %s: %w", relative, err)
	}
	return relative, nil
}

// free returns a path for evidence that is free: files of this run and files that are not ours stay.
func (d *Dir) free(name string) string {
	ext := path.Ext(name)
	for n := 1; ; n++ {
		relative := evidenceDir + "/" + name
		if n > 1 {
			relative = fmt.Sprintf("%s/%s-%d%s", evidenceDir, strings.TrimSuffix(name, ext), n, ext)
		}
		_, err := os.Lstat(filepath.Join(d.path, filepath.FromSlash(relative)))
		if !d.taken[relative] && (err != nil || d.old[relative]) {
			return relative
		}
	}
}

// safeName makes a file name of letters, digits, points, dashes and underscores, that is not hidden and not long.
func safeName(name string) string {
	var b strings.Builder
	dash := false
	for _, r := range name {
		plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_'
		if !plain {
			dash = true
			continue
		}
		if dash && b.Len() > 0 {
			b.WriteByte('-')
		}
		dash = false
		b.WriteRune(r)
	}
	const longest = 120
	safe := strings.TrimLeft(b.String(), ".-_")
	if len(safe) > longest {
		ext := path.Ext(safe)
		if len(ext) > 8 {
			ext = ""
		}
		safe = safe[:longest-len(ext)] + ext
	}
	if safe == "" {
		safe = "evidence.txt"
	}
	return safe
}

// middleOut shortens a body to about limit bytes: what it leaves out is in the middle, and it says so.
func middleOut(body []byte, limit int) []byte {
	if len(body) <= limit {
		return body
	}
	half := limit / 2
	left := fmt.Appendf(nil, "\n[%d bytes are left out here]\n", len(body)-2*half)
	return bytes.Join([][]byte{body[:half], left, body[len(body)-half:]}, nil)
}

// Write writes report.json, junit.xml and report.html, each whole or not at all, and takes away the evidence of the report that they
// replace. It may be called again.
func (d *Dir) Write(run ConformanceRun) error {
	run.Version = RunVersion
	var document, junit, page bytes.Buffer
	if err := Encode(&document, JSON, run); err != nil {
		return fmt.Errorf("%s: %w", runFile, err)
	}
	if err := WriteJUnit(&junit, run); err != nil {
		return fmt.Errorf("%s: %w", junitFile, err)
	}
	if err := WritePage(&page, run, d.readEvidence); err != nil {
		return fmt.Errorf("%s: %w", pageFile, err)
	}
	for _, f := range []struct {
		name string
		body []byte
	}{{runFile, document.Bytes()}, {junitFile, junit.Bytes()}, {pageFile, page.Bytes()}} {
		if err := replaceFile(filepath.Join(d.path, f.name), f.body); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return d.forgetOld()
}

func (d *Dir) readEvidence(relative string) ([]byte, error) {
	if !filepath.IsLocal(relative) {
		return nil, fmt.Errorf("%q is outside the report directory", relative)
	}
	return os.ReadFile(filepath.Join(d.path, filepath.FromSlash(relative)))
}

// forgetOld removes the files that only the replaced report named.
func (d *Dir) forgetOld() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for relative := range d.old {
		if d.taken[relative] || path.Dir(relative) != evidenceDir || !filepath.IsLocal(relative) {
			continue
		}
		err := os.Remove(filepath.Join(d.path, filepath.FromSlash(relative)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	d.old = map[string]bool{}
	return errors.Join(errs...)
}

// replaceFile writes a file for its owner alone (evidence holds logs), whole: under a temporary name, to the disk, then in place of what was there.
func replaceFile(name string, body []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), temporary)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error says more
		return err
	}
	return nil
}
