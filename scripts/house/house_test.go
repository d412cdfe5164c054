package main

import (
	"slices"
	"strings"
	"testing"
)

func TestGraph_FloorsAndArrowsThatRunBackUp(t *testing.T) {
	g := graph{}
	for _, arrow := range [][2]string{{"a", "b"}, {"b", "c"}, {"c", "d"}, {"a", "d"}, {"d", "d"}} {
		g.add(arrow[0], arrow[1])
	}
	if way := g.longest(); !slices.Equal(way, []string{"a", "b", "c", "d"}) || len(g.backArrows()) != 0 {
		t.Errorf("way %q, back %q", way, g.backArrows())
	}
	g.add("d", "b")
	if back := g.backArrows(); !slices.Equal(back, [][2]string{{"d", "b"}}) || len(g.longest()) != 4 {
		t.Errorf("back %q, way %q", back, g.longest())
	}
}

func TestBeyond_SaysWhatIsWorse(t *testing.T) {
	h := house{picture: picture{Floors: 5, Back: 1, Lines: 10}, calls: [][2]string{{"provision/up.go", "provision/remove.go"}}}
	got := h.beyond(picture{Floors: 5, Lines: 9})
	if len(got) != 3 || !strings.Contains(got[2].Error(), "up.go uses what provision/remove.go declares") {
		t.Errorf("%v", got)
	}
	if got := (house{grown: []string{"provision/kube.Client has 1000 methods"}}).beyond(picture{}); len(got) != 1 || !strings.Contains(got[0].Error(), "at most") {
		t.Errorf("%v", got)
	}
	if got := (house{}).beyond(picture{}); len(got) > 0 {
		t.Errorf("%v", got)
	}
}

func TestIsVerb(t *testing.T) {
	for room, want := range map[string]bool{"provision/up.go": true, "provision/run.go": false, "provision/plan": false, "cmd/hybridctl": false} {
		if isVerb(room) != want {
			t.Errorf("%s: %t", room, !want)
		}
	}
}
