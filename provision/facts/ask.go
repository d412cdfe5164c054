package facts

import (
	"cmp"
	"strings"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/templates"
)

// Ask names what is asked about beyond what every host tells. Modules, sysctls and units named in a host's markers are asked
// about anyway. The words must hold no spaces.
type Ask struct {
	Modules     []string // kernel modules, with underscores
	Tools       []string // programs
	Directories []string // absolute, for the free space there
	Sysctls     []string // net.ipv4.ip_forward
	Units       []string // systemd units with their suffix
	Synced      string   // absolute: how long a process takes, and where Target.Writes a write to the disk at or above this; "" = neither
}

// Every host is asked about these: Host has fields for them.
const (
	kubeletTool, kubeletUnit       = "kubelet", "kubelet.service"
	containerdTool, containerdUnit = "containerd", "containerd.service"
)

// And returns the union of both.
func (a Ask) And(b Ask) Ask {
	return Ask{
		Modules:     union(a.Modules, b.Modules),
		Tools:       union(a.Tools, b.Tools),
		Directories: union(a.Directories, b.Directories),
		Sysctls:     union(a.Sysctls, b.Sysctls),
		Units:       union(a.Units, b.Units),
		Synced:      cmp.Or(a.Synced, b.Synced),
	}
}

// onlyProcesses is the script's word for a host on which processes are timed and no writes.
const onlyProcesses = "-"

// command is the one that a host is asked with, which times writes or does not.
func (a Ask) command(writes bool) remote.Command {
	if a.Synced != "" && !writes {
		a.Synced = onlyProcesses
	}
	a = a.And(Ask{Tools: []string{kubeletTool, containerdTool}, Units: []string{containerdUnit, kubeletUnit}})
	return remote.Command{Script: lean(templates.Script("facts")), Args: a.args(host.MarkerDir), Sudo: true}
}

// lean leaves the comments and the indentation out of a script: it goes to all hosts at once.
func lean(script string) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		if line = strings.TrimLeft(line, "\t"); !strings.HasPrefix(line, "#") && line != "\n" {
			b.WriteString(line)
		}
	}
	return b.String()
}

// args are the script's positional parameters.
func (a Ask) args(markers string) []string {
	var args []string
	for _, words := range [][]string{a.Modules, a.Tools, a.Directories, a.Sysctls, a.Units} {
		args = append(args, strings.Join(words, " "))
	}
	return append(args, a.Synced, markers)
}

func union(a, b []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, list := range [][]string{a, b} {
		for _, s := range list {
			if !seen[s] {
				seen[s] = true
				out = append(out, s)
			}
		}
	}
	return out
}
