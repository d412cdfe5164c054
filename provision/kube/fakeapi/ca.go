package fakeapi

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"sync"
	"time"
)

// CA is the authority of the cluster, in PEM; OtherCA is another's.
var CA, OtherCA = sync.OnceValue(newCA), sync.OnceValue(newCA)

func newCA() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// Kubeconfig is one of the cluster that parses; nothing answers at its address.
func Kubeconfig() string { return KubeconfigOf(CA()) }

// KubeconfigOf is the same of another authority, in PEM.
func KubeconfigOf(ca string) string {
	return `apiVersion: v1
kind: Config
clusters: [{name: kubernetes, cluster: {server: "https://192.0.2.1:6443", certificate-authority-data: ` + base64.StdEncoding.EncodeToString([]byte(ca)) + `}}]
users: [{name: kubernetes-admin, user: {token: not-a-secret}}]
contexts: [{name: admin, context: {cluster: kubernetes, user: kubernetes-admin}}]
current-context: admin
`
}
