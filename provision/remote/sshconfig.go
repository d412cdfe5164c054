package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/hybridctl/hybridctl/provision/hint"
)

// sshConfig answers as ~/.ssh/config and the system's ssh_config do. The nil value answers nothing.
//
// Two readings stand behind it. ours knows the language but for the conditions that only ssh can judge (Match exec, localnetwork,
// names made canonical). `ssh -G` is right by definition, and costs a process: it is asked once for all hosts whose lines are alike but
// for plain words, and for each host where ours cannot judge a block, or does not agree with it.
type sshConfig struct {
	path   string // the user's file, for messages
	home   string
	texts  []*configFile // the user's, then the system's
	asking *asker        // nil: there is no ssh
	log    *slog.Logger

	mu      sync.Mutex
	answers map[question]*answer
	agreed  map[string]*verdict // by the shape of the lines that hold for a host
	told    map[string]bool
}

// question is what decides which blocks hold.
type question struct {
	alias string // as after `ssh`
	user  string // of the inventory; "": whatever the file says
	port  int
}

type answer struct {
	once   sync.Once
	values options
}

type verdict struct {
	once  sync.Once
	agree bool
}

// options are the settings for one host as they were written, by keyword in small letters. Of most keywords only the first value
// counts; IdentityFile and CertificateFile have several.
type options map[string][]string

func (o options) one(keyword string) string {
	if v := o[keyword]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// wanted are the keywords that decide who is reached, with which key, and whether the host is believed.
var wanted = []string{"hostname", "user", "port", "addressfamily", "proxyjump", "proxycommand", "identityfile", "certificatefile",
	"identityagent", "identitiesonly", "hostkeyalias", "hostkeyalgorithms", "stricthostkeychecking", "userknownhostsfile",
	"globalknownhostsfile", "revokedhostkeys", "knownhostscommand", "requiredrsasize", "bindaddress", "bindinterface",
	"pubkeyauthentication", "casignaturealgorithms", "pubkeyacceptedalgorithms", "pkcs11provider", "securitykeyprovider"}

// formerly are keywords that ssh knows by another name, too.
var formerly = map[string]string{"pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms", "smartcarddevice": "pkcs11provider", "dsaauthentication": "pubkeyauthentication"}

// loadSSHConfig reads the user's file and the system's one; a file that does not exist says nothing. program is ssh itself, or "".
func loadSSHConfig(c Config, log *slog.Logger) (*sshConfig, error) {
	if c.SSHConfig == "" {
		return nil, nil
	}
	path, err := filepath.Abs(c.SSHConfig)
	if err != nil {
		return nil, fmt.Errorf("ssh config: %w", err)
	}
	s := &sshConfig{path: path, home: filepath.Dir(filepath.Dir(path)), log: log,
		answers: map[question]*answer{}, agreed: map[string]*verdict{}, told: map[string]bool{}}
	files := []string{path}
	if c.SystemSSHConfig != "" && sameHome(s.home) { // with a file of one's own (ssh -F) ssh leaves the system's out
		files = append(files, c.SystemSSHConfig)
	}
	r := configReader{home: s.home, warn: s.warn}
	for i, f := range files {
		dir := filepath.Dir(f)
		text, err := readFile(f)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil && i == 0:
			return nil, hint.With(fmt.Errorf("ssh config: %w", err), "ssh itself stops at it as well: make it a file that you may read, or move it away")
		case err != nil:
			s.warn("ssh config: file left out", "file", f, "error", err)
			continue
		}
		s.texts = append(s.texts, r.read(f, dir, text, 0))
	}
	if len(s.texts) == 0 {
		return nil, nil
	}
	if program, err := exec.LookPath(c.SSHProgram); err == nil && c.SSHProgram != "" && (!r.needsHome || sameHome(s.home)) {
		s.asking = newAsker(program, s.texts)
	}
	return s, nil
}

// sameHome reports whether ssh takes home for the user's: it asks the password database, not the environment.
func sameHome(home string) bool { return passwordHome() == "" || passwordHome() == home }

// passwordHome is the user's home in /etc/passwd; "": not there.
var passwordHome = sync.OnceValue(func() string {
	u, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err != nil {
		return ""
	}
	return filepath.Clean(u.HomeDir)
})

// warn tells each thing once.
func (s *sshConfig) warn(message string, args ...any) {
	s.warnOnce(fmt.Sprint(append([]any{message}, args...)...), message, args...)
}

func (s *sshConfig) warnOnce(key, message string, args ...any) {
	s.mu.Lock()
	again := s.told[key]
	s.told[key] = true
	s.mu.Unlock()
	if !again {
		s.log.Warn(message, args...)
	}
}

// options returns the settings for a host.
func (s *sshConfig) options(q question) options {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	a := s.answers[q]
	if a == nil {
		a = &answer{}
		s.answers[q] = a
	}
	s.mu.Unlock()
	a.once.Do(func() { a.values = s.find(q) })
	return a.values
}

func (s *sshConfig) find(q question) options {
	ours := evaluate(s.texts, q, s.home)
	if ours.byUser && q.user == "" && ours.values.one("user") == "" {
		q.user = defaultUser // ssh would take the local user's name, and `Match user` go by it
		ours = evaluate(s.texts, q, s.home)
	}
	switch {
	case s.asking == nil:
		s.leftOut(ours)
		return ours.values
	case len(ours.undecided) == 0 && (len(ours.values) == 0 || s.agrees(q, ours)):
		return ours.values
	}
	theirs, err := s.asking.ask(q)
	if err != nil {
		s.warnOnce("ask", "ssh config: ssh itself does not take it, so it was read without ssh", "file", s.path, "error", err)
		s.leftOut(ours)
		return ours.values
	}
	return theirs
}

// agrees reports whether ssh reads the lines that hold for a host as we do. The first host for which such lines hold is asked about, for all.
func (s *sshConfig) agrees(q question, ours evaluation) bool {
	key := fmt.Sprint(shapes(ours.held), q.user != "", q.port != 0) // whom it is asked as, and where, changes neither
	s.mu.Lock()
	v := s.agreed[key]
	if v == nil {
		v = &verdict{}
		s.agreed[key] = v
	}
	s.mu.Unlock()
	v.once.Do(func() {
		theirs, err := s.asking.ask(q)
		v.agree = err == nil && sameOptions(ours.values, theirs)
		s.log.Debug("ssh config: asked ssh", "host", q.alias, "agree", v.agree, "error", err)
	})
	return v.agree
}

// leftOut warns of the conditions that could not be judged.
func (s *sshConfig) leftOut(e evaluation) {
	for _, l := range e.undecided {
		s.warn("ssh config: left out, for only ssh itself can judge it", "file", l.file, "line", l.number, "text", l.text())
	}
}

// sameOptions compares what decides.
func sameOptions(a, b options) bool {
	for _, k := range wanted {
		if !slices.Equal(a[k], b[k]) {
			return false
		}
	}
	return true
}

// close takes away what asking needed.
func (s *sshConfig) close() {
	if s != nil && s.asking != nil {
		s.asking.close()
	}
}
