package remote

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"strings"
)

// match reports whether one of the line's patterns fits name and none forbids it.
func (p patternKey) match(name string) bool {
	found := false
	for _, pattern := range p.patterns {
		pattern, not := strings.CutPrefix(pattern, "!")
		if !matchName(pattern, name) {
			continue
		}
		if not {
			return false
		}
		found = true
	}
	return found
}

func matchName(pattern, name string) bool {
	if rest, ok := strings.CutPrefix(pattern, "|1|"); ok {
		return matchHash(rest, name)
	}
	return matchWildcard(strings.ToLower(pattern), name)
}

// matchHash compares with HMAC-SHA1 of the name, as `HashKnownHosts yes` writes it: base64 salt, "|", base64 hash.
func matchHash(saltAndHash, name string) bool {
	s, h, _ := strings.Cut(saltAndHash, "|")
	salt, err1 := base64.StdEncoding.DecodeString(s)
	hash, err2 := base64.StdEncoding.DecodeString(h)
	if err1 != nil || err2 != nil {
		return false
	}
	mac := hmac.New(sha1.New, salt)
	mac.Write([]byte(name))
	return hmac.Equal(mac.Sum(nil), hash)
}

// matchWildcard knows * and ? and nothing else: a bracket is part of [host]:port. Of several * only the last one is tried again,
// which is enough, and keeps the time bounded.
func matchWildcard(pattern, name string) bool {
	star, from := -1, 0 // where the last * stands, and where in name it gives up
	p, n := 0, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			from++
			p, n = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
