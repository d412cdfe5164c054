package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

// Bundle makes the bundle of a set, and returns its directory. A bundle that is there already, and whole, costs no request; of everything
// else only what the cache lacks is fetched. First the images' indexes are read, so that one that is not there for an architecture is refused
// before the large files come; then all files, several at once; then the bundle is made and verified.
// Errors: every sentinel of this package, bundle.ErrNotBundle (Options.Dir is something else), or the context's.
func Bundle(ctx context.Context, set catalogue.Set, o Options) (string, error) {
	f, err := newFetcher(o)
	if err != nil {
		return "", err
	}
	return f.bundle(ctx, set)
}

func (f *fetcher) bundle(ctx context.Context, set catalogue.Set) (string, error) {
	if dir, ok, err := f.complete(ctx, set, true); ok || err != nil {
		return dir, err
	}
	if f.o.Dir != "" {
		if err := bundle.Replaceable(f.o.Dir); err != nil {
			return "", err
		}
	}
	if err := f.cache.make(); err != nil {
		return "", f.diskError("the cache", err)
	}
	inUse, err := f.cache.use(ctx, f.o.Wait, clearing(f))
	if err != nil {
		return "", f.diskError("the cache", err)
	}
	defer inUse.Close()
	if err := f.sums(ctx, &set); err != nil {
		return "", err
	}
	images, err := f.decide(ctx, set)
	if err != nil {
		return "", err
	}
	if err := f.fetchAll(ctx, set, images); err != nil {
		return "", err
	}
	return f.make(ctx, set, images)
}

// doneByAnother says what another run does that has a lock of the cache.
func doneByAnother(f *fetcher, what string) func() {
	return func() { f.note("", what+" by another run, which is waited for") }
}

func clearing(f *fetcher) func() { return doneByAnother(f, "the cache is being cleared") }
func deciding(f *fetcher) func() { return doneByAnother(f, "which images are taken is being decided") }

// make makes the bundle, unless another run has made it meanwhile.
func (f *fetcher) make(ctx context.Context, set catalogue.Set, images []found) (dir string, err error) {
	err = f.cache.alone(ctx, "making", f.o.Wait, doneByAnother(f, "the bundle is being made"), func() error {
		var ok bool
		if dir, ok, err = f.complete(ctx, set, true); ok || err != nil {
			return err
		}
		dir, err = f.compose(ctx, set, images)
		return err
	})
	return dir, err
}

// decide resolves the images; what is decided for the first time is written down. No two runs do so at once: the second has the first's word.
func (f *fetcher) decide(ctx context.Context, set catalogue.Set) (images []found, err error) {
	err = f.cache.alone(ctx, "deciding", f.o.Wait, deciding(f), func() error {
		if f.lock, err = readLock(f.lockPath()); err != nil {
			return err
		}
		if images, err = f.resolve(ctx, set); err != nil {
			return err
		}
		return f.saveLock()
	})
	return images, f.diskError("the images", err)
}

// sums completes the sums of files that no one pinned: by the lock file, or by what upstream publishes, when that is
// allowed.
func (f *fetcher) sums(ctx context.Context, set *catalogue.Set) error {
	set.Files = slices.Clone(set.Files)
	asked := false
	for i, file := range set.Files {
		sum, err := f.known(file)
		if err != nil {
			return err
		}
		if sum == "" {
			if sum, err = f.published(ctx, file); err != nil {
				return err
			}
			f.lock.Files[file.URL], asked = sum, true
		}
		set.Files[i].SHA256 = sum
	}
	if !asked {
		return nil
	}
	return f.cache.alone(ctx, "deciding", f.o.Wait, deciding(f), f.saveLock)
}

// known is a file's sum by the catalogue or by the lock file; "" = no one has said it.
func (f *fetcher) known(file catalogue.File) (string, error) {
	locked := f.lock.Files[file.URL]
	switch {
	case file.SHA256 != "" && locked != "" && file.SHA256 != locked:
		return "", f.lockDiffers(fmt.Sprintf("the catalogue says that the sha256 of %s is %s", file, file.SHA256), locked)
	case file.SHA256 != "" && !hexSum.MatchString(file.SHA256):
		return "", failf(ErrInput, "%s: %q is no sha256", file, file.SHA256)
	case file.SHA256 != "":
		return file.SHA256, nil
	}
	return locked, nil
}

