package preflight

import (
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/report"
)

var today = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// lasting is a certificate with so many days of a life of so many left.
func lasting(name string, left, life int) facts.Certificate {
	end := today.AddDate(0, 0, left)
	return facts.Certificate{Name: name, NotBefore: end.AddDate(0, 0, -life), NotAfter: end}
}

func TestCertificates(t *testing.T) {
	authority := lasting("ca", -1, 3650)
	authority.Authority = true
	for name, c := range map[string]struct {
		certificates []facts.Certificate
		change       func(*facts.Host)
		status       report.Status
		message      string
		hint         string
	}{
		"long":                      {[]facts.Certificate{lasting("apiserver", 200, 365), lasting("ca", 3000, 3650)}, nil, report.Pass, "the first to end is apiserver on 2027-06-17", ""},
		"30 days":                   {[]facts.Certificate{lasting("apiserver", 30, 365)}, nil, report.Pass, "", ""},
		"29 days":                   {[]facts.Certificate{lasting("apiserver", 29, 365), lasting("ca", 3000, 3650)}, nil, report.Warn, "soon to end: apiserver on 2026-12-28", "kubeadm certs renew all"},
		"ended":                     {[]facts.Certificate{lasting("admin.conf", 0, 365), lasting("apiserver", 3, 365)}, nil, report.Fail, "ended: admin.conf on 2026-11-29, apiserver on 2026-12-02", "kubeadm certs renew all"},
		"a short life, renewed":     {[]facts.Certificate{lasting("kubelet", 2, 10)}, nil, report.Pass, "", ""},
		"the kubelet's is to end":   {[]facts.Certificate{lasting("kubelet", 10, 365)}, nil, report.Warn, "kubelet", "journalctl -u kubelet on arm-1"},
		"the kubelet's has ended":   {[]facts.Certificate{lasting("kubelet", -1, 365)}, nil, report.Fail, "kubelet", "hybridctl remove arm-1"},
		"an authority has ended":    {[]facts.Certificate{authority}, nil, report.Fail, "ca on", "renews no authority"},
		"somebody's own has ended":  {[]facts.Certificate{lasting("etcd/my-backup", -1, 365), lasting("ca", 3000, 3650)}, nil, report.Warn, "etcd/my-backup on", "none of kubeadm's"},
		"not readable":              {[]facts.Certificate{{Name: "kubelet"}, lasting("ca", 3000, 3650)}, nil, report.Warn, "cannot be read: kubelet", "openssl"},
		"none":                      {nil, nil, report.Unknown, "not tried", ""},
		"no clock":                  {[]facts.Certificate{lasting("apiserver", -1, 365)}, func(h *facts.Host) { h.Time = time.Time{} }, report.Unknown, "what time it is", ""},
		"the host's clock is ahead": {[]facts.Certificate{lasting("apiserver", 40, 365)}, func(h *facts.Host) { h.Time = today.AddDate(0, 0, 41) }, report.Fail, "ended", ""},
		"no node":                   {nil, func(h *facts.Host) { h.Kubeadm = facts.Kubeadm{} }, report.Pass, "no node yet", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := fit()
			h := f.host("arm-1")
			h.Time, h.Kubeadm = today, facts.Kubeadm{KubeletConf: true, Certificates: c.certificates}
			if c.change != nil {
				c.change(h)
			}
			for _, r := range f.run() {
				if r.Host != "arm-1" || r.Name != Certificates {
					continue
				}
				if r.Status != c.status || !strings.Contains(r.Message, c.message) || !strings.Contains(r.Hint, c.hint) || (r.Hint == "") != (c.hint == "") && c.hint != "" {
					t.Errorf("%+v", r)
				}
				return
			}
			t.Error("it was not judged")
		})
	}
}

func TestKeptKubeconfig(t *testing.T) {
	for _, c := range []struct {
		cert facts.Certificate
		want report.Status
		says string
	}{
		{facts.Certificate{}, report.Pass, "no certificate"},
		{lasting("kubeconfig", 31, 365), report.Pass, "2026-12-30"},
		{lasting("kubeconfig", 29, 365), report.Warn, "ends on 2026-12-28"},
		{lasting("kubeconfig", -29, 365), report.Warn, "ended on 2026-10-31"},
	} {
		got := KeptKubeconfig(c.cert, "/state", today)
		if got.Status != c.want || !strings.Contains(got.Message, c.says) || (got.Hint == "") != (c.want == report.Pass) {
			t.Errorf("%+v", got)
		}
	}
}
