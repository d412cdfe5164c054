package kube

import (
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/url"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hybridctl/hybridctl/provision/kube/kubetest"
)

// asked is a kubelet's request as kubelets make it, with a change.
func asked(change func(*x509.CertificateRequest, *certificatesv1.CertificateSigningRequest)) ServingRequest {
	later := &certificatesv1.CertificateSigningRequest{}
	r := kubetest.KubeletRequest("csr-x", "arm-1", []string{"192.0.2.21"}, func(c *x509.CertificateRequest) {
		later.Spec.Usages = []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth}
		later.Spec.SignerName, later.Spec.Username, later.Spec.Groups = certificatesv1.KubeletServingSignerName, "system:node:arm-1", []string{"system:nodes"}
		change(c, later)
	})
	if later.Spec.Request == nil {
		later.Spec.Request = r.Spec.Request
	}
	r.Spec = later.Spec
	return ServingRequestOf(r)
}

func TestServingRequest_Fits(t *testing.T) {
	type change = func(*x509.CertificateRequest, *certificatesv1.CertificateSigningRequest)
	for name, c := range map[string]struct {
		change change
		want   string // "" = it fits
	}{
		"as kubelets ask": {func(*x509.CertificateRequest, *certificatesv1.CertificateSigningRequest) {}, ""},
		"by address alone, an older key": {func(c *x509.CertificateRequest, r *certificatesv1.CertificateSigningRequest) {
			c.DNSNames = nil
			r.Spec.Usages = append(r.Spec.Usages, certificatesv1.UsageKeyEncipherment)
		}, ""},
		"two of its addresses": {func(c *x509.CertificateRequest, _ *certificatesv1.CertificateSigningRequest) {
			c.IPAddresses = append(c.IPAddresses, net.ParseIP("2001:db8::21"))
		}, ""},
		"another node's user": {func(_ *x509.CertificateRequest, r *certificatesv1.CertificateSigningRequest) {
			r.Spec.Username = "system:node:arm-2"
		}, "from system:node:arm-2"},
		"a user who is no node": {func(_ *x509.CertificateRequest, r *certificatesv1.CertificateSigningRequest) { r.Spec.Username = "eve" }, "from eve"},
		"outside the group":     {func(_ *x509.CertificateRequest, r *certificatesv1.CertificateSigningRequest) { r.Spec.Groups = nil }, "does not come from"},
		"another signer": {func(_ *x509.CertificateRequest, r *certificatesv1.CertificateSigningRequest) {
			r.Spec.SignerName = "x/y"
		}, "signer x/y"},
		"to be a client": {func(_ *x509.CertificateRequest, r *certificatesv1.CertificateSigningRequest) {
			r.Spec.Usages = append(r.Spec.Usages, certificatesv1.UsageClientAuth)
		}, "more than to serve"},
		"not to serve": {func(_ *x509.CertificateRequest, r *certificatesv1.CertificateSigningRequest) {
			r.Spec.Usages = r.Spec.Usages[:1]
		}, "more than to serve"},
		"another's address": {func(c *x509.CertificateRequest, _ *certificatesv1.CertificateSigningRequest) {
			c.IPAddresses = append(c.IPAddresses, net.IPv4(192, 0, 2, 11))
		}, "192.0.2.11, which is not known to be arm-1's alone"},
		"another's name": {func(c *x509.CertificateRequest, _ *certificatesv1.CertificateSigningRequest) {
			c.DNSNames = []string{"arm-1", "api.example"}
		}, "the name api.example"},
		"a pattern for a name": {func(c *x509.CertificateRequest, _ *certificatesv1.CertificateSigningRequest) {
			c.DNSNames = []string{"*"}
		}, "the name *"},
		"nothing": {func(c *x509.CertificateRequest, _ *certificatesv1.CertificateSigningRequest) {
			c.DNSNames, c.IPAddresses = nil, nil
		}, "no name and no address"},
		"another subject": {func(c *x509.CertificateRequest, _ *certificatesv1.CertificateSigningRequest) {
			c.Subject.CommonName = "system:node:x86-1"
		}, "another name"},
		"a further organization": {func(c *x509.CertificateRequest, _ *certificatesv1.CertificateSigningRequest) {
			c.Subject.Organization = append(c.Subject.Organization, "system:masters")
		}, "another name"},
		"a mail address": {func(c *x509.CertificateRequest, _ *certificatesv1.CertificateSigningRequest) {
			c.EmailAddresses = []string{"a@b"}
		}, "mail addresses"},
		"a URI": {func(c *x509.CertificateRequest, _ *certificatesv1.CertificateSigningRequest) {
			c.URIs = []*url.URL{{Scheme: "spiffe", Host: "x"}}
		}, "URIs"},
		"no request": {func(_ *x509.CertificateRequest, r *certificatesv1.CertificateSigningRequest) {
			r.Spec.Request = []byte("x")
		}, "no single certificate request"},
		"a damaged one": {func(_ *x509.CertificateRequest, r *certificatesv1.CertificateSigningRequest) {
			r.Spec.Request = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte("x")})
		}, "damaged"},
	} {
		err := asked(c.change).Fits("arm-1", []string{"192.0.2.21", "2001:db8::21", "nonsense"})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	// A signature that another key made.
	one := asked(func(*x509.CertificateRequest, *certificatesv1.CertificateSigningRequest) {})
	block, _ := pem.Decode(one.object.Spec.Request)
	block.Bytes[len(block.Bytes)-1] ^= 1
	one.object.Spec.Request = pem.EncodeToMemory(block)
	if err := one.Fits("arm-1", []string{"192.0.2.21"}); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a forged signature: %v", err)
	}
}

