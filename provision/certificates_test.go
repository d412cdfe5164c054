package provision

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/kube/fakeapi"
	"github.com/hybridctl/hybridctl/provision/report"
)

const aDay = 24 * time.Hour

// certificateFor is one of a year that ends so far from now, in PEM.
func certificateFor(t *testing.T, left time.Duration) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(left)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.Add(-365 * aDay), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func certificatesSaid(checks []report.Check) (host string, status report.Status, text string) {
	for _, ch := range checks {
		if ch.Name == "certificates" {
			return ch.Host, ch.Status, ch.Message + " " + ch.Hint
		}
	}
	return "", "", ""
}

func TestCertificates_EndIsToldBeforeAndStopsAfter(t *testing.T) {
	s := grown(t, 2, 2)
	const file = "certificate/etc/kubernetes/pki/apiserver.crt"
	s.hosts["host-1"].says(file, certificateFor(t, 40*aDay))
	if _, checks, err := Plan(context.Background(), s.options()); err != nil || len(checks) > 0 && checks[0].Name == "certificates" {
		t.Errorf("40 days: %v %+v", err, checks)
	}
	s.hosts["host-1"].says(file, certificateFor(t, 10*aDay))
	_, checks, err := Plan(context.Background(), s.options())
	if host, status, text := certificatesSaid(checks); err != nil || host != "host-1" || status != report.Warn || !strings.Contains(text, "apiserver on ") || !strings.Contains(text, "kubeadm certs renew") {
		t.Errorf("10 days: %v %+v", err, checks)
	}
	st, err := Status(context.Background(), s.options())
	if err != nil || !strings.Contains(strings.Join(st.Notes, "\n"), "host-1: certificates: soon to end: apiserver") {
		t.Errorf("status: %v, %q", err, st.Notes)
	}
	s.hosts["host-1"].says(file, certificateFor(t, -aDay))
	r, err := s.up()
	if _, status, text := certificatesSaid(r.Checks); !errors.Is(err, ErrPreflight) || status != report.Fail || !strings.Contains(text, "ended: apiserver") {
		t.Errorf("over: %v %+v", err, r.Checks)
	}
}

func TestCertificates_OfTheKubeconfigThatIsKept(t *testing.T) {
	s := grown(t, 3, 2)
	keep := func(left time.Duration) {
		text := strings.Replace(fakeapi.Kubeconfig(), "token: not-a-secret", "client-certificate-data: "+base64.StdEncoding.EncodeToString([]byte(certificateFor(t, left))), 1)
		if err := os.WriteFile(filepath.Join(s.state, fleet.KubeconfigFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keep(10 * aDay)
	_, checks, err := Plan(context.Background(), s.options())
	if host, status, text := certificatesSaid(checks); err != nil || host != "" || status != report.Warn || !strings.Contains(text, s.state) {
		t.Errorf("plan: %v %+v", err, checks)
	}
	r, err := s.scaleOut(nil)
	if _, status, _ := certificatesSaid(r.Checks); err != nil || status != report.Warn {
		t.Errorf("scale-out: %v %+v", err, r.Checks)
	}
	keep(-aDay)
	o := s.options()
	o.hooks.newAPI = refusingAll(s)
	s.hosts["host-1"].fail["admin.conf"] = "cat: no such file"
	if _, err := Remove(context.Background(), RemoveOptions{Options: o, Hosts: []string{"host-2"}}); err == nil || !strings.Contains(err.Error(), "which ended on ") {
		t.Errorf("over, and no other: %v", err)
	}
}
