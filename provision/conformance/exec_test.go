package conformance

import (
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/report"
)

// A kubelet that runs what is to run in one container in another proves nothing of the one: neither of two containers of a pod, nor of a pod that
// asks others.
func TestRun_AnotherContainerIsAsked(t *testing.T) {
	for _, k := range []struct {
		name   string
		strays func(pod, container string) (string, string)
		checks []string
		cells  []string // that cannot pass where the server is on arm-1
	}{
		{"the same pod's other container", func(pod, container string) (string, string) {
			if pod == "a-0" {
				container = mainContainer
			}
			return pod, container
		}, []string{"S3"}, []string{"tcp/127.0.0.1", "udp/127.0.0.1", "emptyDir"}},
		{"another pod", func(pod, container string) (string, string) {
			if pod == "b-0" {
				pod = "b-1"
			}
			return pod, container
		}, []string{"S6", "S8"}, []string{"tcp/clusterIP", "host-writes-pod-reads"}},
	} {
		t.Run(k.name, func(t *testing.T) {
			c := newFake(t, amd64, arm64)
			c.strays = k.strays
			o := c.options()
			o.Checks = k.checks
			o.pace.rulesLag = 50 * time.Millisecond
			d, err := fullRun(t, o)
			if err != nil {
				t.Error(err)
			}
			for _, name := range k.cells {
				found := false
				for _, cell := range d.Cells {
					if cell.Name != name || cell.Dst.Node != "arm-1" || cell.Src != nil && cell.Src.Node != "arm-1" {
						continue
					}
					if found = true; cell.Verdict != report.Failing || !strings.Contains(cell.Reason, "another container was asked") {
						t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
					}
				}
				if !found {
					t.Errorf("no cell %s", name)
				}
			}
		})
	}
}
