package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// MarshalJSON writes the run with its verdict, which follows from the rest, and with empty lists rather than null.
func (r ConformanceRun) MarshalJSON() ([]byte, error) {
	type fields ConformanceRun // without this method
	doc := struct {
		Result Verdict `json:"verdict"`
		fields
	}{r.Verdict(), fields(r)}
	doc.Version = RunVersion
	doc.Nodes = listed(r.Nodes)
	doc.Checks = listed(r.Checks)
	doc.Cells = listed(r.Cells)
	doc.Phases = listed(r.Phases)
	return json.Marshal(doc)
}

func listed[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// ReadRun reads the run that a report directory holds. The error is one sentence for the user.
func ReadRun(dir string) (ConformanceRun, error) {
	path := filepath.Join(dir, runFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return ConformanceRun{}, whyUnreadable(dir, path, err)
	}
	run, err := parseRun(text)
	if err != nil {
		return ConformanceRun{}, fmt.Errorf("%s %w", path, err)
	}
	return run, nil
}

func whyUnreadable(dir, path string, err error) error {
	info, statErr := os.Stat(dir)
	switch {
	case errors.Is(statErr, fs.ErrNotExist):
		return fmt.Errorf("there is no directory %s", dir)
	case statErr == nil && !info.IsDir():
		return wrongPlace{dir + " is a file, and no directory", "name the directory that holds " + runFile}
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s holds no %s, so it is not the directory of a report", dir, runFile)
	default:
		return fmt.Errorf("read %s: %w", path, errors.Unwrap(err)) // without the path a second time
	}
}

// parseRun reads report.json; the error goes on after the file's name.
func parseRun(text []byte) (ConformanceRun, error) {
	var run ConformanceRun
	version, err := versionOf(text)
	switch {
	case err != nil:
		return run, fmt.Errorf("is not JSON: %w", err)
	case version == "":
		return run, fmt.Errorf("has no version, so it is not the report of a conformance run")
	case version != RunVersion:
		return run, fmt.Errorf("has the version %q, and this hybridctl reads %q", version, RunVersion)
	}
	if err := json.Unmarshal(text, &run); err != nil {
		return run, fmt.Errorf("cannot be read: %w", err)
	}
	for _, c := range run.Cells {
		if !slices.Contains(Verdicts(), c.Verdict) {
			return run, fmt.Errorf("has a cell with the unknown verdict %q: %s", c.Verdict, OneLine(c.ID()))
		}
	}
	return run, nil
}

// versionOf returns the version a JSON document names, if it names one.
func versionOf(text []byte) (string, error) {
	var whole json.RawMessage
	if err := json.Unmarshal(text, &whole); err != nil {
		return "", err
	}
	var doc struct {
		Version string `json:"version"`
	}
	_ = json.Unmarshal(text, &doc) // a document of another kind has no version
	return doc.Version, nil
}
