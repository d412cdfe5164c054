package facts

import (
	"bytes"
	"errors"
	"strings"
)

// flat reads the one form of JSON that the script prints: an object of strings, without white space between them, with no other
// escapes than \n, \" and \\. For hundreds of hosts at once encoding/json's generality costs more than all else that is done
// with their answers.
type flat struct {
	in  []byte
	out strings.Builder // every string, one behind the other
}

var errNotFlat = errors.New("not an object of strings")

func (f *flat) object() (document, error) {
	d := document{}
	f.out.Grow(len(f.in))
	if !f.skip('{') {
		return nil, errNotFlat
	}
	for {
		key, isKey := f.text()
		colon := f.skip(':')
		value, isValue := f.text()
		if !isKey || !colon || !isValue {
			return nil, errNotFlat
		}
		d[key] = value
		if f.skip('}') && len(f.in) == 0 {
			return d, nil
		}
		if !f.skip(',') {
			return nil, errNotFlat
		}
	}
}

// skip takes this byte off the input, if it is next.
func (f *flat) skip(c byte) bool {
	if len(f.in) == 0 || f.in[0] != c {
		return false
	}
	f.in = f.in[1:]
	return true
}

func (f *flat) text() (string, bool) {
	if !f.skip('"') {
		return "", false
	}
	start := f.out.Len()
	for {
		i := bytes.IndexAny(f.in, `"\`)
		if i < 0 || i+1 == len(f.in) {
			return "", false
		}
		f.out.Write(f.in[:i])
		found, escaped := f.in[i], f.in[i+1]
		if found == '"' {
			f.in = f.in[i+1:]
			return f.out.String()[start:], true
		}
		switch escaped {
		case 'n':
			escaped = '\n'
		case '"', '\\':
		default:
			return "", false
		}
		f.out.WriteByte(escaped)
		f.in = f.in[i+2:]
	}
}
