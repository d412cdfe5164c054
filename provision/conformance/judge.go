package conformance

import (
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

// wanted is who has to answer, and what he has to have seen.
type wanted struct {
	podUID    string
	node      string
	container string
	arch      platform.Arch
	clientIP  string // empty = any
}

// slowMillis is how long one conversation may take. A datagram or a handshake that is sent again takes a second or more; a packet
// with a wrong checksum is dropped until a minute is over.
const slowMillis = 10_000

// mismatch is what is wrong with an answer; empty when it is the wanted one's.
func (w wanted) mismatch(r *probe.Reply) string {
	profile := platform.ProfileFor(w.arch)
	switch {
	case r == nil:
		return "there was no answer"
	case r.Version != probe.Version:
		return fmt.Sprintf("the probe that answered speaks version %d, not %d: the bundle is of another hybridctl", r.Version, probe.Version)
	case r.UID != w.podUID:
		return fmt.Sprintf("another pod answered: %s (%s) on %s", r.Pod, r.UID, r.Node)
	case r.Node != w.node:
		return fmt.Sprintf("the pod that answered says it is on %s, not on %s", r.Node, w.node)
	case r.Container != w.container:
		return fmt.Sprintf("container %s answered, not %s", r.Container, w.container)
	case r.ELF != int(profile.ELFMachine):
		return fmt.Sprintf("the program that answered is for ELF machine %d, not %d (%s)", r.ELF, profile.ELFMachine, w.arch)
	case !slices.Contains(profile.Spellings, r.UnameM):
		return fmt.Sprintf("the kernel beneath the answer calls itself %s, not %s", r.UnameM, w.arch)
	case w.clientIP != "" && r.Client != w.clientIP:
		return fmt.Sprintf("the server saw the client as %s, not as %s: something on the way translates addresses", r.Client, w.clientIP)
	}
	return ""
}

// judge tells what a cell's attempts come to. The first attempt counts: what is right only later is flaky.
func judge(attempts []probe.Attempt, nonces []string, w wanted) outcome {
	out := outcome{planned: len(nonces)}
	if len(nonces) == 0 {
		out.fail("nothing was tried")
		return out
	}
	var firstReason, lastReason string
	var millis []float64
	for i, nonce := range nonces {
		reason := "it was not carried out"
		if i < len(attempts) {
			a := attempts[i]
			reason = w.attempt(a, nonce)
			millis = append(millis, a.Millis)
			if a.Reply != nil {
				out.responder(a.Reply)
				out.nonce, out.seen = nonce, a.Reply.Client
			}
		}
		if reason == "" {
			out.ok++
			continue
		}
		if i == 0 {
			firstReason = reason
		}
		lastReason = reason
	}
	out.first, out.wantIP = firstReason == "" && out.ok > 0, w.clientIP
	out.p50, out.p99 = percentile(millis, 50), percentile(millis, 99)
	switch {
	case out.ok == len(nonces):
		out.verdict = report.Passed
	case out.ok == 0:
		out.fail("%s", lastReason)
	default:
		out.verdict = report.Flaky
		out.reason = fmt.Sprintf("%d of %d attempts were right; the last that was not: %s", out.ok, len(nonces), lastReason)
	}
	return out
}

// attempt is what is wrong with one attempt.
func (w wanted) attempt(a probe.Attempt, nonce string) string {
	switch {
	case a.Error != "" && a.Reply == nil:
		return a.Error
	case a.Nonce != nonce:
		return fmt.Sprintf("the attempt is another's: nonce %q, planned %q", a.Nonce, nonce)
	}
	if wrong := w.mismatch(a.Reply); wrong != "" {
		return wrong
	}
	switch {
	case a.Error != "":
		return a.Error
	case a.Reply.Nonce != nonce:
		return fmt.Sprintf("the answer is to another question: nonce %q, sent %q", a.Reply.Nonce, nonce)
	case a.Millis > slowMillis:
		return fmt.Sprintf("the answer took %.0f ms", a.Millis)
	}
	return ""
}

// percentile is the smallest value that so many percent of the values do not exceed.
func percentile(values []float64, percent int) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, (len(sorted)*percent+99)/100-1)]
}

// outcome is what a cell's function found out.
type outcome struct {
	verdict     report.Verdict
	reason      string
	planned, ok int
	first       bool
	p50, p99    float64
	nonce       string
	who         *report.Responder
	wantIP      string
	seen        string
	lag         time.Duration // how long the rules of a Service needed
	lost        bool          // it is blocked because a probe is not there
}

// maxReason and maxName bound what a report keeps of the words of probes and servers, and of what they call themselves, in bytes.
const (
	maxReason = 2000
	maxName   = 260
)

// bounded is the outcome without the rest of what is too long.
func (o outcome) bounded() outcome {
	o.reason, o.nonce, o.wantIP, o.seen = cut(o.reason, maxReason), cut(o.nonce, maxReason), cut(o.wantIP, maxName), cut(o.seen, maxName)
	if w := o.who; w != nil {
		o.who = &report.Responder{PodUID: cut(w.PodUID, maxName), Node: cut(w.Node, maxName), Machine: cut(w.Machine, maxName), ELFMachine: w.ELFMachine, ClientIP: cut(w.ClientIP, maxName)}
	}
	return o
}

// cut is at most so many bytes of a text, which ends with … where it is not all of it.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	end := most - len("…")
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…" // a new text: the long one is not kept
}

func (o *outcome) fail(format string, args ...any) {
	o.verdict, o.reason = report.Failing, fmt.Sprintf(format, args...)
}

func (o *outcome) responder(r *probe.Reply) {
	o.who = &report.Responder{PodUID: r.UID, Node: r.Node, Machine: r.UnameM, ELFMachine: r.ELF, ClientIP: r.Client}
}

// passed, failed and blocked are the outcomes of cells that ask once.
func passed() outcome { return outcome{verdict: report.Passed, planned: 1, ok: 1, first: true} }

// failed is a failure. What a probe that is not heard any more would have said is not known: with an error of one among args the cell is blocked.
func failed(format string, args ...any) outcome {
	if slices.ContainsFunc(args, unheard) {
		o := blocked(format, args...)
		o.lost = true
		return o
	}
	o := outcome{planned: 1}
	o.fail(format, args...)
	return o
}

func blocked(format string, args ...any) outcome {
	return outcome{verdict: report.Blocked, reason: fmt.Sprintf(format, args...)}
}
