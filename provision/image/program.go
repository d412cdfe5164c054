package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// Inspector looks into images. It reads a layer that many images share only once.
type Inspector struct {
	layers map[string]layer // by digest of the packed layer
	kept   int
}

// maxKeptInAll is how many changes of layers are kept for other images.
const maxKeptInAll = 100_000

// Programs says what is wrong with the programs of an image: the one it starts (entrypoint, else command) must be there and be
// for the image's architecture, and so must all that it needs to start. With all, or when the image names none, that holds for every
// executable in it, and with all there must be one. Layers that are not what the config says are found on the way. Empty means good.
func (in *Inspector) Programs(ctx context.Context, i Image, all bool) ([]string, error) {
	layers, err := packedOf(i.img)
	if err != nil {
		return []string{err.Error()}, nil
	}
	t, err := in.files(ctx, i.config.RootFS.DiffIDs, layers)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return []string{err.Error()}, nil
	}
	var problems []string
	argv := argvOf(i.config)
	if len(argv) > 0 {
		if err := t.start(environmentOf(i.config), argv[0]).check(i.Arch); err != nil {
			problems = append(problems, fmt.Sprintf("its program %s %v", argv[0], err))
		}
	}
	if !all && len(argv) > 0 {
		return problems, nil
	}
	return append(problems, t.checkAll(i.Arch, all)...), nil
}

// argvOf is what a container of the image runs when no one says otherwise.
func argvOf(c *v1.ConfigFile) []string {
	return append(slices.Clone(c.Config.Entrypoint), c.Config.Cmd...)
}

// packedOf are the layers of an image of the library's.
func packedOf(img v1.Image) ([]packed, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	var out []packed
	for _, l := range layers {
		digest, err := l.Digest()
		if err != nil {
			return nil, err
		}
		size, err := l.Size()
		if err != nil {
			return nil, err
		}
		out = append(out, packed{digest: digest.String(), size: size, open: l.Compressed})
	}
	return out, nil
}

// files puts an image's layers on top of each other. They must be those that the config lists.
func (in *Inspector) files(ctx context.Context, diffs []v1.Hash, layers []packed) (*tree, error) {
	if len(diffs) != len(layers) {
		return nil, fmt.Errorf("it has %d layers, but its config lists %d", len(layers), len(diffs))
	}
	t, cost := newTree(), &budget{}
	for n, p := range layers {
		t.layer = int32(n)
		content, known := in.layers[p.digest]
		var err error
		if known {
			for i := 0; i < len(content.changes) && err == nil; i++ {
				err = t.apply(content.changes[i])
			}
		} else {
			content, err = p.read(ctx, cost, t.apply)
		}
		if err != nil {
			return nil, fmt.Errorf("its layer %s cannot be read: %w", p.digest, err)
		}
		if !known {
			in.keep(p.digest, content)
		}
		if content.diffID != diffs[n].String() {
			return nil, fmt.Errorf("its layer %s is not the one its config lists (%s)", p.digest, diffs[n])
		}
	}
	return t, nil
}

func (in *Inspector) keep(digest string, l layer) {
	if l.changes == nil || in.kept+len(l.changes) > maxKeptInAll {
		return
	}
	if in.layers == nil {
		in.layers = map[string]layer{}
	}
	in.kept += len(l.changes)
	in.layers[digest] = l
}

// run is what starting a program comes to: the files that the kernel opens for it, one after the other.
type run struct {
	name  string // as it was asked for
	files []started
	tried []string // where it looked for them
	err   error    // why it does not start; it ends the sentence "its program NAME …"
}

// started is one file on the way: a script, the program that runs it, that program's loader.
type started struct {
	at   string // its name without links
	node *node
	what string // "" = the program itself; else what the file is to it: "its interpreter /bin/sh", "its loader /lib/ld.so"
}

// last is the program that runs in the end: an ELF file, or nil.
func (r run) last() *started {
	for i := range slices.Backward(r.files) {
		if f := &r.files[i]; f.node.kind == isELF && !strings.HasPrefix(f.what, loaderOf) {
			return f
		}
	}
	return nil
}

// check holds all that starts against an architecture.
func (r run) check(want platform.Arch) error {
	for _, f := range r.files {
		if f.node.kind != isELF {
			continue
		}
		if err := f.node.binary.check(want); err != nil {
			if f.what == "" {
				return err
			}
			return fmt.Errorf("does not start: %s %w", f.what, err)
		}
	}
	return r.err
}

