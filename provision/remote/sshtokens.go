package remote

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// tokens are what the percent signs of ssh_config(5) stand for.
type tokens struct {
	alias    string // %n: as after `ssh`
	host     string // %h
	port     int    // %p
	user     string // %r
	keyAlias string // %k; "": alias
	jump     string // %j
	home     string // %d, and ~
}

// expand replaces tokens; those that it does not know are an error.
func (t tokens) expand(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			return "", fmt.Errorf("a percent sign at the end (write %%%%)")
		}
		v, err := t.value(s[i])
		if err != nil {
			return "", err
		}
		b.WriteString(v)
	}
	return b.String(), nil
}

func (t tokens) value(c byte) (string, error) {
	switch c {
	case '%':
		return "%", nil
	case 'C': // "a hash of %l%h%p%r%j"
		sum := sha1.Sum([]byte(localHost() + t.host + strconv.Itoa(t.port) + t.user + t.jump))
		return hex.EncodeToString(sum[:]), nil
	case 'd':
		return t.home, nil
	case 'h':
		return t.host, nil
	case 'i':
		return strconv.Itoa(os.Getuid()), nil
	case 'j':
		return t.jump, nil
	case 'k':
		if t.keyAlias != "" {
			return t.keyAlias, nil
		}
		return t.alias, nil
	case 'L':
		short, _, _ := strings.Cut(localHost(), ".")
		return short, nil
	case 'l':
		return localHost(), nil
	case 'n':
		return t.alias, nil
	case 'p':
		return strconv.Itoa(t.port), nil
	case 'r':
		return t.user, nil
	case 'u':
		return localUser(), nil
	}
	return "", fmt.Errorf("%%%c is no token that is known here", c)
}

// path spells a path out: ~, ${VAR} and tokens. One that is relative is taken from the home directory, not from wherever this
// program was started.
func (t tokens) path(s string) (string, error) {
	s, err := expandEnv(s)
	if err == nil {
		s, err = expandHome(s, t.home)
	}
	if err == nil {
		s, err = t.expand(s)
	}
	if err == nil && !filepath.IsAbs(s) {
		s = filepath.Join(t.home, s)
	}
	return s, err
}

// hostName replaces the tokens of HostName: %h, and %%.
func hostName(s, alias string) string { return strings.NewReplacer("%%", "%", "%h", alias).Replace(s) }

// expandEnv replaces ${VAR}. A variable that is not set is an error, as it is for ssh.
func expandEnv(s string) (string, error) {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "${")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok || name == "" {
			return "", fmt.Errorf("${ without a name and }")
		}
		value, set := os.LookupEnv(name)
		if !set {
			return "", fmt.Errorf("the environment variable %s is not set", name)
		}
		b.WriteString(value)
		s = after
	}
}

// expandHome replaces ~ and ~user at the beginning.
func expandHome(path, home string) (string, error) {
	rest, ok := strings.CutPrefix(path, "~")
	if !ok {
		return path, nil
	}
	name, rest, _ := strings.Cut(rest, "/")
	if name != "" {
		u, err := user.Lookup(name)
		if err != nil {
			return "", fmt.Errorf("~%s: there is no user of that name", name)
		}
		home = u.HomeDir
	}
	return filepath.Join(home, rest), nil
}

var localUser = sync.OnceValue(func() string {
	if u, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
})

var localHost = sync.OnceValue(func() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
})