// published is what upstream's checksum file says.
func (f *fetcher) published(ctx context.Context, file catalogue.File) (string, error) {
	switch {
	case !f.o.AllowUpstreamChecksums || file.Checksums == "":
		return "", hint.With(failf(ErrInput, "%s has no sum in the catalogue or in the lock file %s", file, f.lockPath()),
			"pin it in a catalogue of your own (--catalogue FILE), or trust the sums that upstream publishes (--allow-upstream-checksums)")
	case f.o.Offline:
		return "", failf(ErrOffline, "the checksum file of %s is not here, and nothing was to be asked for", file)
	}
	from, err := f.webFile("the checksum file of "+file.String(), file.Checksums)
	if err != nil {
		return "", err
	}
	if from.url.Scheme != "https" {
		return "", failf(ErrInput, "the checksum file of %s would come by HTTP from %s, where anybody on the way could change it: only HTTPS is taken", file, from.url.Host)
	}
	text, host, err := f.small(ctx, from)
	if err != nil {
		return "", err
	}
	sum, err := catalogue.Checksum(text, file.Base())
	if err != nil {
		return "", failf(ErrContent, "%s: what %s gives %v", from.what, host, err)
	}
	f.note("", fmt.Sprintf("%s: its sha256 is upstream's word, by %s: %s; the lock file %s holds it from now on", file, host, sum, f.lockPath()))
	return sum, nil
}

// small reads a small file whole; nothing holds it against anything.
func (f *fetcher) small(ctx context.Context, from *webFile) (text []byte, host string, err error) {
	const most = 1 << 20
	for try := 1; ; try++ {
		resp, err := from.open(ctx, 0)
		var p *passing
		switch {
		case errors.As(err, &p) && try < triesAtOnce:
			if err := f.o.Wait(ctx, max(p.pause, lockPause)); err != nil {
				return nil, "", err
			}
			continue
		case errors.As(err, &p):
			return nil, "", p.err
		case err != nil:
			return nil, "", err
		}
		text, err = io.ReadAll(io.LimitReader(resp.Body, most+1))
		host = resp.Request.URL.Host
		err = errors.Join(err, resp.Body.Close())
		switch {
		case err == nil && len(text) > most:
			return nil, "", failf(ErrContent, "%s: %s gives more than %s", from.what, host, report.Bytes(most))
		case err == nil:
			return text, host, nil
		case ctx.Err() != nil:
			return nil, "", ctx.Err()
		case try == triesAtOnce:
			return nil, "", failf(ErrStopped, "%s: %s ended the answer (%s)", from.what, host, why(err))
		}
	}
}

// job is one file to fetch.
type job struct {
	item string
	d    *download
}

