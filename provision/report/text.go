package report

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Style is how a piece of text stands out on a terminal with colours.
type Style int

const (
	Normal Style = iota
	Good
	Notice
	Bad
	Faint
	Strong
)

// Paint puts text into the style's terminal codes; without color it returns the text as it is.
func Paint(text string, s Style, color bool) string {
	code := ""
	switch s {
	case Good:
		code = "32"
	case Notice:
		code = "33"
	case Bad:
		code = "31"
	case Faint:
		code = "2"
	case Strong:
		code = "1"
	}
	if !color || code == "" || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Style returns how an action stands out.
func (a Action) Style() Style {
	switch a {
	case Created, Configured, Deleted:
		return Good
	case Skipped:
		return Notice
	case Failed:
		return Bad
	default:
		return Normal
	}
}

// Style returns how a check's outcome stands out.
func (s Status) Style() Style {
	switch s {
	case Pass:
		return Good
	case Warn, Ignored, Unknown:
		return Notice
	case Fail:
		return Bad
	default:
		return Normal
	}
}

// OneLine makes text that came from elsewhere (a host's stderr, an error of several lines) safe to print on one line:
// line breaks become "; ", terminal codes go, other control characters become spaces.
func OneLine(s string) string {
	s = strings.Join(nonEmptyLines(terminalCode.ReplaceAllString(s, "")), "; ")
	return blankControls(s)
}

// blankControls puts a space in place of each control character, of what is not UTF-8, and of what turns the direction of writing, so that text
// looks like other text.
func blankControls(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, s)
}

// terminalCode is a control sequence, or an operating system command such as a window title (ECMA-48).
var terminalCode = regexp.MustCompile("\x1b\\[[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b]*(\x07|\x1b\\\\)?")

// ownCode is what Paint writes, and firstCode any control sequence, at the beginning of a text.
var (
	ownCode   = regexp.MustCompile("^\x1b\\[(?:0|1|2|31|32|33)m")
	firstCode = regexp.MustCompile("^(?:" + terminalCode.String() + ")")
)

// Shown is a text as it may reach a terminal, whoever made which part of it: with line breaks, tabs and the codes of Paint, and without any other
// control sequence or character.
func Shown(text []byte) []byte {
	var out bytes.Buffer
	for len(text) > 0 {
		if text[0] == '\x1b' {
			code := ownCode.Find(text)
			out.Write(code)
			if code == nil {
				code = firstCode.Find(text)
			}
			if code != nil {
				text = text[len(code):]
				continue
			}
		}
		r, size := utf8.DecodeRune(text)
		if r == '\n' || r == '\t' {
			out.WriteRune(r)
		} else {
			out.WriteString(blankControls(string(text[:size])))
		}
		text = text[size:]
	}
	return out.Bytes()
}

// ShownJSON is a JSON document with the control characters escaped that JSON lets stand as they are, and that a terminal obeys.
func ShownJSON(doc []byte) []byte {
	if !bytes.ContainsFunc(doc, obeyed) {
		return doc
	}
	var out bytes.Buffer
	for _, r := range string(doc) {
		if obeyed(r) { // within a string: nowhere else there are any
			fmt.Fprintf(&out, `\u%04x`, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}

func obeyed(r rune) bool {
	return r >= 0x7f && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}

func nonEmptyLines(s string) []string {
	var lines []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// Bytes writes a number of bytes for people, in powers of ten.
func Bytes(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, prefix := float64(n)/unit, 0
	for f >= unit-0.5 && prefix < len("kMGTPE")-1 {
		f /= unit
		prefix++
	}
	format := "%.0f %cB"
	if f < 9.95 {
		format = "%.1f %cB"
	}
	return fmt.Sprintf(format, f, "kMGTPE"[prefix])
}

// Elapsed writes a duration for people: whole seconds, minutes beyond that.
func Elapsed(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	if s < 60 {
		return fmt.Sprintf("%ds", s)
	}
	return fmt.Sprintf("%dm%02ds", s/60, s%60)
}

// Some joins words for a sentence, and of more than most the first with the number of the others.
func Some(words []string, most int) string {
	if len(words) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), len(words)-most)
	}
	return strings.Join(words, ", ")
}

// Count writes a number with its noun, in the plural where needed.
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
