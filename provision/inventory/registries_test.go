package inventory

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// withRegistries is the smallest inventory with these lines under spec.registries.
func withRegistries(t *testing.T, entries ...string) string {
	return edit(t, [2]string{"bundle: b", "bundle: b\n  registries:\n  - " + strings.Join(entries, "\n  - ")})
}

// certificateFile is a file with a certificate of its own.
func certificateFile(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "site"}, NotAfter: time.Unix(1<<32, 0), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "ca.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func writeFile(t *testing.T, name string, body []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestParse_OneMistakeInRegistries(t *testing.T) {
	ca := certificateFile(t)
	key := writeFile(t, "tls.key", []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	text := writeFile(t, "note.txt", []byte("no certificate\n"))
	const one, login = "needs exactly one of passwordFile, passwordEnv and passwordCommand (the password does not belong in this file)", "username: robot, passwordEnv: P"
	for _, test := range []struct{ entry, want string }{
		{"{host: registry.k8s.io, mirrors: [harbor.example/k8s], only: true}", ""},
		{"{host: harbor.example, caFile: " + ca + ", " + login + "}", ""},
		{`{host: "*", mirrors: [harbor.example/all, "http://10.0.0.5:5000"]}`, ""},
		{"{mirrors: [a.example]}", "[0].host: is missing"},
		{"{host: https://harbor.example, caFile: " + ca + "}", `[0].host: "https://harbor.example" is not the name of a registry (write harbor.example)`},
		{"{host: harbor.example/k8s, caFile: " + ca + "}", `[0].host: "harbor.example/k8s" is not the name of a registry (write harbor.example; a path belongs to mirrors)`},
		{"{host: harbor.example:99999, caFile: " + ca + "}", `[0].host: "harbor.example:99999" is not the name of a registry (a registry's name and port, as images have it: harbor.example or harbor.example:8443)`},
		{"{host: robot:pw@harbor.example, caFile: " + ca + "}", "[0].host: holds a login, which does not belong into an address (write it as username and passwordFile)"},
		{"{host: a.example, mirrors: [https://robot:pw@b.example]}", "[0].mirrors[0]: holds a login, which does not belong into an address (give the mirror an entry of its own, with username and passwordFile)"},
		{"{host: a.example, mirrors: [b.example/k8s/]}", `[0].mirrors[0]: "b.example/k8s/" ends with a slash (write b.example/k8s)`},
		{"{host: a.example, mirrors: [ftp://b.example]}", `[0].mirrors[0]: "ftp://b.example" is not the address of a registry (harbor.example, harbor.example:8443/k8s, or http://10.0.0.5:5000)`},
		{"{host: a.example, mirrors: [b.example, b.example]}", `[0].mirrors[1]: "b.example" is in the list twice`},
		{"{host: a.example, only: true}", "[0].only: leaves no way to a.example: there is no mirror (mirrors: [harbor.example/k8s])"},
		{"{host: a.example}", "[0]: says nothing about a.example (mirrors, caFile, or username with a password)"},
		{`{host: "*", caFile: ` + ca + "}", `[0]: has no mirror, and "*" is for registries that are reached through one (mirrors: [harbor.example/all])`},
		{`{host: "*", mirrors: [a.example], ` + login + "}", "[0].username: would be shown to every registry (give each registry with a login an entry of its own)"},
		{"{host: a.example, username: robot}", "[0]: " + one},
		{"{host: a.example, username: robot, passwordFile: p, passwordEnv: P}", "[0]: " + one},
		{"{host: a.example, passwordFile: p}", "[0]: has a password and no username (username: …)"},
		{"{host: a.example, username: robot, passwordEnv: $ecret}", "[0].passwordEnv: is not the name of an environment variable (its name without the $; the password does not belong in this file)"},
		{"{host: a.example, username: robot, passwordEnv: 123456}", "[0].passwordEnv: is a number, not text (the name of an environment variable, not what it holds)"},
		{"{host: a.example, username: robot, passwordCommand: []}", "[0].passwordCommand: is not a program with its arguments (for instance [pass, show, registry])"},
		{"{host: a.example, username: 'a:b', passwordEnv: P}", "[0].username: has a colon, which parts name and password for registries"},
		{"{host: a.example, password: x}", "[0].password: unknown field (known here: host, mirrors, only, caFile, username, passwordFile, passwordEnv, passwordCommand)"},
		{"{host: a.example, caFile: /nowhere/ca.crt}", "[0].caFile: /nowhere/ca.crt does not exist (relative paths start at the inventory's folder)"},
		{"{host: a.example, caFile: " + key + "}", "[0].caFile: " + key + " holds a private key (certificates alone: this file goes to every host)"},
		{"{host: a.example, caFile: " + text + "}", "[0].caFile: " + text + " holds no certificate in PEM (-----BEGIN CERTIFICATE----- …)"},
	} {
		_, err := Parse("F", []byte(withRegistries(t, test.entry)))
		got := ""
		if err != nil {
			_, got, _ = strings.Cut(err.Error(), ": spec.registries")
			if got == "" {
				got = err.Error()
			}
		}
		if got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.entry, got, test.want)
		}
	}
}

