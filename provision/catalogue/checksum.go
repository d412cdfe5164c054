package catalogue

import (
	"errors"
	"fmt"
	"strings"
)

// Checksum finds the sha256 of a file in what upstream publishes beside it. Five forms are known: the bare sum, with or without a line's end;
// "sum  name"; the same for several files, as sha256sum writes them; and such lines in a text that is signed with PGP, whose signature is
// not looked at. The sum is the first word of the line that names the file, or else the only word there is.
// The error says in a sentence's end why there is none.
func Checksum(text []byte, name string) (string, error) {
	found := ""
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) != 2 || !isSum(words[0]) || strings.TrimPrefix(strings.TrimPrefix(words[1], "*"), "./") != name {
			continue
		}
		sum := strings.ToLower(words[0])
		if found != "" && found != sum {
			return "", fmt.Errorf("names %s twice, with different sums", name)
		}
		found = sum
	}
	if found != "" {
		return found, nil
	}
	words := strings.Fields(string(text))
	switch {
	case len(words) == 1 && isSum(words[0]):
		return strings.ToLower(words[0]), nil
	case len(words) == 0:
		return "", errors.New("is empty")
	case strings.HasPrefix(words[0], "<"):
		return "", errors.New("is a page and no list of checksums")
	}
	return "", fmt.Errorf("holds no sha256 of %s", name)
}

func isSum(word string) bool { return hexDigest.MatchString(strings.ToLower(word)) }
