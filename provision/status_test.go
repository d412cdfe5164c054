package provision

import (
	"context"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// The version of a cluster is what its API server says. What the inventory says is told as what it wants.
func TestStatus_VersionIsTheClusters(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	status := func() StatusReport {
		t.Helper()
		st, err := Status(context.Background(), s.options())
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	wanted := s.c.Spec.Kubernetes.Version
	if st := status(); st.API != "no cluster yet" || st.Version != "" || st.Wanted != wanted {
		t.Errorf("before there is one: %+v", st)
	}
	mustUp(t, s)
	if st := status(); st.Version != wanted || st.Wanted != wanted || len(st.Notes) > 0 {
		t.Errorf("as wanted: %+v", st)
	}
	s.api.ServerVersion = "v1.20.9"
	if st := status(); st.Version != "v1.20.9" || !strings.Contains(strings.Join(st.Notes, "\n"), "the API server is v1.20.9, and the inventory says "+wanted) {
		t.Errorf("another: %+v", st)
	}
	for _, h := range s.fleet.Hosts {
		h.Refuse()
	}
	s.forget()
	st := status()
	if st.Version != "" || st.API == "answers" {
		t.Errorf("it did not answer: %+v", st)
	}
	for _, h := range st.Hosts {
		if h.Node != "unknown" || h.Arch != "unknown" || h.Host == "reachable" {
			t.Errorf("%+v", h)
		}
	}
}
