package remote

import (
	"regexp"
	"slices"
	"strings"
)

// plain are the values that ssh reads as they stand: two lines that differ by such a value are read alike.
var plain = map[string]*regexp.Regexp{
	"hostname":     regexp.MustCompile(`^[a-z0-9][a-z0-9.:-]*$`),
	"port":         regexp.MustCompile(`^[1-9][0-9]{0,4}$`),
	"user":         regexp.MustCompile(`^[a-z_][a-z0-9_.-]*$`),
	"identityfile": regexp.MustCompile(`^(~/|/)[A-Za-z0-9._/-]+$`),
	"proxyjump":    regexp.MustCompile(`^[a-z0-9_][a-z0-9_.-]*@?[a-z0-9.-]+(:[0-9]+)?$`),
}

var plainPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]*$`)

// shape is a line without what differs from host to host in a file that has a block for each of many.
func (l *configLine) shape() string {
	switch re := plain[l.keyword]; {
	case l.keyword == "host" && len(l.args) > 0 && !slices.ContainsFunc(l.args, func(w string) bool { return !plainPattern.MatchString(w) }):
		return l.keyword
	case re != nil && len(l.args) == 1 && l.rest == l.args[0] && re.MatchString(l.rest) && !isNo(l.rest):
		return l.keyword
	}
	return l.text()
}

// shapes are those of lines, in their order.
func shapes(lines []*configLine) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.shape())
		b.WriteByte('\n')
	}
	return b.String()
}
