package report

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hybridctl/hybridctl/provision/hint"
)

func TestDir_RoundTrip(t *testing.T) {
	dir := writeMixedRun(t)
	got, err := ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(mixedRun(), got); d != "" {
		t.Errorf("what is read is not what was written (-written +read):\n%s", d)
	}
	want := []string{"evidence", "junit.xml", "report.html", "report.json"}
	if d := cmp.Diff(want, names(t, dir)); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestConformanceRun_JSONHasVerdictAndLists(t *testing.T) {
	text, err := json.Marshal(ConformanceRun{Error: "no API server"})
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if doc["verdict"] != "fail" || doc["version"] != RunVersion {
		t.Errorf("verdict %v, version %v", doc["verdict"], doc["version"])
	}
	for _, list := range []string{"nodes", "checks", "cells", "phases"} {
		if _, ok := doc[list].([]any); !ok {
			t.Errorf("%s is %v, want a list", list, doc[list])
		}
	}
}

func TestReadRun_SaysWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		text string // of report.json; "" = none
		want string
	}{
		"none":    {"", "holds no report.json, so it is not the directory of a report"},
		"no JSON": {"<html>", "report.json is not JSON: invalid character '<'"},
		"cut off": {`{"version":"hybridctl/conformance/v1","ce`, "report.json is not JSON: unexpected end"},
		"foreign": {`{"verdict":"pass"}`, "report.json has no version, so it is not the report of a conformance run"},
		"a list":  {`[1]`, "report.json has no version"},
		"newer":   {`{"version":"hybridctl/conformance/v2"}`, `has the version "hybridctl/conformance/v2", and this hybridctl reads "hybridctl/conformance/v1"`},
		"verdict": {`{"version":"hybridctl/conformance/v1","cells":[{"id":"S5","cell":"tcp","verdict":"passed"}]}`, `a cell with the unknown verdict "passed": S5/tcp`},
		"type":    {`{"version":"hybridctl/conformance/v1","cells":{}}`, "report.json cannot be read: "},
	} {
		dir := t.TempDir()
		if test.text != "" {
			write(t, dir, "report.json", test.text)
		}
		if _, err := ReadRun(dir); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	dir := t.TempDir()
	if _, err := ReadRun(dir + "/none"); err == nil || err.Error() != "there is no directory "+dir+"/none" {
		t.Errorf("no directory: %v", err)
	}
	write(t, dir, "file", "x")
	if _, err := ReadRun(dir + "/file"); err == nil || !strings.HasSuffix(err.Error(), "is a file, and no directory") || hint.Text(err) != "name the directory that holds "+runFile {
		t.Errorf("a file: %v", err)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOpenDir_LeavesForeignFilesAlone(t *testing.T) {
	for name, want := range map[string]string{
		"report.json": "holds a file report.json that is no conformance report",
		"junit.xml":   "holds a file junit.xml that is no conformance report",
		"report.html": "holds a file report.html that is no conformance report",
		"evidence":    "cannot be written: not a directory",
	} {
		dir := t.TempDir()
		write(t, dir, name, "precious")
		if _, err := OpenDir(dir); err == nil || !strings.HasSuffix(err.Error(), want) || (hint.Text(err) == "") != (name == "evidence") {
			t.Errorf("%s: %v, want %q, and what to do: %s", name, err, want, hint.Text(err))
		}
		if text, _ := os.ReadFile(filepath.Join(dir, name)); string(text) != "precious" {
			t.Errorf("%s is now %q", name, text)
		}
	}
	dir := t.TempDir()
	write(t, dir, "report.json", `{"version": "2.1.0", "runs": []}`)
	if _, err := OpenDir(dir); err == nil {
		t.Error("the report of another tool is taken for ours")
	}
	dir = t.TempDir()
	write(t, dir, "notes.txt", "precious")
	write(t, dir, "evidence/log.txt", "precious")
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.Evidence("log.txt", []byte("ours")); err != nil || got != "evidence/log-2.txt" {
		t.Errorf("evidence beside a foreign file: %q, %v", got, err)
	}
	if err := d.Write(mixedRun()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"notes.txt", "evidence/log.txt"} {
		if text, _ := os.ReadFile(filepath.Join(dir, name)); string(text) != "precious" {
			t.Errorf("%s is now %q", name, text)
		}
	}
}

func TestOpenDir_SaysEarlyThatItCannotWrite(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "file", "x")
	if _, err := OpenDir(dir + "/file"); err == nil || err.Error() != "the report directory "+dir+"/file is a file" {
		t.Errorf("a file: %v", err)
	}
	if _, err := OpenDir(dir + "/file/beneath"); err == nil || err.Error() != "the report directory "+dir+"/file/beneath cannot be written: not a directory" {
		t.Errorf("beneath a file: %v", err)
	}
	if os.Getuid() == 0 {
		return // root may write anywhere
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) }) // or it cannot be removed
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDir(dir); err == nil || !strings.Contains(err.Error(), "cannot be written: permission denied") {
		t.Errorf("read only: %v", err)
	}
}

