package remote

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"
)

// shells are those that the machine has; every one must read back what we spell.
func shells(t testing.TB) []string {
	t.Helper()
	var found []string
	for _, name := range []string{"sh", "bash", "dash", "busybox", "fish", "zsh", "tcsh", "csh"} {
		if path, err := exec.LookPath(name); err == nil {
			found = append(found, path)
		}
	}
	if len(found) == 0 {
		t.Skip("no shell on this machine")
	}
	return found
}

// through lets a shell run a line, and returns the words that the command got.
func through(t testing.TB, shell, line string) []string {
	t.Helper()
	args := []string{"-c", line}
	if strings.HasSuffix(shell, "busybox") {
		args = append([]string{"sh"}, args...)
	}
	out, err := exec.Command(shell, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", shell, err, line)
	}
	words := strings.Split(string(out), "\x00")
	return words[:len(words)-1]
}

func checkWords(t testing.TB, shells []string, words []string) {
	t.Helper()
	l, err := newLine(Command{Argv: append([]string{"printf", `%s\0`}, words...)}, asLogin)
	if err != nil {
		t.Fatal(err)
	}
	for _, shell := range shells {
		if got := through(t, shell, l.String()); !reflect.DeepEqual(got, words) {
			t.Errorf("%s read %q, want %q, from: %s", shell, got, words, l)
		}
	}
	s, err := newLine(Command{Script: "set -eu\n# it's a script! \\ \\n\nprintf '%s\\0' \"$@\"\n:", Args: words}, asLogin)
	if err != nil {
		t.Fatal(err)
	}
	for _, shell := range shells {
		if got := through(t, shell, s.String()); !reflect.DeepEqual(got, words) {
			t.Errorf("%s: script read %q, want %q, from: %s", shell, got, words, s)
		}
	}
	back, err := ParseLine(l.String())
	if err != nil || !reflect.DeepEqual(back, l.Line) {
		t.Errorf("ParseLine: %+v, %v, want %+v", back, err, l)
	}
}

var hardWords = []string{"", " ", "a b", "'", "''", `\`, `\\`, `\'`, `a\nb`, "\n", "\t", "$HOME", "$(id)", "`id`", "!!", "~", "*", "?",
	"[a-z]", "{a,b}", "#", "a#b", ";", "&", "|", "<", ">", "(", ")", "-n", "--", "a=b", "=", "%s", "ü", "日本", "\xff\xfe", "\x01\x7f", `"`, `"$x"`,
	"^", "if", "\r\n", strings.Repeat("'\\", 100)}

func TestQuote_ThroughRealShells(t *testing.T) {
	shells := shells(t)
	var plain, awkwardOnes []string
	for _, w := range hardWords {
		if strings.ContainsAny(w, awkward) {
			awkwardOnes = append(awkwardOnes, w)
		} else {
			plain = append(plain, w, w+w)
		}
	}
	checkWords(t, shells, plain)
	checkWords(t, shells, append(awkwardOnes, plain...))
}

