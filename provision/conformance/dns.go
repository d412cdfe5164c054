package conformance

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

func (t *serviceTrier) tryDNS(ctx context.Context, c Cell) outcome {
	a, err := t.agents.of(t.slot(podA, c.Dst), mainContainer)
	if err != nil {
		return lost(c, err)
	}
	name := t.slot(svcTo, c.Dst)
	if _, err := t.services.address(name); err != nil {
		return wrong(err)
	}
	want, servers := t.services.all[name].ClusterIP, []string{""}
	if c.kind == kindEachDNS {
		pods, err := t.api.Pods(ctx, "kube-system", "k8s-app=kube-dns")
		if err != nil {
			return failed("%v", err)
		}
		servers = nil
		for _, p := range pods {
			if p.IP != "" && !p.Deleting {
				servers = append(servers, at(p.IP, 53))
			}
		}
		if len(servers) == 0 {
			return blocked("there are no pods with the label k8s-app=kube-dns in kube-system")
		}
	}
	o := outcome{first: true}
	var last, dead string
	for _, server := range servers {
		before := o.ok
		for i := range c.times {
			o.planned++
			got, err := a.ask(ctx, probe.Order{Op: probe.OpLookup, Server: server, Name: t.services.fullName(name), TimeoutMillis: int(t.pace.attempt.Milliseconds())})
			switch {
			case err != nil:
				last = strings.TrimPrefix(cmp.Or(server, "the pod's own server")+": ", ": ") + err.Error()
			case !slices.Contains(got.Addresses, want):
				last = fmt.Sprintf("%s answers %s instead of %s", cmp.Or(server, "the pod's own server"), strings.Join(got.Addresses, ", "), want)
			default:
				o.ok++
				continue
			}
			o.first = o.first && i > 0
		}
		if o.ok == before {
			dead = last
		}
	}
	switch {
	case o.ok == o.planned:
		o.verdict = report.Passed
	case dead != "": // others that answer do not make up for it
		o.fail("%s", dead)
	default:
		o.verdict, o.reason = report.Flaky, fmt.Sprintf("%d of %d questions were answered; the last that was not: %s", o.ok, o.planned, last)
	}
	return o
}
