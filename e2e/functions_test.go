package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// prelude reads the lab's functions, with an empty cache, and makes what stands for artefacts, a trial's result and machines.
const prelude = `
. ./lab/lab
mkdir -p "$CACHE/current" "$CACHE/ways" "$RUN"
built() {
  local name
  for name in qemu uml kernel-amd64 kernel-arm64 disk-amd64; do
    mkdir -p "$CACHE/$name-000000000000"
    ln -sfn "../$name-000000000000" "$CACHE/current/$name"
  done
}
result() {
  local arch=$1
  shift
  { trial_key "$arch" && printf '%s\n' "$@"; } >"$(trial_file "$arch")"
}
tried_here() {
  built
  result amd64 'kvm - no such device' 'tcg 1.00 2.00' 'uml 9.00 0.10'
  result arm64 'kvm - another processor' 'tcg 1.20 2.60'
}
machine() { # machine NAME WAY
  local pid
  mkdir -p "$RUN/$1"
  setsid sleep 600 >/dev/null 2>&1 &
  pid=$!
  trap "kill $pid 2>/dev/null || true" EXIT
  until [ "$(started "$pid")" ]; do sleep 0.01; done
  echo "$pid $(started "$pid")" >"$RUN/$1/pid"
  echo "$2" >"$RUN/$1/way"
}
`

// TestLabFunctions runs what the lab decides by, beside processes that stand for machines.
func TestLabFunctions(t *testing.T) {
	for _, tool := range []string{"bash", "perl", "setsid"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s on this machine; this runs where the lab runs", tool)
		}
	}
	for _, x := range []struct {
		name, script string
		exit         int
		want         []string // of what it prints, in this order
		never        string
	}{
		{"a command that there is none of", `./lab/lab frobnicate`, 2, []string{`there is no command frobnicate: "./lab/lab help" lists them`}, "usage"},
		{"a trial of nothing", `way_told amd64`, 1, []string{`nothing is built yet`}, "machines run under"},
		{"patience with a trial of nothing", `n=$(patience) || exit; echo "times $n"`, 1, []string{`nothing is built yet`}, "times"},
		{"no trial without artefacts is kept", `(way_told amd64) 2>/dev/null || find "$CACHE/ways" -type f; echo end`, 0, []string{"end"}, "/ways/"},
		{"a result that is there", `tried_here; tried() { echo again; }; way amd64; patience`, 0, []string{"tcg", "1"}, "again"},
		{"a result of the whole host is none of a share", `tried_here; share() { echo 100; }; tried_already amd64 || basename "$(trial_file amd64)"`, 0, []string{"amd64-100"}, ""},
		{"a way that an architecture lacks", `tried_here; network() { :; }; start() { echo "started $1"; }; LAB_ARM=kvm; up x86-1 arm-1`, 1,
			[]string{"LAB_ARM=kvm: this host cannot run Arm machines under kvm: another processor"}, "started"},
		{"a machine that runs, under another way", `tried_here; machine x86-1 'uml 1 2048M'; start() { echo "started $1"; }; up arm-1 x86-1`, 1,
			[]string{"x86-1 runs under uml, and x86 machines are to run under tcg now: ", `down x86-1" first, or LAB_X86=uml`}, "started"},
		{"a machine that runs, with other memory", `tried_here; machine x86-1 'uml 1 2048M'; LAB_X86=uml LAB_X86_MEMORY=3G; as_told x86-1`, 1,
			[]string{"LAB_X86_MEMORY=3G, and x86-1 runs with 2048M: "}, ""},
		{"a machine that runs as it is told", `tried_here; machine x86-1 'uml 1 2048M'; LAB_X86=uml; as_told x86-1; echo fine`, 0, []string{"fine"}, ""},
		{"a machine that starts again runs as it did", `tried_here; machine x86-1 'uml 1 2048M'; touch "$RUN/x86-1/disk"
			tap() { :; }; start_under() { echo "starts under $*"; }; LAB_X86_MEMORY=3G; start_again x86-1; wait; cat "$RUN/x86-1/way"`, 0,
			[]string{"starts under uml x86-1 1 2048M", "uml 1 2048M"}, "tcg"},
		{"a machine of an earlier lab that starts again", `tried_here; machine x86-1 uml; touch "$RUN/x86-1/disk"
			tap() { :; }; start_under() { echo "starts under $1 $2 $4"; }; LAB_X86_MEMORY=3G; start_again x86-1; wait`, 0, []string{"starts under uml x86-1 3G"}, "tcg"},
		{"a machine that is off starts as it is told", `tried_here; mkdir "$RUN/x86-1"; echo 'uml 1 2048M' >"$RUN/x86-1/way"; touch "$RUN/x86-1/disk"
			tap() { :; }; start_under() { echo "starts under $1 $2"; }; start_again x86-1; wait`, 0, []string{"starts under tcg x86-1"}, "uml"},
		{"an inventory of a machine that runs otherwise", `tried_here; machine x86-1 uml; inventory lab-x86`, 1, []string{"x86-1 runs under uml"}, "yaml"},
		{"a process that no one asked how it ended", `mkdir -p "$RUN/x86-1"
			perl -e '$p = fork; exec "true" if !$p; syswrite STDOUT, "$p\n"; sleep 60' >"$RUN/zombie" & parent=$!
			trap 'kill $parent' EXIT
			until read -r pid <"$RUN/zombie" && grep -q 'Z (zombie)' "/proc/$pid/status"; do sleep 0.01; done
			echo "$pid $(sed 's/.*) //' "/proc/$pid/stat" | cut -d' ' -f20)" >"$RUN/x86-1/pid"
			cut_power x86-1; echo end`, 0, []string{"end"}, ""},
		{"a process that was gone before it was looked at", `mkdir -p "$RUN/x86-1"; echo '4999999 ' >"$RUN/x86-1/pid"; cut_power x86-1; echo end`, 0, []string{"end"}, ""},
		{"the first machine that does not answer ends the waiting", `wait_up() { [ "$1" = arm-1 ] || exec sleep 60; die "$1 ended"; }; wait_all x86-1 arm-1`, 1, []string{"arm-1 ended"}, ""},
		{"what a build began ends with it", `work() { echo "$BASHPID" >"$RUN/work"; sleep 60; }
			(logged thing work) & build=$!
			until [ -s "$RUN/work" ]; do sleep 0.01; done
			kill "$build"; wait "$build" || true
			while kill -0 "$(<"$RUN/work")" 2>/dev/null; do sleep 0.01; done; echo end`, 0, []string{"end"}, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "bash", "-c", prelude+x.script)
			cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(t.TempDir(), "cache"), "LAB_X86=", "LAB_ARM=", "LAB_X86_CPUS=", "LAB_X86_MEMORY=")
			cmd.WaitDelay = time.Second
			out, err := cmd.CombinedOutput()
			if ctx.Err() != nil || cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != x.exit {
				t.Fatalf("%v, want exit %d:\n%s", err, x.exit, out)
			}
			rest := string(out)
			for _, want := range x.want {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Errorf("no %q in:\n%s", want, out)
				}
				rest = after
			}
			if x.never != "" && strings.Contains(string(out), x.never) {
				t.Errorf("%q in:\n%s", x.never, out)
			}
		})
	}
}