// FuzzServingRequest: a request's bytes are a node's. One that fits is parsed, and asks for nothing but what is the node's.
func FuzzServingRequest(f *testing.F) {
	f.Add(asked(func(*x509.CertificateRequest, *certificatesv1.CertificateSigningRequest) {}).object.Spec.Request)
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n"))
	f.Fuzz(func(t *testing.T, request []byte) {
		r := asked(func(_ *x509.CertificateRequest, r *certificatesv1.CertificateSigningRequest) {
			r.Spec.Request = append([]byte{}, request...)
		})
		if r.Fits("arm-1", []string{"192.0.2.21"}) != nil {
			return
		}
		block, _ := pem.Decode(request)
		c, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil || len(c.DNSNames) > 0 && c.DNSNames[0] != "arm-1" {
			t.Errorf("%v: %+v", err, c)
		}
	})
}

func TestServing_AgainstTheAPI(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	as := newClient(t, kubetest.Shared(t).Kubeconfig(), Options{})
	as.config.Impersonate.UserName, as.config.Impersonate.Groups = "system:node:arm-1", []string{"system:nodes", "system:authenticated", "system:masters"}
	if err := as.connect(); err != nil {
		t.Fatal(err)
	}
	r := asked(func(*x509.CertificateRequest, *certificatesv1.CertificateSigningRequest) {})
	r.Name = fresh("csr")
	r.object.Name, r.object.Spec.Username, r.object.Spec.Groups = r.Name, "", nil // the server's to say
	if _, err := as.certificates.CertificateSigningRequests().Create(ctx, r.object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	find := func() ServingRequest {
		t.Helper()
		all, err := c.ServingRequests(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range all {
			if x.Name == r.Name {
				return x
			}
		}
		t.Fatalf("%s is not listed: %+v", r.Name, all)
		return ServingRequest{}
	}
	x := find()
	if x.Node != "arm-1" || x.Decided || x.Fits("arm-1", []string{"192.0.2.21"}) != nil {
		t.Errorf("%+v, %v", x, x.Fits("arm-1", []string{"192.0.2.21"}))
	}
	if err := c.ApproveServing(ctx, x); err != nil {
		t.Fatal(err)
	}
	if x = find(); !x.Decided || x.Issued {
		t.Errorf("after the approval: %+v", x)
	}
}
