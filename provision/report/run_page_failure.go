package report

import (
	"fmt"
	"strings"
)

// failure is a cell that did not pass, in full.
type failure struct {
	CellResult
	Anchor   string
	Title    string // of its check
	Verdict  verdictText
	Archs    string
	Facts    [][2]string
	Evidence []evidence
}

type evidence struct {
	Path string
	Text string
	Note string // why there is no text, or not all of it
}

// failures tells in full about the cells that failed, then the flaky ones.
func (b *pageBuilder) failures() (shown []failure, unshown int) {
	titles := map[string]string{}
	for _, check := range b.run.Checks {
		titles[check.ID] = check.Title
	}
	for _, v := range []Verdict{Failing, Flaky} {
		for i, c := range b.run.Cells {
			if c.Verdict != v {
				continue
			}
			if len(shown) == maxFailures {
				unshown++
				continue
			}
			f := failure{
				CellResult: c, Anchor: b.anchor(c), Title: titles[c.Check], Verdict: v.text(),
				Archs: strings.Join(b.touches(c), " "), Facts: c.facts(), Evidence: b.evidence(c),
			}
			b.linkOf[i] = "#" + f.Anchor
			shown = append(shown, f)
		}
	}
	return shown, unshown
}

// anchor names a failure's place in the page, the same in every run: "s5-udp-1400-podip-arm-1-x86-2".
func (b *pageBuilder) anchor(c CellResult) string {
	name := c.Check + " " + c.Name
	for _, end := range []*Endpoint{c.Src, c.Dst} {
		if end != nil {
			name += " " + orElse(end.Node, end.Where)
		}
	}
	anchor := strings.ToLower(strings.ReplaceAll(safeName(name), ".", "-"))
	for n := 2; b.anchors[anchor]; n++ {
		anchor = fmt.Sprintf("%s-%d", strings.ToLower(safeName(name)), n)
	}
	b.anchors[anchor] = true
	return anchor
}

// facts are what was measured, as labels and values.
func (c CellResult) facts() [][2]string {
	var facts [][2]string
	add := func(label, value string) {
		if value != "" {
			facts = append(facts, [2]string{label, value})
		}
	}
	add("Attempts", c.attempts())
	if c.P50Millis > 0 {
		add("Latency", fmt.Sprintf("median %s, 99th percentile %s", millis(c.P50Millis), millis(c.P99Millis)))
	}
	add("From pod", c.Src.pod())
	add("To pod", c.Dst.pod())
	if c.Responder != nil {
		add("Who answered", fmt.Sprintf("pod %s on %s, uname -m %s, ELF machine %d",
			c.Responder.PodUID, c.Responder.Node, c.Responder.Machine, c.Responder.ELFMachine))
	}
	if c.ExpectClientIP != "" || c.ObservedClientIP != "" {
		add("Client address", fmt.Sprintf("%s was expected, %s was seen", orElse(c.ExpectClientIP, "none"), orElse(c.ObservedClientIP, "none")))
	}
	add("Nonce", c.Nonce)
	if !c.Started.IsZero() {
		add("When", c.Started.UTC().Format("15:04:05 UTC")+", "+took(c.Duration))
	}
	return facts
}

// pod names an end's pod.
func (e *Endpoint) pod() string {
	if e == nil || e.Pod == "" {
		return ""
	}
	if e.PodUID == "" {
		return e.Pod
	}
	return e.Pod + " (" + e.PodUID + ")"
}

func millis(ms float64) string {
	if ms <= 0 {
		return ""
	}
	if ms < 10 {
		return fmt.Sprintf("%.2g ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

func (b *pageBuilder) evidence(c CellResult) []evidence {
	var list []evidence
	for _, path := range c.Evidence {
		list = append(list, b.inline(path))
	}
	return list
}

func (b *pageBuilder) inline(path string) evidence {
	e := evidence{Path: path}
	switch {
	case b.read == nil:
	case b.inlined >= maxInlined:
		e.Note = "not shown here, the page would be too long; the file has it"
	default:
		body, err := b.read(path)
		if err != nil {
			e.Note = "cannot be read: " + OneLine(err.Error())
			break
		}
		if len(body) > maxEvidence {
			e.Note = fmt.Sprintf("the beginning and the end of %s; the file has it all", Bytes(int64(len(body))))
		}
		text := middleOut(body, maxEvidence)
		b.inlined += len(text)
		e.Text = strings.TrimRight(Lines(string(text)), "\n ")
		if e.Text == "" {
			e.Note = "the file is empty"
		}
	}
	return e
}
