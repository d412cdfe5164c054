package facts

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"
)

func readKubeadm(d document) Kubeadm {
	_, server, _ := strings.Cut(d.word("kubelet.conf"), "server:")
	image := d.word("apiserver")
	k := Kubeadm{
		KubeletConf: d.has("kubelet.conf"),
		AdminConf:   d.has("admin.conf"),
		CACertHash:  caCertHash(d["ca.crt"]),
		Server:      kept(strings.Trim(strings.TrimSpace(server), `"'`)),
		Etcd:        d.has("etcd"),
		Pods:        d.has("pods"),
	}
	if colon := strings.LastIndex(image, ":"); colon > strings.LastIndex(image, "/") {
		k.Version = kept(image[colon+1:])
	}
	return k
}

// caCertHash returns what kubeadm takes as --discovery-token-ca-cert-hash, or nothing when that is no certificate.
func caCertHash(text string) string {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return ""
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return kept("sha256:" + hex.EncodeToString(sum[:]))
}
