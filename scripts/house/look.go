package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// front is the package whose files are rooms of their own.
const front = "provision"

const moduleName = "github.com/hybridctl/hybridctl"

// pkg is what `go list -json` says of a package, as far as it is needed here.
type pkg struct {
	ImportPath, Dir, Export string
	GoFiles, Imports        []string
}

// name is the package's path inside the module.
func (p pkg) name() string { return strings.TrimPrefix(p.ImportPath, moduleName+"/") }

// look takes the picture of a checkout.
func look(dir string) (h house, err error) {
	all, err := list(dir, "./cmd/...", "./provision/...", "./templates/...")
	if err != nil {
		return h, err
	}
	g := graph{}
	files := token.NewFileSet()
	for _, p := range all {
		if err := h.countMethods(files, p); err != nil {
			return h, err
		}
		if p.name() == front {
			continue
		}
		for _, imported := range p.Imports {
			to, own := strings.CutPrefix(imported, moduleName+"/")
			if own && to != front {
				g.add(p.name(), to)
			}
		}
	}
	if err := h.enter(dir, g, all); err != nil {
		return h, err
	}
	h.back, h.way = g.backArrows(), g.longest()
	h.Back, h.Floors = len(h.back), len(h.way)
	for from, uses := range g {
		for to := range uses {
			if isVerb(from) && isVerb(to) {
				h.calls = append(h.calls, [2]string{from, to})
			}
		}
	}
	return h, nil
}

func list(dir string, args ...string) (all []pkg, err error) {
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Export,GoFiles,Imports"}, args...)...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
}

// countMethods counts the methods of a package's types.
func (h *house) countMethods(files *token.FileSet, p pkg) error {
	count := map[string]int{}
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil {
				count[receiver(f.Recv.List[0].Type)]++
			}
		}
	}
	for name, n := range count {
		full := p.name() + "." + name
		if most, known := larger[full]; known {
			if n > most {
				h.grown = append(h.grown, fmt.Sprintf("%s has %d methods", full, n))
			}
			continue
		}
		if n > h.Methods || n == h.Methods && full < h.largest {
			h.Methods, h.largest = n, full
		}
		if p.name() == front && (n > h.FrontMethods || n == h.FrontMethods && full < h.frontMax) {
			h.FrontMethods, h.frontMax = n, full
		}
	}
	return nil
}

func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return "?"
}

// enter adds the files of the front door to the graph: each uses packages, and what other files declare.
func (h *house) enter(dir string, g graph, all []pkg) error {
	deps, err := list(dir, "-export", "-deps", "./"+front)
	if err != nil {
		return err
	}
	export := map[string]string{}
	for _, p := range deps {
		export[p.ImportPath] = p.Export
	}
	files := token.NewFileSet()
	var parsed []*ast.File
	for _, p := range all {
		if p.name() != front {
			continue
		}
		for _, name := range p.GoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				return err
			}
			h.Lines += bytes.Count(text, []byte("\n"))
			file, err := parser.ParseFile(files, name, text, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			parsed = append(parsed, file)
		}
	}
	config := types.Config{Importer: importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(export[path]) })}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	checked, err := config.Check(moduleName+"/"+front, files, parsed, info)
	if err != nil {
		return err
	}
	for use, object := range info.Uses {
		from := front + "/" + files.Position(use.Pos()).Filename
		switch named, isPackage := object.(*types.PkgName); {
		case isPackage && strings.HasPrefix(named.Imported().Path(), moduleName+"/"):
			g.add(from, strings.TrimPrefix(named.Imported().Path(), moduleName+"/"))
		case object.Pkg() == checked && !isPackage && object.Pos().IsValid():
			g.add(from, front+"/"+files.Position(object.Pos()).Filename)
		}
	}
	return nil
}
