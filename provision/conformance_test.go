package provision

import (
	"context"
	"testing"
)

// Whether an old node was Ready is what the survey of a scale-out saw, not what is there once hosts have joined.
func TestConformanceOptions_NodesAsTheyWereBefore(t *testing.T) {
	s := grown(t, 3, 2)
	o := ScaleOutOptions{Options: s.options().withDefaults()}
	store, session, end, err := begin(o.Options)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	session.joining = &joining{}
	if _, err := session.surveyGrowth(context.Background(), store, o, &Result{}); err != nil {
		t.Fatal(err)
	}
	s.api.notReady("host-1")
	c := session.conformanceOptions(context.Background(), ConformanceOptions{Scenario: "scale-out", Nodes: []string{"host-3"}})
	if len(c.NodesBefore) != 2 || !c.NodesBefore[0].Ready || !c.NodesBefore[1].Ready {
		t.Errorf("%+v", c.NodesBefore)
	}
}
