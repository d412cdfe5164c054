package facts

import (
	"context"
	"io"
	"os"
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

func speedy(files tree) tree {
	all := tree{"bin/uname": shellScript("echo x86_64"), "var/lib/": "", "proc/uptime": "12345.67 1.00\n", "bin/date": shellScript(`
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
