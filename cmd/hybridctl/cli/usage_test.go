package cli

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"up", "up", 0}, {"", "up", 2}, {"up", "", 2}, {"upp", "up", 1}, {"kitten", "sitting", 3}, {"pln", "plan", 1},
	} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	names := []string{"up", "plan", "preflight", "status"}
	for typed, want := range map[string]string{
		"pln": "; did you mean plan?", "prefligt": "; did you mean preflight?", "zzz": "", "x": "", "upp": "; did you mean up?",
	} {
		if got := didYouMean("", typed, names); got != want {
			t.Errorf("%s: %q, want %q", typed, got, want)
		}
	}
}

func TestVerbosity(t *testing.T) {
	for in, want := range map[string]slog.Level{
		"0": slog.LevelError, "1": slog.LevelWarn, "2": slog.LevelInfo, "3": slog.LevelDebug, "5": -12,
		"error": slog.LevelError, "WARN": slog.LevelWarn, "info": slog.LevelInfo, "debug": slog.LevelDebug,
	} {
		var v verbosity
		if err := v.Set(in); err != nil || slog.Level(v) != want {
			t.Errorf("%s: %v, %v; want %v", in, slog.Level(v), err, want)
		}
	}
	for _, in := range []string{"6", "-1", "", "loud"} {
		if err := new(verbosity).Set(in); err == nil {
			t.Errorf("%q is no verbosity, but no error", in)
		}
	}
}

// What is wrong with a flag is said in our words, and not in those of a library.
func TestFlags_SayWhatIsWrong(t *testing.T) {
	for line, want := range map[string]string{
		"plan --parallel x":                    `error: --parallel must be a whole number, not "x"`,
		"plan --parallel=":                     `error: --parallel must be a whole number, not ""`,
		"plan --parallel 1.5":                  `error: --parallel must be a whole number, not "1.5"`,
		"plan --parallel 99999999999999999999": "error: --parallel: 99999999999999999999 is too large a number",
		"plan --parallel -1":                   "error: --parallel must not be negative",
		"conformance --max-pairs many":         `error: --max-pairs must be a whole number, not "many"`,
		"conformance --max-pairs -1":           "error: --max-pairs must be at least 1",
		"conformance --max-pairs 0":            "error: --max-pairs must be at least 1",
		"conformance --seed x":                 `error: --seed must be a whole number, not "x"`,
		"bundle gc --unused x":                 `error: --unused must be a length of time, such as 90s, 36h or 30d, not "x"`,
		"bundle gc --unused 3":                 `error: --unused must be a length of time, such as 90s, 36h or 30d, not "3"`,
		"bundle gc --unused=-3h":               `error: --unused must be a length of time, such as 90s, 36h or 30d, not "-3h"`,
		"bundle gc --unused":                   "error: --unused wants a value",
		"bundle gc --dry-run=maybe":            `error: --dry-run must be true or false, not "maybe"`,
		"remove arm-1 --timeout soon":          `error: --timeout must be a length of time, such as 90s, 36h or 30d, not "soon"`,
		`bundle fetch --arch a"b`:              `error: --arch: "a\"b" cannot be read; values are separated by commas, and want no quotes`,
		"plan -o xml":                          "error: --output must be text, json or yaml (or sarif, for verbs that find something in files), not \"xml\"",
		"plan --verbosity loud":                `error: --verbosity must be 0 to 5, or error, warn, info, debug, not "loud"`,
		"plan --log-format x":                  `error: --log-format must be text or json, not "x"`,
		"plan --nope":                          "error: there is no flag --nope",
		"plan --inventry x":                    "error: there is no flag --inventry; did you mean --inventory?",
		"plan -z":                              "error: there is no flag -z",
		"plan -f":                              "error: --inventory wants a value",
		"plan ---x":                            "error: ---x is no flag",
		"remove arm-1 --force=":                "error: --force: name a host, or write --force alone",
	} {
		r := newRun(t)
		r.want(line, 2)
		says := r.stderr.String()
		if !strings.HasPrefix(says, want+"\n") || !strings.Contains(says, "must be at least") && !strings.Contains(line, "-1") && !strings.HasSuffix(says, " --help lists the flags\n") {
			t.Errorf("%s: %s", line, says)
		}
	}
}