// fetchAll brings everything into the cache that it lacks.
func (f *fetcher) fetchAll(ctx context.Context, set catalogue.Set, images []found) error {
	jobs, err := f.jobs(ctx, set, images)
	if err != nil {
		return err
	}
	if len(jobs) > 0 && f.o.Offline {
		return failf(ErrOffline, "%s is not in the cache, and nothing was to be asked for", jobs[0].d.what)
	}
	left := map[string]int{}
	for _, j := range jobs {
		left[j.item]++
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(f.o.Parallel)
	for _, j := range jobs {
		g.Go(func() error {
			if err := j.d.run(gctx); err != nil {
				return err
			}
			f.mu.Lock()
			left[j.item]--
			last := left[j.item] == 0
			f.mu.Unlock()
			if last {
				f.ended(j.item)
			}
			return nil
		})
	}
	err = g.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// jobs lists what the cache lacks: each digest once, however many images have it.
func (f *fetcher) jobs(ctx context.Context, set catalogue.Set, images []found) ([]job, error) {
	var jobs []job
	listed := map[string]bool{}
	lacks := func(digest string, size int64, item, what string) (bool, error) {
		if listed[digest] {
			return false, nil
		}
		listed[digest] = true
		has, damaged, err := f.cache.has(ctx, digest, size)
		if damaged {
			f.note(item, what+" in the cache was damaged, and is fetched again")
		}
		return !has, f.diskError(what, err)
	}
	for _, file := range set.Files {
		item := file.Name + " " + file.Arch.String()
		lack, err := lacks("sha256:"+file.SHA256, -1, item, file.String())
		if err != nil {
			return nil, err
		}
		if !lack {
			continue
		}
		from, err := f.webFile(file.String(), file.URL)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, f.job(item, &download{what: file.String(), digest: "sha256:" + file.SHA256, size: -1, from: from, by: f.sumBy(file)}))
	}
	for n := range images {
		i := &images[n]
		for _, b := range i.blobs {
			lack, err := lacks(b.Digest, b.Size, i.item, f.imageName(*i))
			if err != nil {
				return nil, err
			}
			if !lack {
				continue
			}
			d := &download{what: f.imageName(*i), digest: b.Digest, size: b.Size, by: "its manifest"}
			if !f.o.Offline {
				repo, err := f.repoOf(ctx, i)
				if err != nil {
					return nil, err
				}
				d.from = &blobFile{f, d.what, repo, b.Digest}
			}
			jobs = append(jobs, f.job(i.item, d))
		}
	}
	return jobs, nil
}

func (f *fetcher) sumBy(file catalogue.File) string {
	if f.lock.Files[file.URL] != "" {
		return "the lock file " + f.lockPath()
	}
	return "the catalogue"
}

func (f *fetcher) job(item string, d *download) job {
	d.fetcher = f
	f.add(item, d.size)
	d.noteTo = item
	d.moved = func(n, size int64) { f.came(item, n, size) }
	return job{item, d}
}

// compose makes the bundle of what the cache has.
func (f *fetcher) compose(ctx context.Context, set catalogue.Set, images []found) (string, error) {
	parts := bundle.Parts{KubernetesVersion: set.Kubernetes, File: f.cache.file}
	r := record{Kubernetes: set.Kubernetes}
	for _, file := range set.Files {
		binaries, err := f.unpack(ctx, file, file.SHA256)
		if err != nil {
			return "", err
		}
		if wholeFile(file) == "" {
			r.Files = append(r.Files, file.SHA256)
		}
		parts.Binaries = append(parts.Binaries, binaries...)
	}
	for _, i := range images {
		archs := slices.Clone(set.Archs)
		slices.Sort(archs)
		parts.Images = append(parts.Images, bundle.PartImage{
			Image: bundle.Image{Component: i.Component, Ref: i.Ref, Digest: i.index, Archs: archs, Manifests: i.manifests}, Blobs: i.digests(),
		})
	}
	for _, p := range set.Programs {
		files := map[platform.Arch]string{}
		for a, name := range p.Files {
			_, path, err := f.program(ctx, name)
			if err != nil {
				return "", err
			}
			files[a] = path
		}
		parts.Programs = append(parts.Programs, bundle.PartProgram{Component: p.Component, Ref: p.Ref, Files: files})
	}
	key, err := f.key(set)
	if err != nil {
		return "", err
	}
	dir := f.dir(key)
	f.note("", "the bundle is made and verified")
	reading := func(p bundle.Progress) { f.note("bundle", report.Bytes(p.Bytes)+" verified") }
	if _, err := bundle.Compose(ctx, parts, dir, bundle.CreateOptions{Progress: reading}); err != nil {
		if errors.Is(err, bundle.ErrSource) {
			return "", hint.With(failf(ErrContent, "%s", err), "the catalogue's entry is wrong; what was fetched has the sum that it says")
		}
		return "", f.diskError("the bundle "+dir, err)
	}
	return dir, f.diskError("the cache", f.remember(key, dir, r))
}

// diskError makes a sentence of an error of the file system.
func (f *fetcher) diskError(what string, err error) error {
	if err == nil {
		return nil
	}
	if sentence := writing(what, f.cache.dir, progress{0, -1}, err); sentence != nil && !isSentence(err) {
		return sentence
	}
	return err
}

func isSentence(err error) bool {
	var f *failure
	return errors.As(err, &f)
}
