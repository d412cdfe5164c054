package remote

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// asker asks `ssh -G` what it would do. The files are given to it by an Include in a file of ours, which ends with the
// defaults of this program: so what no one has set can be told from what someone has.
type asker struct {
	program string
	files   []string
	final   bool          // some block of them has the criterion final
	slots   chan struct{} // one for each process at once

	once sync.Once
	own  string // our file
	err  error

	mu     sync.Mutex
	failed int
	why    error // ssh does not take the files at all
}

const (
	// askTime bounds one question: Match exec runs commands, and making names canonical asks DNS.
	askTime = 20 * time.Second
	// askTries is how many questions may fail before ssh is not asked any more: the files are the same for all hosts.
	askTries = 3
	// noIdentity is the IdentityFile that no one has; where it is the only one, none is set.
	noIdentity = "/hybridctl/no-identity"
)

func newAsker(program string, texts []*configFile) *asker {
	a := &asker{program: program, slots: make(chan struct{}, 2*runtime.GOMAXPROCS(0))}
	for _, t := range texts {
		a.files = append(a.files, t.path)
		a.final = a.final || hasFinal(t.lines)
	}
	return a
}

func hasFinal(lines []*configLine) bool {
	return slices.ContainsFunc(lines, func(l *configLine) bool {
		return l.keyword == "match" && slices.ContainsFunc(l.args, func(w string) bool { return strings.EqualFold(strings.TrimPrefix(w, "!"), "final") }) ||
			slices.ContainsFunc(l.include, func(f *configFile) bool { return hasFinal(f.lines) })
	})
}

// askedAlgos are the host key algorithms that we can check.
func askedAlgos() []string { return slices.Concat(certAlgos, allAlgos) }

func (a *asker) write() {
	var b strings.Builder
	for _, f := range a.files {
		if strings.ContainsAny(f, "\"\\\n*?[{") {
			a.err = fmt.Errorf("the path %s cannot be written in an Include", f)
			return
		}
		fmt.Fprintf(&b, "Include \"%s\"\n", f)
	}
	when := "all"
	if a.final {
		when = "final all" // after the blocks that wait for the end as well
	}
	fmt.Fprintf(&b, "Match %s\n\tUser %s\n\tStrictHostKeyChecking %s\n\tIdentityFile %s\n\tHostKeyAlgorithms %s\n",
		when, defaultUser, AcceptNew, noIdentity, strings.Join(askedAlgos(), ","))
	f, err := os.CreateTemp("", "hybridctl-ssh-*.conf")
	if err != nil {
		a.err = err
		return
	}
	a.own = f.Name()
	_, err = f.WriteString(b.String())
	a.err = errors.Join(err, f.Close())
}

func (a *asker) close() {
	a.once.Do(func() { a.err = errors.New("closed") })
	if a.own != "" {
		os.Remove(a.own)
	}
}

func (a *asker) ask(q question) (options, error) {
	if a.once.Do(a.write); a.err != nil {
		return nil, a.err
	}
	a.slots <- struct{}{}
	defer func() { <-a.slots }()
	a.mu.Lock()
	why := a.why
	a.mu.Unlock()
	if why != nil {
		return nil, why
	}
	out, err := a.run(q)
	if err != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.failed++; a.failed >= askTries {
			a.why = err
		}
		return nil, err
	}
	o := parseAnswer(out)
	o.settle(q, passwordHome())
	return o, nil
}

func (a *asker) run(q question) ([]byte, error) {
	args := []string{"-G", "-F", a.own}
	if q.port != 0 {
		args = append(args, "-p", strconv.Itoa(q.port))
	}
	if q.user != "" {
		args = append(args, "-l", q.user)
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	var out, words bytes.Buffer
	cmd := exec.CommandContext(ctx, a.program, append(args, "--", q.alias)...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &words, time.Second
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s -G %s: no end after %v", filepath.Base(a.program), q.alias, askTime)
	case err != nil:
		return nil, fmt.Errorf("%s -G %s: %s", filepath.Base(a.program), q.alias, lastWords(words.String(), err.Error()))
	}
	return out.Bytes(), nil
}

// lastWords are what a program said, in one line: all of it when that is short.
func lastWords(said, otherwise string) string {
	lines := strings.FieldsFunc(said, func(r rune) bool { return r == '\n' || r == '\r' })
	if len(lines) == 0 {
		return otherwise
	}
	return shorten(strings.Join(lines, "; "), 300)
}

// parseAnswer reads what `ssh -G` prints: a keyword and its value a line. The files of known_hosts stand in one line without quotes: a word that does
// not begin as a path does belongs to the one before.
func parseAnswer(text []byte) options {
	o := options{}
	for line := range strings.Lines(string(text)) {
		k, v, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		k = strings.ToLower(k)
		k = cmp.Or(formerly[k], k)
		if !slices.Contains(wanted, k) || v == "" {
			continue
		}
		switch k {
		case "userknownhostsfile", "globalknownhostsfile":
			o[k] = pathsOf(v)
		case "identityfile", "certificatefile":
			o[k] = append(o[k], v)
		default:
			o[k] = []string{v}
		}
	}
	return o
}

func pathsOf(s string) (paths []string) {
	for w := range strings.SplitSeq(s, " ") {
		if len(paths) > 0 && w != "none" && (w == "" || !strings.ContainsAny(w[:1], "/~%$")) {
			paths[len(paths)-1] += " " + w
		} else if w != "" {
			paths = append(paths, w)
		}
	}
	return paths
}