func TestDir_ReplacesItsOwnReport(t *testing.T) {
	dir := writeMixedRun(t)
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRun(dir); err != nil {
		t.Errorf("the old report is gone before there is a new one: %v", err)
	}
	const kept = "s5-arm-1-ip-link.txt"
	if got, err := d.Evidence(kept, []byte("new")); err != nil || got != "evidence/"+kept {
		t.Errorf("evidence of the same name: %q, %v", got, err)
	}
	if err := d.Write(abortedRun()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{kept}, names(t, filepath.Join(dir, "evidence"))); d != "" {
		t.Errorf("evidence (-want +got):\n%s", d)
	}
	if run, err := ReadRun(dir); err != nil || run.Verdict() != Failing {
		t.Errorf("%v, %v", run.Verdict(), err)
	}
}

func TestDir_Evidence(t *testing.T) {
	d, err := OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"../../etc/passwd":                  "evidence/etc-passwd",
		"/abs/olute":                        "evidence/abs-olute",
		"..":                                "evidence/evidence.txt",
		".hidden":                           "evidence/hidden",
		"S5: arm-1 (arm64) → x86.txt":       "evidence/S5-arm-1-arm64-x86.txt",
		"new\nline\x00.log":                 "evidence/new-line-.log",
		strings.Repeat("long", 100) + ".gz": "evidence/" + strings.Repeat("long", 29) + "l.gz",
	} {
		got, err := d.Evidence(name, []byte("x"))
		if err != nil || got != want {
			t.Errorf("Evidence(%q) = %q, %v; want %q", name, got, err, want)
		}
		if text, err := os.ReadFile(filepath.Join(d.Path(), got)); err != nil || string(text) != "x" {
			t.Errorf("%s: %q, %v", got, text, err)
		}
	}

	big := append(append([]byte("begin"), bytes.Repeat([]byte("x"), 2*evidenceLimit)...), "end"...)
	name, err := d.Evidence("big.txt", big)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(d.Path(), name))
	if err != nil || len(text) > evidenceLimit+100 || !bytes.HasPrefix(text, []byte("begin")) || !bytes.HasSuffix(text, []byte("end")) {
		t.Errorf("big evidence: %d bytes, %v", len(text), err)
	}
	if want := "\n[262152 bytes are left out here]\n"; !bytes.Contains(text, []byte(want)) {
		t.Errorf("big evidence lacks %q", want)
	}
}

func TestDir_EvidenceOfOneNameFromManySides(t *testing.T) {
	d, err := OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const n = 20
	got := make([]string, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { got[i], _ = d.Evidence("log.txt", []byte("x")) })
	}
	all.Wait()
	slices.Sort(got)
	if len(slices.Compact(got)) != n || got[0] == "" {
		t.Errorf("names are not one each: %q", got)
	}
}

// A report holds logs and names of nodes: it is its owner's alone, and so are the directories made for it.
func TestDir_IsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if _, err := OpenDir(dir); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(filepath.Join(dir, "x"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"..": "drwx------", ".": "drwx------", evidenceDir: "drwx------", "x": "-rw-------"} {
		if info, err := os.Stat(filepath.Join(dir, path)); err != nil || info.Mode().String() != want {
			t.Errorf("%s: %v, %v, want %s", path, info.Mode(), err, want)
		}
	}
}
