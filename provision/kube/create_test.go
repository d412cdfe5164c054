package kube

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestCreate(t *testing.T) {
	c := sharedClient(t)
	ns := "apiVersion: v1\nkind: Namespace\nmetadata: {name: create-test, labels: {made-by: create}}\n"
	if err := c.Create(testContext(t), []byte(ns)); err != nil {
		t.Fatal(err)
	}
	if names, err := c.Namespaces(testContext(t), "made-by=create"); err != nil || len(names) != 1 || names[0] != "create-test" {
		t.Errorf("namespaces %v, %v", names, err)
	}
	if err := c.Create(testContext(t), []byte(ns)); err != nil {
		t.Errorf("again: %v", err)
	}
	err := c.Create(testContext(t), []byte("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: create-test}, dada: {x: y}}"))
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "dada") {
		t.Errorf("an unknown field: %v", err)
	}
	// What another verb makes of it later: apply takes the fields over.
	service := "{apiVersion: v1, kind: Service, metadata: {name: s, namespace: create-test}, spec: {selector: {a: %s}, ports: [{name: a, port: 80, protocol: TCP}, {name: b, port: 53, protocol: UDP, targetPort: dns}]}}"
	if err := c.Create(testContext(t), []byte(strings.Replace(service, "%s", "one", 1))); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Apply(testContext(t), []byte(strings.Replace(service, "%s", "two", 1)), ApplyOptions{Force: true}); err != nil {
		t.Errorf("apply over it: %v", err)
	}
	services, err := c.Services(testContext(t), "create-test")
	ports := []ServicePort{{"TCP", 80, "80"}, {"UDP", 53, "dns"}}
	if err != nil || len(services) != 1 || services[0].ClusterIP == "" || !slices.Equal(services[0].Ports, ports) {
		t.Errorf("services %v, %v", services, err)
	}
}
