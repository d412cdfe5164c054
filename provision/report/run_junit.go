package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// The elements of a JUnit document, in the form that both the Ant schema and Jenkins' own accept.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Package    string          `xml:"package,attr"`
		ID         int             `xml:"id,attr"`
		Hostname   string          `xml:"hostname,attr"`
		Timestamp  string          `xml:"timestamp,attr"` // without a zone, as the Ant schema wants it
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Time       string          `xml:"time,attr"`
		Properties junitProperties `xml:"properties"`
		Cases      []junitCase     `xml:"testcase"`
		Out        string          `xml:"system-out"`
		Err        string          `xml:"system-err"`
	}
	junitProperties struct {
		List []junitProperty `xml:"property"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Name      string        `xml:"name,attr"`
		Classname string        `xml:"classname,attr"`
		Time      string        `xml:"time,attr"`
		Failure   *junitOutcome `xml:"failure"`
		Error     *junitOutcome `xml:"error"`
		Skipped   *junitSkipped `xml:"skipped"`
	}
	junitOutcome struct {
		Type    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	junitSkipped struct {
		Message string `xml:"message,attr"`
	}
)

// WriteJUnit writes a run for systems that read JUnit's XML: a suite per check, a case per cell. A flaky cell is a failure of the type
// "flaky", so that it cannot pass unseen; a blocked one is skipped. A suite's system-out has the cells that waited for the rules of a Service. A run
// that ended early has a case "setup" with an error, and one of which no cell could be tried a case "verdict".
func WriteJUnit(w io.Writer, r ConformanceRun) error {
	var doc junitSuites
	switch {
	case r.Error != "":
		doc.Suites = append(doc.Suites, junitWhole("setup", r.Error, r.Hint))
	case r.Verdict() == Blocked: // skipped cases alone would look like a success
		doc.Suites = append(doc.Suites, junitWhole("verdict", "nothing was proven: no cell could be tried", ""))
	}
	for _, check := range r.AllChecks() {
		doc.Suites = append(doc.Suites, r.junitCheck(check))
	}
	for i := range doc.Suites {
		s := &doc.Suites[i]
		s.ID, s.Hostname, s.Timestamp = i, orElse(r.Cluster, "cluster"), r.Started.UTC().Format("2006-01-02T15:04:05")
		s.Properties.List = r.junitProperties()
		s.count()
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (r ConformanceRun) junitProperties() []junitProperty {
	return []junitProperty{
		{"run", r.ID}, {"cluster", r.Cluster}, {"scenario", r.Scenario}, {"hybridctl", r.Tool}, {"coverage", r.Coverage.String()},
	}
}

// junitWhole is a suite with one case, an error of the whole run.
func junitWhole(name, text, hint string) junitSuite {
	message := OneLine(text)
	if hint != "" {
		text += "\nhint: " + hint
	}
	return junitSuite{Name: name, Package: name, Time: seconds(0), Cases: []junitCase{{
		Name: name, Classname: name, Time: seconds(0),
		Error: &junitOutcome{Type: name, Message: message, Text: Lines(text)},
	}}}
}

func (r ConformanceRun) junitCheck(check RunCheck) junitSuite {
	name := OneLine(strings.TrimSpace(check.ID + " " + check.Title))
	s := junitSuite{Name: name, Package: orElse(check.ID, "check"), Time: seconds(r.CheckDuration(check.ID))}
	for _, c := range r.CheckCells(check.ID) {
		s.Cases = append(s.Cases, c.junit())
		if d := c.waited(); d > 0 { // a case that passed has no place for words
			s.Out += fmt.Sprintf("%s: before its attempts the Service's rules took %s\n", OneLine(c.ID()), took(d))
		}
	}
	if len(s.Cases) == 0 { // an empty suite would not be seen
		s.Cases = []junitCase{{
			Name: check.ID, Classname: check.ID, Time: seconds(0), Skipped: &junitSkipped{"no cell of this check was planned"},
		}}
	}
	return s
}

func (c CellResult) junit() junitCase {
	j := junitCase{Name: OneLine(c.ID()), Classname: c.Check, Time: seconds(c.Duration)}
	if c.Class != "" {
		j.Classname += "." + OneLine(c.Class)
	}
	switch c.Verdict {
	case Passed:
	case Failing:
		j.Failure = &junitOutcome{Type: "fail", Message: OneLine(c.Reason), Text: c.story()}
	case Flaky:
		j.Failure = &junitOutcome{Type: "flaky", Message: OneLine(c.Reason), Text: c.story()}
	default:
		j.Skipped = &junitSkipped{OneLine(orElse(c.Reason, "no reason was given"))}
	}
	return j
}

// story tells in lines what is known about a cell that did not pass.
func (c CellResult) story() string {
	var b strings.Builder
	for _, line := range []struct{ label, text string }{
		{"", c.Reason}, {"", c.attempts()}, {"likely cause: ", c.Cause}, {"hint: ", c.Hint}, {"evidence: ", strings.Join(c.Evidence, ", ")},
	} {
		if line.text != "" {
			fmt.Fprintf(&b, "%s%s\n", line.label, Lines(line.text))
		}
	}
	return b.String()
}

func (s *junitSuite) count() {
	for _, c := range s.Cases {
		s.Tests++
		switch {
		case c.Failure != nil:
			s.Failures++
		case c.Error != nil:
			s.Errors++
		case c.Skipped != nil:
			s.Skipped++
		}
	}
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
