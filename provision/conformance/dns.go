package conformance

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

func (t *serviceTrier) tryDNS(ctx context.Context, c Cell) outcome {
	a, err := t.agents.of(ctx, t.slot(podA, c.Dst), mainContainer)
	if err != nil {
		return lost(c, err)
	}
	name := t.slot(svcTo, c.Dst)
	if _, err := t.services.address(name); err != nil {
		return wrong(err)
	}
	service, servers := t.services.all[name], []string{""}
	o, guessed := outcome{first: true}, false
	var last, dead string
	if c.kind == kindEachDNS {
		pods, err := t.api.Pods(ctx, "kube-system", "k8s-app=kube-dns")
		if err != nil {
			return failed("%v", err)
		}
		services, err := t.api.Services(ctx, "kube-system")
		if err != nil {
			return failed("%v", err)
		}
		target, known := dnsTarget(services)
		servers, dead = dnsServers(pods, target)
		guessed = !known && dead == ""
		if dead != "" {
			o.planned, o.first = o.planned+1, false
		}
		if len(servers) == 0 && dead == "" {
			return blocked("there are no pods with the label k8s-app=kube-dns in kube-system")
		}
	}
	for _, server := range servers {
		before := o.ok
		for i := range c.times {
			o.planned++
			got, err := a.ask(ctx, probe.Order{Op: probe.OpLookup, Server: server, Name: t.services.fullName(name), TimeoutMillis: int(t.pace.attempt.Milliseconds())})
			switch {
			case unheard(err):
				return lost(c, err)
			case err != nil:
				last = strings.TrimPrefix(cmp.Or(server, "the pod's own server")+": ", ": ") + err.Error()
			case !resolves(service, got.Addresses):
				last = fmt.Sprintf("%s answers %s instead of %s", cmp.Or(server, "the pod's own server"), strings.Join(got.Addresses, ", "), service.ClusterIP)
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
	case guessed: // servers that listen elsewhere are well
		return blocked("where the DNS servers listen is not known, as kube-system has no Service kube-dns with the port %d of UDP: %s", dnsPort, cmp.Or(dead, last))
	case dead != "": // others that answer do not make up for it
		o.fail("%s", dead)
	default:
		o.verdict, o.reason = report.Flaky, fmt.Sprintf("%d of %d questions were answered; the last that was not: %s", o.ok, o.planned, last)
	}
	return o
}

// dnsServers are the addresses of the DNS servers among pods. dead is what is wrong with one that is on a node and has no address, or no port of
// the name that their Service leads to: it is not left out silently.
func dnsServers(pods []kube.Pod, target string) (servers []string, dead string) {
	for _, p := range pods {
		port := portOf(p, target)
		switch {
		case p.Deleting, p.Ended:
		case p.IP != "" && port == 0:
			dead = fmt.Sprintf("%s on %s has no port %q, to which the service kube-dns leads", p.Name, p.Node, target)
		case p.IP != "":
			servers = append(servers, at(p.IP, port))
		case p.Node != "":
			dead = fmt.Sprintf("%s on %s has no address: %s", p.Name, p.Node, p.Problem)
		}
	}
	return servers, dead
}

// dnsPort is where resolvers ask.
const dnsPort = 53

// dnsTarget is the port of the cluster's DNS servers, to which their Service leads: a number, or what their containers call it. Where there is no
// such Service it is a guess.
func dnsTarget(services []kube.Service) (target string, known bool) {
	for _, s := range services {
		for _, p := range s.Ports {
			if s.Name == "kube-dns" && p.Protocol == "UDP" && p.Port == dnsPort {
				return p.Target, true
			}
		}
	}
	return strconv.Itoa(dnsPort), false
}

// portOf is the port of a pod that a Service leads to; 0 = it has none of that name.
func portOf(p kube.Pod, target string) int {
	if n, err := strconv.Atoi(target); err == nil {
		return n
	}
	for _, c := range p.Ports {
		if c.Name == target && c.Protocol == "UDP" {
			return c.Port
		}
	}
	return 0
}

// resolves reports whether addresses are a Service's: its first among them, and none that is not its own, to which clients would go as well.
func resolves(s kube.Service, addresses []string) bool {
	for _, a := range addresses {
		if a != s.ClusterIP && !slices.Contains(s.ClusterIPs, a) {
			return false
		}
	}
	return slices.Contains(addresses, s.ClusterIP)
}
