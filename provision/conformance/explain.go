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

// witness gathers what the cluster and the hosts say of cells that failed or were flaky.
type witness struct {
	api       API
	machines  map[string]Machine
	namespace string
	drivers   string // the namespace of ceph-csi's pods; empty = there are none
	keep      func(name string, body []byte) (path string, err error)
	event     func(report.Event)
}

// explain gathers evidence, once for each node and pod concerned, and returns the results with it and with the likely causes. It runs before
// anything is cleaned up. lost are the cells, by index, whose probe was not there.
func (w witness) explain(ctx context.Context, cells []Cell, results []report.CellResult, lost []int) []report.CellResult {
	out := slices.Clone(results)
	all := make([]tried, len(cells))
	for i, c := range cells {
		all[i] = tried{c, results[i], slices.Contains(lost, i)}
	}
	gathered := w.gather(ctx, all)
	for i := range out {
		nodes := nodesOf(out[i])
		var text strings.Builder
		for _, node := range nodes {
			out[i].Evidence = append(out[i].Evidence, gathered[node].files...)
			text.WriteString(gathered[node].text)
		}
		if len(nodes) > 0 {
			out[i].Cause, out[i].Hint = diagnose(all[i], all, text.String())
		}
	}
	return out
}

// evidence is what is said of a node: in files, and as one text.
type evidence struct {
	files []string
	text  string
}

// gather asks for the evidence of the nodes concerned, of all at the same time.
func (w witness) gather(ctx context.Context, all []tried) map[string]evidence {
	storage := map[string]bool{} // by node concerned: a cell with a volume is
	var order []string
	for _, c := range all {
		for _, node := range nodesOf(c.result) {
			if _, known := storage[node]; !known && len(order) < evidenceNodes {
				order = append(order, node)
			}
			storage[node] = storage[node] || kinds[c.cell.kind].load == loadsStorage
		}
	}
	out := map[string]evidence{}
	if len(order) == 0 {
		return out
	}
	w.event(report.Event{Kind: report.Started, Step: "evidence", Message: "of " + report.Some(order, 5)})
	defer w.event(report.Event{Kind: report.Done, Step: "evidence", Action: report.Created})
	var mu sync.Mutex
	var open sync.WaitGroup
	for _, node := range order {
		open.Go(func() {
			e := w.evidenceOf(ctx, node, storage[node])
			mu.Lock()
			defer mu.Unlock()
			out[node] = e
		})
	}
	open.Wait()
	return out
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
func (w witness) evidenceOf(ctx context.Context, node string, storage bool) (e evidence) {
	keep := func(name string, body []byte) {
		body = redact(body)
		if len(body) > evidenceLimit {
			body = append([]byte("…\n"), body[len(body)-evidenceLimit:]...)
		}
		e.text += string(body)
		if w.keep == nil {
			return
		}
		path, err := w.keep(name, body)
		if err != nil {
			w.event(report.Event{Kind: report.Progress, Host: node, Step: "evidence", Message: err.Error()})
			return
		}
		e.files = append(e.files, path)
	}
	keep(node+"-cluster.txt", w.clusterEvidence(ctx, node, storage))
	if m, ok := w.machines[node]; ok {
		body, err := m.Evidence(ctx)
		if err != nil {
			body = fmt.Appendf(body, "\nthe rest could not be read: %v\n", err)
		}
		keep(node+"-host.txt", body)
	}
	return e
}

// clusterEvidence is what the API server says of the run's pods on a node: their state, their events, their logs.
func (w witness) clusterEvidence(ctx context.Context, node string, storage bool) []byte {
	var b bytes.Buffer
	pods, err := w.api.Pods(ctx, w.namespace, "")
	if err != nil {
		fmt.Fprintf(&b, "pods: %v\n", err)
	}
	events, err := w.api.Events(ctx, w.namespace)
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
		if log, err := w.api.PodLog(ctx, w.namespace, p.Name, mainContainer, 8<<10); err == nil && len(log) > 0 {
			fmt.Fprintf(&b, "   log:\n%s\n", log)
		}
	}
	if storage && w.drivers != "" {
		w.driverEvidence(ctx, node, &b)
	}
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
func (w witness) driverEvidence(ctx context.Context, node string, b *bytes.Buffer) {
	pods, err := w.api.Pods(ctx, w.drivers, "")
	if err != nil {
		fmt.Fprintf(b, "pods of ceph-csi: %v\n", err)
	}
	for _, p := range pods {
		if p.Node != node && !strings.Contains(p.Name, "provisioner") {
			continue
		}
		fmt.Fprintf(b, "== pod %s/%s on %s restarts %d ready %v %s\n", p.Namespace, p.Name, p.Node, p.Restarts, p.Ready, p.Problem)
		log, err := w.api.PodLog(ctx, p.Namespace, p.Name, driverContainer(p.Name), 16<<10)
		if err != nil {
			fmt.Fprintf(b, "   log: %v\n", err)
			continue
		}
		fmt.Fprintf(b, "   log:\n%s\n", log)
	}
}

// secrets are what must not stand in a report: credentials that logs and units may hold. What the groups find stays. JSON may
// stand within a string of JSON.
var secrets = []*regexp.Regexp{
	regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)`),
	regexp.MustCompile(`(?i)(\bhttps?://(?:[^\s/@:"']*:)?)[^\s/@"']+(@)`), // a URL's, with its user's name or without
	regexp.MustCompile(`(?i)(--(?:password|certificate-key|token)[ =])\S+`),
	regexp.MustCompile(`(?i)((?:--user|-u)[ =][^\s:]+:)\S+`),
	regexp.MustCompile(`(?i)(passw(?:or)?d\\?["']?\s*[=:]\s*)(?:"[^"\n]*"|'[^'\n]*')`),
	regexp.MustCompile(`(?i)((?:bearer|basic) )[A-Za-z0-9._~+/=-]{16,}`),
	regexp.MustCompile(`\b[a-z0-9]{6}\.[a-z0-9]{16}\b`), // kubeadm's tokens
	regexp.MustCompile(`(?i)(passw(?:or)?d\\?["']?\s*[=:]\s*\\?["']?)[^\s"',]+`),
	regexp.MustCompile(`(?i)((?:secret|token|key|auth)\\?["']?\s*[=:]\s*\\?["']?)[^\s"',]{8,}`),
	regexp.MustCompile(`eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`), // JSON Web Tokens
}

func redact(b []byte) []byte {
	for _, s := range secrets {
		b = s.ReplaceAll(b, []byte("${1}<withheld>${2}"))
	}
	return b
}
