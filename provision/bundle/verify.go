package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"

	"github.com/hybridctl/hybridctl/provision/image"
)

// Finding is one thing that is wrong with a bundle.
type Finding struct {
	Subject string `json:"subject"` // a file of the bundle, or an image's name
	Problem string `json:"problem"`
}

// String is the finding as a line.
func (f Finding) String() string { return f.Subject + ": " + f.Problem }

// Verify reads the whole bundle and returns everything that is wrong with it: none means that it is good. It checks the digest of
// every binary and blob, that each index holds the architectures that are claimed, that each image's config and its program are
// for that architecture, that each binary's ELF machine is what its place says, and that nothing else lies in it.
// Errors: ErrNotBundle; ErrDamaged for one file that is no whole tar; or the context's.
func Verify(ctx context.Context, dir string) ([]Finding, error) {
	return verify(ctx, dir, func(int) {})
}

func verify(ctx context.Context, dir string, read func(int)) ([]Finding, error) {
	fsys, err := files(dir)
	if err != nil {
		return nil, err
	}
	m, err := readManifest(fsys, dir)
	if err != nil {
		return nil, err
	}
	v := &verifier{ctx: ctx, fsys: fsys, manifest: m, read: read, listed: map[string]bool{ManifestFile: true}}
	v.binaries()
	v.blobs()
	blobsKnown := v.images()
	v.strays(blobsKnown)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return v.findings, nil
}

type verifier struct {
	ctx      context.Context // of the one Verify it lives for
	fsys     fs.FS
	manifest Manifest
	read     func(int)
	listed   map[string]bool // files that belong to the bundle
	findings []Finding
}

func (v *verifier) found(subject, format string, args ...any) {
	v.findings = append(v.findings, Finding{subject, fmt.Sprintf(format, args...)})
}

func (v *verifier) binaries() {
	for _, b := range v.manifest.Binaries {
		v.listed[b.Path] = true
		if err := v.binary(b); err != nil {
			v.found(b.Path, "%v", err)
		}
	}
}

func (v *verifier) binary(b Binary) error {
	f, err := openSeeker(v.fsys, b.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("is missing")
	}
	if err != nil {
		return err
	}
	defer f.Close()
	sum, size, err := v.digest(f)
	if err != nil {
		return err
	}
	if size != b.Size || sum != b.SHA256 {
		return errors.New("has another content than when the bundle was made")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return checkELF(f, b.Arch)
}

// blobs holds the content of every blob against its name.
func (v *verifier) blobs() {
	const dir = LayoutDir + "/blobs/sha256"
	entries, err := fs.ReadDir(v.fsys, dir)
	if err != nil {
		v.found(dir, "%v", plainError(err))
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue // strays finds it
		}
		name := path.Join(dir, e.Name())
		if sum, err := v.fileDigest(name); err != nil {
			v.found(name, "%v", err)
		} else if sum != e.Name() {
			v.found(name, "has another content than its name, the digest, says")
		}
	}
}

func (v *verifier) fileDigest(name string) (string, error) {
	f, err := v.fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum, _, err := v.digest(f)
	return sum, err
}

func (v *verifier) digest(r io.Reader) (string, int64, error) {
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(sum, counter(v.read)), image.ReadContext(v.ctx, r))
	return hex.EncodeToString(sum.Sum(nil)), n, err
}

// images checks every image; false means that some could not be read, so that it is not known which blobs belong to the bundle.
func (v *verifier) images() bool {
	v.listed[LayoutDir+"/oci-layout"], v.listed[LayoutDir+"/index.json"] = true, true
	layout, err := openLayout(v.fsys)
	if err != nil {
		v.found(LayoutDir, "%v", plainError(err))
		return false
	}
	refs, err := layout.Refs()
	if err != nil {
		v.found(LayoutDir, "%v", err)
		return false
	}
	whole := true
	inspector := &image.Inspector{}
	for _, i := range v.manifest.Images {
		if refs[i.Ref] != i.Digest {
			v.found(i.Ref, "index.json gives the digest %q for it, %s says %s", refs[i.Ref], ManifestFile, i.Digest)
		}
		delete(refs, i.Ref)
		v.listBlob(i.Digest)
		images, err := layout.Index(i.Digest, i.Manifests)
		if err != nil {
			v.found(i.Ref, "%v", err)
			whole = false
		}
		v.checkArchs(i, images)
		for _, img := range images {
			v.image(layout, inspector, i, img)
		}
	}
	for _, ref := range slices.Sorted(maps.Keys(refs)) {
		v.found(ref, "is in the image layout but not in %s", ManifestFile)
	}
	return whole
}

// checkArchs holds the index against what bundle.json claims of it.
func (v *verifier) checkArchs(i Image, images []image.Image) {
	claimed := maps.Clone(i.Manifests)
	for _, img := range images {
		if claimed[img.Arch] != img.Digest {
			v.found(i.Ref, "the index holds %s for %s, which %s does not claim", img.Digest, img.Arch, ManifestFile)
		}
		delete(claimed, img.Arch)
	}
	for _, a := range sortedArchs(claimed) {
		v.found(i.Ref, "the index does not hold the image for %s", a)
	}
}

func (v *verifier) image(l *image.Layout, in *image.Inspector, i Image, img image.Image) {
	about := fmt.Sprintf("%s (%s)", i.Ref, img.Arch)
	blobs, err := img.Blobs()
	if err != nil {
		v.found(about, "%v", err)
		return
	}
	whole := true
	for _, b := range blobs {
		v.listBlob(b.Digest)
		if err := l.Check(b); err != nil {
			v.found(about, "%v", err)
			whole = false
		}
	}
	if !whole {
		return
	}
	problems, err := in.Programs(v.ctx, img, i.Component != "")
	if err != nil {
		return // the context's end, which Verify reports
	}
	for _, p := range problems {
		v.found(about, "%s", p)
	}
}

func (v *verifier) listBlob(digest string) {
	v.listed[LayoutDir+"/blobs/sha256/"+digest[len("sha256:"):]] = true
}

// strays finds what does not belong to the bundle.
func (v *verifier) strays(blobsKnown bool) {
	err := fs.WalkDir(v.fsys, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			v.found(name, "%v", plainError(err))
			return nil
		}
		isBlob := path.Dir(name) == LayoutDir+"/blobs/sha256"
		switch {
		case e.IsDir():
		case !e.Type().IsRegular():
			v.found(name, "is not a regular file")
		case !v.listed[name] && (blobsKnown || !isBlob):
			v.found(name, "does not belong to the bundle")
		}
		return v.ctx.Err()
	})
	if err != nil && v.ctx.Err() == nil {
		v.found(".", "%v", err)
	}
}
