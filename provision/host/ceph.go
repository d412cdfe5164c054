package host

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// CephQuestion is what the kernel's Ceph client is asked to do: to find a pool, or to mount a directory.
type CephQuestion struct {
	ID         string   // names the answer
	Monitors   []string // address:port
	User       string   // without client.
	Mode       string   // of the messenger; "" = the kernel's own
	Pool       string   // of block devices; "" asks about the file system
	FileSystem string
	Path       string // directory in it
	Key        string // a secret
}

// CephSaid is what a host's kernel and the monitors answered.
type CephSaid struct {
	Features uint64            // of images that the kernel can map; 0 = it has no rbd
	Absent   map[string]string // modules that cannot be loaded, with modprobe's words
	Banners  map[string]string // what each monitor sent first, or why it did not
	Answers  map[string]CephAnswer
}

// CephAnswer is how a question ended.
type CephAnswer struct {
	Errno string   // ENOENT, ETIMEDOUT, …; "" = the kernel did it; UNKNOWN = Text tells all there is
	Text  string   // what the program said that asked the kernel
	Log   []string // what the kernel wrote meanwhile
}

// ProbeCeph asks the kernel's Ceph client, in one command, and each monitor for its first bytes. Nothing stays on the host.
func (h *Host) ProbeCeph(ctx context.Context, questions []CephQuestion) (CephSaid, error) {
	out, err := h.script(ctx, "ceph-probe", bytes.NewReader(cephQuestions(questions)))
	if err != nil {
		return CephSaid{}, fmt.Errorf("ask the kernel about Ceph: %w", err)
	}
	return parseCephSaid(string(out.Stdout)), nil
}

// cephQuestions is the standard input of ceph-probe.sh; the script's head explains the words.
func cephQuestions(questions []CephQuestion) []byte {
	var b bytes.Buffer
	asked := map[string]bool{}
	for _, q := range questions {
		for _, m := range q.Monitors {
			if address, port, ok := strings.Cut(m, ":"); ok && !asked[m] {
				fmt.Fprintf(&b, "monitor %s %s\n", address, port)
				asked[m] = true
			}
		}
	}
	for _, q := range questions {
		mode := q.Mode
		if mode == "" {
			mode = "-"
		}
		if q.Pool != "" {
			fmt.Fprintf(&b, "rbd %s %s %s %s %s %s\n", q.ID, strings.Join(q.Monitors, ","), q.User, mode, q.Pool, q.Key)
		} else {
			fmt.Fprintf(&b, "cephfs %s %s %s %s %s %s %s\n", q.ID, strings.Join(q.Monitors, ","), q.User, mode, q.FileSystem, q.Path, q.Key)
		}
	}
	b.WriteString("end\n")
	return b.Bytes()
}

func parseCephSaid(text string) CephSaid {
	said := CephSaid{Absent: map[string]string{}, Banners: map[string]string{}, Answers: map[string]CephAnswer{}}
	id := ""
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		first, second, _ := strings.Cut(rest, " ")
		a := said.Answers[id]
		switch word {
		case "features":
			said.Features, _ = strconv.ParseUint(strings.TrimPrefix(rest, "0x"), 16, 64) // none is what an unreadable one means
		case "absent":
			said.Absent[first] = second
		case "monitor":
			sent, _ := hex.DecodeString(second) // od's own
			said.Banners[first] = string(sent)
		case "asked":
			id = rest
			said.Answers[id] = CephAnswer{}
		case "said":
			a.Errno, a.Text = errnoOf(rest), rest
			said.Answers[id] = a
		case "log":
			a.Log = append(a.Log, rest)
			said.Answers[id] = a
		}
	}
	return said
}

// errnos are the words of libc and of mount(8) for what the kernel returned. mount has sentences of its own for some.
var errnos = []struct{ words, errno string }{
	{"No such file or directory", "ENOENT"}, {"special device", "ENOENT"},
	{"Operation not permitted", "EPERM"},
	{"Permission denied", "EACCES"}, {"permission denied", "EACCES"}, {"read-only", "EACCES"},
	{"Connection timed out", "ETIMEDOUT"}, {"No route to host", "EHOSTUNREACH"},
	{"Invalid argument", "EINVAL"}, {"wrong fs type, bad option", "EINVAL"}, {"bad option", "EINVAL"},
	{"unknown filesystem type", "ENODEV"}, {"No such device", "ENODEV"},
	{"Network is unreachable", "ENETUNREACH"}, {"Connection refused", "ECONNREFUSED"}, {"Input/output error", "EIO"},
	{"(exit status 124)", "ETIMEDOUT"}, // timeout(1) ended the kernel's wait
}

func errnoOf(text string) string {
	for _, e := range errnos {
		if strings.Contains(text, e.words) {
			return e.errno
		}
	}
	return "UNKNOWN"
}
