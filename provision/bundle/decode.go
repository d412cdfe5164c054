package bundle

import "github.com/hybridctl/hybridctl/provision/strict"

// problems collects everything that is wrong with bundle.yaml and the files it names.
type problems struct{ strict.Problems }

// add reports on a field of bundle.yaml.
func (p *problems) add(field, format string, args ...any) { p.Add(field, format, args...) }

// err is nil, or one ErrSource with a line for each problem in the order of the file.
func (p *problems) err() error {
	if text := p.Text(); text != "" {
		return sentence{text, ErrSource}
	}
	return nil
}

// decode fills out from bundle.yaml, strictly.
func decode(raw []byte, out any, p *problems) { p.Decode(raw, "bundle source", out) }

// newProblems is for the document in that file.
func newProblems(file string) *problems { return &problems{strict.Problems{File: file}} }
