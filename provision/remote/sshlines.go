package remote

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// configFile is a file in the language of ssh_config(5), its Includes read.
type configFile struct {
	path  string
	lines []*configLine
}

type configLine struct {
	file    string
	number  int
	keyword string
	rest    string   // as it was written
	args    []string // rest in words, quotes taken off; a comment ends them
	include []*configFile
}

func (l *configLine) text() string { return l.keyword + " " + l.rest }

// configReader reads a file and what it includes.
type configReader struct {
	home      string
	warn      func(message string, args ...any)
	needsHome bool // an Include is relative to a home directory
	files     int
}

// The bounds of ssh itself (READCONF_MAX_DEPTH of readconf.c), and ours against files that include each other many times.
const (
	includeDepth = 16
	includeFiles = 1000
)

func (r *configReader) read(path, dir string, text []byte, depth int) *configFile {
	f := &configFile{path: path}
	for _, l := range parseConfigLines(path, text) {
		if l.keyword == "include" {
			l.include = r.includes(l, dir, depth+1)
		}
		f.lines = append(f.lines, l)
	}
	return f
}

// includes reads the files that an Include names. A name without a directory is looked for beside the first file; one that is not
// there is no mistake.
func (r *configReader) includes(l *configLine, dir string, depth int) (files []*configFile) {
	for _, arg := range l.args {
		pattern, err := expandEnv(arg)
		if err == nil {
			pattern, err = r.absolute(pattern, dir)
		}
		var paths []string
		if err == nil {
			paths, err = filepath.Glob(pattern)
		}
		if err == nil && depth > includeDepth {
			err = fmt.Errorf("too many files that include files")
		}
		if err != nil {
			r.warn("ssh config: Include left out", "file", l.file, "line", l.number, "text", l.text(), "error", err)
			continue
		}
		for _, path := range paths {
			if r.files++; r.files > includeFiles {
				r.warn("ssh config: Include left out", "file", l.file, "line", l.number, "error", "too many files")
				return files
			}
			text, err := readFile(path)
			if err != nil {
				r.warn("ssh config: included file left out", "file", path, "error", err)
				continue
			}
			files = append(files, r.read(path, dir, text, depth))
		}
	}
	return files
}

func (r *configReader) absolute(path, dir string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	r.needsHome = true
	if strings.HasPrefix(path, "~") {
		return expandHome(path, r.home)
	}
	return filepath.Join(dir, path), nil
}

// parseConfigLines reads the lines of one file; lines without a keyword are left out.
func parseConfigLines(path string, text []byte) (lines []*configLine) {
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		keyword, rest := keywordOf(line)
		if keyword == "" {
			continue
		}
		lines = append(lines, &configLine{file: path, number: n, keyword: keyword, rest: rest, args: configWords(rest)})
	}
	return lines
}

const blanks = " \t\r\n\f\v"

// keywordOf splits `Key value` and `Key=value`. The keyword of a comment, or of an empty line, is "".
func keywordOf(line string) (keyword, rest string) {
	line = strings.Trim(line, blanks)
	if line == "" || line[0] == '#' {
		return "", ""
	}
	i := strings.IndexAny(line, blanks+"=")
	if i < 0 {
		return strings.ToLower(line), ""
	}
	keyword, rest = line[:i], strings.TrimLeft(line[i:], blanks)
	if after, ok := strings.CutPrefix(rest, "="); ok {
		rest = strings.TrimLeft(after, blanks)
	}
	return strings.ToLower(strings.Trim(keyword, `"`)), rest
}

// configWords are the words of a value; a comment, where a word begins with #, ends them.
func configWords(s string) []string { return splitWords(s, true) }