// Inside single quotes fish reads backslashes and sh does not; outside they agree.
func TestQuote_NoBackslashInsideQuotes(t *testing.T) {
	if got, want := Quote(`a\b'c`), `'a'\\'b'\''c'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// reader is one shell that reads words for as long as a fuzz test's process runs: starting one for each word takes two hundred times as long.
type reader struct {
	in  io.WriteCloser
	out *os.File
	got *bufio.Reader
}

func newReader(t testing.TB, shell string) *reader {
	t.Helper()
	// -s: its commands come from standard input
	cmd := exec.Command(shell, "-s")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		out.Close()
	})
	return &reader{in: in, out: out, got: bufio.NewReader(out)}
}

// words returns what the shell makes of a line, which has to print count words, a NUL after each. A line that lets the shell wait for more, or ends it,
// is an error.
func (r *reader) words(line string, count int) ([]string, error) {
	if err := r.out.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(r.in, line+"\nprintf 'end\\0'\n"); err != nil {
		return nil, err
	}
	var words []string
	for {
		w, err := r.got.ReadString(0)
		if err != nil {
			return append(words, w), err
		}
		if w = w[:len(w)-1]; w == "end" && len(words) >= count {
			return words, nil
		}
		words = append(words, w)
	}
}

func FuzzQuote(f *testing.F) {
	for _, w := range hardWords {
		f.Add(w)
	}
	shell := newReader(f, shells(f)[0])
	f.Fuzz(func(t *testing.T, w string) {
		if strings.ContainsRune(w, 0) || len(w) > 10000 {
			t.Skip()
		}
		words := []string{w, "-", w + w, ""}
		command := append([]string{"printf", `%s\0`}, words...)
		l, err := newLine(Command{Argv: command}, asLogin)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseLine(l.String())
		if err != nil || !reflect.DeepEqual(back, l.Line) {
			t.Errorf("ParseLine: %+v, %v, want %+v", back, err, l)
		}
		// a line, and one within a word of another
		for _, line := range []string{Quote(command...), Quote("eval", Quote(command...))} {
			if got, err := shell.words(line, len(words)); err != nil || !reflect.DeepEqual(got, words) {
				t.Fatalf("the shell read %q, %v, want %q, from: %s", got, err, words, line)
			}
		}
	})
}

func FuzzParseLine(f *testing.F) {
	for _, w := range hardWords {
		f.Add("env LC_ALL=C " + Quote(wrapped([]string{"x", w})...))
	}
	f.Add("env LC_ALL=C sudo -S -p p -- sh -c 'x' y z")
	f.Add("doas -n -- env LC_ALL=C sh -c 'x' y z")
	f.Add(Line{Argv: []string{"x!"}, Sudo: true, Doas: true, Ready: "y-ready"}.String())
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLine(s)
		if err != nil {
			return
		}
		again, err := ParseLine(l.String())
		if err != nil || !reflect.DeepEqual(again, l) {
			t.Errorf("%q: %+v, then %+v, %v", s, l, again, err)
		}
	})
}

func TestLine_UnderSudo(t *testing.T) {
	l, err := newLine(Command{Script: "echo \"$1\"", Args: []string{"it's"}}, bySudo)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseLine(l.String())
	if err != nil || !reflect.DeepEqual(back, l.Line) {
		t.Errorf("%+v, %v, want %+v", back, err, l)
	}
	script, args, ok := back.Script()
	if !ok || script != "echo \"$1\"" || !reflect.DeepEqual(args, []string{"it's"}) {
		t.Errorf("%q %q %v", script, args, ok)
	}
	other, _ := newLine(Command{Argv: []string{"id"}}, bySudo)
	if other.Ready == l.Ready || other.Prompt == l.Prompt {
		t.Error("two commands with the same marks")
	}
}

func TestLine_Refused(t *testing.T) {
	tests := []struct {
		cmd  Command
		text string
	}{
		{Command{}, "empty command"},
		{Command{Argv: []string{""}}, "empty command"},
		{Command{Argv: []string{"a"}, Script: "b"}, "either Argv or Script"},
		{Command{Argv: []string{"a"}, Args: []string{"b"}}, "takes no Args"},
		{Command{Argv: []string{"a\x00"}}, "NUL"},
		{Command{Script: "\x00"}, "NUL"},
		{Command{Script: strings.Repeat("x", 128<<10)}, "send the data on stdin"},
	}
	for _, tt := range tests {
		if _, err := newLine(tt.cmd, asLogin); err == nil || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("want %q: %v", tt.text, err)
		}
	}
	for _, s := range []string{"id", "env LC_ALL=C", "env LC_ALL=C id; id", "env LC_ALL=C 'x", "env LC_ALL=C sudo id", "env LC_ALL=C a\x00", "LC_ALL=C id", "doas -n -- id"} {
		if l, err := ParseLine(s); err == nil {
			t.Errorf("%q is taken for %+v", s, l)
		}
	}
}

func TestRedact(t *testing.T) {
	r := redactor([]string{"abc", "", "abcdef", "it's"})
	got := describe(Command{Argv: []string{"x", "abcdef", "abc", "it's", "a\nb"}, Sudo: true}, r)
	if want := "sudo x [redacted] [redacted] [redacted] 'a b'"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTail(t *testing.T) {
	whole := []byte(strings.Repeat("0123456789", 100))
	for _, step := range []int{1, 7, 50, 101, 1000} {
		tl := &tail{max: 100}
		for i := 0; i < len(whole); i += step {
			n, err := tl.Write(whole[i:min(i+step, len(whole))])
			if err != nil || n == 0 {
				t.Fatal(n, err)
			}
		}
		if got := tl.bytes(); !bytes.Equal(got, whole[900:]) {
			t.Errorf("steps of %d: %d bytes %.20q", step, len(got), got)
		}
	}
}

func TestGate_ShutMeansShut(t *testing.T) {
	var b bytes.Buffer
	g := newGate(&b)
	g.Write([]byte("before"))
	g.close()
	if n, err := g.Write([]byte("after")); n != 5 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	if b.String() != "before" {
		t.Errorf("%q", b.String())
	}
}

// Whatever the pieces in which sudo's words arrive.
func TestSudoTalk_AnyPieces(t *testing.T) {
	l := Line{Prompt: "PROMPT", Ready: "READY"}
	const words = "lecture\nPROMPTSorry, try again.\nPROMPTREADYerror: PROMPT READY\n"
	for size := 1; size <= len(words); size++ {
		var stderr bytes.Buffer
		talk := newSudoTalk(l, &stderr)
		for i := 0; i < len(words); i += size {
			piece := words[i:min(i+size, len(words))]
			if n, err := talk.Write([]byte(piece)); n != len(piece) || err != nil {
				t.Fatal(n, err)
			}
		}
		if got := stderr.String(); got != "error: PROMPT READY\n" || !talk.started {
			t.Errorf("pieces of %d: stderr %q", size, got)
		}
		if n := len(talk.onPrompt); size == 1 && n != 2 {
			t.Errorf("asked %d times", n)
		}
	}
}

func TestSudoTalk_ForeignQuestions(t *testing.T) {
	for said, asks := range map[string]bool{
		"Password: ":                              true,
		"(current) LDAP Password:":                true,
		"lecture: Password:\n":                    false,
		"sudo: a password is required: ":          false,
		"[sudo] password for ops: ":               true,
		"Last login: today":                       false,
		"Your password expires in 3 days.\nOTP: ": false,
	} {
		talk := newSudoTalk(Line{Prompt: "PROMPT", Ready: "READY"}, io.Discard)
		talk.Write([]byte(said))
		if got := len(talk.onPrompt) == 1; got != asks {
			t.Errorf("%q asks: %v", said, got)
		}
	}
}
