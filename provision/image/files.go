package image

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// A file system as a container of an image sees it, built layer by layer. Whoever made the image may mean harm: what it may cost is bounded.
var (
	maxFiles = 500_000    // in all layers together; more than any image that people use
	maxSteps = 12_000_000 // names looked up, through links, and files removed
)

const (
	maxPath  = 4096 // PATH_MAX: no runtime makes longer ones
	maxName  = 255  // NAME_MAX
	maxLinks = 40   // symbolic links in a path, as the kernel follows
)

var (
	errLinkLoop = errors.New("is reached only through a loop of symbolic links")
	errLongPath = errors.New("it has a path that is longer than any system takes")
	errSteps    = errors.New("its layers are out of all proportion (links of links, or files removed over and over): it is not looked into")
)

// kind is what a name in a file system stands for.
type kind uint8

const (
	isDir    kind = iota
	isPlain       // a file of no interest, or a device
	isELF         // an executable or a shared object
	isScript      // it begins with #!
	isText        // an executable file of words, without #!
	isEmpty       // an executable file without content
	isLink
)

// node is a file, and what is in it when it is a folder.
type node struct {
	children map[string]*node
	binary   *Binary // of isELF
	text     string  // a link's target, or a script's first line
	layer    int32   // that brought it
	kind     kind
	runnable bool // it has an x bit
}

// tree is a file system.
type tree struct {
	root  *node
	layer int32
	files int
	steps int

	lastDir  string // where the last file was put: most are put beside it
	lastNode *node
	path     []step // used again by every walk
}

type step struct {
	name string
	node *node
}

func newTree() *tree { return &tree{root: &node{children: map[string]*node{}}} }

// change is one entry of a layer.
type change struct {
	name     string // clean, without a leading slash
	how      how
	file     node
	hardlink string
}

type how uint8

const (
	adds how = iota
	removes
	empties // all of a folder that lower layers brought
)

// apply carries out one change of the current layer.
func (t *tree) apply(c change) error {
	dir, base := path.Split(c.name)
	switch c.how {
	case empties:
		t.lastNode = nil
		if _, n, err := t.lookup(c.name); err == nil && n != nil {
			return t.empty(n)
		}
		return nil
	case removes:
		t.lastNode = nil
		_, parent, err := t.lookup(dir)
		if err != nil || parent == nil || parent.children[base] == nil {
			return t.over()
		}
		return t.remove(parent, base)
	}
	if c.name == "" {
		return nil // the root itself
	}
	file := c.file
	if c.hardlink != "" {
		target, err := t.linked(c.hardlink)
		if err != nil {
			return err
		}
		if target == nil {
			return fmt.Errorf("%s is a hard link to %s, which is missing", c.name, c.hardlink)
		}
		file = node{kind: target.kind, binary: target.binary, text: target.text, runnable: target.runnable}
	}
	parent, err := t.folder(dir)
	if err != nil {
		return err
	}
	return t.put(parent, base, file)
}

// folder is where a file of that folder is unpacked to: through links, and made when it is missing.
func (t *tree) folder(dir string) (*node, error) {
	if t.lastNode != nil && t.lastDir == dir {
		return t.lastNode, nil
	}
	n, err := t.walk(dir, true)
	if errors.Is(err, errLinkLoop) {
		return nil, fmt.Errorf("/%s %w", dir, err)
	}
	if err == nil {
		t.lastDir, t.lastNode = dir, n
	}
	return n, err
}

// linked is what a hard link leads to: the name itself, whose folder may be reached through links.
func (t *tree) linked(name string) (*node, error) {
	dir, base := path.Split(name)
	_, parent, err := t.lookup(dir)
	if err != nil || parent == nil {
		return nil, t.over()
	}
	return parent.children[base], nil
}

