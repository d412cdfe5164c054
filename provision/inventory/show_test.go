package inventory

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShow_WhatTheFileSays(t *testing.T) {
	got, err := Show(mustParse(t, edit(t, [2]string{"bundle: b", "bundle: b # here\n  timeouts: {step: 90s}"})), false)
	if err != nil {
		t.Fatal(err)
	}
	want := `apiVersion: hybridctl.dev/v1alpha1
kind: Cluster
metadata:
  name: lab
spec:
  kubernetes:
    version: v1.36.3
  bundle: b
  timeouts:
    step: 1m30s
  hosts:
    - name: a
      address: 10.0.0.1
      role: control-plane
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestShow_WithDefaults(t *testing.T) {
	got, err := Show(mustParse(t, valid), true)
	if err != nil {
		t.Fatal(err)
	}
	want := `apiVersion: hybridctl.dev/v1alpha1
kind: Cluster
metadata:
  name: lab
spec:
  kubernetes:
    version: v1.36.3
    endpoint: 10.0.0.1:6443
    podCIDR: 10.244.0.0/16
    serviceCIDR: 10.96.0.0/12
    dnsDomain: cluster.local
  bundle: /etc/lab/b
  images: sent
  cni:
    provider: flannel
  ssh:
    connectTimeout: 15s
    commandTimeout: 2m0s
    keepAlive: 15s
  timeouts:
    step: 15m0s
    ready: 10m0s
  hosts:
    - name: a
      address: 10.0.0.1
      role: control-plane
      nodeIP: 10.0.0.1
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestParse_AnchorsAndMergeKeys(t *testing.T) {
	c := mustParse(t, edit(t, [2]string{"  - {name: a, address: 10.0.0.1, role: control-plane}", `
  - &a {name: a, address: 10.0.0.1, role: control-plane, user: admin, labels: &l {rack: a1}}
  - {<<: [{role: worker}, *a], name: b, address: 10.0.0.2, labels: {<<: *l, disk: ssd}}`}))
	want := Host{Name: "b", Address: "10.0.0.2", Role: Worker, User: "admin", NodeIP: "10.0.0.2", Labels: map[string]string{"rack": "a1", "disk": "ssd"}}
	if diff := cmp.Diff(want, c.Spec.Hosts[1]); diff != "" {
		t.Error(diff)
	}
}

func TestParse_FragmentsKeepTheirTypes(t *testing.T) {
	c := mustParse(t, edit(t, [2]string{"version: v1.36.3", `version: v1.36.3
    kubelet:
      maxPods: 0x10
      imageGCHighThresholdPercent: 80.0
      failSwapOn: false
      volumeStatsAggPeriod: -1s
      syncFrequency: "60"
      ratio: 0.5
      systemReserved: {memory: 1Gi, empty: {}}
      tlsCipherSuites: [a, b]
      since: 2026-01-02`}))
	want := map[string]any{
		"maxPods": 16, "imageGCHighThresholdPercent": 80, "failSwapOn": false, "volumeStatsAggPeriod": "-1s", "syncFrequency": "60",
		"ratio": 0.5, "systemReserved": map[string]any{"memory": "1Gi", "empty": map[string]any{}}, "tlsCipherSuites": []any{"a", "b"},
		"since": "2026-01-02",
	}
	if diff := cmp.Diff(want, c.Spec.Kubernetes.Kubelet); diff != "" {
		t.Error(diff)
	}
}

// A few lines of aliases can stand for billions of values.
func TestParse_AliasesAreNotFollowedForEver(t *testing.T) {
	bomb := "version: v1.36.3\n    kubelet:\n      a0: &a0 [x]"
	for i := range 9 {
		name := func(n int) string { return fmt.Sprintf("a%d", n) }
		bomb += fmt.Sprintf("\n      %s: &%[1]s [%s]", name(i+1), strings.Repeat("*"+name(i)+", ", 10))
	}
	_, err := Parse("F", []byte(edit(t, [2]string{"version: v1.36.3", bomb})))
	if err == nil || !strings.HasSuffix(err.Error(), "the aliases stand for more than 100000 values") {
		t.Errorf("got %v", err)
	}

	// The same with merge keys, which bring fields instead of items.
	bomb = "version: v1.36.3\n    kubelet:\n      a0: &a0 {x: y}"
	for i := range 20 {
		bomb += fmt.Sprintf("\n      a%d: &a%[1]d {l: {<<: *a%d}, r: {<<: *a%[2]d}}", i+1, i)
	}
	_, err = Parse("F", []byte(edit(t, [2]string{"version: v1.36.3", bomb})))
	if err == nil || !strings.HasSuffix(err.Error(), "the aliases stand for more than 100000 values") {
		t.Errorf("got %v", err)
	}
}
