package kube

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
)

// nodeUser is how the user of a node's kubelet begins, and nodeGroup what it is in.
const (
	nodeUser  = "system:node:"
	nodeGroup = "system:nodes"
)

// ServingRequest is a kubelet's request for the certificate that it serves with.
type ServingRequest struct {
	Name    string
	Node    string // of whoever asks; "" = it is no node's kubelet
	Decided bool   // it was approved, denied, or could not be signed
	Issued  bool   // its certificate is there

	object *certificatesv1.CertificateSigningRequest
}

// ServingRequests lists them, the oldest first.
func (c *Client) ServingRequests(ctx context.Context) ([]ServingRequest, error) {
	var out []ServingRequest
	err := c.do(ctx, "list the requests for certificates", func(ctx context.Context) error {
		selector := fields.OneTermEqualSelector("spec.signerName", certificatesv1.KubeletServingSignerName)
		list, err := c.certificates.CertificateSigningRequests().List(ctx, metav1.ListOptions{FieldSelector: selector.String()})
		if err != nil {
			return err
		}
		slices.SortFunc(list.Items, func(a, b certificatesv1.CertificateSigningRequest) int {
			return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
		})
		out = nil
		for i := range list.Items {
			out = append(out, ServingRequestOf(&list.Items[i]))
		}
		return nil
	})
	return out, err
}

// ServingRequestOf is a request as the API has it.
func ServingRequestOf(r *certificatesv1.CertificateSigningRequest) ServingRequest {
	out := ServingRequest{Name: r.Name, Decided: len(r.Status.Conditions) > 0, Issued: len(r.Status.Certificate) > 0, object: r}
	out.Node, _ = strings.CutPrefix(r.Spec.Username, nodeUser)
	if out.Node == r.Spec.Username {
		out.Node = ""
	}
	return out
}

// Fits returns nil when the node's own kubelet asks, and for nothing but the node's name and some of its addresses. The error says why it
// must not be approved.
func (r ServingRequest) Fits(node string, addresses []string) error {
	spec := r.object.Spec
	switch {
	case spec.SignerName != certificatesv1.KubeletServingSignerName:
		return fmt.Errorf("it is for the signer %s", oneLine(spec.SignerName))
	case node == "" || spec.Username != nodeUser+node || !slices.Contains(spec.Groups, nodeGroup):
		return fmt.Errorf("it does not come from the kubelet of %s, but from %s", node, oneLine(spec.Username))
	case !servingUsages(spec.Usages):
		return errors.New("it asks for more than to serve")
	}
	block, rest := pem.Decode(spec.Request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(strings.TrimSpace(string(rest))) > 0 {
		return errors.New("it holds no single certificate request")
	}
	asked, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = asked.CheckSignature()
	}
	if err != nil {
		return fmt.Errorf("its certificate request is damaged: %s", oneLine(err.Error()))
	}
	return fitsNode(asked, node, addresses)
}

func servingUsages(usages []certificatesv1.KeyUsage) bool {
	for _, u := range usages {
		if u != certificatesv1.UsageDigitalSignature && u != certificatesv1.UsageKeyEncipherment && u != certificatesv1.UsageServerAuth {
			return false
		}
	}
	return slices.Contains(usages, certificatesv1.UsageServerAuth)
}

func fitsNode(asked *x509.CertificateRequest, node string, addresses []string) error {
	switch {
	case asked.Subject.CommonName != nodeUser+node || !slices.Equal(asked.Subject.Organization, []string{nodeGroup}):
		return fmt.Errorf("it is for another name than that of %s: %s", node, oneLine(asked.Subject.String()))
	case len(asked.EmailAddresses)+len(asked.URIs) > 0:
		return errors.New("it asks for mail addresses or URIs")
	case len(asked.DNSNames)+len(asked.IPAddresses) == 0:
		return errors.New("it asks for no name and no address")
	}
	for _, name := range asked.DNSNames {
		if name != node {
			return fmt.Errorf("it asks for the name %s, and the node is %s", oneLine(name), node)
		}
	}
	for _, ip := range asked.IPAddresses {
		a, ok := netip.AddrFromSlice(ip)
		if !ok || !slices.ContainsFunc(addresses, func(known string) bool {
			k, err := netip.ParseAddr(known)
			return err == nil && k.Unmap() == a.Unmap()
		}) {
			return fmt.Errorf("it asks for the address %s, which is not known to be %s's alone", ip, node)
		}
	}
	return nil
}

// ApproveServing approves a request that Fits. ErrConflict: someone has changed it meanwhile; look again.
func (c *Client) ApproveServing(ctx context.Context, r ServingRequest) error {
	return c.do(ctx, "approve the request "+r.Name, func(ctx context.Context) error {
		approved := r.object.DeepCopy()
		approved.Status.Conditions = append(approved.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "HybridctlKnowsTheHost",
			Message: "asked for by the node's own kubelet, for its name and addresses that hybridctl knows of the host",
		})
		_, err := c.certificates.CertificateSigningRequests().UpdateApproval(ctx, r.Name, approved, metav1.UpdateOptions{})
		return err
	})
}
