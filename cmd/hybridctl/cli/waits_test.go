package cli

import (
	"testing"

	"github.com/hybridctl/hybridctl/provision/report"
)

type heard []report.Event

func (h *heard) Event(e report.Event) { *h = append(*h, e) }

// What a verb waits for is said in its own name, and what has a name keeps it.
func TestSilence_EventsHaveAName(t *testing.T) {
	var h heard
	sink, over := silence(&h, "all", "the registry")
	sink.Event(report.Event{Kind: report.Progress, Host: "pause:3.10", Step: "push"})
	sink.Event(report.Event{Kind: report.Progress, Step: "wait"})
	over()
	if len(h) != 2 || h[0].Host != "pause:3.10" || h[1].Host != "all" {
		t.Errorf("%+v", h)
	}
}
