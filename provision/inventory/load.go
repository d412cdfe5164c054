package inventory

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Load reads an inventory: decoded strictly, with defaults, with absolute paths, validated.
// The error is a *Problems with everything that is wrong with it.
func Load(path string) (*Cluster, error) {
	data, err := Read(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Read returns the bytes of an inventory file, whatever they are. The error is a *Problems that says why there are none.
func Read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return nil, unreadable(path, "is a directory", "name the file in it", nil)
	}
	if err != nil {
		return nil, cannotRead(path, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, cannotRead(path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, cannotRead(path, err)
	}
	if len(data) > maxSize {
		return nil, unreadable(path, fmt.Sprintf("has more than %d MiB, which is no inventory", maxSize>>20), "name the file that has the hosts", nil)
	}
	return data, nil
}

// maxSize bounds an inventory; one of a thousand hosts has a hundredth of it. A device never ends.
const maxSize = 16 << 20

// Parse does what Load does with bytes that were read from path.
func Parse(path string, data []byte) (*Cluster, error) { return parse(path, data, os.UserHomeDir) }

func parse(path string, data []byte, home func() (string, error)) (*Cluster, error) {
	doc, problems := readDocument(path, data)
	if len(problems) > 0 {
		return nil, asError(problems)
	}
	if problems := checkHeader(doc); len(problems) > 0 {
		return nil, asError(problems)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, cannotRead(path, err)
	}

	c, bad, problems := decode(doc)
	c.Path, c.doc = abs, doc
	for _, problem := range resolvePaths(c, filepath.Dir(abs), home) {
		problems = append(problems, problem)
		bad[problem.Path] = true
	}
	Default(c)
	problems = append(problems, validate(c, bad)...)
	if err := asError(problems); err != nil {
		return nil, err
	}
	return c, nil
}

// checkHeader looks at apiVersion and kind first: with another document's fields every other message would mislead.
func checkHeader(doc *document) []Problem {
	var problems []Problem
	for _, want := range []struct{ name, value string }{{"apiVersion", APIVersion}, {"kind", Kind}} {
		value := lookup(doc.root, want.name)
		if value == nil || !isText(value) || value.Value == "" || value.Value == want.value {
			continue // decode says what is missing, empty or of the wrong type
		}
		problems = append(problems, doc.problem(nodePosition(value), want.name,
			printable(value.Value)+" is not known to this hybridctl", "write "+want.value))
	}
	return problems
}

func cannotRead(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return unreadable(path, "no such file", "name the inventory with -f FILE", err)
	}
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return unreadable(path, "cannot be read: "+pathError.Err.Error(), "", err)
	}
	return unreadable(path, "cannot be read: "+err.Error(), "", err)
}

func unreadable(path, message, hint string, cause error) error {
	return &Problems{List: []Problem{{File: path, Message: message, Hint: hint}}, cause: cause}
}