func TestParse_RegistriesOfTheWhole(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"twice": {withRegistries(t, "{host: a.example, mirrors: [b.example]}", "{host: a.example, mirrors: [c.example]}"),
			"F:10:12: spec.registries[1].host: a.example is taken by spec.registries[0] (line 9)"},
		"how images come": {edit(t, [2]string{"bundle: b", "bundle: b\n  images: registy"}), `F:8:11: spec.images: "registy" is not one of sent, registry (did you mean registry?)`},
		"credentials for the same registry at two places": {withRegistries(t, "{host: a.example, username: u, passwordEnv: P}") +
			"  conformance: {registry: {image: 'a.example/app:1', username: u, passwordEnv: P}}\n",
			"F:12:17: spec.conformance.registry: is not used for a.example/app:1: spec.registries[0] has credentials for it, which the nodes know (take username and password out of one of the two)"},
	} {
		_, err := Parse("F", []byte(test.text))
		if err == nil || err.Error() != test.want {
			t.Errorf("%s:\n got %v\nwant %s", name, err, test.want)
		}
	}
	if _, err := Parse("F", []byte(withRegistries(t, "{host: a.example, username: u, passwordEnv: P}")+"  conformance: {registry: {image: 'a.example/app:1'}}\n")); err != nil {
		t.Errorf("check R with the nodes' credentials: %v", err)
	}
}

func TestPlacesOf(t *testing.T) {
	c := mustParse(t, withRegistries(t,
		"{host: registry.k8s.io, mirrors: [harbor.example:8443/k8s, 'http://10.0.0.5:5000'], only: true, caFile: "+certificateFile(t)+"}",
		"{host: docker.io, mirrors: [https://harbor.example:8443]}",
		"{host: 'harbor.example:8443', username: robot, passwordEnv: P, caFile: "+certificateFile(t)+"}",
		"{host: '*', mirrors: [harbor.example:8443/all]}"))
	for image, want := range map[string]string{
		"registry.k8s.io/coredns/coredns:v1": "harbor.example:8443/k8s/coredns/coredns:v1 [0 2] login 2; http 10.0.0.5:5000/coredns/coredns:v1 [0] login -1",
		"busybox:1":                          "harbor.example:8443/library/busybox:1 [2] login 2; docker.io/library/busybox:1 [] login -1",
		"team/app@sha256:aa":                 "harbor.example:8443/team/app@sha256:aa [2] login 2; docker.io/team/app@sha256:aa [] login -1",
		"harbor.example:8443/team/app:2":     "harbor.example:8443/team/app:2 [2] login 2",
		"ghcr.io/flannel-io/flannel:v0":      "harbor.example:8443/all/flannel-io/flannel:v0 [2] login 2; ghcr.io/flannel-io/flannel:v0 [] login -1",
	} {
		var got []string
		for _, p := range c.PlacesOf(image) {
			plain := ""
			if p.Plain {
				plain = "http "
			}
			got = append(got, fmt.Sprintf("%s%s %v login %d", plain, p.Image, c.CAsFor(p), p.Login))
		}
		if s := strings.Join(got, "; "); s != want {
			t.Errorf("%s:\n got %s\nwant %s", image, s, want)
		}
	}
	if _, ok := c.LoginOf("harbor.example:8443/team/app:2"); !ok {
		t.Error("the login of harbor.example:8443 is not found")
	}
	if c := mustParse(t, valid); c.Spec.Images != ImagesSent || len(c.PlacesOf("ghcr.io/a/b:1")) != 1 {
		t.Errorf("without registries: images %q, places %v", c.Spec.Images, c.PlacesOf("ghcr.io/a/b:1"))
	}
}
