package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/hybridctl/hybridctl/provision/filelock"
	"github.com/hybridctl/hybridctl/provision/hint"
)

// knownHosts is what the known_hosts files say. Package knownhosts would read them too, but it gives up a whole file for one
// line with a key type it does not know, does not tell which key types a host has, and cannot learn.
type knownHosts struct {
	usual []string // the files of hosts that name none
	own   string   // the file that add appends to; read for all hosts
	log   *slog.Logger

	patience time.Duration // with who appends at the same time

	mu      sync.Mutex
	files   map[string]*hostsFile
	revoked map[string]revokedFile
}

// hostsFile is one known_hosts file, read.
type hostsFile struct {
	exact    map[string][]knownKey // by name as known_hosts spells it: host, or [host]:port
	patterns []patternKey          // wildcards, negations, hashes
	revoked  map[string]knownKey   // by the key's bytes
	lines    int
	size     int64
	open     bool // the last line has no end
}

// knownKey is a key and where it stands.
type knownKey struct {
	key       ssh.PublicKey
	file      string
	line      int
	authority bool // of a certificate authority
	byAddress bool // found by the address alone, of a host that has a name of its own
}

type patternKey struct {
	patterns []string
	knownKey
}

// loadKnownHosts reads the files that exist. As ssh does, it leaves out a line that cannot be read, and warns of a file that cannot be;
// without the cluster's own file nothing is done, for it holds what was learned.
func loadKnownHosts(files []string, own string, log *slog.Logger) (*knownHosts, error) {
	k := &knownHosts{usual: files, own: own, log: log, patience: filelock.Patience, files: map[string]*hostsFile{}, revoked: map[string]revokedFile{}}
	return k, k.load(k.of(nil))
}

// of returns the files for hosts that name these; nil: none.
func (k *knownHosts) of(files []string) []string {
	if files == nil {
		files = k.usual
	}
	return append(files[:len(files):len(files)], k.own)
}

// load reads those of the files that are not yet read.
func (k *knownHosts) load(files []string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range files {
		if f == "" || k.files[f] != nil {
			continue
		}
		text, err := readFile(f)
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist):
		case f == k.own && unentered(err):
			return hint.With(fmt.Errorf("the state directory %s cannot be entered: %w", filepath.Dir(f), cause(err)), "--state-dir DIR names one that you may enter")
		case f == k.own:
			return hint.With(fmt.Errorf("known hosts: %w", err), "it holds the host keys of this cluster: make it a file that you may read; where it is lost, move it away, and the keys are learned again")
		default:
			k.log.Warn("known hosts: file left out", "file", f, "error", cause(err))
		}
		k.files[f] = k.parse(f, text)
	}
	return nil
}

// unentered reports whether a file could not even be looked at: its folder is closed, or is none.
func unentered(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p) && p.Op == "stat"
}

func (k *knownHosts) parse(file string, text []byte) *hostsFile {
	f := &hostsFile{exact: map[string][]knownKey{}, revoked: map[string]knownKey{}}
	for line := range bytes.Lines(text) {
		f.lines++
		if t := bytes.TrimSpace(line); len(t) == 0 || t[0] == '#' {
			continue
		}
		marker, hosts, key, _, _, err := ssh.ParseKnownHosts(line)
		if err == nil {
			err = f.enter(marker, hosts, knownKey{key: key, file: file, line: f.lines})
		}
		if err != nil {
			k.leftOut(file, f.lines, err)
		}
	}
	f.size = int64(len(text))
	f.open = len(text) > 0 && text[len(text)-1] != '\n'
	return f
}

// leftOut is worth a warning only in our own file: in the user's, other programs' lines are none of our business.
func (k *knownHosts) leftOut(file string, line int, err error) {
	level := slog.LevelDebug
	if file == k.own {
		level = slog.LevelWarn
	}
	k.log.Log(context.Background(), level, "known hosts: line left out", "file", file, "line", line, "error", err)
}

func (f *hostsFile) enter(marker string, hosts []string, key knownKey) error {
	switch marker {
	case "":
	case "revoked":
		f.revoked[string(key.key.Marshal())] = key
		return nil
	case "cert-authority":
		key.authority = true
	default:
		return fmt.Errorf("unknown marker @%s", marker)
	}
	plain := true
	for _, h := range hosts {
		plain = plain && !strings.ContainsAny(h, "*?!|")
	}
	if !plain {
		f.patterns = append(f.patterns, patternKey{hosts, key})
		return nil
	}
	for _, h := range hosts {
		if h = strings.ToLower(h); !strings.Contains(h, behind) {
			h = knownhosts.Normalize(h)
		}
		f.exact[h] = append(f.exact[h], key)
	}
	return nil
}

// lookup returns the keys and authorities of a name, in the spelling of known_hosts.
func (f *hostsFile) lookup(name string) (keys []knownKey) {
	keys = append(keys, f.exact[name]...)
	for _, p := range f.patterns {
		if p.match(name) {
			keys = append(keys, p.knownKey)
		}
	}
	return keys
}

