package sarif

import (
	"bytes"
	"testing"

	"github.com/hybridctl/hybridctl/provision/golden"
)

func TestWrite(t *testing.T) {
	var out bytes.Buffer
	err := Write(&out, "v1", []Rule{{"L1", "A title", "What to do", "error", ""}, {"L5", "Another", "Nothing", "note", ""}}, []Result{
		{Rule: "L5", Level: "note", Message: "a message", File: "./dir/a file.yaml", Line: 3, Column: 7, Logical: "Pod a", Fingerprint: "x"},
		{Rule: "L1", Level: "error", Message: "of no file", Logical: "Deployment n/b", Fingerprint: "y"},
	})
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "report.sarif", out.Bytes())
}

func TestWrite_NothingFound(t *testing.T) {
	var out bytes.Buffer
	if err := Write(&out, "v1", nil, nil); err != nil || !bytes.Contains(out.Bytes(), []byte(`"results": []`)) {
		t.Errorf("%v\n%s", err, out.Bytes())
	}
}
