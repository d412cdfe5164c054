// Package sarif writes findings in the Static Analysis Results Interchange Format 2.1.0 (OASIS), which code hosts show beside the lines. It
// judges nothing.
package sarif

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"

	v2 "github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
)

// Rule is a kind of finding.
type Rule struct {
	ID, Title, Help string
	Level           string // error, warning or note
	HelpURI         string
}

// Result is one finding.
type Result struct {
	Rule, Level, Message string
	File                 string // relative to the working directory; "" = in no file
	Line, Column         int    // counted from 1; 0 = the file as a whole
	Logical              string // what is not in a file: "Deployment team/web", an image's name
	Fingerprint          string // what stays when lines move; the file is added
}

// Write writes one run of a tool, and nothing else.
func Write(w io.Writer, version string, rules []Rule, results []Result) error {
	driver := v2.NewToolComponent().WithName("hybridctl").WithVersion(version).WithInformationURI("https://github.com/hybridctl/hybridctl")
	index := map[string]int{}
	for i, r := range rules {
		index[r.ID] = i
		d := v2.NewReportingDescriptor().WithID(r.ID).WithHelp(v2.NewMultiformatMessageString().WithText(r.Help)).
			WithShortDescription(v2.NewMultiformatMessageString().WithText(r.Title)).
			WithDefaultConfiguration(v2.NewReportingConfiguration().WithLevel(r.Level))
		if r.HelpURI != "" {
			d.WithHelpURI(r.HelpURI)
		}
		driver.AddRule(d)
	}
	run := v2.NewRun().WithTool(v2.NewTool().WithDriver(driver)).WithColumnKind("unicodeCodePoints")
	run.Results = []*v2.Result{} // a list also when it is empty
	for _, r := range results {
		result := v2.NewResult().WithRuleID(r.Rule).WithRuleIndex(index[r.Rule]).WithLevel(r.Level).WithMessage(v2.NewTextMessage(r.Message)).
			WithPartialFingerprints(map[string]string{"hybridctl/v1": fingerprint(r)})
		result.AddLocation(location(r))
		run.AddResult(result)
	}
	report := v2.NewReport()
	report.AddRun(run)
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

func location(r Result) *v2.Location {
	at := v2.NewLocation()
	if r.Logical != "" {
		at.AddLogicalLocation(v2.NewLogicalLocation().WithFullyQualifiedName(r.Logical))
	}
	if r.File == "" {
		return at
	}
	place := v2.NewPhysicalLocation().WithArtifactLocation(v2.NewSimpleArtifactLocation(uri(r.File)))
	if r.Line > 0 {
		region := v2.NewRegion().WithStartLine(r.Line)
		if r.Column > 0 {
			region.WithStartColumn(r.Column)
		}
		place.WithRegion(region)
	}
	return at.WithPhysicalLocation(place)
}

// uri is a path as a relative reference of RFC 3986.
func uri(path string) string {
	var b strings.Builder
	for _, c := range []byte(filepath.ToSlash(filepath.Clean(path))) {
		if c <= ' ' || c > '~' || strings.IndexByte(`%"<>\^`+"`{|}?#[]", c) >= 0 {
			b.WriteString("%" + strings.ToUpper(hex.EncodeToString([]byte{c})))
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

func fingerprint(r Result) string {
	sum := sha256.Sum256([]byte(r.Rule + "\x00" + r.File + "\x00" + r.Fingerprint))
	return hex.EncodeToString(sum[:16])
}
