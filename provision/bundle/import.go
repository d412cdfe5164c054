package bundle

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/hybridctl/hybridctl/provision/hint"
)

// Import unpacks a bundle in one file into the directory dir, as Create makes one: every file is verified while it is read, then all of it like
// Verify, and only a bundle that is whole and right takes dir's place. Links, names that lead out, files that stand twice and files that
// bundle.json does not list are refused before anything is written.
// Errors: ErrDamaged, ErrNotBundle (of the file; or dir is something else), others of the file system.
func Import(ctx context.Context, file, dir string, o CreateOptions) (b *Bundle, err error) {
	from, err := Open(file)
	if err != nil {
		return nil, err
	}
	t, ok := from.fsys.(*oneFile)
	if !ok {
		return nil, hint.With(sentencef(ErrNotBundle, "%s is a directory, and a bundle already", file), "use it as it is: import is for the one file that \"hybridctl bundle export\" makes")
	}
	parts, err := from.parts()
	if err != nil {
		return nil, err
	}
	if err := t.onlyThese(file, parts); err != nil {
		return nil, err
	}
	beside, err := buildAside(dir)
	if err != nil {
		return nil, onDisk(dir, err)
	}
	defer func() { err = onDisk(dir, errors.Join(err, beside.discard())) }()
	m := &maker{ctx: ctx, dir: beside.path, progress: o.Progress}
	if err := m.unpack(from, parts); err != nil {
		return nil, err
	}
	findings, err := m.look()
	if err != nil {
		return nil, err
	}
	if len(findings) > 0 {
		return nil, sentencef(ErrDamaged, "bundle %s is damaged: %s", file, some(findings))
	}
	if err := beside.commit(); err != nil {
		return nil, err
	}
	return Open(dir)
}

// onlyThese refuses a tar that holds more than the bundle.
func (t *oneFile) onlyThese(file string, parts []part) error {
	listed := map[string]bool{}
	for _, p := range parts {
		listed[p.name] = true
	}
	names := keys(t.files)
	slices.Sort(names)
	for _, name := range names {
		if !listed[name] {
			return sentencef(ErrDamaged, "bundle %s is damaged: %s does not belong to it", file, name)
		}
	}
	return nil
}

// unpack writes the files of a bundle into the maker's empty directory.
func (m *maker) unpack(from *Bundle, parts []part) error {
	m.state = Progress{Doing: "import"}
	for _, p := range parts {
		m.state.Total += p.size
	}
	for _, p := range parts {
		to := filepath.Join(m.dir, filepath.FromSlash(p.name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := m.unpackPart(from, p, to); err != nil {
			return err
		}
	}
	return nil
}

func (m *maker) unpackPart(from *Bundle, p part, to string) error {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := from.copyPart(m.ctx, f, p, m.wrote); err != nil {
		return err
	}
	return errors.Join(f.Chmod(fs.FileMode(p.mode)), f.Close())
}
