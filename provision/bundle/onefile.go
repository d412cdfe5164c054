package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
)

// oneFile is a bundle in one uncompressed tar, read in place: one pass over the headers tells where every file begins. It holds regular
// files alone, each once, under names that stay inside the bundle; whatever else a tar can hold is refused before anything is read of it.
// It satisfies fs.FS, ReadDir and Stat; its files can seek. Safe for concurrent use.
type oneFile struct {
	f     *os.File // closed with the process, or when nothing uses it any more
	files map[string]tarFile
	dirs  map[string][]fs.DirEntry // sorted by name
}

// tarFile is where a file of the tar lies. It is its own fs.FileInfo and fs.DirEntry; a folder has no offset.
type tarFile struct {
	name         string // its last part
	offset, size int64
	mode         fs.FileMode
}

// The bounds of a tar: far above any bundle, and far below what would hurt.
const (
	maxTarFiles    = 100_000
	maxTarDocument = 32 << 20 // bundle.json
)

// files opens the place where a bundle lies: a directory or a tar. Errors: ErrNotBundle, ErrDamaged.
func files(place string) (fs.FS, error) {
	info, err := os.Stat(place)
	if err != nil || info.IsDir() {
		return os.DirFS(place), nil // readManifest says what is wrong with it
	}
	if !info.Mode().IsRegular() { // to open a pipe would wait for who writes to it
		return nil, notBundle(sentencef(ErrNotBundle, "%s is not a bundle: it is neither a directory nor a regular file", place))
	}
	f, err := os.Open(place)
	if err != nil {
		return nil, unreadable(place, errors.Unwrap(err))
	}
	t := &oneFile{f: f, files: map[string]tarFile{}, dirs: map[string][]fs.DirEntry{".": nil}}
	if err := t.scan(); err != nil {
		manifest, has := t.files[ManifestFile] // it comes first
		has = has && isManifest(io.NewSectionReader(f, manifest.offset, manifest.size))
		err = errors.Join(err, f.Close())
		if has {
			return nil, copyAgain(sentencef(ErrDamaged, "bundle %s is damaged: %v", place, err), err)
		}
		switch sentence := sentencef(ErrNotBundle, "%s is not a bundle in one file: %v", place, err); {
		case errors.Is(err, errPacked):
			return nil, hint.With(sentence, "unpack it to a plain .tar first")
		case errors.Is(err, errCut):
			return nil, copyAgain(sentence, err)
		default:
			return nil, notBundle(sentence)
		}
	}
	return t, nil
}

var (
	errCut    = errors.New("it is cut off")    // a tar that ends before its time
	errPacked = errors.New("it is compressed") // and may be a tar beneath
)

// copyAgain adds what to do about a file that came only in part.
func copyAgain(sentence, cause error) error {
	if errors.Is(cause, errCut) {
		return hint.With(sentence, "copy it once more from where it was made, or export the bundle there again")
	}
	return sentence
}

func (t *oneFile) scan() error {
	info, err := t.f.Stat()
	if err != nil {
		return err
	}
	magic := make([]byte, 4)
	if n, _ := t.f.ReadAt(magic, 0); n == 4 && (bytes.HasPrefix(magic, []byte{0x1f, 0x8b}) || bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd})) {
		return errPacked
	}
	last, end := "", int64(0) // of what is there
	for r := tar.NewReader(t.f); ; {
		h, err := r.Next()
		if err == io.EOF {
			if len(t.files) == 0 {
				return errors.New("it is empty")
			}
			if info.Size() < end+2*512 { // two empty blocks end a tar; the reader takes one that stops short of them
				return fmt.Errorf("%w: %s is the last that is there", errCut, last)
			}
			return t.folders()
		}
		if err != nil {
			switch {
			case last == "":
				return errors.New("it is no tar archive")
			case errors.Is(err, io.ErrUnexpectedEOF):
				return fmt.Errorf("%w: it ends behind %s", errCut, last)
			}
			return fmt.Errorf("what follows %s is no part of a tar archive", last)
		}
		offset, err := t.f.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if err := t.add(h, offset, info.Size()); err != nil {
			return err
		}
		last, end = h.Name, offset+(h.Size+511)/512*512
	}
}

