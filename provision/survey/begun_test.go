package survey

import (
	"testing"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/host"
)

// A control plane that came to its end is one, also where its marker cannot be read and the host is a node.
func TestInitialised(t *testing.T) {
	marked := func(step, state string) facts.Host {
		return facts.Host{Markers: map[string]facts.Marker{step: {Marker: host.Marker{State: state}}}}
	}
	unread := func(step string, node bool) facts.Host {
		return facts.Host{BadMarkers: []string{step}, Kubeadm: facts.Kubeadm{KubeletConf: node}}
	}
	for name, c := range map[string]struct {
		host facts.Host
		want bool
	}{
		"its init ended":                      {marked("init", host.MarkerDone), true},
		"its join ended":                      {marked("join", host.MarkerDone), true},
		"its init was begun":                  {marked("init", "started"), false},
		"another step ended":                  {marked("images", host.MarkerDone), false},
		"unreadable, and it is a node":        {unread("init", true), true},
		"unreadable, and it is none":          {unread("init", false), false},
		"another's is unreadable, and a node": {unread("images", true), false},
		"nothing":                             {facts.Host{}, false},
	} {
		if got := Initialised(c.host); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