// splitWords splits as argv_split of OpenSSH's misc.c does: both kinds of quotes, a backslash before a quote, a backslash or a
// blank. A quote without its end lasts to the end of the line.
func splitWords(s string, comments bool) (words []string) {
	for i := 0; i < len(s); {
		if strings.IndexByte(blanks, s[i]) >= 0 {
			i++
			continue
		}
		if comments && s[i] == '#' {
			break
		}
		var w strings.Builder
		quote := byte(0)
	word:
		for ; i < len(s); i++ {
			switch c := s[i]; {
			case c == '\\' && i+1 < len(s) && (strings.IndexByte(`'"\`, s[i+1]) >= 0 || quote == 0 && s[i+1] == ' '):
				i++
				w.WriteByte(s[i])
			case quote == 0 && strings.IndexByte(blanks, c) >= 0:
				break word
			case quote == 0 && (c == '"' || c == '\''):
				quote = c
			case quote != 0 && c == quote:
				quote = 0
			default:
				w.WriteByte(c)
			}
		}
		words = append(words, w.String())
	}
	return words
}

// evaluation is what the files say for one host.
type evaluation struct {
	values    options
	held      []*configLine // the lines that hold
	undecided []*configLine // those that only ssh can judge

	asked  question
	home   string
	final  bool // the second time through: `Match final` holds
	again  bool // there is a `Match final`
	byUser bool // there is a `Match user`
}

// evaluate goes through the files as ssh does: of what is said twice, the first counts.
func evaluate(files []*configFile, q question, home string) evaluation {
	e := evaluation{values: options{}, asked: q, home: home}
	for _, f := range files {
		e.walk(f.lines, true)
	}
	if e.again {
		e.final = true
		for _, f := range files {
			e.walk(f.lines, true)
		}
	}
	if h := e.values.one("hostname"); h != "" {
		e.values["hostname"] = []string{hostName(h, q.alias)}
	}
	e.values.settle(q, home)
	return e
}

func (e *evaluation) walk(lines []*configLine, active bool) {
	here := active
	for _, l := range lines {
		switch l.keyword {
		case "host":
			here = active && matchesAny(l.args, e.asked.alias)
			e.note(l, here)
		case "match":
			here = active && e.match(l)
			e.note(l, here)
		case "include":
			for _, f := range l.include {
				e.walk(f.lines, here)
			}
		default:
			e.note(l, here)
			if here {
				e.set(l)
			}
		}
	}
}

func (e *evaluation) note(l *configLine, holds bool) {
	if holds {
		e.held = append(e.held, l)
	}
}

func (e *evaluation) undecidable(l *configLine) {
	if !slices.Contains(e.undecided, l) {
		e.undecided = append(e.undecided, l)
	}
}

// set keeps a value, unless the keyword has one.
func (e *evaluation) set(l *configLine) {
	k := cmp.Or(formerly[l.keyword], l.keyword)
	if k == "canonicalizehostname" && len(l.args) > 0 && !isNo(l.args[0]) {
		e.undecidable(l)
	}
	if !slices.Contains(wanted, k) || len(l.args) == 0 {
		return
	}
	switch k {
	case "identityfile", "certificatefile":
		if !slices.Contains(e.values[k], l.args[0]) {
			e.values[k] = append(e.values[k], l.args[0])
		}
		return
	case "proxyjump", "proxycommand": // whichever is first
		if e.values["proxyjump"] == nil && e.values["proxycommand"] == nil {
			e.values[k] = []string{l.rest}
		}
		return
	}
	if e.values[k] != nil {
		return
	}
	switch k {
	case "userknownhostsfile", "globalknownhostsfile":
		e.values[k] = l.args
	case "knownhostscommand":
		e.values[k] = []string{l.rest}
	default:
		e.values[k] = l.args[:1]
	}
}

// match judges a Match line. All of its conditions have to hold.
func (e *evaluation) match(l *configLine) bool {
	if len(l.args) == 0 {
		return false
	}
	holds, sure := true, true
	for args := l.args; len(args) > 0; {
		word, not := strings.CutPrefix(args[0], "!")
		word, value, joined := strings.Cut(word, "=")
		args = args[1:]
		word = strings.ToLower(word)
		switch word { // those without a value
		case "all":
			holds = holds && !not
			continue
		case "final", "canonical":
			e.again = e.again || word == "final"
			holds = holds && e.final != not
			continue
		}
		if !joined && len(args) > 0 {
			value, args = args[0], args[1:]
		}
		fits, known := e.fits(word, value)
		sure = sure && known
		holds = holds && (!known || fits != not)
	}
	if holds && !sure {
		e.undecidable(l)
	}
	return holds && sure
}

// fits judges one condition; known is false for those that only ssh can judge.
func (e *evaluation) fits(word, value string) (fits, known bool) {
	patterns := strings.Split(value, ",")
	switch word {
	case "host":
		name := e.asked.alias
		if h := e.values.one("hostname"); h != "" {
			name = hostName(h, name)
		}
		return matchesAny(lower(patterns), strings.ToLower(name)), true
	case "originalhost":
		return matchesAny(lower(patterns), strings.ToLower(e.asked.alias)), true
	case "user":
		e.byUser = true
		name := e.asked.user
		if name == "" {
			name = e.values.one("user")
		}
		if name == "" {
			name = defaultUser
		}
		return matchesAny(patterns, name), true
	case "localuser":
		return matchesAny(patterns, localUser()), true
	}
	return false, false
}

func lower(words []string) []string {
	for i, w := range words {
		words[i] = strings.ToLower(w)
	}
	return words
}

// matchesAny reports whether one of the patterns fits name and none that begins with ! does.
func matchesAny(patterns []string, name string) bool {
	found := false
	for _, p := range patterns {
		p, not := strings.CutPrefix(p, "!")
		if !matchWildcard(p, name) {
			continue
		}
		if not {
			return false
		}
		found = true
	}
	return found
}

func isNo(s string) bool {
	switch strings.ToLower(s) {
	case "no", "off", "false", "none":
		return true
	}
	return false
}

// settle spells values as ssh's own answer does, and takes out those that are the default anyway.
func (o options) settle(q question, home string) {
	drop := func(k string, defaults ...string) {
		if slices.Contains(defaults, strings.Join(o[k], " ")) {
			delete(o, k)
		}
	}
	low := func(keys ...string) {
		for _, k := range keys {
			o.each(k, strings.ToLower)
		}
	}
	low("hostname", "addressfamily", "identitiesonly", "stricthostkeychecking", "hostkeyalias", "pubkeyauthentication")
	if q.user != "" {
		delete(o, "user")
	}
	if q.port != 0 {
		delete(o, "port")
	}
	drop("hostname", strings.ToLower(q.alias))
	drop("user", defaultUser)
	drop("port", fmt.Sprint(defaultPort))
	drop("addressfamily", "any")
	drop("identitiesonly", "no", "false")
	o.each("identitiesonly", yesAndNo)
	o.each("stricthostkeychecking", yesAndNo)
	drop("stricthostkeychecking", AcceptNew)
	if o["identityfile"] = slices.DeleteFunc(o["identityfile"], func(f string) bool { return f == noIdentity }); len(o["identityfile"]) == 0 {
		delete(o, "identityfile")
	}
	drop("hostkeyalgorithms", strings.Join(askedAlgos(), ","))
	o.each("proxyjump", func(s string) string { return strings.Trim(s, `"`) })
	drop("proxyjump", "none")
	drop("proxycommand", "none")
	drop("revokedhostkeys", "none")
	drop("knownhostscommand", "none")
	drop("requiredrsasize", "1024")
	o.each("pubkeyauthentication", yesAndNo)
	drop("pubkeyauthentication", "yes")
	for k, ours := range map[string][]string{"casignaturealgorithms": signingAlgos, "pubkeyacceptedalgorithms": loginAlgos} {
		o.each(k, func(s string) string { // ssh writes them out
			if algos := allowedAlgos(s, ours); len(algos) > 0 {
				return strings.Join(algos, ",")
			}
			return s
		})
		drop(k, strings.Join(ours, ","))
	}
	drop("pkcs11provider", "none")
	drop("securitykeyprovider", "none", "internal", "$SSH_SK_PROVIDER")
	for _, k := range []string{"userknownhostsfile", "identityagent"} {
		o.each(k, func(s string) string {
			if t, err := expandEnv(s); err == nil {
				s = t
			}
			if t, err := expandHome(s, home); err == nil {
				s = t
			}
			return s
		})
	}
	for _, h := range []string{home, passwordHome()} {
		drop("userknownhostsfile", h+"/.ssh/known_hosts "+h+"/.ssh/known_hosts2")
	}
	drop("globalknownhostsfile", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2")
}

func (o options) each(k string, f func(string) string) {
	if o[k] == nil {
		return
	}
	words := make([]string, len(o[k]))
	for i, w := range o[k] {
		words[i] = f(w)
	}
	o[k] = words
}

func yesAndNo(s string) string {
	switch s {
	case "true", "yes":
		return "yes"
	case "false", "off", "no":
		return "no"
	}
	return s
}
