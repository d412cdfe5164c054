package host

import (
	"bytes"
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// MarkerDir holds one marker per step on every host: what hybridctl did there. The facts script reads all of them.
const MarkerDir = "/var/lib/hybridctl/steps"

// MarkerPath is where a step's marker is.
func MarkerPath(step string) string { return MarkerDir + "/" + step }

const (
	MarkerStarted = "started" // written before a step's first change: an interrupted step is ours to clear up
	MarkerDone    = "done"
)

// Marker is what a finished (or started) step leaves on the host, as lines of text:
//
//	begin                     first; an earlier hybridctl's have neither this nor end
//	state done
//	digest sha256:…           of the step's inputs
//	file <sha256> <size> <octal mode> <mtime, ns since the epoch> <path>
//	unit containerd.service   must be active
//	module overlay            must be loaded or built in
//	sysctl net.ipv4.ip_forward 1
//	end                       last: one that begins and does not end was cut off
type Marker struct {
	Step    string // the file's name, the step's short name
	State   string
	Digest  string
	Files   []MarkerFile
	Units   []string
	Modules []string
	Sysctls map[string]string
}

// MarkerFile is a file that the step owns, as it was when the step finished.
type MarkerFile struct {
	SHA256  string // hex
	Size    int64  // bytes
	Mode    string // octal, as stat's %a prints it
	ModTime int64  // nanoseconds since the epoch
	Path    string // absolute, without line breaks
}

// Encode returns the marker's text.
func (m Marker) Encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "begin\nstate %s\ndigest %s\n", m.State, m.Digest)
	for _, f := range m.Files {
		fmt.Fprintf(&b, "file %s %d %s %d %s\n", f.SHA256, f.Size, f.Mode, f.ModTime, f.Path)
	}
	for _, u := range m.Units {
		fmt.Fprintf(&b, "unit %s\n", u)
	}
	for _, mod := range m.Modules {
		fmt.Fprintf(&b, "module %s\n", mod)
	}
	for _, k := range sortedKeys(m.Sysctls) {
		fmt.Fprintf(&b, "sysctl %s %s\n", k, m.Sysctls[k])
	}
	b.WriteString("end\n")
	return b.Bytes()
}

// ParseMarker reads a marker's text. Unknown words are an error: a marker of a newer hybridctl is not understood by halves.
// An error tells nothing of the step: it was begun here, and may have been finished.
func ParseMarker(step string, text []byte) (Marker, error) {
	m := Marker{Step: step}
	begun, ended := false, false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		if ended {
			return Marker{}, fmt.Errorf("marker %s: it goes on behind its end", step)
		}
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "begin":
			begun = true
		case "end":
			ended = true
		case "state":
			m.State = rest
		case "digest":
			m.Digest = rest
		case "file":
			f, err := parseMarkerFile(rest)
			if err != nil {
				return Marker{}, fmt.Errorf("marker %s: %w", step, err)
			}
			m.Files = append(m.Files, f)
		case "unit":
			m.Units = append(m.Units, rest)
		case "module":
			m.Modules = append(m.Modules, rest)
		case "sysctl":
			k, v, _ := strings.Cut(rest, " ")
			if m.Sysctls == nil {
				m.Sysctls = map[string]string{}
			}
			m.Sysctls[k] = v
		default:
			return Marker{}, fmt.Errorf("marker %s: unknown word %q", step, word)
		}
	}
	if begun != ended {
		return Marker{}, fmt.Errorf("marker %s: it was cut off", step)
	}
	if m.State != MarkerStarted && m.State != MarkerDone {
		return Marker{}, fmt.Errorf("marker %s: state %q", step, m.State)
	}
	return m, nil
}

func parseMarkerFile(s string) (MarkerFile, error) {
	p := strings.SplitN(s, " ", 5)
	if len(p) != 5 || !strings.HasPrefix(p[4], "/") {
		return MarkerFile{}, fmt.Errorf("file line %q", s)
	}
	size, err := strconv.ParseInt(p[1], 10, 64)
	if err != nil {
		return MarkerFile{}, fmt.Errorf("file line %q: size", s)
	}
	mtime, err := strconv.ParseInt(p[3], 10, 64)
	if err != nil {
		return MarkerFile{}, fmt.Errorf("file line %q: time", s)
	}
	return MarkerFile{SHA256: p[0], Size: size, Mode: p[2], ModTime: mtime, Path: p[4]}, nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
