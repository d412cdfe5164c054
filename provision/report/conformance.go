package report

import "time"

// RunVersion is the form of report.json. A reader refuses another major version.
const RunVersion = "hybridctl/conformance/v1"

// Verdict is how a cell of the conformance matrix, a check or a whole run ended.
type Verdict string

// The verdicts. A cell that did not run is Blocked, never Passed.
const (
	Passed  Verdict = "pass"
	Flaky   Verdict = "flaky" // right in the end, but not at the first attempt
	Failing Verdict = "fail"
	Blocked Verdict = "blocked" // it could not be tried; the reason says why
)

// Verdicts lists the verdicts, the gravest first.
func Verdicts() []Verdict { return []Verdict{Failing, Flaky, Blocked, Passed} }

// ConformanceRun is one run of the conformance scenarios: what report.json holds.
type ConformanceRun struct {
	Version  string    `json:"version"` // RunVersion
	ID       string    `json:"id"`      // also the label of every object the run made
	Cluster  string    `json:"cluster"`
	Scenario string    `json:"scenario"` // "new-deployment" or "scale-out"
	Tool     string    `json:"tool"`     // hybridctl's own version
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	// Error is why the run ended early: a set-up that failed, an interruption. Cells that were not tried are then blocked.
	Error    string       `json:"error,omitempty"`
	Hint     string       `json:"hint,omitempty"` // what the user can do about the error
	Coverage Coverage     `json:"coverage"`
	Nodes    []RunNode    `json:"nodes"`
	Checks   []RunCheck   `json:"checks"` // in the scenario's order, also those of which no cell was planned
	Cells    []CellResult `json:"cells"`
	Phases   []Phase      `json:"phases"` // where the time went
}

// Coverage says how much of the matrix was tried: large clusters are sampled.
type Coverage struct {
	Pairs   int    `json:"pairs"`   // ordered pairs of nodes that were planned
	Of      int    `json:"of"`      // ordered pairs that there are, after a scale-out with a new node
	Seed    uint64 `json:"seed"`    // chose the sample
	Sampled bool   `json:"sampled"` // Pairs < Of
}

// RunNode is a node as the run found it.
type RunNode struct {
	Name    string `json:"name"`
	Arch    string `json:"arch"`
	Role    string `json:"role"` // "control-plane" or "worker"
	Kernel  string `json:"kernel,omitempty"`
	PageKiB int    `json:"pageKiB,omitempty"` // 0 = not known
	CPU     string `json:"cpu,omitempty"`
	Address string `json:"address"`
	New     bool   `json:"new,omitempty"` // added by the scale-out that is proven
	// OutOf says why no probe runs there: "not Ready"; empty when one does.
	OutOf string `json:"outOf,omitempty"`
}

// RunCheck is a check of the scenario.
type RunCheck struct {
	ID    string `json:"id"`    // "S5"; stable
	Title string `json:"title"` // for people
}

// Endpoint is one end of a cell.
type Endpoint struct {
	Node   string `json:"node"` // empty for an end outside the cluster
	Arch   string `json:"arch,omitempty"`
	Pod    string `json:"pod,omitempty"`
	PodUID string `json:"podUID,omitempty"`
	Where  string `json:"where,omitempty"` // for an end outside the cluster: "operator", or a host's name
}

// Responder is who answered, as it said itself.
type Responder struct {
	PodUID     string `json:"podUID"`
	Node       string `json:"node"`
	Machine    string `json:"unameM"`     // uname -m
	ELFMachine int    `json:"elfMachine"` // e_machine of its executable: 62 is x86-64, 183 is AArch64
	ClientIP   string `json:"clientIP,omitempty"`
}

// CellResult is one cell of the matrix and how it ended.
type CellResult struct {
	Check string `json:"id"`   // the check's ID
	Name  string `json:"cell"` // "tcp/1400/podIP"
	// Class groups cells for people: "arm64 → amd64", or one architecture.
	Class string    `json:"class"`
	Src   *Endpoint `json:"src,omitempty"`
	Dst   *Endpoint `json:"dst,omitempty"`

	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason,omitempty"` // one sentence, for every verdict but pass
	Cause   string  `json:"cause,omitempty"`  // the likely cause, where the symptom is a known one
	Hint    string  `json:"hint,omitempty"`   // what to do about it

	Planned        int  `json:"planned,omitempty"` // attempts
	OK             int  `json:"ok,omitempty"`      // attempts that were right
	FirstAttemptOK bool `json:"firstAttemptOk"`

	P50Millis        float64    `json:"p50ms,omitempty"`
	P99Millis        float64    `json:"p99ms,omitempty"`
	RulesLagMillis   float64    `json:"rulesLagMs,omitempty"` // how long a Service's rules needed, from its endpoint or its end
	Nonce            string     `json:"nonce,omitempty"`
	Responder        *Responder `json:"responder,omitempty"`
	ExpectClientIP   string     `json:"expectClientIP,omitempty"`
	ObservedClientIP string     `json:"observedClientIP,omitempty"`

	Evidence []string      `json:"evidence,omitempty"` // files, relative to the report's directory
	Started  time.Time     `json:"started,omitzero"`
	Duration time.Duration `json:"durationNanoseconds,omitempty"`
}

// ID names the cell: "S5/tcp/1400/podIP: arm-1 (arm64) → x86-1 (amd64)".
func (c CellResult) ID() string {
	id := c.Check + "/" + c.Name
	ends := ""
	if c.Src != nil {
		ends = c.Src.String()
	}
	if c.Dst != nil {
		if ends != "" {
			ends += " → "
		}
		ends += c.Dst.String()
	}
	if ends == "" {
		return id
	}
	return id + ": " + ends
}

// String names an end: its node and architecture, or where it is.
func (e Endpoint) String() string {
	if e.Node == "" {
		return e.Where
	}
	return e.Node + " (" + e.Arch + ")"
}

// Phase is a part of a run.
type Phase struct {
	Name     string        `json:"name"`
	Duration time.Duration `json:"durationNanoseconds"`
}

// Verdict is the gravest verdict of the cells. A run that ended early, or that has no cell that passed, did not pass.
func (r ConformanceRun) Verdict() Verdict {
	if r.Error != "" {
		return Failing
	}
	return worst(r.Cells)
}

// CheckVerdict is the verdict of one check's cells; Blocked when it has none.
func (r ConformanceRun) CheckVerdict(id string) Verdict {
	var cells []CellResult
	for _, c := range r.Cells {
		if c.Check == id {
			cells = append(cells, c)
		}
	}
	return worst(cells)
}

// worst is fail before flaky; what is left is a pass when anything passed. Blocked cells beside passed ones are counted and shown,
// but do not undo what was proven.
func worst(cells []CellResult) Verdict {
	n := map[Verdict]int{}
	for _, c := range cells {
		n[c.Verdict]++
	}
	switch {
	case n[Failing] > 0:
		return Failing
	case n[Flaky] > 0:
		return Flaky
	case n[Passed] > 0:
		return Passed
	default:
		return Blocked
	}
}

// Style returns how a verdict stands out.
func (v Verdict) Style() Style {
	switch v {
	case Passed:
		return Good
	case Failing:
		return Bad
	default:
		return Notice
	}
}
