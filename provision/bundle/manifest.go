package bundle

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// APIVersion and Kind identify bundle.json; SourceKind is the kind of bundle.yaml.
const (
	APIVersion = "hybridctl.dev/v1alpha1"
	Kind       = "Bundle"
	SourceKind = "BundleSource"
)

// The sentinels of this package. Each error that wraps one is a sentence for the user.
var (
	// ErrNotBundle: the directory is missing, is no bundle, or one of another version. The user gives another path.
	ErrNotBundle = errors.New("not a bundle")
	// ErrDamaged: files of the bundle are missing or are not what bundle.json says. The user makes the bundle again.
	ErrDamaged = errors.New("damaged bundle")
	// ErrSource: bundle.yaml, or a file it names, is wrong; the error lists everything. The user mends it.
	ErrSource = errors.New("bad bundle source")
)

// sentence is an error for the user that is also one of the sentinels.
type sentence struct {
	text string
	kind error
}

func (s sentence) Error() string { return s.text }
func (s sentence) Unwrap() error { return s.kind }

func sentencef(kind error, format string, args ...any) error {
	return sentence{fmt.Sprintf(format, args...), kind}
}

// notBundle adds to the error of a place where something else lies what a bundle is.
func notBundle(sentence error) error {
	return hint.With(sentence, `a bundle is the folder that "hybridctl bundle fetch" or "hybridctl bundle create" makes, or the one file that "hybridctl bundle export" makes of it`)
}

// inTheWay adds to the error of a place where something lies that is not replaced what to do about it.
func inTheWay(sentence error) error {
	return hint.With(sentence, "name another place, or move it away")
}

// unreadable is the error of a place that may not be read.
func unreadable(place string, err error) error {
	return hint.With(sentencef(ErrNotBundle, "%s is not a readable bundle: %v", place, err), "make it readable for the user who runs hybridctl")
}

// binaryPath is where a binary lies in a bundle.
func binaryPath(b Binary) string { return path.Join("bin", string(b.Arch), b.Component, b.Name) }

// encode gives the same bytes for the same content.
func (m Manifest) encode() ([]byte, error) {
	slices.SortFunc(m.Binaries, func(a, b Binary) int {
		return cmp.Or(cmp.Compare(a.Component, b.Component), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch))
	})
	slices.SortFunc(m.Images, func(a, b Image) int { return cmp.Compare(a.Ref, b.Ref) })
	raw, err := json.MarshalIndent(m, "", "  ")
	return append(raw, '\n'), err
}

// readManifest reads the bundle.json of the bundle dir strictly.
func readManifest(fsys fs.FS, dir string) (Manifest, error) {
	raw, err := fs.ReadFile(fsys, ManifestFile)
	if errors.Is(err, fs.ErrNotExist) {
		if _, statErr := os.Stat(dir); errors.Is(statErr, fs.ErrNotExist) {
			return Manifest{}, hint.With(sentencef(ErrNotBundle, "there is no bundle %s", dir), `"hybridctl bundle fetch" or "hybridctl bundle create" makes one; "hybridctl bundle export" makes one file of it`)
		}
		return Manifest{}, notBundle(sentencef(ErrNotBundle, "%s is not a bundle: it has no %s", dir, ManifestFile))
	}
	if err != nil {
		return Manifest{}, unreadable(dir, err)
	}
	m, err := parseManifest(raw)
	if err != nil {
		return Manifest{}, hint.With(sentencef(ErrNotBundle, "%s is not a bundle that this hybridctl can use: %s: %v", dir, ManifestFile, err), "make it again with this hybridctl, or use it with the one that made it")
	}
	return m, nil
}

// isManifest reports whether a bundle.json is of a bundle of any hybridctl's: others have files of that name too.
func isManifest(r io.Reader) bool {
	var id struct{ APIVersion, Kind string }
	err := json.NewDecoder(io.LimitReader(r, maxTarDocument)).Decode(&id)
	group, _, _ := strings.Cut(APIVersion, "/")
	return err == nil && strings.HasPrefix(id.APIVersion, group+"/") && id.Kind == Kind
}

func parseManifest(raw []byte) (Manifest, error) {
	var id struct{ APIVersion, Kind string }
	if err := json.Unmarshal(raw, &id); err != nil {
		return Manifest{}, errors.New("it is no JSON document, or a damaged one")
	}
	if id.APIVersion != APIVersion || id.Kind != Kind {
		return Manifest{}, fmt.Errorf("it is %s %s, not %s %s", id.APIVersion, id.Kind, APIVersion, Kind)
	}
	var m Manifest
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		if name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
			return Manifest{}, fmt.Errorf("its field %s is not known: a newer hybridctl has written it, or it is damaged", name)
		}
		return Manifest{}, fmt.Errorf("it is damaged: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); err != io.EOF {
		return Manifest{}, errors.New("something follows the document")
	}
	return m, m.check()
}

var (
	hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)
	ociDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	fileName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)
)

// check refuses what Create would never have written, above all paths that lead out of the bundle.
func (m Manifest) check() error {
	paths := map[string]bool{}
	for _, b := range m.Binaries {
		switch {
		case !knownArch(b.Arch):
			return fmt.Errorf("binary %s: unknown architecture %q", b.Name, string(b.Arch))
		case !slices.Contains(binaryComponents, b.Component):
			return fmt.Errorf("binary %s: unknown component %q", b.Name, b.Component)
		case !fileName.MatchString(b.Name) || b.Path != binaryPath(b):
			return fmt.Errorf("binary %q: bad name or path %q", b.Name, b.Path)
		case !hexDigest.MatchString(b.SHA256) || b.Size <= 0:
			return fmt.Errorf("binary %s: bad sha256 or size", b.Name)
		case paths[b.Path]:
			return fmt.Errorf("%s stands twice", b.Path)
		}
		paths[b.Path] = true
	}
	refs := map[string]bool{}
	for _, i := range m.Images {
		if i.Ref == "" || refs[i.Ref] {
			return fmt.Errorf("image %q has no name, or stands twice", i.Ref)
		}
		refs[i.Ref] = true
		if err := i.check(); err != nil {
			return fmt.Errorf("image %s: %w", i.Ref, err)
		}
	}
	return nil
}

func (i Image) check() error {
	switch {
	case i.Component != "" && !slices.Contains(imageComponents, i.Component):
		return fmt.Errorf("unknown component %q", i.Component)
	case !ociDigest.MatchString(i.Digest):
		return fmt.Errorf("bad digest %q", i.Digest)
	case len(i.Archs) == 0 || len(i.Archs) != len(i.Manifests):
		return errors.New("archs and manifests do not agree")
	}
	for _, a := range i.Archs {
		if !knownArch(a) || !ociDigest.MatchString(i.Manifests[a]) {
			return fmt.Errorf("unknown architecture %q, or no manifest for it", string(a))
		}
	}
	return nil
}

func knownArch(a platform.Arch) bool { return slices.Contains(platform.All(), a) }
