package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/golden"
)

func junitOf(t *testing.T, r ConformanceRun) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteJUnit(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// junitRuns are the runs whose documents must be accepted.
func junitRuns() map[string]ConformanceRun {
	nasty := mixedRun()
	nasty.Error = "a\x00b\x1b[31mred\x1b[0m \xff\ufffe]]> <error>&amp;"
	nasty.Cells[0].Verdict, nasty.Cells[0].Reason, nasty.Cells[0].Cause = Failing, "bell \a \"quoted\"\ntwo lines", "tab\tand \x0b and \x1b]0;title\a"
	nasty.Cells[1].Verdict, nasty.Cells[1].Reason = Blocked, ""
	nasty.Cells[2].Class, nasty.Cells[2].Check = "", "another"
	return map[string]ConformanceRun{"mixed": mixedRun(), "aborted": abortedRun(), "nasty": nasty, "empty": {}}
}

func TestWriteJUnit_Golden(t *testing.T) {
	golden.Check(t, "junit.xml", junitOf(t, mixedRun()))
	golden.Check(t, "junit-aborted.xml", junitOf(t, abortedRun()))
}

func TestWriteJUnit_HidesNothing(t *testing.T) {
	r := mixedRun()
	r.Checks = append(r.Checks, RunCheck{"Z", "nothing was planned"})
	r.Error = "interrupted"
	var doc junitSuites
	if err := xml.Unmarshal([]byte(junitOf(t, r)), &doc); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range doc.Suites {
		for _, c := range s.Cases {
			switch {
			case c.Failure != nil:
				got[c.Name] = c.Failure.Type
			case c.Error != nil:
				got[c.Name] = "error"
			case c.Skipped != nil:
				got[c.Name] = "skipped"
			default:
				got[c.Name] = "pass"
			}
		}
	}
	word := map[Verdict]string{Passed: "pass", Failing: "fail", Flaky: "flaky", Blocked: "skipped"}
	for _, c := range r.Cells {
		if got[c.ID()] != word[c.Verdict] {
			t.Errorf("%s: %q, want %q", c.ID(), got[c.ID()], word[c.Verdict])
		}
	}
	if got["setup"] != "error" || got["Z"] != "skipped" {
		t.Errorf("setup is %q, want an error; a check without cells is %q, want skipped", got["setup"], got["Z"])
	}
}

// TestWriteJUnit_Shape checks by hand what the schemas in use ask for.
func TestWriteJUnit_Shape(t *testing.T) {
	for name, r := range junitRuns() {
		for _, problem := range junitProblems(junitOf(t, r)) {
			t.Errorf("%s: %s", name, problem)
		}
	}
	for what, bad := range map[string]string{
		"another root":      `<report></report>`,
		"no suite's name":   `<testsuites><testsuite tests="0"></testsuite></testsuites>`,
		"order":             strings.Replace(junitOf(t, ConformanceRun{Checks: []RunCheck{{"S", ""}}}), "<properties>", "<system-out></system-out><properties>", 1),
		"wrong count":       strings.Replace(junitOf(t, mixedRun()), `failures="1"`, `failures="0"`, 1),
		"time":              strings.Replace(junitOf(t, mixedRun()), `time="0.`, `time="0s`, 1),
		"unknown attribute": strings.Replace(junitOf(t, mixedRun()), `<testcase `, `<testcase verdict="x" `, 1),
		"control character": strings.Replace(junitOf(t, mixedRun()), `no answer`, "no \x01 answer", 1),
	} {
		if len(junitProblems(bad)) == 0 {
			t.Errorf("%s is not found", what)
		}
	}
}

// shape is what an element must and may have.
type shape struct {
	attributes, optional string
	children             string // in this order, each any number of times
}

var junitShape = map[string]shape{
	"testsuites": {children: "testsuite"},
	"testsuite":  {"name package id hostname timestamp tests failures errors time", "skipped", "properties testcase system-out system-err"},
	"properties": {children: "property"},
	"property":   {attributes: "name value"},
	"testcase":   {attributes: "name classname time", children: "failure error skipped"},
	"failure":    {attributes: "type", optional: "message"},
	"error":      {attributes: "type", optional: "message"},
	"skipped":    {optional: "message"},
	"system-out": {},
	"system-err": {},
}

// junitValue says how values look.
var junitValue = map[string]*regexp.Regexp{
	"name": regexp.MustCompile(`.`), "classname": regexp.MustCompile(`.`), "hostname": regexp.MustCompile(`.`),
	"time":      regexp.MustCompile(`^\d+\.\d{3}$`),
	"timestamp": regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$`),
	"tests":     regexp.MustCompile(`^\d+$`), "failures": regexp.MustCompile(`^\d+$`), "errors": regexp.MustCompile(`^\d+$`), "skipped": regexp.MustCompile(`^\d+$`),
}

type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Children []element  `xml:",any"`
}

func junitProblems(text string) []string {
	var root element
	if err := xml.Unmarshal([]byte(text), &root); err != nil {
		return []string{err.Error()}
	}
	if root.XMLName.Local != "testsuites" {
		return []string{"the root is " + root.XMLName.Local}
	}
	return root.problems()
}

func (e element) problems() []string {
	var problems []string
	name := e.XMLName.Local
	s, known := junitShape[name]
	if !known {
		return []string{"unknown element " + name}
	}
	value := map[string]string{}
	for _, a := range e.Attrs {
		value[a.Name.Local] = a.Value
		if !slices.Contains(strings.Fields(s.attributes+" "+s.optional), a.Name.Local) {
			problems = append(problems, fmt.Sprintf("%s: attribute %s", name, a.Name.Local))
		}
		if form := junitValue[a.Name.Local]; form != nil && !form.MatchString(a.Value) {
			problems = append(problems, fmt.Sprintf("%s: %s is %q", name, a.Name.Local, a.Value))
		}
	}
	for _, a := range strings.Fields(s.attributes) {
		if _, there := value[a]; !there {
			problems = append(problems, fmt.Sprintf("%s: no %s", name, a))
		}
	}
	order, at, count := strings.Fields(s.children), 0, map[string]int{}
	for _, c := range e.Children {
		i := slices.Index(order, c.XMLName.Local)
		if i < at {
			problems = append(problems, fmt.Sprintf("%s: %s does not belong there", name, c.XMLName.Local))
		}
		at = max(at, i)
		count["tests"]++
		for _, outcome := range c.Children {
			count[outcome.XMLName.Local]++
		}
		problems = append(problems, c.problems()...)
	}
	if name == "testcase" && len(e.Children) > 1 {
		problems = append(problems, "testcase: more than one outcome")
	}
	if name == "testsuite" {
		count["tests"] -= 3 // properties, system-out, system-err
		for attribute, element := range map[string]string{"tests": "tests", "failures": "failure", "errors": "error", "skipped": "skipped"} {
			if value[attribute] != fmt.Sprint(count[element]) {
				problems = append(problems, fmt.Sprintf("%s: %s is %s, but there are %d", value["name"], attribute, value[attribute], count[element]))
			}
		}
	}
	return problems
}

func TestWriteJUnit_Schema(t *testing.T) {
	xmllint, err := exec.LookPath("xmllint")
	if err != nil {
		t.Skip("xmllint is not on PATH (Debian: libxml2-utils); TestWriteJUnit_Shape checks the same without it")
	}
	for name, r := range junitRuns() {
		cmd := exec.Command(xmllint, "--noout", "--nonet", "--schema", "testdata/junit.xsd", "-")
		cmd.Stdin = strings.NewReader(junitOf(t, r))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
