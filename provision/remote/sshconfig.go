package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/kevinburke/ssh_config"
)

// sshConfig answers as ~/.ssh/config does. The nil value answers nothing.
type sshConfig struct {
	path string
	file *ssh_config.Config
}

// loadSSHConfig reads path. The library knows `Match host` and `Match all`; blocks with other criteria are left out with a
// warning, because obeying them always would be worse than never.
func loadSSHConfig(path string, log *slog.Logger) (*sshConfig, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ssh config: %w", err)
	}
	text, left := dropMatches(text)
	for _, criteria := range left {
		log.Warn("ssh config: Match block left out", "file", path, "match", criteria)
	}
	file, err := ssh_config.DecodeBytes(text)
	if err != nil {
		return nil, fmt.Errorf("ssh config %s: %v", path, err)
	}
	return &sshConfig{path: path, file: file}, nil
}

// dropMatches blanks the Match blocks that the library refuses.
func dropMatches(text []byte) (kept []byte, left []string) {
	dropping := false
	var b bytes.Buffer
	for line := range strings.Lines(string(text)) {
		word, rest := keyword(line)
		switch word {
		case "host":
			dropping = false
		case "match":
			criterion, _, _ := strings.Cut(strings.ToLower(rest), " ")
			dropping = criterion != "all" && (criterion != "host" || otherCriteria(rest))
			if dropping {
				left = append(left, rest)
			}
		}
		if dropping {
			line = "\n"
		}
		b.WriteString(line)
	}
	return b.Bytes(), left
}

// keyword splits `Key value` and `Key=value`.
func keyword(line string) (word, rest string) {
	line = strings.TrimSpace(line)
	i := strings.IndexAny(line, " \t=")
	if i < 0 {
		return strings.ToLower(line), ""
	}
	return strings.ToLower(line[:i]), strings.TrimLeft(line[i:], " \t=")
}

// otherCriteria reports whether a `Match host` line goes on with a second criterion, which the library takes for patterns.
func otherCriteria(rest string) bool {
	for _, w := range strings.Fields(strings.ToLower(rest))[1:] {
		switch strings.TrimPrefix(w, "!") {
		case "all", "canonical", "final", "exec", "localnetwork", "host", "originalhost", "tagged", "command", "user", "localuser", "version", "sessiontype":
			return true
		}
	}
	return false
}

func (c *sshConfig) get(alias, key string) (string, error) {
	if c == nil {
		return "", nil
	}
	v, err := c.file.Get(alias, key)
	if err != nil {
		return "", fmt.Errorf("ssh config %s: %s for %s: %v", c.path, key, alias, err)
	}
	return strings.Trim(v, `"`), nil
}

// identities returns the IdentityFiles for alias, spelled out.
func (c *sshConfig) identities(alias, host, user string) ([]string, error) {
	if c == nil {
		return nil, nil
	}
	values, err := c.file.GetAll(alias, "IdentityFile")
	if err != nil {
		return nil, fmt.Errorf("ssh config %s: IdentityFile for %s: %v", c.path, alias, err)
	}
	var files []string
	for _, v := range values {
		v = strings.Trim(v, `"`)
		if strings.EqualFold(v, "none") {
			continue
		}
		files = append(files, c.expand(v, host, user))
	}
	return files, nil
}

// expand replaces ~ and the tokens that make sense in a key's path.
func (c *sshConfig) expand(path, host, user string) string {
	home := filepath.Dir(filepath.Dir(c.path))
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path = filepath.Join(home, rest)
	}
	path = strings.NewReplacer("%%", "%", "%d", home, "%h", host, "%r", user, "%u", os.Getenv("USER")).Replace(path)
	if !filepath.IsAbs(path) {
		path = filepath.Join(home, path)
	}
	return path
}
