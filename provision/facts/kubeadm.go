package facts

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/host"
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

		Certificates: readCertificates(d),
	}
	if colon := strings.LastIndex(image, ":"); colon > strings.LastIndex(image, "/") {
		k.Version = kept(image[colon+1:])
	}
	return k
}

// caCertHash returns what kubeadm takes as --discovery-token-ca-cert-hash, or nothing when that is no certificate.
func caCertHash(text string) string {
	cert := certificateIn([]byte(text))
	if cert == nil {
		return ""
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return kept("sha256:" + hex.EncodeToString(sum[:]))
}

// certificateIn returns the first certificate of a PEM text; nil when there is none that can be read.
func certificateIn(text []byte) *x509.Certificate {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return cert
}

// readCertificates reads those of files, and of kubeconfigs that hold one; others have a path to it.
func readCertificates(d document) (out []Certificate) {
	add := func(name string, pem []byte) {
		c := Certificate{Name: kept(name)}
		if cert := certificateIn(pem); cert != nil {
			c.NotBefore, c.NotAfter, c.Authority = cert.NotBefore, cert.NotAfter, cert.IsCA
		}
		out = append(out, c)
	}
	if d.has("ca.crt") {
		add("ca", []byte(d["ca.crt"]))
	}
	for path, text := range d.below("certificate") {
		pem := []byte(text)
		name := strings.TrimSuffix(strings.TrimPrefix(path, "etc/kubernetes/pki/"), ".crt")
		switch conf, isConf := strings.CutPrefix(path, "etc/kubernetes/"); {
		case isConf && strings.HasSuffix(path, ".conf"):
			if strings.TrimSpace(text) == "" {
				continue
			}
			name = conf
			pem, _ = base64.StdEncoding.DecodeString(strings.Trim(strings.TrimSpace(text), `"'`)) // what is none has no times
		case strings.HasPrefix(path, "var/lib/kubelet/"):
			name = "kubelet"
		}
		add(name, pem)
	}
	slices.SortFunc(out, func(a, b Certificate) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// ReadBelonging reads the text of a host's mark; nothing is none.
func ReadBelonging(text []byte) Belonging {
	if len(text) == 0 {
		return Belonging{}
	}
	m, err := host.ParseClusterMark(text)
	if err != nil {
		return Belonging{Marked: true}
	}
	return Belonging{Marked: true, ClusterMark: host.ClusterMark{CA: kept(m.CA), Name: kept(m.Name)}}
}

// readBelonging tells a mark that is there and empty, as a lost power may leave one, from none.
func readBelonging(d document) Belonging {
	b := ReadBelonging([]byte(d["cluster"]))
	b.Marked = d.has("cluster")
	return b
}