func (t *tree) put(parent *node, base string, file node) error {
	if len(base) > maxName {
		return errLongPath
	}
	file.layer = t.layer
	old := parent.children[base]
	if old != nil && old.kind == isDir && file.kind == isDir {
		old.layer = t.layer
		return nil
	}
	if old != nil || file.kind == isLink {
		t.lastNode = nil
	}
	if old == nil {
		if t.files++; t.files > maxFiles {
			return fmt.Errorf("the image has more than %d files: it is not looked into", maxFiles)
		}
	} else if err := t.forget(old); err != nil {
		return err
	}
	if parent.children == nil {
		parent.children = map[string]*node{}
	}
	if old != nil {
		delete(parent.children, base)
	}
	parent.children[strings.Clone(base)] = &file
	return nil
}

// forget counts what a folder's end takes with it.
func (t *tree) forget(n *node) error {
	for _, child := range n.children {
		t.files--
		if err := t.forget(child); err != nil {
			return err
		}
	}
	return t.tick()
}

// remove takes away what lower layers brought under that name.
func (t *tree) remove(parent *node, base string) error {
	n := parent.children[base]
	if err := t.empty(n); err != nil {
		return err
	}
	if n.layer < t.layer && len(n.children) == 0 {
		delete(parent.children, base)
		t.files--
	}
	return nil
}

// empty takes away what lower layers brought into a folder; what this layer brings stays, whatever the order.
func (t *tree) empty(n *node) error {
	for base := range n.children {
		if err := t.tick(); err != nil {
			return err
		}
		if err := t.remove(n, base); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) tick() error {
	t.steps++
	return t.over()
}

// over is the error of a file system that has cost too much.
func (t *tree) over() error {
	if t.steps > maxSteps {
		return errSteps
	}
	return nil
}

// lookup follows a path to its end, through symbolic links; nil when nothing is there. The name is the path without links.
func (t *tree) lookup(name string) (string, *node, error) {
	n, err := t.walk(name, false)
	if err != nil {
		return "", nil, err
	}
	var b strings.Builder
	for _, s := range t.path {
		b.WriteByte('/')
		b.WriteString(s.name)
	}
	return b.String(), n, nil
}

// walk leaves the way it took in t.path. With create, folders that are missing are made, and a file in the way gives way.
func (t *tree) walk(name string, create bool) (*node, error) {
	at := func() *node {
		if len(t.path) == 0 {
			return t.root
		}
		return t.path[len(t.path)-1].node
	}
	t.path = t.path[:0]
	rest, links := []string{name}, 0
	for len(rest) > 0 {
		part, more, _ := strings.Cut(rest[len(rest)-1], "/")
		if rest[len(rest)-1] = more; more == "" {
			rest = rest[:len(rest)-1]
		}
		if err := t.tick(); err != nil {
			return nil, err
		}
		switch part {
		case "", ".":
			continue
		case "..":
			t.path = t.path[:max(len(t.path)-1, 0)]
			continue
		}
		parent := at()
		var next *node
		if parent != nil {
			next = parent.children[part]
		}
		if next != nil && next.kind == isLink {
			if links++; links > maxLinks {
				return nil, errLinkLoop
			}
			if path.IsAbs(next.text) {
				t.path = t.path[:0]
			}
			rest = append(rest, next.text)
			continue
		}
		if create && (next == nil || next.kind != isDir) {
			if err := t.put(parent, part, node{kind: isDir}); err != nil {
				return nil, err
			}
			next = parent.children[part]
		}
		t.path = append(t.path, step{part, next})
	}
	if create && tooLong(t.path) {
		return nil, errLongPath
	}
	return at(), nil
}

// tooLong reports whether a path without links is longer than any system takes: links within links can make such ones.
func tooLong(steps []step) bool {
	n := 0
	for _, s := range steps {
		n += 1 + len(s.name)
	}
	return n > maxPath
}

// each calls see with every file that is no folder, in the order of names.
func (t *tree) each(see func(name string, n *node)) { t.root.each("", see) }

func (n *node) each(at string, see func(name string, n *node)) {
	names := make([]string, 0, len(n.children))
	for name := range n.children {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		child := n.children[name]
		if child.kind == isDir {
			child.each(at+"/"+name, see)
		} else {
			see(at+"/"+name, child)
		}
	}
}
