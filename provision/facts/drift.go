package facts

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hybridctl/hybridctl/provision/host"
)

const markerStarted = host.MarkerStarted

// readMarkers reads the markers and compares what they say with the host. Those that cannot be read are bad: a power cut may have zeroed
// them, or a newer hybridctl have written them.
func readMarkers(d document, h Host) (markers map[string]Marker, bad []string) {
	seen := readFiles(d)
	markers = map[string]Marker{}
	for step, text := range d.below("marker") {
		if strings.HasSuffix(step, ".new") { // was being written
			continue
		}
		m, err := host.ParseMarker(step, []byte(text))
		if err != nil {
			bad = append(bad, step)
			continue
		}
		keepStrings(&m)
		markers[step] = Marker{Marker: m, Drift: drift(m, h, seen)}
	}
	slices.Sort(bad)
	return markers, bad
}

func keepStrings(m *host.Marker) {
	m.State, m.Digest = kept(m.State), kept(m.Digest)
	for i, f := range m.Files {
		m.Files[i].SHA256, m.Files[i].Mode, m.Files[i].Path = kept(f.SHA256), kept(f.Mode), kept(f.Path)
	}
	m.Units, m.Modules = keptAll(m.Units), keptAll(m.Modules)
	for name, value := range m.Sysctls {
		delete(m.Sysctls, name)
		m.Sysctls[kept(name)] = kept(value)
	}
}

// file is a file as it is now.
type file struct {
	regular bool
	mode    string // octal
	size    int64
	modTime string // seconds since the epoch, with a point and nanoseconds where stat knows them
	sha256  string // "" for large files
}

func readFiles(d document) map[string]file {
	files := map[string]file{}
	for line := range d.lines("files") { // "81a4 1234 1700000000.123456789 /path"
		f := strings.SplitN(line, " ", 4)
		if len(f) != 4 {
			continue
		}
		raw, err := strconv.ParseUint(f[0], 16, 32)
		if err != nil {
			continue
		}
		const typeMask, regular, permissions = 0o170000, 0o100000, 0o7777
		files[f[3]] = file{
			regular: raw&typeMask == regular,
			mode:    strconv.FormatUint(raw&permissions, 8),
			size:    number(f[1]),
			modTime: f[2],
		}
	}
	for line := range d.lines("sums") { // "<hex>  /path"
		sum, path, _ := strings.Cut(line, "  ")
		if f, ok := files[path]; ok {
			f.sha256 = sum
			files[path] = f
		}
	}
	return files
}

// drift says, a sentence each, what is not as the step left it.
func drift(m host.Marker, h Host, seen map[string]file) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, f := range m.Files {
		if s := fileDrift(f, seen); s != "" {
			say("%s", s)
		}
	}
	for _, unit := range m.Units {
		switch state := h.Units[unit]; state {
		case "active":
		case "":
			say("the unit %s could not be asked about", unit)
		default:
			say("the unit %s is %s", unit, state)
		}
	}
	for _, module := range m.Modules {
		if s := h.Modules[module]; s != ModuleLoaded && s != ModuleBuiltin {
			say("the kernel module %s is not loaded", module)
		}
	}
	for _, name := range sortedKeys(m.Sysctls) {
		want := strings.Join(strings.Fields(m.Sysctls[name]), " ")
		switch value, ok := h.Sysctls[name]; {
		case !ok:
			say("the kernel setting %s does not exist any more", name)
		case value != want:
			say("the kernel setting %s is %q, it was %q", name, value, want)
		}
	}
	return out
}

func fileDrift(want host.MarkerFile, seen map[string]file) string {
	is, ok := seen[want.Path]
	switch {
	case !ok:
		return want.Path + " is gone"
	case !is.regular:
		return want.Path + " is not a regular file any more"
	case is.mode != want.Mode:
		return fmt.Sprintf("the mode of %s is %s, it was %s", want.Path, is.mode, want.Mode)
	case is.sha256 == want.SHA256:
		return ""
	case is.sha256 != "":
		return want.Path + " was edited"
	case is.size != want.Size:
		return fmt.Sprintf("%s has %d bytes, it had %d", want.Path, is.size, want.Size)
	case !sameTime(is.modTime, want.ModTime):
		return want.Path + " was written to"
	}
	return ""
}

// sameTime compares what stat printed with nanoseconds since the epoch, as exactly as the host's stat allows.
func sameTime(printed string, nanos int64) bool {
	seconds, fraction, exact := strings.Cut(printed, ".")
	s, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return false
	}
	if !exact {
		return s == nanos/1e9
	}
	return s == nanos/1e9 && fraction == fmt.Sprintf("%09d", nanos%1e9)
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
