package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// FuzzRun: a report may be anybody's. One that is read is written in every form, compared, and read again.
func FuzzRun(f *testing.F) {
	whole, err := json.Marshal(mixedRun())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(`{"version":"` + RunVersion + `","cells":[{"verdict":"pass"},{"verdict":"fail","failure":null}],"nodes":[{}]}`))
	f.Add([]byte(`{"version":"` + RunVersion + `","cells":null,"started":"0001-01-01T00:00:00Z"}`))
	nothing := func(string) ([]byte, error) { return nil, errors.New("none") }
	f.Fuzz(func(t *testing.T, text []byte) {
		run, err := parseRun(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(run)
		if err != nil {
			t.Fatal(err)
		}
		other, err := parseRun(again)
		if err != nil || other.Verdict() != run.Verdict() {
			t.Errorf("%v: %s", err, again)
		}
		var b bytes.Buffer
		if err := WriteRun(&b, run, false); err != nil || strings.ContainsAny(b.String(), "\x1b\a") {
			t.Errorf("text: %v %q", err, b.String())
		}
		b.Reset()
		if err := WriteJUnit(&b, run); err != nil {
			t.Errorf("JUnit: %v", err)
		}
		for d := xml.NewDecoder(&b); err == nil; {
			_, err = d.Token()
		}
		if err != io.EOF {
			t.Errorf("JUnit is no XML: %v", err)
		}
		if err := WritePage(io.Discard, run, nothing); err != nil {
			t.Errorf("page: %v", err)
		}
		DiffRuns(run, mixedRun())
	})
}
