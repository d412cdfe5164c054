package image

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
)

// Place is where an image is named.
type Place struct {
	Object string `json:"object,omitempty"` // "Deployment team/web"
	Owner  string `json:"owner,omitempty"`  // "Kind/name" of what makes the object, and would undo a change of it
	Path   string `json:"path,omitempty"`   // of the field
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

func (p Place) String() string {
	s := p.Object
	if p.File != "" {
		s = strings.TrimPrefix(fmt.Sprintf("%s %s:%d:%d", p.Object, p.File, p.Line, p.Column), " ")
	}
	if p.Owner != "" {
		s += " (made by " + p.Owner + ")"
	}
	return s
}

// Wanted is an image that something is to run, and on what.
type Wanted struct {
	Image string
	Archs []platform.Arch
	Keys  []registry.Credential // in the order in which the kubelet tries them
	Place Place
	// Start is what is started in it; nil = nothing, as in an image volume.
	Start *Start
	// Why says what is not known of the keys: a secret that may not be read. It explains an image that stays unknown.
	Why string
}

// Row is what an audit found of one image and one architecture.
type Row struct {
	Image   string        `json:"image"`
	Digest  string        `json:"digest,omitempty"`
	Arch    platform.Arch `json:"arch"`
	Verdict Verdict       `json:"verdict"`
	Reason  string        `json:"reason,omitempty"`
	Login   bool          `json:"login,omitempty"` // its registry wants another login
	Asked   bool          `json:"asked"`           // whether the image itself is there
	Where   []Place       `json:"where"`
}

// Level is how grave a verdict is; "" = nothing is wrong with it.
func (r Row) Level() Level {
	switch {
	case r.Verdict == VerdictNo, r.Verdict == VerdictListed && r.Asked, r.Verdict == VerdictWrong, r.Verdict == VerdictMissing:
		return LevelError
	case r.Verdict == VerdictUnknown:
		return LevelWarning
	}
	return ""
}

// auditsAtOnce is how many images are asked for at a time; each registry has its own bound besides.
const auditsAtOnce = 64

// Audit asks for every image once for each set of credentials, whoever wants it. The error is the context's end.
func (a *Asker) Audit(ctx context.Context, all []Wanted) ([]Row, error) {
	groups, order := map[string]*group{}, []*group{}
	for _, w := range all {
		id := FullName(w.Image) + "\x00" + keyID(w.Keys)
		g := groups[id]
		if g == nil {
			g = &group{first: w, places: map[platform.Arch][]Place{}, start: map[Place]Start{}}
			groups[id] = g
			order = append(order, g)
		}
		g.add(w)
	}
	var pool errgroup.Group
	pool.SetLimit(auditsAtOnce)
	var mu sync.Mutex
	var rows []Row
	for _, g := range order {
		pool.Go(func() error {
			answer := a.Ask(ctx, g.first.Image, g.first.Keys, g.archs)
			some := g.rows(answer)
			if a.Starter != nil {
				some = g.starts(ctx, a.Starter, answer, some)
			}
			mu.Lock()
			defer mu.Unlock()
			rows = append(rows, some...)
			return nil
		})
	}
	_ = pool.Wait() // nothing returns an error
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return merged(rows), nil
}

// group is one image with one set of credentials.
type group struct {
	first  Wanted
	archs  []platform.Arch
	places map[platform.Arch][]Place
	start  map[Place]Start // in places where something is started
}

func (g *group) add(w Wanted) {
	for _, arch := range w.Archs {
		if !slices.Contains(g.archs, arch) {
			g.archs = append(g.archs, arch)
		}
		if w.Place != (Place{}) && !slices.Contains(g.places[arch], w.Place) {
			g.places[arch] = append(g.places[arch], w.Place)
		}
	}
	if w.Start != nil {
		g.start[w.Place] = *w.Start
	}
}

func (g *group) rows(a Answer) []Row {
	var out []Row
	for _, arch := range g.archs {
		v, reason := a.For(arch)
		if v == VerdictUnknown && g.first.Why != "" {
			reason += "; " + g.first.Why
		}
		i := slices.IndexFunc(a.Listed, func(l Listed) bool { return l.is(arch) })
		if g.places[arch] == nil {
			g.places[arch] = []Place{}
		}
		out = append(out, Row{Image: g.first.Image, Digest: a.Digest, Arch: arch, Verdict: v, Reason: reason, Login: a.Login(),
			Asked: i >= 0 && a.Listed[i].Asked, Where: g.places[arch]})
	}
	return out
}

// starts looks into the images that are there, for what is started in them in each place. Places of which it comes to something else have a
// row of their own.
func (g *group) starts(ctx context.Context, s *Starter, a Answer, rows []Row) []Row {
	var out []Row
	for _, r := range rows {
		var starts []Start
		var at []int
		for i, place := range r.Where {
			if start, ok := g.start[place]; ok {
				starts, at = append(starts, start), append(at, i)
			}
		}
		if r.Verdict != VerdictYes || len(starts) == 0 {
			out = append(out, r)
			continue
		}
		good := slices.Clone(r.Where)
		for n, one := range s.Look(ctx, a.imageFor(r.Arch), g.first.Keys, r.Arch, starts) {
			of := r
			of.Where = []Place{r.Where[at[n]]}
			switch {
			case one.Missing:
				of.Verdict, of.Reason = VerdictMissing, one.Wrong
			case one.Wrong != "":
				of.Verdict, of.Reason = VerdictWrong, one.Wrong
			case one.Unread:
				of.Verdict, of.Reason = VerdictUnknown, "there is an image for it; "+one.Unknown
			case one.Unknown != "":
				of.Reason = one.Unknown // the image is there even so
			default:
				continue
			}
			out = append(out, of)
			good = slices.DeleteFunc(good, func(p Place) bool { return p == of.Where[0] })
		}
		if len(good) > 0 {
			r.Where = good
			out = append(out, r)
		}
	}
	return out
}

// imageFor names the very image that an answer has for an architecture.
func (a Answer) imageFor(arch platform.Arch) string {
	named, err := ParseName(a.Ref)
	i := slices.IndexFunc(a.Listed, func(l Listed) bool { return l.is(arch) })
	if err != nil || i < 0 || a.Listed[i].Digest == "" {
		return a.Ref
	}
	return named.Context().Digest(a.Listed[i].Digest).String()
}

// merged puts rows that say the same of the same image together, as those of two namespaces do, and sorts them.
func merged(rows []Row) []Row {
	slices.SortStableFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Image, b.Image), cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.Verdict, b.Verdict), cmp.Compare(a.Reason, b.Reason))
	})
	out := []Row{}
	for _, r := range rows {
		if n := len(out); n > 0 && out[n-1].Image == r.Image && out[n-1].Arch == r.Arch && out[n-1].Verdict == r.Verdict && out[n-1].Reason == r.Reason {
			out[n-1].Where = append(out[n-1].Where, r.Where...)
			continue
		}
		out = append(out, r)
	}
	for i := range out {
		slices.SortFunc(out[i].Where, func(a, b Place) int {
			return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Object, b.Object), cmp.Compare(a.Path, b.Path))
		})
	}
	return out
}

func keyID(keys []registry.Credential) string {
	var b strings.Builder
	for _, k := range keys {
		b.WriteString(k.ID())
	}
	return b.String()
}

// WantedByUser is an image that a user asks for, with docker's credentials.
func WantedByUser(ctx context.Context, ref string, archs []platform.Arch) (Wanted, error) {
	named, err := ParseName(ref)
	if err != nil {
		return Wanted{}, err
	}
	w := Wanted{Image: ref, Archs: archs}
	if w.Keys, err = registry.Docker(ctx, named.Context()); err != nil {
		w.Why = "it was asked without a login: " + err.Error()
	}
	return w, nil
}