// add takes one header in, or says why a bundle would not hold it.
func (t *oneFile) add(h *tar.Header, offset, end int64) error {
	name := strings.TrimSuffix(h.Name, "/")
	sparse := slices.ContainsFunc(keys(h.PAXRecords), func(k string) bool { return strings.HasPrefix(k, "GNU.sparse.") })
	switch {
	case h.Typeflag == tar.TypeDir:
		return nil // files name the folders they lie in
	case h.Typeflag != tar.TypeReg || sparse:
		return fmt.Errorf("%q is a link or a special file, and a bundle holds none", h.Name)
	case !fs.ValidPath(name) || name != h.Name || strings.ContainsAny(name, "\\\x00") || len(name) > 4096:
		return fmt.Errorf("%q is no name that a bundle has", h.Name)
	case len(t.files) == maxTarFiles:
		return fmt.Errorf("it holds more than %d files", maxTarFiles)
	case h.Size > end-offset:
		return fmt.Errorf("%w: %s has %d bytes, and %d are there", errCut, name, h.Size, max(0, end-offset))
	case name == ManifestFile && h.Size > maxTarDocument:
		return fmt.Errorf("%s has %d bytes, more than any bundle's", name, h.Size)
	}
	if _, twice := t.files[name]; twice {
		return fmt.Errorf("%s stands in it twice", name)
	}
	t.files[name] = tarFile{name: path.Base(name), offset: offset, size: h.Size, mode: fs.FileMode(h.Mode) & fs.ModePerm}
	return nil
}

// folders makes the folders that the files lie in; a name that is both is refused.
func (t *oneFile) folders() error {
	for name, file := range t.files {
		t.dirs[path.Dir(name)] = append(t.dirs[path.Dir(name)], fs.FileInfoToDirEntry(file))
	}
	for _, dir := range keys(t.dirs) {
		for dir != "." {
			parent := path.Dir(dir)
			entry := fs.FileInfoToDirEntry(tarFile{name: path.Base(dir), mode: fs.ModeDir | 0o755})
			known := slices.ContainsFunc(t.dirs[parent], func(e fs.DirEntry) bool { return e.IsDir() && e.Name() == entry.Name() })
			if _, file := t.files[dir]; file {
				return fmt.Errorf("%s is a file and a folder in it", dir)
			}
			if !known {
				t.dirs[parent] = append(t.dirs[parent], entry)
			}
			dir = parent
		}
	}
	for _, entries := range t.dirs {
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	}
	return nil
}

func keys[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	return list
}

// Open opens a file or a folder.
func (t *oneFile) Open(name string) (fs.File, error) {
	if file, ok := t.files[name]; ok {
		return &openFile{io.NewSectionReader(t.f, file.offset, file.size), file}, nil
	}
	if entries, ok := t.dirs[name]; ok {
		return &openDir{info: tarFile{name: path.Base(name), mode: fs.ModeDir | 0o755}, rest: entries}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// openFile is a file of a tar. To close it closes nothing: the tar stays open.
type openFile struct {
	*io.SectionReader
	info tarFile
}

func (o *openFile) Stat() (fs.FileInfo, error) { return o.info, nil }
func (o *openFile) Close() error               { return nil }

// openDir is a folder of a tar.
type openDir struct {
	info tarFile
	rest []fs.DirEntry
}

func (o *openDir) Stat() (fs.FileInfo, error) { return o.info, nil }
func (o *openDir) Close() error               { return nil }

func (o *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: o.info.name, Err: errors.New("is a directory")}
}

func (o *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(o.rest)
	} else if len(o.rest) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(o.rest))
	out := slices.Clone(o.rest[:n])
	o.rest = o.rest[n:]
	return out, nil
}

func (f tarFile) Name() string       { return f.name }
func (f tarFile) Size() int64        { return f.size }
func (f tarFile) Mode() fs.FileMode  { return f.mode }
func (f tarFile) ModTime() time.Time { return time.Unix(0, 0) }
func (f tarFile) IsDir() bool        { return f.mode.IsDir() }
func (f tarFile) Sys() any           { return nil }
