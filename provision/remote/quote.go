package remote

import (
	"errors"
	"strings"
)

// Quote spells words for a POSIX shell (and for fish) so that it reads them back exactly. Words must not contain NUL.
func Quote(words ...string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		quoteWord(&b, w)
	}
	return b.String()
}

func quoteWord(b *strings.Builder, w string) {
	if w != "" && strings.IndexFunc(w, needsQuote) < 0 {
		b.WriteString(w)
		return
	}
	b.Grow(len(w) + 3*(strings.Count(w, `'`)+strings.Count(w, `\`)) + 2)
	b.WriteByte('\'')
	begin := 0
	for i := range len(w) {
		if w[i] != '\'' && w[i] != '\\' {
			continue
		}
		// fish reads a backslash inside single quotes, sh does not: outside they agree
		b.WriteString(w[begin:i])
		b.WriteString(`'\`)
		b.WriteByte(w[i])
		b.WriteByte('\'')
		begin = i + 1
	}
	b.WriteString(w[begin:])
	b.WriteByte('\'')
}

func needsQuote(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return !strings.ContainsRune("@%+:,./_-", r)
}

// split reads back what Quote spelled. It understands no more of the shell's language than that, and `NAME=value`.
func split(line string) ([]string, error) {
	var words []string
	w := make([]byte, 0, len(line))
	inWord := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == ' ':
			if inWord {
				words = append(words, string(w))
				w, inWord = w[:0], false
			}
		case c == '\'':
			end := strings.IndexByte(line[i+1:], '\'')
			if end < 0 {
				return nil, errors.New("quote without end")
			}
			w = append(w, line[i+1:i+1+end]...)
			i += end + 1
			inWord = true
		case c == '\\' && i+1 < len(line):
			i++
			w = append(w, line[i])
			inWord = true
		case c == '=' || !needsQuote(rune(c)):
			w = append(w, c)
			inWord = true
		default:
			return nil, errors.New("not a plain command line")
		}
	}
	if inWord {
		words = append(words, string(w))
	}
	return words, nil
}
