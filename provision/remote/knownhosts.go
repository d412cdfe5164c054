package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// knownHosts is what the known_hosts files say. Package knownhosts would read them too, but it gives up a whole file for one
// line with a key type it does not know, does not tell which key types a host has, and cannot learn.
type knownHosts struct {
	own string // the file that add appends to
	log *slog.Logger

	mu       sync.Mutex
	exact    map[string][]knownKey // by name as known_hosts spells it: host, or [host]:port
	patterns []patternKey          // wildcards, negations, hashes
	revoked  map[string]knownKey   // by the key's bytes
	ownLines int
	ownOpen  bool // the last line of own has no end
}

// knownKey is a key and where it stands.
type knownKey struct {
	key       ssh.PublicKey
	file      string
	line      int
	authority bool // of a certificate authority
}

type patternKey struct {
	patterns []string
	knownKey
}

// loadKnownHosts reads the files that exist. A line that cannot be read is left out, as ssh does.
func loadKnownHosts(files []string, own string, log *slog.Logger) (*knownHosts, error) {
	k := &knownHosts{own: own, log: log, exact: map[string][]knownKey{}, revoked: map[string]knownKey{}}
	for _, f := range append(files[:len(files):len(files)], own) {
		if f == "" {
			continue
		}
		text, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("known hosts: %w", err)
		}
		k.read(f, text)
	}
	return k, nil
}

func (k *knownHosts) read(file string, text []byte) {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if t := bytes.TrimSpace(line); len(t) == 0 || t[0] == '#' {
			continue
		}
		marker, hosts, key, _, _, err := ssh.ParseKnownHosts(line)
		if err != nil {
			k.leftOut(file, n, err)
			continue
		}
		k.enter(marker, hosts, knownKey{key: key, file: file, line: n})
	}
	if file == k.own {
		k.ownLines = n
		k.ownOpen = len(text) > 0 && text[len(text)-1] != '\n'
	}
}

// leftOut is worth a warning only in our own file: in the user's, other programs' lines are none of our business.
func (k *knownHosts) leftOut(file string, line int, err error) {
	level := slog.LevelDebug
	if file == k.own {
		level = slog.LevelWarn
	}
	k.log.Log(context.Background(), level, "known hosts: line left out", "file", file, "line", line, "error", err)
}

func (k *knownHosts) enter(marker string, hosts []string, key knownKey) {
	switch marker {
	case "":
	case "revoked":
		k.revoked[string(key.key.Marshal())] = key
		return
	case "cert-authority":
		key.authority = true
	default:
		k.leftOut(key.file, key.line, fmt.Errorf("unknown marker @%s", marker))
		return
	}
	plain := true
	for _, h := range hosts {
		plain = plain && !strings.ContainsAny(h, "*?!|")
	}
	if !plain {
		k.patterns = append(k.patterns, patternKey{hosts, key})
		return
	}
	for _, h := range hosts {
		h = knownhosts.Normalize(strings.ToLower(h))
		k.exact[h] = append(k.exact[h], key)
	}
}

// lookup returns the keys and authorities of an address (host:port).
func (k *knownHosts) lookup(addr string) []knownKey {
	name := knownhosts.Normalize(strings.ToLower(addr))
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := append([]knownKey(nil), k.exact[name]...)
	for _, p := range k.patterns {
		if p.match(name) {
			keys = append(keys, p.knownKey)
		}
	}
	return keys
}

// revocation returns the line that revokes the key.
func (k *knownHosts) revocation(key ssh.PublicKey) (knownKey, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r, ok := k.revoked[string(key.Marshal())]
	return r, ok
}

// add keeps a new key of addr: one line, written at once, at the end of the cluster's own file. Adding it again does nothing.
func (k *knownHosts) add(addr string, key ssh.PublicKey) error {
	name := knownhosts.Normalize(strings.ToLower(addr))
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, known := range k.exact[name] {
		if bytes.Equal(known.key.Marshal(), key.Marshal()) {
			return nil
		}
	}
	if k.own != "" {
		if err := k.append(knownhosts.Line([]string{name}, key) + "\n"); err != nil {
			return fmt.Errorf("known hosts: %w", err)
		}
	}
	k.exact[name] = append(k.exact[name], knownKey{key: key, file: k.own, line: k.ownLines})
	return nil
}

func (k *knownHosts) append(line string) error {
	if err := os.MkdirAll(filepath.Dir(k.own), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(k.own, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if k.ownOpen {
		line = "\n" + line
	}
	if _, err := f.WriteString(line); err != nil {
		return errors.Join(err, f.Close())
	}
	k.ownOpen = false
	k.ownLines++
	return f.Close()
}
