package edit

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

func TestParseHost(t *testing.T) {
	got, err := ParseHost("arm-2=192.0.2.22,role=control-plane,arch=aarch64,user=admin,port=2222,jump=gate,nodeIP=10.0.0.2,hostKey=SHA256:x," +
		"identityFile=~/.ssh/a,identityFile=b,sudoPasswordFile=pw,label=rack=a1,label=zone=b,taint=dedicated=db:NoSchedule")
	if err != nil {
		t.Fatal(err)
	}
	want := inventory.Host{Name: "arm-2", Address: "192.0.2.22", Role: inventory.ControlPlane, Arch: "arm64", User: "admin", Port: 2222, Jump: "gate",
		NodeIP: "10.0.0.2", HostKey: "SHA256:x", IdentityFiles: []string{"~/.ssh/a", "b"}, SudoPasswordFile: "pw",
		Labels: map[string]string{"rack": "a1", "zone": "b"}, Taints: []string{"dedicated=db:NoSchedule"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err := ParseHost("192.0.2.22,arch=amd64"); err != nil || got.Name != "" || got.Address != "192.0.2.22" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestParseHost_SaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   `"" has no address; hint: write name=address[,role=worker][,label=key=value]…`,
		"a=":                                 `"a=" has no address; hint: write name=address[,role=worker][,label=key=value]…`,
		"a=b,rolle=worker":                   `"a=b": "rolle" is nothing that a host has; did you mean role?`,
		"a=b,colour=blue":                    `"a=b": "colour" is nothing that a host has: there are role, arch, user, port, jump, nodeIP, hostKey, identityFile, sudoPasswordFile, sudoPasswordEnv, label, taint`,
		"a=b,role":                           `"a=b": "role" has no value; hint: write word=value, with one of role, arch, user, port, jump, nodeIP, hostKey, identityFile, sudoPasswordFile, sudoPasswordEnv, label, taint`,
		"a=b,port=x":                         `"a=b": "x" is not a port: from 1 to 65535`,
		"a=b,arch=mips":                      `"a=b": unknown architecture "mips" (supported: amd64, arm64)`,
		"a=b,sudoPassword=hunter2":           `"a=b": "sudoPassword" is nothing that a host has; did you mean sudoPasswordEnv?`,
		"a=b,sudoPasswordEnv=hunter2,arch=x": `"a=b": unknown architecture "x" (supported: amd64, arm64)`,
		"a=b,sudoPasswordEnv=hunter2,user=":  `"a=b": "user" has no value; hint: write word=value, with one of role, arch, user, port, jump, nodeIP, hostKey, identityFile, sudoPasswordFile, sudoPasswordEnv, label, taint`,
		"a=,sudoPasswordEnv=hunter2":         `"a=" has no address; hint: write name=address[,role=worker][,label=key=value]…`,
		"a=b,label=x":                        `"a=b": the label "x" has no value; hint: write label=key=value`,
		"a=b,label=x=1,label=x=2":            `"a=b": the label x is given twice`,
	} {
		_, err := ParseHost(text)
		if err == nil {
			t.Errorf("%s: no error", text)
			continue
		}
		got := err.Error()
		if h := hint.Text(err); h != "" {
			got += "; hint: " + h
		}
		if got != want {
			t.Errorf("%s:\ngot  %v\nwant %s", text, got, want)
		}
	}
}
