package preflight

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/report"
)

// Certificates is the check of when certificates end.
const Certificates = "certificates"

var certificateChecks = []check{
	{Certificates, "no certificate of the node's ends within 30 days, or within the last tenth of a shorter life", checkCertificates, onFacts},
}

// soon is how long before its end a certificate is spoken of. One of a short life, which the kubelet renews by itself when nine tenths of it
// are over at the latest, is spoken of in the last of them.
const soon = 30 * 24 * time.Hour

// needed are the certificates without which a node or its control plane does not work. Others may lie beside them, and stop nothing.
var needed = []string{
	"kubelet", "kubelet.conf", "admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf",
	"ca", "apiserver", "apiserver-kubelet-client", "apiserver-etcd-client", "front-proxy-ca", "front-proxy-client",
	"etcd/ca", "etcd/server", "etcd/peer", "etcd/healthcheck-client",
}

// ends reports whether a certificate has ended at a time, and whether it will soon.
func ends(c facts.Certificate, now time.Time) (ended, ending bool) {
	left := c.NotAfter.Sub(now)
	return left <= 0, left < min(soon, c.NotAfter.Sub(c.NotBefore)/10)
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func checkCertificates(v view) verdict {
	all := v.facts.Kubeadm.Certificates
	switch {
	case !v.facts.Kubeadm.KubeletConf && !v.member():
		return pass("no node yet")
	case len(all) == 0:
		return unknown("not tried: none could be read")
	case v.facts.Time.IsZero():
		return unknown("not tried: the host does not say what time it is")
	}
	var over, late, unread, worst []string
	first := facts.Certificate{}
	for _, c := range all {
		if c.NotAfter.IsZero() {
			unread = append(unread, c.Name)
			continue
		}
		if first.NotAfter.IsZero() || c.NotAfter.Before(first.NotAfter) {
			first = c
		}
		text := c.Name + " on " + day(c.NotAfter)
		ended, ending := ends(c, v.facts.Time)
		switch {
		case ended && slices.Contains(needed, c.Name):
			over = append(over, text)
		case ended:
			late = append(late, text+" (ended)")
		case ending:
			late = append(late, text)
		default:
			continue
		}
		worst = append(worst, remedy(v, c, ended))
	}
	hint := strings.Join(slices.Compact(slices.Sorted(slices.Values(worst))), "; ")
	switch {
	case len(over) > 0:
		return fail("ended: %s", list(append(over, late...))).hinted("%s", hint)
	case len(late) > 0:
		return warn("soon to end: %s", list(late)).hinted("%s", hint)
	case len(unread) > 0:
		return warn("when it ends is not known, as it cannot be read: %s", list(unread)).hinted("openssl x509 -noout -enddate -in FILE on %s says what is wrong with it", v.host.Name)
	}
	return pass("the first to end is %s on %s", first.Name, day(first.NotAfter))
}

// remedy is what makes another certificate.
func remedy(v view, c facts.Certificate, ended bool) string {
	switch {
	case !slices.Contains(needed, c.Name):
		return fmt.Sprintf("%s is none of kubeadm's: delete it on %s when nothing has use for it", c.Name, v.host.Name)
	case c.Authority:
		return "kubeadm renews no authority: Kubernetes' manual rotation of CA certificates is the way"
	case c.Name == "kubelet" && ended:
		return fmt.Sprintf("the kubelet can renew its own no more: hybridctl remove %[1]s, and join it again", v.host.Name)
	case c.Name == "kubelet":
		return "the kubelet renews its own: journalctl -u kubelet on " + v.host.Name + " says why it does not"
	}
	return fmt.Sprintf("on %s: kubeadm certs renew all; then its control plane has to start again: move the files of /etc/kubernetes/manifests away for a minute, one host at a time", v.host.Name)
}

// KeptKubeconfig judges the certificate of the kubeconfig that is kept in a directory.
func KeptKubeconfig(c facts.Certificate, dir string, now time.Time) report.Check {
	out := report.Check{Name: Certificates, Status: report.Pass, Message: "the kubeconfig that is kept ends on " + day(c.NotAfter)}
	const hint = "kubeadm certs renew admin.conf on a control plane makes another; delete kubeconfig in %s then, and the next run reads it from there"
	switch ended, ending := ends(c, now); {
	case c.NotAfter.IsZero():
		out.Message = "the kubeconfig that is kept has no certificate that ends"
	case ended:
		out.Status, out.Message, out.Hint = report.Warn, fmt.Sprintf("the kubeconfig in %s ended on %s", dir, day(c.NotAfter)), fmt.Sprintf(hint, dir)
	case ending:
		out.Status, out.Message, out.Hint = report.Warn, fmt.Sprintf("the kubeconfig in %s ends on %s", dir, day(c.NotAfter)), fmt.Sprintf(hint, dir)
	}
	return out
}
