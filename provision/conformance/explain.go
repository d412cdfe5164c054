package conformance

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/hybridctl/hybridctl/provision/report"
)

// evidenceLimit bounds a piece of evidence in bytes, and evidenceNodes how many nodes are asked.
const (
	evidenceLimit = 256 << 10
	evidenceNodes = 12
)

// explain gathers evidence about the cells that failed or were flaky, once for each node and pod concerned, and names the likely
// causes. It runs before anything is cleaned up.
func (r *run) explain(ctx context.Context) {
	concerned := map[string][]string{} // by node name: its files
	var order []string
	for _, c := range r.cells {
		for _, node := range nodesOf(c) {
			if _, ok := concerned[node]; !ok && len(order) < evidenceNodes {
				concerned[node] = nil
				order = append(order, node)
			}
		}
	}
	texts := map[string]string{}
	var mu sync.Mutex
	var open sync.WaitGroup
	for _, node := range order {
		open.Go(func() {
			files, text := r.evidenceOf(ctx, node)
			mu.Lock()
			defer mu.Unlock()
			concerned[node], texts[node] = files, text
		})
	}
	open.Wait()
	var all []tried
	for i, c := range r.matrix.Cells {
		all = append(all, tried{c, r.cells[i]})
	}
	for i := range r.cells {
		c := &r.cells[i]
		nodes := nodesOf(*c)
		var text strings.Builder
		for _, node := range nodes {
			c.Evidence = append(c.Evidence, concerned[node]...)
			text.WriteString(texts[node])
		}
		if len(nodes) > 0 {
			c.Cause, c.Hint = diagnose(all[i], all, text.String())
		}
	}
}

// nodesOf are the nodes a cell's evidence is on; none for a cell that needs no explanation.
func nodesOf(c report.CellResult) []string {
	if c.Verdict != report.Failing && c.Verdict != report.Flaky {
		return nil
	}
	var out []string
	for _, e := range []*report.Endpoint{c.Src, c.Dst} {
		if e != nil && e.Node != "" && !slices.Contains(out, e.Node) {
			out = append(out, e.Node)
		}
	}
	return out
}

// evidenceOf writes what the cluster and the host say of a node.
func (r *run) evidenceOf(ctx context.Context, node string) (files []string, text string) {
	keep := func(name string, body []byte) {
		body = redact(body)
		if len(body) > evidenceLimit {
			body = append([]byte("…\n"), body[len(body)-evidenceLimit:]...)
		}
		text += string(body)
		if r.Evidence == nil {
			return
		}
		path, err := r.Evidence(name, body)
		if err != nil {
			r.Event(report.Event{Kind: report.Progress, Host: node, Step: "evidence", Message: err.Error()})
			return
		}
		files = append(files, path)
	}
	keep(node+"-cluster.txt", r.clusterEvidence(ctx, node))
	if m, ok := r.Machines[node]; ok {
		body, err := m.Evidence(ctx)
		if err != nil {
			body = fmt.Appendf(body, "\nthe rest could not be read: %v\n", err)
		}
		keep(node+"-host.txt", body)
	}
	return files, text
}

// clusterEvidence is what the API server says of the run's pods on a node: their state, their events, their logs.
func (r *run) clusterEvidence(ctx context.Context, node string) []byte {
	var b bytes.Buffer
	pods, err := r.API.Pods(ctx, r.objects.namespace, "")
	if err != nil {
		fmt.Fprintf(&b, "pods: %v\n", err)
	}
	events, err := r.API.Events(ctx, r.objects.namespace)
	if err != nil {
		fmt.Fprintf(&b, "events: %v\n", err)
	}
	for _, p := range pods {
		if p.Node != node {
			continue
		}
		fmt.Fprintf(&b, "== pod %s uid %s ip %s restarts %d ready %v %s\n%s\n", p.Name, p.UID, p.IP, p.Restarts, p.Ready, p.Problem, p.Words)
		for _, e := range events {
			if e.Object == "Pod/"+p.Name {
				fmt.Fprintf(&b, "   %s %s %s (%d): %s\n", e.Last.UTC().Format("15:04:05"), e.Type, e.Reason, e.Count, e.Message)
			}
		}
		if log, err := r.API.PodLog(ctx, r.objects.namespace, p.Name, mainContainer, 8<<10); err == nil && len(log) > 0 {
			fmt.Fprintf(&b, "   log:\n%s\n", log)
		}
	}
	r.driverEvidence(ctx, node, &b)
	return b.Bytes()
}

// driverContainer is what ceph-csi's own container is called in its pods, whose names have the driver's.
func driverContainer(pod string) string {
	if strings.Contains(pod, "cephfs") {
		return "csi-cephfsplugin"
	}
	return "csi-rbdplugin"
}

// driverEvidence is what ceph-csi's pods on a node log, and the provisioners, wherever they are.
func (r *run) driverEvidence(ctx context.Context, node string, b *bytes.Buffer) {
	failed := false
	for i, c := range r.matrix.Cells {
		failed = failed || kinds[c.kind].load == loadsStorage && slices.Contains(nodesOf(r.cells[i]), node)
	}
	if len(r.Storage) == 0 || !failed {
		return
	}
	pods, err := r.API.Pods(ctx, r.Storage[0].Namespace, "")
	if err != nil {
		fmt.Fprintf(b, "pods of ceph-csi: %v\n", err)
	}
	for _, p := range pods {
		if p.Node != node && !strings.Contains(p.Name, "provisioner") {
			continue
		}
		fmt.Fprintf(b, "== pod %s/%s on %s restarts %d ready %v %s\n", p.Namespace, p.Name, p.Node, p.Restarts, p.Ready, p.Problem)
		log, err := r.API.PodLog(ctx, p.Namespace, p.Name, driverContainer(p.Name), 16<<10)
		if err != nil {
			fmt.Fprintf(b, "   log: %v\n", err)
			continue
		}
		fmt.Fprintf(b, "   log:\n%s\n", log)
	}
}

// secrets are what must not stand in a report: credentials that logs and units may hold. What the first group finds stays. JSON may
// stand within a string of JSON.
var secrets = []*regexp.Regexp{
	regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----`),
	regexp.MustCompile(`(?i)((?:bearer|basic) )[A-Za-z0-9._~+/=-]{16,}`),
	regexp.MustCompile(`\b[a-z0-9]{6}\.[a-z0-9]{16}\b`), // kubeadm's tokens
	regexp.MustCompile(`(?i)(passw(?:or)?d\\?["']?\s*[=:]\s*\\?["']?)[^\s"',]+`),
	regexp.MustCompile(`(?i)((?:secret|token|key|auth)\\?["']?\s*[=:]\s*\\?["']?)[^\s"',]{8,}`),
	regexp.MustCompile(`eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`), // JSON Web Tokens
}

func redact(b []byte) []byte {
	for _, s := range secrets {
		b = s.ReplaceAll(b, []byte("${1}<withheld>"))
	}
	return b
}
