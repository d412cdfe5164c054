package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Cache keeps by digest what documents of registries lead to, so that a second audit asks for digests alone. It holds no credentials, and
// what it holds cannot become wrong: a digest stands for one content.
type Cache struct {
	path string

	mu      sync.Mutex
	entries map[string]cached
	seen    map[string]bool // names that were asked for: of those, what they stand for is known, or was
	changed bool
}

type cached struct {
	Index  bool     `json:"index,omitempty"`
	Listed []Listed `json:"listed"`
}

// maxCached bounds the entries, and maxCacheFile the file.
const (
	maxCached    = 20_000
	maxCacheFile = 64 << 20
)

// cacheVersion changes with the format; an older file is not read.
const cacheVersion = 1

type cacheFile struct {
	Version int               `json:"version"`
	Entries map[string]cached `json:"entries"`
	Seen    map[string]bool   `json:"seen"`
}

// OpenCache reads a cache, which need not be there yet. One that cannot be read is an empty one: nothing but time is lost.
func OpenCache(path string) (*Cache, error) {
	c := &Cache{path: path, entries: map[string]cached{}, seen: map[string]bool{}}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxCacheFile {
		return c, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f cacheFile
	if json.Unmarshal(raw, &f) == nil && f.Version == cacheVersion && f.Entries != nil && f.Seen != nil {
		c.entries, c.seen = f.Entries, f.Seen
	}
	return c, nil
}

// knows reports whether a name was asked for before: then its digest alone is asked for first.
func (c *Cache) knows(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[name]
}

func (c *Cache) get(digest string) (cached, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[digest]
	return e, ok
}

func (c *Cache) put(name, digest string, e cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= maxCached || len(c.seen) >= maxCached {
		clear(c.entries)
		clear(c.seen)
	}
	c.entries[digest], c.seen[name], c.changed = e, true, true
}

// Save writes what became known, whole or not at all.
func (c *Cache) Save() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.changed {
		return nil
	}
	raw, err := json.Marshal(cacheFile{cacheVersion, c.entries, c.seen})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(c.path), ".registry-*")
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), c.path)
	}
	if err != nil {
		return fmt.Errorf("%w", errors.Join(err, os.Remove(f.Name())))
	}
	c.changed = false
	return nil
}
