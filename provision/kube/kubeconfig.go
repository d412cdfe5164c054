package kube

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// CAHashes gives the pins of the certificate authorities of the kubeconfig's current cluster, in kubeadm's discovery form:
// "sha256:<hex>" of each certificate's public key. ErrKubeconfig when there is none.
func CAHashes(kubeconfig []byte) ([]string, error) {
	config, err := parseKubeconfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	var hashes []string
	rest := config.Clusters[config.Contexts[config.CurrentContext].Cluster].CertificateAuthorityData
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, badKubeconfig("its certificate-authority-data holds something that is no certificate")
		}
		sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
		hashes = append(hashes, "sha256:"+hex.EncodeToString(sum[:]))
	}
	if hashes == nil {
		return nil, badKubeconfig("it has no certificate-authority-data")
	}
	return hashes, nil
}

// ClientCertificate returns from when to when the certificate is good that the kubeconfig's user has; none is no error, and zero.
// ErrKubeconfig when it cannot be read.
func ClientCertificate(kubeconfig []byte) (notBefore, notAfter time.Time, err error) {
	config, err := parseKubeconfig(kubeconfig)
	if err != nil {
		return notBefore, notAfter, err
	}
	data := config.AuthInfos[config.Contexts[config.CurrentContext].AuthInfo].ClientCertificateData
	if len(data) == 0 {
		return notBefore, notAfter, nil
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return notBefore, notAfter, badKubeconfig("its client-certificate-data is no certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return notBefore, notAfter, badKubeconfig("its client-certificate-data is no certificate")
	}
	return cert.NotBefore, cert.NotAfter, nil
}

// RenameContext gives the kubeconfig's current context, its cluster and its user the cluster's name, and leaves out everything
// else: kubeadm calls the user of every cluster kubernetes-admin, so that two clusters would clash in one file.
func RenameContext(kubeconfig []byte, name string) ([]byte, error) {
	config, err := parseKubeconfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	old := config.Contexts[config.CurrentContext]
	renamed := clientcmdapi.NewConfig()
	renamed.Clusters[name] = config.Clusters[old.Cluster]
	renamed.AuthInfos[name] = config.AuthInfos[old.AuthInfo]
	renamed.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name, Namespace: old.Namespace}
	renamed.CurrentContext = name
	return clientcmd.Write(*renamed)
}

// WriteKubeconfig writes the document for its owner alone (0600), whole or not at all. What is there already stays untouched.
func WriteKubeconfig(path string, kubeconfig []byte) error {
	if _, err := parseKubeconfig(kubeconfig); err != nil {
		return err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode() == 0o600 {
		if there, err := os.ReadFile(path); err == nil && bytes.Equal(there, kubeconfig) {
			return nil
		}
	}
	return writeFile(path, kubeconfig, nil)
}

// restConfig is for the current context, which must be complete in itself.
func restConfig(kubeconfig []byte) (*rest.Config, error) {
	config, err := parseKubeconfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	made, err := clientcmd.NewDefaultClientConfig(*config, nil).ClientConfig()
	if err != nil {
		return nil, badKubeconfig("its current context is not usable")
	}
	return made, nil
}

// parseKubeconfig loads a kubeconfig that came from a host. It must name no program to run and no file to read: those would
// be this machine's. Errors tell the place, never the content.
func parseKubeconfig(kubeconfig []byte) (*clientcmdapi.Config, error) {
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, badKubeconfig("not readable" + yamlLine(err))
	}
	current := config.Contexts[config.CurrentContext]
	if current == nil {
		return nil, badKubeconfig("it has no current context")
	}
	cluster, user := config.Clusters[current.Cluster], config.AuthInfos[current.AuthInfo]
	switch {
	case cluster == nil || cluster.Server == "":
		return nil, badKubeconfig("its current context has no cluster")
	case user == nil:
		return nil, badKubeconfig("its current context has no user")
	case user.Exec != nil || user.AuthProvider != nil:
		return nil, badKubeconfig("its user is a program to run; only a self-contained kubeconfig is taken")
	case cluster.CertificateAuthority != "" || user.ClientCertificate != "" || user.ClientKey != "" || user.TokenFile != "":
		return nil, badKubeconfig("it names other files; only a self-contained kubeconfig is taken")
	}
	return config, nil
}

func badKubeconfig(why string) error {
	return &failure{kind: ErrKubeconfig, text: "kubeconfig: " + why}
}

var lineInError = regexp.MustCompile(`line \d+`)

// yamlLine takes the line out of a YAML error, whose text may quote the document.
func yamlLine(err error) string {
	if line := lineInError.FindString(err.Error()); line != "" {
		return " at " + line
	}
	return ""
}

// owned is who a file belongs to and what it allows; nil means a new file of our own.
type owned struct {
	mode     os.FileMode
	uid, gid int
}

// writeFile replaces a file whole or not at all, whenever it is interrupted.
func writeFile(path string, content []byte, keep *owned) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".kubeconfig-*") // 0600 from its first moment
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	if keep != nil {
		if err := tmp.Chmod(keep.mode); err != nil {
			return err
		}
		if os.Geteuid() == 0 { // through sudo: the file stays its owner's
			if err := tmp.Chown(keep.uid, keep.gid); err != nil {
				return err
			}
		}
	}
	if _, err := tmp.Write(content); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
