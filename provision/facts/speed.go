package facts

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Speed is how long two things take on a host that every run needs: starting a process, of which every step takes many, and
// a write that is on the disk when it returns, for which etcd waits at every change. Both are measured in passing, within two
// tenths of a second: enough to know the kind of host, not to compare two of a kind.
type Speed struct {
	Process time.Duration   // from the start of a process to the next one's; 0 = not known
	Synced  []time.Duration // each of some synced writes, the quickest first; nil = not known
	Stalled time.Duration   // a synced write took longer than this, and was not waited for; 0 = none did
	SDCard  bool            // whether the directory is on an SD card or eMMC
}

// Slowest is the slowest of the synced writes: their 99th percentile as well, as there are fewer than a hundred.
func (s Speed) Slowest() time.Duration {
	if len(s.Synced) == 0 {
		return 0
	}
	return s.Synced[len(s.Synced)-1]
}

// processesAtLeast is how many processes every run of the script takes, one after the other: fewer than there are.
const processesAtLeast = 8

// within bounds the time of one process by that of the whole script: one moment in which the host was busy is not its speed.
func (s *Speed) within(script time.Duration) {
	s.Process = min(s.Process, script/processesAtLeast)
}

// stall is how long the script waits for writes that take a tenth of a second on a disk that works.
const stall = time.Second

// mmcMajor is the major number of SD cards and eMMC (Documentation/admin-guide/devices.txt of the kernel).
const mmcMajor = 179

func readSpeed(d document) Speed {
	var s Speed
	times := slices.Collect(d.lines("process"))
	if len(times) == 2 {
		begun, ended := clockOf(times[0]), clockOf(times[1])
		if begun.exact() && ended.exact() && ended.time.After(begun.time) {
			s.Process = ended.time.Sub(begun.time)
		}
	}
	for line := range d.lines("synced") {
		if took, ok := ddTime(line); ok {
			s.Synced = append(s.Synced, took)
		}
	}
	if len(s.Synced) > 1 {
		s.Synced = s.Synced[1:] // the first found the place on the disk; etcd has its file laid out before
	}
	slices.Sort(s.Synced)
	if d.has("stalled") {
		s.Stalled = stall
	}
	// st_dev has the low eight bits of the minor number below the twelve of the major one.
	s.SDCard = d.number("device")>>8&0xfff == mmcMajor
	return s
}

// ddTime reads the last line that dd prints: "2048 bytes (2.0 kB, 2.0 KiB) copied, 0.0123 s, 166 kB/s" with coreutils,
// "2048 bytes (2.0KB) copied, 0.012300 seconds, 162.6KB/s" with busybox.
func ddTime(line string) (time.Duration, bool) {
	_, rest, found := strings.Cut(line, " copied, ")
	number, unit, _ := strings.Cut(rest, " ")
	if !found || !strings.HasPrefix(unit, "s") {
		return 0, false
	}
	seconds, err := strconv.ParseFloat(number, 64)
	if err != nil || !(seconds >= 0 && seconds < 3600) {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}
