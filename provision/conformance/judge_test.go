package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

var right = wanted{podUID: "uid-a", node: "arm-1", container: mainContainer, arch: platform.ARM64, clientIP: "10.244.1.2"}

// rightReply is what the right pod answers to the right question.
func rightReply(nonce string) *probe.Reply {
	return &probe.Reply{
		Who:   probe.Who{Version: probe.Version, UID: "uid-a", Pod: "a-0", Node: "arm-1", Container: mainContainer, UnameM: "aarch64", ELF: 183},
		Nonce: nonce, Client: "10.244.1.2", Size: 1,
	}
}

// wrongs are all the ways in which one answer can be wrong.
var wrongs = []struct {
	name   string
	change func(*probe.Attempt)
	want   string
}{
	{"no answer", func(a *probe.Attempt) { a.Reply, a.Error = nil, "no answer in time" }, "no answer in time"},
	{"nothing at all", func(a *probe.Attempt) { a.Reply = nil }, "there was no answer"},
	{"version", func(a *probe.Attempt) { a.Reply.Version++ }, fmt.Sprintf("speaks version %d, not %d", probe.Version+1, probe.Version)},
	{"another pod", func(a *probe.Attempt) { a.Reply.UID, a.Reply.Pod, a.Reply.Node = "uid-b", "b-0", "x86-1" }, "another pod answered: b-0 (uid-b) on x86-1"},
	{"pod of an earlier run of the same name", func(a *probe.Attempt) { a.Reply.UID = "" }, "another pod answered"},
	{"node", func(a *probe.Attempt) { a.Reply.Node = "arm-2" }, "says it is on arm-2, not on arm-1"},
	{"container", func(a *probe.Attempt) { a.Reply.Container = peerContainer }, "container peer answered, not probe"},
	{"executable of another machine", func(a *probe.Attempt) { a.Reply.ELF = 62 }, "is for ELF machine 62, not 183 (arm64)"},
	{"kernel of another machine", func(a *probe.Attempt) { a.Reply.UnameM = "x86_64" }, "calls itself x86_64, not arm64"},
	{"client's address", func(a *probe.Attempt) { a.Reply.Client = "192.0.2.1" }, "saw the client as 192.0.2.1, not as 10.244.1.2"},
	{"nonce", func(a *probe.Attempt) { a.Reply.Nonce = "other" }, `the answer is to another question: nonce "other"`},
	{"another attempt's nonce", func(a *probe.Attempt) { a.Nonce = "other" }, `the attempt is another's: nonce "other"`},
	{"a byte changed", func(a *probe.Attempt) { a.Error = "the payload came back changed" }, "the payload came back changed"},
	{"too slow", func(a *probe.Attempt) { a.Millis = 63000 }, "the answer took 63000 ms"},
}

func attemptsOf(n int) (attempts []probe.Attempt, nonces []string) {
	for i := range n {
		nonce := fmt.Sprint("n", i)
		nonces = append(nonces, nonce)
		attempts = append(attempts, probe.Attempt{Nonce: nonce, Reply: rightReply(nonce), Millis: float64(i + 1)})
	}
	return attempts, nonces
}

func TestJudge_Right(t *testing.T) {
	attempts, nonces := attemptsOf(5)
	o := judge(attempts, nonces, right)
	if o.verdict != report.Passed || o.reason != "" || o.planned != 5 || o.ok != 5 || !o.first || o.p50 != 3 || o.p99 != 5 {
		t.Errorf("%+v", o)
	}
	if o.who == nil || *o.who != (report.Responder{PodUID: "uid-a", Node: "arm-1", Machine: "aarch64", ELFMachine: 183, ClientIP: "10.244.1.2"}) ||
		o.nonce != "n4" || o.wantIP != "10.244.1.2" || o.seen != "10.244.1.2" {
		t.Errorf("%+v, %+v", o, o.who)
	}
	anyClient := right
	anyClient.clientIP = ""
	attempts[0].Reply.Client = "192.0.2.1"
	if o := judge(attempts, nonces, anyClient); o.verdict != report.Passed {
		t.Errorf("where the client's address is not known: %+v", o)
	}
}