// fault is a sentence about what keeps it from starting on an architecture, and the file that is to blame; "" = nothing does.
func (r run) fault(arch platform.Arch) (at, message string) {
	err := r.check(arch)
	if err == nil {
		return "", ""
	}
	if len(r.files) > 0 {
		at = r.files[len(r.files)-1].at
	}
	for _, f := range r.files {
		if f.node.kind == isELF && f.node.binary.check(arch) != nil {
			at = f.at
			break
		}
	}
	name := r.name
	if at != "" && at != name {
		name += " (" + at + ")"
	}
	return at, fmt.Sprintf("its program %s %v", name, err)
}

const loaderOf = "its loader "

// maxScripts is how many scripts may be run by scripts: the kernel gives up as early (exec_binprm in fs/exec.c).
const maxScripts = 5

// start follows what a container runtime and the kernel do to start a program: PATH, links, #! lines, loaders.
func (t *tree) start(e environment, name string) run {
	r := run{name: name}
	r.err = t.follow(&r, e, name, "", 0)
	return r
}

// environment is what decides which file a program's name stands for.
type environment struct{ dir, path string }

// environmentOf is the one that an image's config makes.
func environmentOf(c *v1.ConfigFile) environment {
	e := environment{dir: c.Config.WorkingDir, path: defaultPath}
	for _, env := range c.Config.Env {
		if value, ok := strings.CutPrefix(env, "PATH="); ok {
			e.path = value
		}
	}
	return e
}

// The PATH a container runtime gives to an image that sets none, and the one that env looks in when it was emptied (confstr _CS_PATH).
const (
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	emptyPath   = "/bin:/usr/bin"
)

func (t *tree) follow(r *run, e environment, name, what string, depth int) error {
	r.tried = append(r.tried, e.candidates(name)...)
	at, n, err := t.find(e, name)
	switch blank := strings.ContainsAny(name, " \t"); {
	case err == nil:
	case errors.Is(err, errNotThere) && blank && what == "":
		return fmt.Errorf("%w: it is taken for one name, blanks and all; arguments are words of their own", err)
	case errors.Is(err, errNotThere) && blank && e.path != "":
		return within(what, fmt.Errorf("%w: without -S, env takes %q for one name", err, name))
	default:
		return within(what, err)
	}
	r.files = append(r.files, started{at, n, what})
	switch {
	case !n.runnable:
		return within(what, errors.New("is not executable"))
	case n.kind == isELF:
		return within(what, t.loader(r, n.binary))
	case n.kind == isText:
		return within(what, errors.New("is a script without #!, which no kernel starts on any architecture: exec format error"))
	case n.kind == isEmpty:
		return within(what, errors.New("is an empty file"))
	case n.kind != isScript:
		return within(what, errors.New("is neither an ELF executable nor a script"))
	case depth == maxScripts:
		return within(what, errors.New("is a script run by scripts without end"))
	}
	line := strings.Trim(n.text, " \t")
	cut := strings.IndexAny(line, " \t")
	if cut < 0 {
		cut = len(line)
	}
	interpreter, argument := line[:cut], strings.Trim(line[cut:], " \t")
	if interpreter == "" {
		return within(what, errors.New("is a script whose #! names no program"))
	}
	if strings.HasSuffix(n.text, "\r") {
		return within(what, fmt.Errorf("is a script whose first line ends as Windows ends lines: no kernel finds %q", strings.TrimRight(line, "\r")+"\r"))
	}
	before := len(r.files)
	if err := t.follow(r, environment{dir: e.dir}, interpreter, "its interpreter "+interpreter, depth+1); err != nil {
		return err
	}
	if path.Base(interpreter) != "env" || len(r.files) == before {
		return nil
	}
	program, inside, err := envProgram(e, argument)
	if err != nil || program == "" {
		return within(what, err)
	}
	return t.follow(r, inside, program, fmt.Sprintf("its interpreter %s (through %s)", program, interpreter), depth+1)
}

// within says of which file a sentence's end is, when it is not of the program itself.
func within(what string, err error) error {
	if err == nil || what == "" {
		return err
	}
	return fmt.Errorf("does not start: %s %w", what, err)
}

// loader looks for the one that the kernel starts an executable through.
func (t *tree) loader(r *run, b *Binary) error {
	if b.Loader == "" {
		return nil // static, or torn: what it says then is not known
	}
	r.tried = append(r.tried, b.Loader)
	at, n, err := t.lookup(b.Loader)
	if err != nil {
		return fmt.Errorf("does not start: its loader %s %w", b.Loader, err)
	}
	if n == nil || n.kind == isDir {
		return fmt.Errorf("does not start: its loader %s is not in the image, so the kernel says that there is no such file", b.Loader)
	}
	r.files = append(r.files, started{at, n, loaderOf + b.Loader})
	if n.kind != isELF {
		return fmt.Errorf("does not start: its loader %s is no ELF file", b.Loader)
	}
	return nil
}