func (k *knownHosts) lookup(files []string, name string) (keys []knownKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range k.of(files) {
		if file := k.files[f]; file != nil {
			keys = append(keys, file.lookup(name)...)
		}
	}
	return keys
}

// keysFor is what is known of a host.
type keysFor struct {
	own         []knownKey // under its own name: another key than these is a changed one
	others      []knownKey // these are believed as well, yet another key says nothing
	authorities []knownKey
}

func (k *keysFor) all() []knownKey { return slices.Concat(k.own, k.others) }

// keysOf finds the keys of a host. Behind a jump host, it has a name of its own (endpoint.keyName); a line for the address alone
// holds there as well, unless its key is known to be that of a host with the same address behind another jump host. As ssh does, a
// key for the address without its port is believed too.
func (k *knownHosts) keysOf(ep *endpoint) (found keysFor) {
	add := func(to *[]knownKey, keys []knownKey) {
		for _, n := range keys {
			if n.authority {
				found.authorities = append(found.authorities, n)
			} else {
				*to = append(*to, n)
			}
		}
	}
	name, plain := ep.keyName(), ep.plainName()
	if ep.keyAlias != "" {
		add(&found.own, k.lookup(ep.known, name))
		return found
	}
	byAddress := k.lookup(ep.known, plain)
	if ep.via != nil {
		add(&found.own, k.exactly(ep.known, name))
		byAddress = slices.DeleteFunc(byAddress, func(n knownKey) bool { return !n.authority && k.elsewhere(ep, plain, name, n.key) })
	}
	for i := range byAddress {
		byAddress[i].byAddress = ep.via != nil
	}
	if len(found.own) == 0 {
		add(&found.own, byAddress)
	} else {
		add(&found.others, byAddress)
	}
	if ep.port != defaultPort {
		add(&found.others, k.lookup(ep.known, knownhosts.Normalize(strings.ToLower(ep.host))))
	}
	return found
}

// exactly returns the keys of a name that stands in a line as it is.
func (k *knownHosts) exactly(files []string, name string) (keys []knownKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range k.of(files) {
		if file := k.files[f]; file != nil {
			keys = append(keys, file.exact[name]...)
		}
	}
	return keys
}

// elsewhere reports whether key is kept for the same address behind another jump host than ours.
func (k *knownHosts) elsewhere(ep *endpoint, plain, name string, key ssh.PublicKey) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range k.of(ep.known) {
		file := k.files[f]
		if file == nil {
			continue
		}
		for other := range maps.Keys(file.exact) {
			if other != name && strings.HasPrefix(other, plain+behind) &&
				slices.ContainsFunc(file.exact[other], func(n knownKey) bool { return same(n.key, key) }) {
				return true
			}
		}
	}
	return false
}

// revocation returns the line that revokes the key.
func (k *knownHosts) revocation(files []string, key ssh.PublicKey) (knownKey, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range k.of(files) {
		if file := k.files[f]; file != nil {
			if r, ok := file.revoked[string(key.Marshal())]; ok {
				return r, true
			}
		}
	}
	return knownKey{}, false
}

// add keeps a new key of a host: one line, written at once, at the end of the cluster's own file. Adding it again does nothing.
// Others may have learned a key of the host since it was checked, in this run or beside it: what the file says then is looked at
// again, with the file locked, and another key than ours is an error as it would have been at first.
func (k *knownHosts) add(ep *endpoint, key ssh.PublicKey) (err error) {
	name := ep.keyName()
	k.mu.Lock()
	defer k.mu.Unlock()
	var f *os.File
	if k.own != "" {
		if f, err = k.openOwn(); err != nil {
			return fmt.Errorf("known hosts: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }() // it gives up the lock as well
	}
	file := k.files[k.own]
	if file == nil {
		file = k.parse(k.own, nil)
		k.files[k.own] = file
	}
	known := slices.DeleteFunc(slices.Clone(file.exact[name]), func(n knownKey) bool { return n.authority })
	switch {
	case slices.ContainsFunc(known, func(n knownKey) bool { return same(n.key, key) }):
		return nil
	case len(known) > 0:
		return changed(ep, known, key)
	}
	if f != nil {
		line := knownLine(name, key) + "\n"
		if file.open {
			line = "\n" + line
		}
		if _, err := f.WriteString(line); err != nil {
			return fmt.Errorf("known hosts: %w", err)
		}
		file.open = false
		file.size += int64(len(line))
		file.lines++
	}
	file.exact[name] = append(file.exact[name], knownKey{key: key, file: k.own, line: file.lines})
	return nil
}

// knownLine is a line of known_hosts.
func knownLine(name string, key ssh.PublicKey) string {
	return name + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// openOwn opens our own file for appending, locked, and reads it again when someone else has written to it.
func (k *knownHosts) openOwn() (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(k.own), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(k.own, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err = filelock.Take(f, k.patience); err == nil {
		err = k.refresh(f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (k *knownHosts) refresh(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if file := k.files[k.own]; file != nil && file.size == info.Size() {
		return nil
	}
	text, err := io.ReadAll(f)
	if err == nil {
		k.files[k.own] = k.parse(k.own, text)
	}
	return err
}
