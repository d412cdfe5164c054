package stack

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/urn"

	"github.com/hybridctl/hybridctl/provision/plan"
)

// part is what a plan names that is not all of the cluster. The engine works on that alone, so that its time does not grow with the
// cluster, and fold joins what came of it to the rest of the state. It stands in the journal's first line: whoever folds the journal
// has to know, also after a crash.
type part struct {
	Named []string `json:"part"` // "type name"
}

func writePart(w io.Writer, p plan.Plan) error {
	if !p.Part {
		return nil
	}
	all := part{Named: []string{}}
	for name := range named(p) {
		all.Named = append(all.Named, name)
	}
	slices.Sort(all.Named)
	return json.NewEncoder(w).Encode(all)
}

// readPart returns nil when the line is none of writePart's.
func readPart(line []byte) *part {
	var p part
	if json.Unmarshal(line, &p) != nil || p.Named == nil {
		return nil
	}
	return &p
}

// join adds to the deployment of a part what state.json holds besides. It may be done again after any interruption: what the part
// names comes from the deployment alone.
func (s *Store) join(d *apitype.TypedDeployment, p *part) error {
	if p == nil {
		return nil
	}
	path := filepath.Join(s.dir, stateFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var whole struct {
		Deployment apitype.DeploymentV3 `json:"deployment"`
	}
	if err := json.Unmarshal(content, &whole); err != nil {
		return damaged(path, s.dir, err)
	}
	rest := slices.DeleteFunc(whole.Deployment.Resources, func(r apitype.ResourceV3) bool {
		_, ours := slices.BinarySearch(p.Named, string(r.Type)+" "+nameOf(r.URN))
		return ours
	})
	there := map[urn.URN]bool{}
	for _, r := range rest {
		there[r.URN] = true
	}
	for _, r := range d.Deployment.Resources {
		if !there[r.URN] { // the stack itself and its provider are in both
			rest = append(rest, r)
			there[r.URN] = true
		}
	}
	rest = slices.DeleteFunc(rest, func(r apitype.ResourceV3) bool { // steps of a host that is gone, which the part did not name
		there[r.URN] = r.Parent == "" || there[r.Parent]
		return !there[r.URN]
	})
	for i := range rest {
		rest[i].Dependencies = slices.DeleteFunc(rest[i].Dependencies, func(u urn.URN) bool { return !there[u] })
	}
	d.Deployment.Resources = rest
	return nil
}

// Forget takes all steps of a host out of the state; nothing is undone anywhere.
func (s *Store) Forget(ctx context.Context, cluster, host string) error {
	p := plan.Plan{Cluster: cluster, Part: true}
	for id := range s.done {
		if name, kind, _ := strings.Cut(string(id), "/"); name == host {
			p.Steps = append(p.Steps, plan.Step{ID: id, Kind: plan.Kind(kind), Host: host, Action: plan.Unchanged})
		}
	}
	if len(p.Steps) == 0 {
		return nil
	}
	slices.SortFunc(p.Steps, func(a, b plan.Step) int { return strings.Compare(string(a.ID), string(b.ID)) })
	r, err := newRun(ctx, p, nil, Options{})
	if err != nil {
		return err
	}
	r.work, r.needs, r.undoing = r.adopt, dependents(p), true
	err = s.delete(ctx, r, 0)
	r.results(p.Steps)
	return r.outcome(ctx, err)
}

// nameOf is a resource's name; an empty URN has none, and urn's own Name panics.
func nameOf(u urn.URN) string {
	if u == "" {
		return ""
	}
	return u.Name()
}