// A command line that is not understood names, on a line of its own, the command that says how it is written.
func TestCalledWrongly_TheHintIsACommand(t *testing.T) {
	for line, hint := range map[string]string{
		"inventory":                "hybridctl inventory --help lists the commands",
		"inventory valdate":        "hybridctl inventory --help lists the commands",
		"plan arm-1":               "hybridctl plan --help lists the flags",
		"--yes up":                 "hybridctl up --help lists them",
		"remove":                   "hybridctl remove --help shows how it is called",
		"report diff a":            "hybridctl report diff --help shows how it is called",
		"inventory add":            "hybridctl inventory add --help shows how it is called",
		"inventory rename x":       "hybridctl inventory rename --help shows how it is called",
		"bundle export":            "hybridctl bundle export --help shows how it is called",
		"bundle diff a":            "hybridctl bundle diff --help shows how it is called",
		"image inspect":            "hybridctl image inspect --help shows how it is called",
		"init a b":                 "hybridctl init --help shows how it is called",
		"completion":               "name one: bash, zsh, fish or powershell",
		"completion tcsh":          "name one: bash, zsh, fish or powershell",
		"adopt":                    "give --kubeconfig FILE, or --ssh-host [USER@]ADDRESS of a control plane",
		"workload lint":            "give -f FILE, a directory, or - for standard input; or --kubeconfig FILE for a running cluster",
		"workload lint --rule x-y": "hybridctl workload lint --list shows them",
		"inventory set foo":        "hybridctl inventory unset takes a field out",
	} {
		r := newRun(t)
		r.want(line, 2)
		if says := r.stderr.String(); !strings.HasPrefix(says, "error: ") || strings.Count(says, "\n") != 2 || !strings.HasSuffix(says, "\nhint: "+hint+"\n") {
			t.Errorf("%s: %s", line, says)
		}
	}
}

// Help for what is no command is an error, as the command itself is, and never another command's help.
func TestHelp_OfWhatIsNoCommand(t *testing.T) {
	for line, want := range map[string]string{
		"help upp":              `unknown command "upp" for hybridctl; did you mean up?`,
		"help inventory valdte": `unknown command "valdte" for hybridctl inventory`,
		"help up arm-1":         `unknown command "arm-1" for hybridctl up`,
	} {
		r := newRun(t)
		r.want(line, 2)
		if says := r.stderr.String(); !strings.HasPrefix(says, "error: "+want) || !strings.Contains(says, "\nhint: ") || r.stdout.Len() > 0 {
			t.Errorf("%s: %s%s", line, says, r.stdout.String())
		}
	}
	for line, want := range map[string]string{"help": "Usage:\n  hybridctl", "help up": "up connects to every host", "help inventory set": "set gives fields a value"} {
		r := newRun(t)
		r.want(line, 0)
		if got := r.stdout.String(); !strings.Contains(got, want) {
			t.Errorf("%s: %s", line, got)
		}
	}
}

// A group alone is an error, a value behind a blank is none of a flag that may stand alone, and findings are written as sarif, too: the help
// says so.
func TestHelp_SaysWhatIsTaken(t *testing.T) {
	for line, want := range map[string][2]string{
		"help bundle":        {"Usage:\n  hybridctl bundle [command]\n", "hybridctl bundle [flags]"},
		"help conformance":   {"Usage:\n  hybridctl conformance [flags]\n  hybridctl conformance [command]\n", ""},
		"help workload lint": {"how results are written: text, json, yaml or sarif", "text, json or yaml"},
		"help image audit":   {"how results are written: text, json, yaml or sarif", "text, json or yaml"},
		"help destroy":       {"      --force[=HOST,...] ", "[=true]"},
		"help up":            {"      --merge-kubeconfig[=PATH] ", "kubectl's own"},
		"help image inspect": {"      --plain-http[=HOST[:PORT]] ", "[=*]"},
		"help plan":          {"how results are written: text, json or yaml", "sarif"},
	} {
		r := newRun(t)
		r.want(line, 0)
		if got := r.stdout.String(); !strings.Contains(got, want[0]) || want[1] != "" && strings.Contains(got, want[1]) {
			t.Errorf("%s: %s", line, got)
		}
	}
}

func TestFlags_OfOtherProgramsForTheVersion(t *testing.T) {
	for line, want := range map[string]string{"--version": "--version", "-v": "-v", "-V": "-V"} {
		r := newRun(t)
		r.want(line, 2)
		if got := r.stderr.String(); got != "error: there is no flag "+want+"\nhint: hybridctl version shows which hybridctl this is\n" {
			t.Errorf("%s: %s", line, got)
		}
	}
}

func TestLasting(t *testing.T) {
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "36h": 36 * time.Hour, "30d": 720 * time.Hour, "1d12h": 36 * time.Hour, "0d": 0} {
		var s lasting
		if err := s.Set(text); err != nil || time.Duration(s) != want {
			t.Errorf("%s: %s, %v", text, time.Duration(s), err)
		}
	}
	for _, text := range []string{"", "d", "3", "3w", "-1d", "1d-2h", "1.5d", "99999999d", "65535d2000000h", "x"} {
		if err := new(lasting).Set(text); err == nil {
			t.Errorf("%q is no length of time, but no error", text)
		}
	}
}
