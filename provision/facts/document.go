package facts

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"
	"unique"
)

// documentStart is how the script's answer begins.
const documentStart = `{"clock":`

// maxPrints is how much is kept of what a login prints.
const maxPrints = 60

// errNoDocument means that the host did not run the script to its end: the login shell is no shell, or the script was cut off.
// The user looks at the host; trying again does not help.
var errNoDocument = errors.New("the answer to the facts script is not whole")

// document is the script's answer: texts of files and commands by key. An absent key means that there was nothing to ask.
type document map[string]string

// decode reads the answer, and writes over it what JSON forbids.
func decode(data []byte) (document, error) {
	start, end := bytes.Index(data, []byte(documentStart)), bytes.LastIndexByte(data, '}')
	if start < 0 || end < start {
		return nil, fmt.Errorf("%w: it begins %.60q", errNoDocument, data)
	}
	text := data[start : end+1]
	for i, c := range text { // a file zeroed by a crash puts bytes into the document that JSON forbids
		if c < ' ' {
			text[i] = ' '
		}
	}
	d, err := (&flat{in: text}).object()
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errNoDocument, err)
	}
	if d.word("machine") == "" {
		return nil, fmt.Errorf("%w: it does not name the machine", errNoDocument)
	}
	return d, nil
}

// printed returns the beginning of what stands before the document, on one line.
func printed(data []byte) string {
	before := data[:max(0, bytes.Index(data, []byte(documentStart)))]
	line := strings.Join(strings.Fields(string(before[:min(len(before), 4*maxPrints)])), " ")
	return line[:min(len(line), maxPrints)]
}

// has reports whether the script knew anything of the key.
func (d document) has(key string) bool {
	_, ok := d[key]
	return ok
}

// word returns a value of one line.
func (d document) word(key string) string { return kept(strings.TrimSpace(d[key])) }

// number returns a value that is a number, or 0.
func (d document) number(key string) int64 { return number(strings.TrimSpace(d[key])) }

// lines goes through the lines of a value that are not empty.
func (d document) lines(key string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range strings.Lines(d[key]) {
			if line = strings.TrimSpace(line); line != "" && !yield(line) {
				return
			}
		}
	}
}

// pairs returns lines of a name and the rest. Names without a rest are there with an empty one.
func (d document) pairs(key string) map[string]string {
	out := map[string]string{}
	for line := range d.lines(key) {
		name, rest, _ := strings.Cut(line, " ")
		out[kept(name)] = kept(strings.TrimSpace(rest))
	}
	return out
}

// settings returns lines of "name: value" or "name=value"; of a name that stands twice, the first.
func (d document) settings(key, separator string) map[string]string {
	out := map[string]string{}
	for line := range d.lines(key) {
		name, value, ok := strings.Cut(line, separator)
		name = strings.TrimSpace(name)
		if _, twice := out[name]; ok && !twice {
			out[name] = strings.TrimSpace(value)
		}
	}
	return out
}

// below returns the values whose keys start with prefix and a slash, by the rest of the key.
func (d document) below(prefix string) map[string]string {
	out := map[string]string{}
	for key, value := range d {
		if name, ok := strings.CutPrefix(key, prefix+"/"); ok {
			out[kept(name)] = value
		}
	}
	return out
}

// clock is a host's clock when the script started; the zero value when it could not be read.
type clock struct {
	time      time.Time
	precision time.Duration // how much later it may have been
}

func (d document) clock() clock { return clockOf(d.word("clock")) }

// exact reports whether the clock is known to a nanosecond.
func (c clock) exact() bool { return !c.time.IsZero() && c.precision == 0 }

func clockOf(text string) clock {
	seconds, fraction, _ := strings.Cut(text, ".")
	s, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return clock{}
	}
	nanos, err := strconv.ParseUint(fraction, 10, 32)
	if err != nil || len(fraction) != 9 { // busybox's date has whole seconds only
		return clock{time.Unix(s, 0), time.Second}
	}
	return clock{time: time.Unix(s, int64(nanos))}
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// kept returns a string that shares memory with its equals on other hosts and not with the document.
func kept(s string) string { return unique.Make(s).Value() }

func keptAll(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = kept(s)
	}
	return out
}
