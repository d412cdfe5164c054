package kubetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// pair is a certificate with its key: the paths and the PEM bytes.
type pair struct {
	cert, key       string
	certPEM, keyPEM []byte
	parsed          *x509.Certificate
	private         *ecdsa.PrivateKey
}

// certs is the server's whole key material.
type certs struct {
	ca, server, admin pair
	serviceAccount    string // path of the key that signs service account tokens
}

func writeCerts(dir string) (certs, error) {
	var c certs
	var err error
	if c.ca, err = issue(dir, "ca", nil, &x509.Certificate{
		Subject: pkix.Name{CommonName: "kubetest"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}); err != nil {
		return c, err
	}
	if c.server, err = issue(dir, "server", &c.ca, &x509.Certificate{
		Subject: pkix.Name{CommonName: "kube-apiserver"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames: []string{"localhost", "api.test"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}); err != nil {
		return c, err
	}
	if c.admin, err = issue(dir, "admin", &c.ca, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kubernetes-admin", Organization: []string{"system:masters"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return c, err
	}
	c.serviceAccount = c.ca.key
	return c, nil
}

// issue makes a key and a certificate signed by ca, or by itself when there is none.
func issue(dir, name string, ca *pair, template *x509.Certificate) (pair, error) {
	p := pair{cert: filepath.Join(dir, name+".crt"), key: filepath.Join(dir, name+".key")}
	var err error
	if p.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return p, err
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, signer := template, p.private
	if ca != nil {
		parent, signer = ca.parsed, ca.private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &p.private.PublicKey, signer)
	if err != nil {
		return p, err
	}
	if p.parsed, err = x509.ParseCertificate(der); err != nil {
		return p, err
	}
	key, err := x509.MarshalECPrivateKey(p.private)
	if err != nil {
		return p, err
	}
	p.certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	p.keyPEM = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key})
	if err := os.WriteFile(p.cert, p.certPEM, 0o600); err != nil {
		return p, err
	}
	return p, os.WriteFile(p.key, p.keyPEM, 0o600)
}

// Kubeconfig is the administrator's, in the form and with the names kubeadm gives it.
func (s *Server) Kubeconfig() []byte { return s.kubeconfig("https://"+s.Addr(), s.certs.admin) }

// KubeconfigFor is the administrator's for another address, for instance of a port that leads to the server.
func (s *Server) KubeconfigFor(addr string) []byte {
	return s.kubeconfig("https://"+addr, s.certs.admin)
}

// AdminConf is such a kubeconfig for a server URL behind which there need be nothing: it needs no binaries.
func AdminConf(t testing.TB, server string) []byte {
	t.Helper()
	made, err := writeCerts(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return (&Server{certs: made}).kubeconfig(server, made.admin)
}

// StrangerKubeconfig is for the same server, with a client certificate that its CA did not sign.
func (s *Server) StrangerKubeconfig() ([]byte, error) {
	dir, err := os.MkdirTemp(s.dir, "stranger-")
	if err != nil {
		return nil, err
	}
	other, err := writeCerts(dir)
	return s.kubeconfig("https://"+s.Addr(), other.admin), err
}

func (s *Server) kubeconfig(server string, user pair) []byte {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: kubernetes
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: kubernetes-admin
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: kubernetes-admin@kubernetes
  context: {cluster: kubernetes, user: kubernetes-admin}
current-context: kubernetes-admin@kubernetes
`, server, b64(s.certs.ca.certPEM), b64(user.certPEM), b64(user.keyPEM))
}

// waitReady asks /readyz as the administrator until it answers ok.
func (s *Server) waitReady() error {
	pool := x509.NewCertPool()
	pool.AddCert(s.certs.ca.parsed)
	cert, err := tls.X509KeyPair(s.certs.admin.certPEM, s.certs.admin.keyPEM)
	if err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	for end := time.Now().Add(startTimeout); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		for _, p := range []*process{s.etcd, s.api} {
			if err := p.ended(); err != nil {
				return err
			}
		}
		resp, err := client.Get("https://" + s.Addr() + "/readyz")
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("the API server is not ready within %v: %s", startTimeout, s.api.lastLine())
}
