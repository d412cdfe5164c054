package bundle

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/strict"
)

// problems collects everything that is wrong with bundle.yaml and the files it names.
type problems struct {
	strict.Problems

	absent []absence // in the order in which they were looked for
	lacks  bool      // something is named nowhere that every bundle needs
}

// absence is a file that bundle.yaml names and that is not there.
type absence struct {
	field string
	err   error
}

// shown is how many files that are not there are told one by one.
const shown = 5

// add reports on a field of bundle.yaml.
func (p *problems) add(field, format string, args ...any) { p.Add(field, format, args...) }

// unreadable reports on a file that a field names.
func (p *problems) unreadable(field string, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		p.absent = append(p.absent, absence{field, err})
		return
	}
	p.add(field, "%v", err)
}

// lackBinaries reports the binaries that every bundle needs and that the document names nowhere.
func (p *problems) lackBinaries(needs []Need) {
	p.lacks = p.lacks || len(needs) > 0
	if len(needs) == 1 {
		p.add("binaries", "the binary %s of the component %s is missing", needs[0].Name, needs[0].Component)
	}
	if len(needs) < 2 {
		return
	}
	var list strings.Builder
	for i, n := range needs {
		switch {
		case i > 0 && n.Component == needs[i-1].Component:
			list.WriteString(", " + n.Name)
		case i > 0:
			list.WriteString("; " + n.Component + ": " + n.Name)
		default:
			list.WriteString(n.Component + ": " + n.Name)
		}
	}
	p.add("binaries", "%d that every bundle needs are missing (%s)", len(needs), list.String())
}

// lackImages is lackBinaries for the images of those components.
func (p *problems) lackImages(components []string) {
	p.lacks = p.lacks || len(components) > 0
	switch len(components) {
	case 0:
	case 1:
		p.add("images", "the image of the component %s is missing", components[0])
	default:
		p.add("images", "%d that every bundle needs are missing (%s)", len(components), strings.Join(components, ", "))
	}
}

// err is nil, or one ErrSource with a line for each problem in the order of the file. Of many files that are not there the first are told.
func (p *problems) err() error {
	for i, a := range p.absent {
		if rest := len(p.absent) - i; i == shown && rest > 1 {
			p.add(a.field, "%v; %d more of the files that are named are not there", a.err, rest-1)
			break
		}
		p.add(a.field, "%v", a.err)
	}
	text := p.Text()
	if text == "" {
		return nil
	}
	err := error(sentence{text, ErrSource})
	switch {
	case len(p.absent) > 0:
		return hint.With(err, `paths start at the folder of %s; "hybridctl bundle fetch" makes a bundle without files at hand`, p.File)
	case p.lacks:
		return hint.With(err, `"hybridctl bundle fetch" makes a bundle of everything that a version of Kubernetes needs`)
	}
	return err
}

// decode fills out from bundle.yaml, strictly.
func decode(raw []byte, out any, p *problems) { p.Decode(raw, "bundle source", out) }

// newProblems is for the document in that file.
func newProblems(file string) *problems { return &problems{Problems: strict.Problems{File: file}} }