func TestJudge_EveryMismatch(t *testing.T) {
	for _, w := range wrongs {
		t.Run(w.name, func(t *testing.T) {
			change := func(which ...int) outcome {
				attempts, nonces := attemptsOf(3)
				for _, i := range which {
					w.change(&attempts[i])
				}
				return judge(attempts, nonces, right)
			}
			if o := change(0, 1, 2); o.verdict != report.Failing || !strings.Contains(o.reason, w.want) || o.ok != 0 || o.first || o.planned != 3 {
				t.Errorf("all attempts: %+v", o)
			}
			if o := change(0); o.verdict != report.Flaky || !strings.Contains(o.reason, w.want) || !strings.HasPrefix(o.reason, "2 of 3 attempts were right") || o.first {
				t.Errorf("the first attempt: %+v", o)
			}
			if o := change(2); o.verdict != report.Flaky || !strings.Contains(o.reason, w.want) || !o.first {
				t.Errorf("the last attempt: %+v", o)
			}
		})
	}
}

func TestJudge_WhatWasNotCarriedOutIsNotRight(t *testing.T) {
	attempts, nonces := attemptsOf(3)
	if o := judge(attempts[:1], nonces, right); o.verdict != report.Flaky || o.ok != 1 || o.planned != 3 || !strings.Contains(o.reason, "it was not carried out") {
		t.Errorf("one of three: %+v", o)
	}
	if o := judge(nil, nonces, right); o.verdict != report.Failing || o.reason != "it was not carried out" || o.first {
		t.Errorf("none of three: %+v", o)
	}
	if o := judge(attempts, nil, right); o.verdict != report.Failing || o.reason != "nothing was tried" || o.first {
		t.Errorf("nothing planned: %+v", o)
	}
	slices.Reverse(attempts)
	if o := judge(attempts, nonces, right); o.verdict != report.Flaky || o.ok != 1 {
		t.Errorf("answers in another order: %+v", o)
	}
}

func TestPercentile(t *testing.T) {
	for _, c := range []struct {
		values  []float64
		percent int
		want    float64
	}{
		{nil, 50, 0}, {[]float64{7}, 50, 7}, {[]float64{7}, 99, 7}, {[]float64{2, 1}, 50, 1}, {[]float64{2, 1}, 99, 2},
		{[]float64{5, 3, 1, 4, 2}, 50, 3}, {[]float64{5, 3, 1, 4, 2}, 99, 5}, {[]float64{4, 3, 2, 1}, 50, 2}, {[]float64{4, 3, 2, 1}, 100, 4},
	} {
		if got := percentile(c.values, c.percent); got != c.want {
			t.Errorf("%d%% of %v: %v, want %v", c.percent, c.values, got, c.want)
		}
	}
}

func TestSame(t *testing.T) {
	for _, text := range []string{"run/S8/x/a>b//0", "x"} {
		if o := same(text, text, "one wrote", "the other read"); o.verdict != report.Passed {
			t.Errorf("%+v", o)
		}
		o := same(flip(text), text, "one wrote", "the other read")
		if o.verdict != report.Failing || !strings.Contains(o.reason, text) || !strings.Contains(o.reason, flip(text)) {
			t.Errorf("a changed byte: %+v", o)
		}
		if o := same("", text, "one wrote", "the other read"); o.verdict != report.Failing {
			t.Errorf("nothing: %+v", o)
		}
	}
}

func TestFlip(t *testing.T) {
	for _, text := range []string{"a", "abc", "run/S8/x/a>b//0"} {
		got := flip(text)
		differ := 0
		for i := range got {
			if got[i] != text[i] {
				differ++
			}
		}
		if len(got) != len(text) || differ != 1 || flip(got) != text {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}
