package preflight

import (
	"fmt"
	"strings"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/report"
)

// What monitors say first, in the messenger's first and second protocol.
const (
	bannerFirst  = "ceph v027"
	bannerSecond = "ceph v2"
)

func checkCephMonitors(v view) verdict {
	seen := v.cephHost()
	if seen.Err != nil {
		return fail("%v", seen.Err).hinted("run the same command again; if it stays, see the host's /run and its programs mount, unshare and dd")
	}
	if len(seen.Banners) == 0 {
		return unknown("not looked at")
	}
	var silent []string
	for _, c := range v.cluster.Spec.Storage.Ceph {
		if wrong := wrongProtocol(c, seen.Banners); wrong != nil {
			return *wrong
		}
		quiet := quietMonitors(c, seen.Banners)
		if len(quiet) == len(c.Monitors) {
			return fail("no monitor answers: %s", list(quiet)).hinted("%s", routeHint)
		}
		silent = append(silent, quiet...)
	}
	if len(silent) > 0 {
		return warn("monitors that do not answer: %s", list(silent)).hinted("volumes work through the others, but each mount may wait for these first; %s", routeHint)
	}
	return pass("all answer")
}

const routeHint = "see whether the monitors run (ceph mon stat), whether address and port are theirs (ceph mon dump), and whether a firewall is between them and this host"

// wrongProtocol is the verdict on the first monitor that speaks another protocol than msMode says; nil when none does.
func wrongProtocol(c inventory.Ceph, banners map[string]string) *verdict {
	legacy := c.MSMode == inventory.MSLegacy
	for _, monitor := range c.Monitors {
		var r verdict
		switch b := banners[monitor]; {
		case strings.HasPrefix(b, bannerSecond) && legacy:
			r = fail("%s speaks the second protocol (msgr2), and msMode is legacy", monitor).
				hinted("write the monitors with port 6789, or msMode: prefer-crc")
		case strings.HasPrefix(b, bannerFirst) && !legacy:
			r = fail("%s speaks the first protocol (msgr1), and msMode is %s", monitor, c.MSMode).
				hinted("write the monitors with port 3300, or msMode: legacy")
		case b != "" && !answered(b) && !strings.HasPrefix(b, "bash:"):
			r = fail("%s is no monitor of Ceph: it begins with %q", monitor, b).hinted("ceph mon dump prints the monitors' addresses and ports")
		default:
			continue
		}
		return &r
	}
	return nil
}

// answered reports whether the monitor is there, as far as was found out: a host without bash cannot tell.
func answered(banner string) bool {
	return strings.HasPrefix(banner, "ceph v") || strings.HasPrefix(banner, "timeout:")
}

// quietMonitors are those that did not answer this host, with the reason.
func quietMonitors(c inventory.Ceph, banners map[string]string) []string {
	var out []string
	for _, m := range c.Monitors {
		if !answered(banners[m]) {
			out = append(out, fmt.Sprintf("%s (%s)", m, whySilent(banners[m])))
		}
	}
	return out
}

// whySilent is bash's reason why there was no connection.
func whySilent(banner string) string {
	for _, reason := range []string{"Connection refused", "No route to host", "Network is unreachable"} {
		if strings.Contains(banner, reason) {
			return strings.ToLower(reason)
		}
	}
	return "no answer"
}

func checkCephRBD(v view) verdict { return v.cephAnswers(inventory.CephTypeRBD, judgeRBD) }
func checkCephFS(v view) verdict  { return v.cephAnswers(inventory.CephTypeFS, judgeCephFS) }

// cephAnswers judges the answers for every user of a type; the first that is not fine is the verdict.
func (v view) cephAnswers(kind string, judge func(cephCase) verdict) verdict {
	seen := v.cephHost()
	var fine, unasked []string
	for _, u := range v.cluster.CephUsers() {
		a, asked := seen.Answers[u.ID]
		if u.Type != kind {
			continue
		}
		if !asked {
			unasked = append(unasked, "client."+u.Name)
			continue
		}
		r := judge(cephCase{u, a, v.facts.Kernel, seen.Banners})
		if r.status != report.Pass {
			return r
		}
		fine = append(fine, r.message)
	}
	switch {
	case len(fine) == 0:
		return unknown("not looked at")
	case len(unasked) > 0:
		return unknown("not looked at for %s; %s", list(unasked), strings.Join(fine, "; "))
	}
	return pass("%s", strings.Join(fine, "; "))
}
