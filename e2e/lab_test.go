//go:build e2e

package e2e

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestLab_Ways has the lab say what machines run under, and refuse what this host cannot do.
func TestLab_Ways(t *testing.T) {
	lab(t, "down") // a machine that runs keeps its way, and refuses another
	told := lab(t, "ways")
	t.Log(told)
	for _, want := range []string{"x86 machines run under ", "Arm machines run under "} {
		if !strings.Contains(told, want) {
			t.Errorf("no %q in %q", want, told)
		}
	}
	foreign := map[string]string{"amd64": "LAB_ARM", "arm64": "LAB_X86"}[runtime.GOARCH]
	for _, x := range []struct {
		variable, value string
		exit            int
		want            string
	}{
		{"LAB_X86", "xen", 2, "LAB_X86=xen: x86 machines run under one of: kvm tcg uml"},
		{"LAB_ARM", "uml", 2, "LAB_ARM=uml: Arm machines run under one of: kvm tcg"},
		{"LAB_X86_CPUS", "two", 2, "LAB_X86_CPUS=two: how many processors a machine has, such as 2"},
		{"LAB_ARM_MEMORY", "3072", 2, "LAB_ARM_MEMORY=3072: how much memory a machine has, with M or G, such as 3072M"},
		{foreign, "kvm", 1, "the processor of this host is no "},
	} {
		t.Run(x.variable+"="+x.value, func(t *testing.T) {
			t.Setenv(x.variable, x.value)
			out, err := try(t, time.Minute, "e2e/lab/lab", "ways")
			if err != nil || out.exit != x.exit || !strings.Contains(out.stderr, x.want) {
				t.Errorf("exit %d, want %d, %v\n%s", out.exit, x.exit, err, out.stderr)
			}
		})
	}
	for way, unfit := range map[string]bool{"tcg": false, "uml": true} {
		if way == "uml" && !strings.Contains(told, "under uml") { // "not uml: …" where it is not
			continue // this host has none
		}
		t.Run("inventories under "+way, func(t *testing.T) {
			t.Setenv("LAB_X86", way)
			for _, name := range []string{"lab-x86", "lab-arm", "lab-all", "lab-three", "lab-x86-ceph", "lab-arm-ceph"} {
				text := readFile(t, strings.TrimSpace(lab(t, "inventory", name)))
				if strings.Contains(text, "preflight: {ignore: [cgroup]}") != unfit || strings.Contains(text, "SystemVerification") != unfit {
					t.Errorf("%s: what is let pass for User Mode Linux stands there, or not:\n%s", name, text)
				}
			}
		})
	}
}