// find looks for a program as runtimes do: a name with a slash in the working directory, another in PATH, where the first one that may be
// run counts.
func (t *tree) find(e environment, name string) (string, *node, error) {
	var there struct {
		at string
		n  *node
	}
	for _, candidate := range e.candidates(name) {
		at, n, err := t.lookup(candidate)
		if err != nil {
			return "", nil, err
		}
		if n == nil || n.kind == isDir {
			continue
		}
		if n.runnable {
			return at, n, nil
		}
		if there.n == nil {
			there.at, there.n = at, n
		}
	}
	if there.n != nil {
		return there.at, there.n, nil
	}
	return "", nil, errNotThere
}

var errNotThere = errors.New("is not in the image")

// maxPathDirs bounds PATH: a config may have a long one.
const maxPathDirs = 100

// candidates are the absolute paths that are tried for a program's name.
func (e environment) candidates(name string) []string {
	if strings.Contains(name, "/") || e.path == "" {
		if !path.IsAbs(name) {
			name = "/" + e.dir + "/" + name
		}
		return []string{name}
	}
	var list []string
	for _, dir := range strings.Split(e.path, ":") {
		if len(list) == maxPathDirs {
			break
		}
		if !path.IsAbs(dir) {
			dir = "/" + e.dir + "/" + dir
		}
		list = append(list, dir+"/"+name)
	}
	return list
}

// envProgram is what env runs, of the one argument that the kernel gives it: everything behind its name on the #! line.
func envProgram(e environment, argument string) (string, environment, error) {
	words := []string{argument}
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		split, isSplit := splitOption(word)
		switch name, value, assigns := strings.Cut(word, "="); {
		case word == "":
		case isSplit:
			if strings.ContainsAny(word[:len(word)-len(split)], "i") && !strings.HasPrefix(word, "--") {
				e.path = emptyPath
			}
			if split == "" && len(words) > 0 {
				split, words = words[0], words[1:]
			}
			words = append(splitWords(split), words...)
		case word == "-" || word == "-i" || word == "--ignore-environment":
			e.path = emptyPath
		case word == "-u" || word == "--unset" || word == "-C" || word == "--chdir":
			if len(words) == 0 {
				return "", e, errors.New("is a script whose #! line is no command of env")
			}
			e.option(word, words[0])
			words = words[1:]
		case strings.HasPrefix(word, "--unset=") || strings.HasPrefix(word, "--chdir="):
			e.option(name, value)
		case word == "-v" || word == "--debug" || word == "--":
		case strings.HasPrefix(word, "-"):
			return "", e, nil // an option that is not known here: what it runs is not known either
		case assigns:
			if name == "PATH" {
				e.path = value
			}
		default:
			return word, e, nil
		}
	}
	return "", e, errors.New("is a script whose #! line gives env no program")
}

func (e *environment) option(name, value string) {
	switch strings.TrimLeft(name, "-") {
	case "C", "chdir":
		e.dir = value
	case "u", "unset":
		if value == "PATH" {
			e.path = emptyPath
		}
	}
}

// splitOption is what stands behind -S in a word, also in one such as -iS.
func splitOption(word string) (string, bool) {
	if rest, ok := strings.CutPrefix(word, "--split-string="); ok {
		return rest, true
	}
	if word == "--split-string" {
		return "", true
	}
	if !strings.HasPrefix(word, "-") || strings.HasPrefix(word, "--") {
		return "", false
	}
	before, rest, ok := strings.Cut(word[1:], "S")
	if !ok || strings.Trim(before, "iv") != "" {
		return "", false
	}
	return strings.TrimLeft(rest, " \t"), true
}

// splitWords splits what -S was given, with its quotes; of its other escapes only those for spaces matter for a program's name.
func splitWords(s string) []string {
	var words []string
	var word bytes.Buffer
	quote, begun := rune(0), false
	for _, r := range strings.NewReplacer(`\_`, " ", `\t`, "\t", `\c`, "#").Replace(s) {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, begun = r, true
		case quote == 0 && (r == ' ' || r == '\t'):
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	if begun {
		words = append(words, word.String())
	}
	return words
}

// checkAll names the executables that are for another machine, and says so when there is none at all though one is needed.
func (t *tree) checkAll(want platform.Arch, needed bool) []string {
	var problems []string
	found := false
	t.each(func(name string, n *node) {
		if n.kind != isELF || !n.runnable || !platform.ForCPU(n.binary.Machine) {
			return
		}
		found = true
		if err := n.binary.check(want); err != nil {
			problems = append(problems, fmt.Sprintf("its file %s %v", name, err))
		}
	})
	if needed && !found {
		problems = append(problems, "it holds no executable")
	}
	return problems
}
