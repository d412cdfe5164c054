package inventory

import (
	"testing"
)

func TestPos_OfFieldsAndOfWhatIsNotThere(t *testing.T) {
	c := mustParse(t, `apiVersion: hybridctl.dev/v1alpha1
kind: Cluster
metadata: &m
  name: lab
spec:
  kubernetes:
    version: v1.36.3
  bundle: b
  hosts:
  - name: a
    address: 10.0.0.1
    role: control-plane
    labels: &l
      example.com/x: "1"
  - <<: {labels: *l}
    name: b
    address: 10.0.0.2
`)
	for _, test := range []struct {
		path         string
		line, column int
	}{
		{"", 1, 1},
		{"metadata.name", 4, 9},
		{"spec", 5, 1},
		{"spec.kubernetes", 6, 3},
		{"spec.kubernetes.version", 7, 14},
		{"spec.kubernetes.podCIDR", 6, 3}, // a default: at what it would stand in
		{"spec.ssh.user", 5, 1},
		{"spec.hosts[0]", 10, 5},
		{"spec.hosts[0].labels", 13, 5},
		{"spec.hosts[0].labels[example.com/x]", 14, 22},
		{"spec.hosts[0].labels[example.com/y]", 13, 5},
		{"spec.hosts[1].nodeIP", 15, 5},
		{"spec.hosts[1].labels[example.com/x]", 14, 22},
		{"spec.hosts[7].name", 9, 3},
		{"nonsense]", 1, 1},
	} {
		if line, column := c.Pos(test.path); line != test.line || column != test.column {
			t.Errorf("%s: %d:%d, want %d:%d", test.path, line, column, test.line, test.column)
		}
	}
	got := c.ProblemAt("spec.hosts[1].address", "does not answer", "is it on?").String()
	if want := "/etc/lab/inventory.yaml:17:14: spec.hosts[1].address: does not answer (is it on?)"; got != want {
		t.Errorf("got %s", got)
	}
}

func TestPos_WithoutFile(t *testing.T) {
	c := &Cluster{Path: "F"}
	if line, column := c.Pos("spec"); line != 0 || column != 0 {
		t.Errorf("%d:%d", line, column)
	}
	if got := c.ProblemAt("spec", "is odd", "").String(); got != "F: spec: is odd" {
		t.Errorf("got %s", got)
	}
}

func TestField_UnprintableNamesAreQuoted(t *testing.T) {
	if got := field("spec", "a\x1b[31m"); got != `spec["a\x1b[31m"]` {
		t.Errorf("got %s", got)
	}
}

func TestValidatePreflightNames(t *testing.T) {
	c := mustParse(t, edit(t,
		[2]string{"bundle: b", "bundle: b\n  preflight: {ignore: [memory, swop]}"},
		[2]string{"role: control-plane", "role: control-plane, preflight: {ignore: [nothing-like-it]}"}))
	if err := c.ValidatePreflightNames([]string{"memory", "swop", "nothing-like-it"}); err != nil {
		t.Error(err)
	}
	err := c.ValidatePreflightNames([]string{"memory", "swap"})
	want := `/etc/lab/inventory.yaml:8:32: spec.preflight.ignore[1]: there is no preflight check swop (did you mean swap?)
/etc/lab/inventory.yaml:10:76: spec.hosts[0].preflight.ignore[0]: there is no preflight check nothing-like-it (the checks are memory, swap)`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}
