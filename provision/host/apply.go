package host

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/hybridctl/hybridctl/provision/remote"
)

// UploadDir holds files on their way in, one directory per step; the login user writes there, nothing is run from it.
const UploadDir = "/var/lib/hybridctl/upload"

// Files is what a step wants on a host: files, and the kernel settings and units that go with them.
type Files struct {
	Step     string // short name, also of the marker
	Digest   string // of the step's inputs, for the marker
	Binaries []Binary
	Texts    []Text
	Modules  []string // loaded now
	Sysctls  []Sysctl
	Units    []string // enabled and running, restarted when a file changed
	Enable   []string // units enabled, restarted only when running

	Processes []Process // ended when a file changed, for their keeper to start them again
	Restart   []Restart
	Prune     bool // files that the step's marker names and that are not among these are deleted
}

// Process is one that something else keeps running; it listens on Port when it is there.
type Process struct {
	Name string
	Port int
}

// Restart is a unit that is restarted, where it runs, when the file at Path was changed or deleted.
type Restart struct{ Unit, Path string }

// Binary is a large file, sent over SFTP once per digest.
type Binary struct {
	Path   string
	Mode   string // octal, "0755"
	SHA256 string // hex
	Size   int64
	Open   func() (io.ReadSeekCloser, error)
}

// Text is a small file.
type Text struct {
	Path string
	Mode string // octal
	Body []byte
}

// Sysctl is a kernel setting; an optional one is passed over where the kernel lacks it.
type Sysctl struct {
	Name, Value string
	Optional    bool
}

// Applied is what Apply changed.
type Applied struct {
	Changed   []string // paths
	Removed   []string // paths
	Restarted []string // units and processes
	Sent      int64    // bytes of binaries
}

// Apply makes f true on the host in at most two commands: one asks which binaries are missing, those are sent (going on where an
// earlier upload broke off), one lands everything by rename after checking sha256, and writes the marker.
func (h *Host) Apply(ctx context.Context, f Files, progress func(sent, total int64)) (Applied, error) {
	staging := path.Join(UploadDir, f.Step)
	a, err := h.apply(ctx, staging, f, progress)
	var exit *remote.ExitError
	if errors.As(err, &exit) && exit.Status == statusDamaged {
		return h.apply(ctx, staging, f, progress) // an upload went on from bytes that were not ours; they are removed now
	}
	return a, err
}

// statusDamaged is apply.sh's exit status when an upload has another sha256.
const statusDamaged = 71

func (h *Host) apply(ctx context.Context, staging string, f Files, progress func(sent, total int64)) (Applied, error) {
	sent, err := h.send(ctx, staging, f.Binaries, progress)
	if err != nil {
		return Applied{}, err
	}
	out, err := h.script(ctx, "apply", bytes.NewReader(f.directives()), staging)
	if err != nil {
		return Applied{}, err
	}
	a := Applied{Sent: sent}
	for _, line := range strings.Split(string(out.Stdout), "\n") {
		switch word, rest, _ := strings.Cut(line, " "); word {
		case "changed":
			a.Changed = append(a.Changed, rest)
		case "removed":
			a.Removed = append(a.Removed, rest)
		case "restarted":
			a.Restarted = append(a.Restarted, rest)
		}
	}
	return a, nil
}

// send uploads the binaries whose bytes are nowhere on the host yet, each digest once.
func (h *Host) send(ctx context.Context, staging string, binaries []Binary, progress func(sent, total int64)) (int64, error) {
	if len(binaries) == 0 {
		return 0, nil
	}
	var list bytes.Buffer
	byDigest := map[string]Binary{}
	for _, b := range binaries {
		fmt.Fprintf(&list, "%s %d %s\n", b.SHA256, b.Size, b.Path)
		byDigest[b.SHA256] = b
	}
	out, err := h.script(ctx, "probe-files", &list, staging)
	if err != nil {
		return 0, fmt.Errorf("look for files: %w", err)
	}
	var needed []Binary
	var total int64
	sc := bufio.NewScanner(bytes.NewReader(out.Stdout))
	for sc.Scan() {
		word, sha, _ := strings.Cut(sc.Text(), " ")
		if b, ok := byDigest[sha]; ok && word == "need" {
			needed = append(needed, b)
			total += b.Size
			delete(byDigest, sha)
		}
	}
	var done int64
	for _, b := range needed {
		err := h.runner.Put(ctx, remote.Put{Open: b.Open, Size: b.Size, Path: path.Join(staging, b.SHA256),
			Progress: func(sent int64) { progress(done+sent, total) }})
		if err != nil {
			return done, fmt.Errorf("upload %s: %w", path.Base(b.Path), err)
		}
		done += b.Size
	}
	return done, nil
}

// directives is the standard input of apply.sh; the script's head explains the words.
func (f Files) directives() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "step %s\ndigest %s\n", f.Step, f.Digest)
	for _, x := range f.Binaries {
		fmt.Fprintf(&b, "binary %s %s %s\n", x.SHA256, x.Mode, x.Path)
	}
	for _, t := range f.Texts {
		sum := sha256.Sum256(t.Body)
		fmt.Fprintf(&b, "text %s %s %s %s\n", hex.EncodeToString(sum[:]), t.Mode, t.Path, base64.StdEncoding.EncodeToString(t.Body))
	}
	for _, m := range f.Modules {
		fmt.Fprintf(&b, "module %s\n", m)
	}
	for _, s := range f.Sysctls {
		word := "sysctl"
		if s.Optional {
			word = "sysctl-try"
		}
		fmt.Fprintf(&b, "%s %s %s\n", word, s.Name, s.Value)
	}
	for _, u := range f.Units {
		fmt.Fprintf(&b, "unit %s\n", u)
	}
	for _, u := range f.Enable {
		fmt.Fprintf(&b, "unit-enable %s\n", u)
	}
	for _, p := range f.Processes {
		fmt.Fprintf(&b, "process %s %d\n", p.Name, p.Port)
	}
	for _, r := range f.Restart {
		fmt.Fprintf(&b, "unit-restart %s %s\n", r.Unit, r.Path)
	}
	if f.Prune {
		b.WriteString("prune\n")
	}
	b.WriteString("end\n")
	return b.Bytes()
}
