package survey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/secret"
)

// Site reads what spec.registries names: certificates and passwords. What is wrong with one is for the checks to say.
func (r Reader) Site(ctx context.Context, s *Seen) {
	s.Site = plan.Site{CAs: map[string][]byte{}, Passwords: map[string]inventory.Secret{}}
	s.Registries.Files, s.Registries.Logins = map[string]error{}, map[string]error{}
	for _, e := range r.Cluster.Spec.Registries {
		if e.CAFile != "" {
			s.Site.CAs[e.Host], s.Registries.Files[e.Host] = os.ReadFile(e.CAFile)
		}
		if !e.Private() || r.NoPrograms && len(e.PasswordCommand) > 0 {
			continue
		}
		password, err := r.Password(ctx, e)
		if err == nil {
			s.Site.Passwords[e.Host] = inventory.Secret(password)
		}
		s.Registries.Logins[e.Host] = err
	}
}

// Password reads the password of a registry's login. The error says why it cannot be read, or used.
func (r Reader) Password(ctx context.Context, e inventory.Registry) (string, error) {
	password, err := "", error(nil)
	if len(e.PasswordCommand) > 0 {
		if password, err = r.printed(ctx, e.PasswordCommand); err != nil {
			return "", fmt.Errorf("passwordCommand %w", err)
		}
		password, _, _ = strings.Cut(password, "\n")
		password = strings.TrimSuffix(password, "\r")
	} else if password, err = secret.From("password", e.PasswordFile, e.PasswordEnv)(); err != nil {
		return "", err
	}
	switch {
	case password == "" && len(e.PasswordCommand) > 0:
		return "", fmt.Errorf("passwordCommand %s prints nothing", e.PasswordCommand[0])
	case !utf8.ValidString(password) || strings.ContainsFunc(password, unicode.IsControl):
		return "", errors.New("it holds a control character, or bytes that are no text")
	}
	return password, nil
}

// Pulls asks, for the hosts that are to pull images and lack some, the registries where they will look for them. It is asked before anything is
// written: whether the manifest of each architecture is there.
func (r Reader) Pulls(ctx context.Context, s *Seen, hosts []inventory.Host) {
	s.Registries.Asked = s.Bundle != nil && r.Cluster.Spec.Images == inventory.ImagesRegistry
	wanted := r.pulled(s, hosts)
	if len(wanted) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	defer r.waits("what registries say of " + report.Count(len(wanted), "image"))()
	asking := places{reader: r, seen: s, askers: map[string]*image.Asker{}}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(registryAtOnce)
	for ref, manifests := range wanted {
		g.Go(func() error {
			found := asking.find(ctx, ref, manifests)
			mu.Lock()
			defer mu.Unlock()
			s.Registries.Pulls = append(s.Registries.Pulls, found...)
			return nil
		})
	}
	_ = g.Wait() // what went wrong is each image's own
	slices.SortFunc(s.Registries.Pulls, func(a, b preflight.Pull) int {
		return cmp.Or(cmp.Compare(a.Image, b.Image), cmp.Compare(a.Arch, b.Arch))
	})
}

// pulled are the images that some of the hosts pull and do not have: the manifest of each architecture, by name.
func (r Reader) pulled(s *Seen, hosts []inventory.Host) map[string]map[platform.Arch]string {
	out := map[string]map[platform.Arch]string{}
	if s.Bundle == nil {
		return nil
	}
	for _, h := range hosts {
		f := s.Hosts.Fact(h.Name)
		if f.Err != nil || f.Arch == "" {
			continue
		}
		for _, i := range plan.ImagesFor(r.Cluster, s.Bundle, h, f.Arch) {
			if !i.Pull || slices.Contains(f.Images, i.Ref) {
				continue
			}
			if out[i.Ref] == nil {
				out[i.Ref] = map[platform.Arch]string{}
			}
			out[i.Ref][f.Arch] = i.Manifest
		}
	}
	return out
}

// places are where hosts look for images.
type places struct {
	reader Reader
	seen   *Seen

	mu     sync.Mutex
	askers map[string]*image.Asker // by what a client is made with
}

// find asks the places of one image in their order, until every architecture is found.
func (p *places) find(ctx context.Context, ref string, manifests map[platform.Arch]string) []preflight.Pull {
	lacks, left := map[platform.Arch][]string{}, map[platform.Arch]string{}
	for arch, digest := range manifests {
		left[arch] = digest
	}
	for _, place := range p.reader.Cluster.PlacesOf(ref) {
		if len(left) == 0 {
			break
		}
		for arch, err := range p.ask(ctx, place, left) {
			if err == nil {
				delete(left, arch)
				continue
			}
			lacks[arch] = append(lacks[arch], err.Error())
		}
	}
	var out []preflight.Pull
	for arch := range manifests {
		one := preflight.Pull{Image: ref, Arch: arch}
		if i, ok := p.seen.Bundle.Find("", ref); ok {
			one.Component = i.Component
		}
		if _, absent := left[arch]; absent {
			one.Lacks = lacks[arch]
		}
		out = append(out, one)
	}
	return out
}

func (p *places) ask(ctx context.Context, place inventory.Place, manifests map[platform.Arch]string) map[platform.Arch]error {
	asker, err := p.asker(place)
	if err != nil {
		out := map[platform.Arch]error{}
		for arch := range manifests {
			out[arch] = fmt.Errorf("%s: %w", place.Image, err)
		}
		return out
	}
	return asker.Holds(ctx, place.Image, p.keys(place), manifests)
}

func (p *places) asker(place inventory.Place) (*image.Asker, error) {
	o := registry.Options{AtOnce: registryAtOnce, Patience: registryOnePatience, Tries: registryTries, AnyRedirect: true}
	id := fmt.Sprint(place.Plain, place.Host)
	if place.Plain {
		o.PlainHTTP = []string{place.Host}
	}
	for _, i := range p.reader.Cluster.CAsFor(place) {
		id += fmt.Sprint(" ", i)
		o.CA = append(o.CA, p.seen.Site.CAs[p.reader.Cluster.Spec.Registries[i].Host]...)
		o.CA = append(o.CA, '\n')
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.askers[id] == nil {
		client, err := registry.New(o)
		if err != nil {
			return nil, err
		}
		p.askers[id] = &image.Asker{Registry: client}
	}
	return p.askers[id], nil
}

// keys are the credentials that hosts have for a place.
func (p *places) keys(place inventory.Place) []registry.Credential {
	if place.Login < 0 {
		return nil
	}
	e := p.reader.Cluster.Spec.Registries[place.Login]
	password, read := p.seen.Site.Passwords[e.Host]
	if !read {
		return nil
	}
	return []registry.Credential{{Username: e.Username, Password: string(password), From: "spec.registries"}}
}

// GivenToAnyone reports whether a registry where hosts look for an image gives it to someone without a login. The error
// is why that is not known.
func GivenToAnyone(ctx context.Context, c *inventory.Cluster, ref string) (bool, error) {
	s := &Seen{Cluster: c}
	r := Reader{Cluster: c, NoPrograms: true}
	r.Site(ctx, s)
	s.Site.Passwords = nil
	asking := places{reader: r, seen: s, askers: map[string]*image.Asker{}}
	var unknown error
	for _, place := range c.PlacesOf(ref) {
		asker, err := asking.asker(place)
		if err != nil {
			unknown = errors.Join(unknown, err)
			continue
		}
		switch answer := asker.Ask(ctx, place.Image, nil, nil); {
		case answer.Err == nil:
			return true, nil
		case !answer.Login():
			unknown = errors.Join(unknown, answer.Err)
		}
	}
	return false, unknown
}
