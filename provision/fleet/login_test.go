package fleet

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

func TestHostConfig_TheWayThere(t *testing.T) {
	c := &inventory.Cluster{}
	c.Spec.SSH = inventory.SSH{User: "ops", Port: 2022, Jump: "gate@198.51.100.1:2222", SudoPasswordFile: "/all"}
	c.Spec.Hosts = []inventory.Host{
		{Name: "a", Address: "192.0.2.1"},
		{Name: "b", Address: "192.0.2.2", Jump: "a", User: "b-user"},
		{Name: "c", Address: "192.0.2.3", Jump: "b"},
		{Name: "d", Address: "192.0.2.4", Jump: inventory.JumpNone},
	}
	for name, want := range map[string]string{
		"a": "gate@198.51.100.1:2222",
		"b": "gate@198.51.100.1:2222 ops@192.0.2.1:2022",
		"c": "gate@198.51.100.1:2222 ops@192.0.2.1:2022 b-user@192.0.2.2:2022",
		"d": "",
	} {
		h, _ := c.Host(name)
		var got []string
		for _, j := range hostConfig(c, h).Jump {
			got = append(got, fmt.Sprintf("%s@%s:%d", j.User, j.Address, j.Port))
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("%s: %q, want %q", name, g, want)
		}
	}
	d, _ := c.Host("d")
	if hostConfig(c, d).Jump == nil {
		t.Error("d is to be reached directly, not as ~/.ssh/config says")
	}
}
