package facts

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/remote"
)

func TestSpeed_Read(t *testing.T) {
	const ms = time.Millisecond
	gnu := func(seconds string) string {
		return "1+0 records in\n1+0 records out\n2048 bytes (2.0 kB, 2.0 KiB) copied, " + seconds + " s, 71.2 kB/s\n"
	}
	for name, c := range map[string]struct {
		process, synced, device string
		want                    Speed
	}{
		"nothing asked": {},
		"a good disk": {"1.000000000\n1.002000000\n", gnu("0.02") + gnu("0.003") + gnu("0.001") + gnu("1e-05"), "2049",
			Speed{Process: 2 * ms, Synced: []time.Duration{10 * time.Microsecond, ms, 3 * ms}}},
		"one write only": {"1.000000000\n1.002000000\n", gnu("0.25"), "45824", // 179:0
			Speed{Process: 2 * ms, Synced: []time.Duration{250 * ms}, SDCard: true}},
		"a partition of an SD card": {"", "", "45826", Speed{SDCard: true}},
		"busybox": {"1700000000\n1700000000\n", "2048 bytes (2.0KB) copied, 0.012300 seconds, 162.6KB/s\n", "",
			Speed{Synced: []time.Duration{12300 * time.Microsecond}}},
		"a date without fractions":  {"1700000000.\n1700000001.\n", "", "", Speed{}},
		"a clock that was set back": {"2.000000000\n1.000000000\n", "", "", Speed{}},
		"one date":                  {"2.000000000\n", "", "", Speed{}},
		"not a dd":                  {"", "dd: error\n2048 bytes copied, soon\n2048 bytes copied, NaN s\n2048 bytes copied, -1 s\n1 copied, 99999999 s", "x", Speed{}},
	} {
		if got := readSpeed(document{"process": c.process, "synced": c.synced, "device": c.device}); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	if got := readSpeed(document{"synced": gnu("0.02") + gnu("0.003"), "stalled": ""}); got.Stalled != time.Second || got.Slowest() != 3*ms {
		t.Errorf("a disk that stalls: %v", got)
	}
}

// slow is a host whose one process took a second in passing, in a script that took 80 ms.
type slow struct{ remote.Runner }

func (slow) Run(_ context.Context, cmd remote.Command) (remote.Output, error) {
	_, err := io.WriteString(cmd.Stdout, `{"clock":"5.000000000","machine":"x86_64","process":"5.000000000\n6.000000000\n"}`)
	return remote.Output{}, err
}

func TestSpeed_OneBusyMomentIsNotTheHosts(t *testing.T) {
	h, err := observe(t.Context(), slow{}, remote.Command{})
	if err != nil || h.Speed.Process > 100*time.Millisecond {
		t.Errorf("a process takes %v, %v", h.Speed.Process, err)
	}
}

// speedOf asks this machine, in a root of its own; the dd of the machine writes.
func speedOf(t *testing.T, shell []string, files tree) (Speed, string) {
	t.Helper()
	root := files.write(t)
	h, err := parsed(run(t, shell, root, Ask{Synced: "/var/lib/etcd"}))
	if err != nil {
		t.Fatal(err)
	}
	return h.Speed, root
}

// patient is a program that does not end before the test does: how busy this machine is must not matter.
var patient = shellScript(`while [ -e "$0" ]; do /bin/sleep 1; done`)

func speedy(files tree) tree {
	all := tree{"bin/uname": shellScript("echo x86_64"), "bin/sleep": patient, "var/lib/": "", "proc/uptime": "12345.67 1.00\n", "bin/date": shellScript(`
		n=$(cat "${0%/*}/../n" 2>/dev/null); n=$((${n:-0} + 1)); echo $n >"${0%/*}/../n"; echo "1700000009.99${n}000000"`)}
	for name, text := range files {
		all[name] = text
	}
	return all
}

func TestScript_Speed(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("not a Linux machine")
	}
	// What it wrote to is gone, whatever the disk says.
	nothingLeft := func(t *testing.T, root string) {
		t.Helper()
		left, err := os.ReadDir(filepath.Join(root, "var/lib"))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
	for _, shell := range available(t, shells) {
		t.Run(strings.Join(shell, " "), func(t *testing.T) {
			takesTools(t, shell)
			s, root := speedOf(t, shell, speedy(nil)) // this machine's disk; uptime stands still
			if len(s.Synced) != 15 || s.Slowest() < s.Synced[0] || s.Process != time.Millisecond {
				t.Errorf("got %v", s)
			}
			nothingLeft(t, root)

			s, root = speedOf(t, shell, speedy(tree{"proc/uptime": ""}))
			if len(s.Synced) != 2 {
				t.Errorf("without a clock to stop by: %v", s)
			}
			nothingLeft(t, root)

			// A dd that knows fsync only, and prints as busybox's does.
			s, root = speedOf(t, shell, speedy(tree{"bin/dd": shellScript(`
				case "$*" in *oflag*) echo "dd: invalid argument" >&2; exit 1;; esac
				echo "2048 bytes (2.0KB) copied, 0.030000 seconds, 66KB/s" >&2`)}))
			if s.Slowest() != 30*time.Millisecond {
				t.Errorf("fsync only: %v", s)
			}
			nothingLeft(t, root)

			s, root = speedOf(t, shell, speedy(tree{"bin/dd": shellScript("echo 'dd: No space left on device' >&2; exit 1")}))
			if s.Synced != nil || s.Process == 0 {
				t.Errorf("a full disk: %v", s)
			}
			nothingLeft(t, root)

			// An uptime that runs: no one is held up.
			s, root = speedOf(t, shell, speedy(tree{"bin/dd": shellScript(`
				echo "12345.99 1.00" >"${0%/*}/../proc/uptime"
				echo "2048 bytes (2.0KB) copied, 0.320000 seconds, 66KB/s" >&2`)}))
			if !reflect.DeepEqual(s.Synced, []time.Duration{320 * time.Millisecond}) {
				t.Errorf("a slow disk: %v", s)
			}
			nothingLeft(t, root)

			// Where processes are slow, no more are started than one.
			s, root = speedOf(t, shell, speedy(tree{"bin/date": shellScript(`
				if [ -e "${0%/*}/../n" ]; then echo 1700000010.050000000; else echo 1700000009.910000000; : >"${0%/*}/../n"; fi`),
				"bin/dd": shellScript(`: >"${0%/*}/../var/lib/started"`)}))
			if s.Process != 140*time.Millisecond || s.Synced != nil {
				t.Errorf("slow processes: %v", s)
			}
			nothingLeft(t, root)
		})
	}
}

// Each process that is started for it takes as long as the two dates are apart: that holds no host up for more than two tenths of a second.
func TestScript_SpeedHoldsNoOneUp(t *testing.T) {
	const budget = 200 // ms
	for _, shell := range available(t, shells) {
		t.Run(strings.Join(shell, " "), func(t *testing.T) {
			takesTools(t, shell)
			for _, process := range []int{2, 10, 20, 25, 27, 36, 40, 100} {
				for _, gnu := range []bool{true, false} {
					files := tree{"bin/uname": shellScript("echo x86_64"), "var/lib/": "", "proc/uptime": "12345.00 1.00\n", "started": "", "bin/date": shellScript(fmt.Sprintf(`
						if [ -e "${0%%/*}/../n" ]; then echo x >>"${0%%/*}/../started"; echo 1700000009.%03d000000; else echo 1700000009.000000000; : >"${0%%/*}/../n"; fi`, process))}
					files["bin/sleep"] = strings.Replace(patient, "while", `echo x >>"${0%/*}/../started"; while`, 1)
					for _, name := range []string{"stat", "rm", "dd"} {
						real, err := exec.LookPath(name)
						if err != nil {
							t.Fatal(err)
						}
						text := fmt.Sprintf(`root=${0%%/*}/..; echo x >>"$root/started"; n=0; while read -r _; do n=$((n + %d)); done <"$root/started"
							printf '%%d.%%02d 1.00\n' "$((12345 + n / 1000))" "$((n / 10 %% 100))" >"$root/proc/uptime"`+"\n", process)
						if name == "dd" && !gnu {
							text += "case $* in *oflag*) exit 1 ;; esac\n"
						}
						files["bin/"+name] = shellScript(text + "exec " + real + ` "$@"`)
					}
					root := files.write(t)
					h, err := parsed(run(t, shell, root, Ask{Synced: "/var/lib/etcd"}))
					if err != nil {
						t.Fatal(err)
					}
					started, err := os.ReadFile(filepath.Join(root, "started"))
					if err != nil {
						t.Fatal(err)
					}
					n := strings.Count(string(started), "x")
					if n > 1 && n*process > budget || n == 0 || (process <= 25) != (len(h.Speed.Synced) > 0) || h.Speed.Stalled != 0 {
						t.Errorf("processes of %d ms, GNU %t: %d are started, %d ms; %v", process, gnu, n, n*process, h.Speed)
					}
				}
			}
		})
	}
}

// A disk that holds a write up holds no one else up: the answer is whole when a second is over, and nothing of the caller's stays open.
func TestScript_SpeedOfADiskThatStalls(t *testing.T) {
	const one = `echo "2048 bytes (2.0KB) copied, 0.002000 seconds, 66KB/s" >&2`
	for _, shell := range available(t, shells) {
		for name, c := range map[string]struct {
			dd   string
			want Speed
		}{
			"at once":    {patient, Speed{Process: time.Millisecond, Stalled: time.Second}},
			"after some": {strings.Replace(patient, "while", `n=${0%/*}/../writes; echo x >>"$n"; if [ "$(wc -l <"$n")" -le 3 ]; then `+one+`; exit; fi; while`, 1), Speed{Process: time.Millisecond, Synced: []time.Duration{2 * time.Millisecond, 2 * time.Millisecond}, Stalled: time.Second}},
		} {
			t.Run(strings.Join(shell, " ")+", "+name, func(t *testing.T) {
				takesTools(t, shell)
				// A second is over when the write that stalls has begun.
				root := speedy(tree{"bin/dd": c.dd, "bin/sleep": shellScript(`while ! [ -e "${0%/*}/../stalls" ]; do /bin/sleep 0.1; done`)})
				root["bin/dd"] = strings.Replace(c.dd, "while", `: >"${0%/*}/../stalls"; while`, 1)
				command := Ask{Synced: "/var/lib/etcd"}.command(true)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				args := append(append(shell[1:len(shell):len(shell)], "-c", command.Script, "sh"), command.Args...)
				cmd := exec.CommandContext(ctx, shell[0], append(args, root.write(t))...)
				cmd.WaitDelay = time.Second // an end that is cut short is an error
				var complaints strings.Builder
				cmd.Stderr = &complaints
				out, err := cmd.Output()
				if err != nil || complaints.Len() > 0 {
					t.Fatalf("%v, %s", err, &complaints)
				}
				if h, err := parsed(out); err != nil || !reflect.DeepEqual(h.Speed, c.want) {
					t.Errorf("%v, %v", h.Speed, err)
				}
			})
		}
	}
}

// A host without sleep, or with a directory that takes no file, tells of no stall.
func TestScript_SpeedThatIsNotMeasuredIsNoStall(t *testing.T) {
	for _, shell := range available(t, shells) {
		t.Run(strings.Join(shell, " "), func(t *testing.T) {
			takesTools(t, shell)
			s, _ := speedOf(t, shell, speedy(tree{"bin/sleep": shellScript("exit 127")}))
			if len(s.Synced) != 15 || s.Stalled != 0 {
				t.Errorf("without sleep: %v", s)
			}
			root := speedy(nil).write(t)
			if err := os.Remove(filepath.Join(root, "var/lib")); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("/proc/self", filepath.Join(root, "var/lib")); err != nil { // no one makes files there, not even root
				t.Fatal(err)
			}
			h, err := parsed(run(t, shell, root, Ask{Synced: "/var/lib/etcd"}))
			if err != nil || h.Speed.Synced != nil || h.Speed.Stalled != 0 || h.Speed.Process == 0 {
				t.Errorf("where no file can be made: %v, %v", h.Speed, err)
			}
		})
	}
}

func TestScript_SpeedIsMeasuredWhereItIsAsked(t *testing.T) {
	for _, shell := range available(t, shells) {
		t.Run(strings.Join(shell, " "), func(t *testing.T) {
			takesTools(t, shell)
			root := speedy(tree{"bin/dd": shellScript(`: >"${0%/*}/../started"`)}).write(t)
			for want, ask := range map[time.Duration]Ask{0: {}, time.Millisecond: {Synced: onlyProcesses}} {
				h, err := parsed(run(t, shell, root, ask))
				if _, missing := os.Stat(filepath.Join(root, "started")); err != nil || missing == nil || !reflect.DeepEqual(h.Speed, Speed{Process: want}) {
					t.Errorf("%v, %v", h.Speed, err)
				}
			}
		})
	}
}
