package preflight

import (
	"time"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/report"
)

// speedCases are of what processes and synced writes take.
var speedCases = []one{
	{name: "slow processes", change: func(f *fixture) { f.host("arm-1").Speed.Process = 25 * time.Millisecond },
		host: "arm-1", check: "process-speed", status: report.Warn, message: "a process takes 25ms", hint: "set spec.kubernetes.timeouts.kubeletHealthCheck: 10m0s, "},
	{name: "slow processes of a control plane", change: func(f *fixture) { f.host("x86-1").Speed.Process = 25 * time.Millisecond },
		host: "x86-1", check: "process-speed", status: report.Warn, message: "25ms", hint: "controlPlaneComponentHealthCheck: 10m0s"},
	{name: "slow processes, and time for them", change: func(f *fixture) {
		f.host("x86-1").Speed.Process = 25 * time.Millisecond
		f.patience()
	}, host: "x86-1", check: "process-speed", status: report.Pass, message: "leave time"},
	{name: "hardly any processes", change: func(f *fixture) {
		f.host("x86-1").Speed.Process = 140 * time.Millisecond
		f.patience()
	}, host: "x86-1", check: "process-speed", status: report.Warn, message: "may end itself", hint: "startupProbe"},
	{name: "processes not measured", change: func(f *fixture) { f.host("arm-1").Speed.Process = 0 },
		host: "arm-1", check: "process-speed", status: report.Unknown, message: "was not measured"},
	{name: "a disk too slow for etcd", change: func(f *fixture) {
		f.host("x86-1").Speed.Synced = []time.Duration{time.Millisecond, 2 * time.Millisecond, 14 * time.Millisecond}
	}, host: "x86-1", check: "disk-speed", status: report.Warn, message: "the slowest of 3 synced writes took 14ms", hint: `heartbeat-interval: "500"`},
	{name: "a disk just quick enough", change: func(f *fixture) { f.host("x86-1").Speed.Synced = []time.Duration{10 * time.Millisecond} },
		host: "x86-1", check: "disk-speed", status: report.Pass, message: "the slowest of 1 synced writes took 10ms"},
	{name: "a slow disk and a patient etcd", change: func(f *fixture) {
		f.host("x86-1").Speed.Synced = []time.Duration{90 * time.Millisecond}
		f.etcdArgs("heartbeat-interval", "1000", "election-timeout", "10000")
	}, host: "x86-1", check: "disk-speed", status: report.Pass, message: "told to wait"},
	{name: "a disk that stalls", change: func(f *fixture) {
		f.host("x86-1").Speed = facts.Speed{Process: time.Millisecond, Synced: []time.Duration{time.Millisecond}, Stalled: time.Second}
	}, host: "x86-1", check: "disk-speed", status: report.Warn, message: "a synced write was not done after 1s", hint: `heartbeat-interval: "500"`},
	{name: "a disk that stalls and a patient etcd", change: func(f *fixture) {
		f.host("x86-1").Speed = facts.Speed{Process: time.Millisecond, Stalled: time.Second}
		f.etcdArgs("heartbeat-interval", "1000", "election-timeout", "10000")
	}, host: "x86-1", check: "disk-speed", status: report.Pass, message: "not done after 1s, and etcd is told to wait"},
	{name: "a slow disk and half the patience", change: func(f *fixture) {
		f.host("x86-1").Speed.Synced = []time.Duration{90 * time.Millisecond}
		f.etcdArgs("heartbeat-interval", "1000", "election-timeout", "10000", "election-timeout", "1000")
	}, host: "x86-1", check: "disk-speed", status: report.Warn, message: "90ms"},
	{name: "a slow disk nobody waits for", change: func(f *fixture) {
		f.host("x86-1").Speed = facts.Speed{Process: time.Millisecond, SDCard: true, Synced: []time.Duration{90 * time.Millisecond}}
		f.etcdArgs("unsafe-no-fsync", "true")
	}, host: "x86-1", check: "disk-speed", status: report.Pass, message: "does not wait"},
	{name: "an SD card that is quick for a moment", change: func(f *fixture) { f.host("x86-1").Speed.SDCard = true },
		host: "x86-1", check: "disk-speed", status: report.Warn, message: "SD card", hint: "SSD"},
	{name: "an SD card in a worker", change: func(f *fixture) { f.host("arm-1").Speed.SDCard = true },
		host: "arm-1", check: "disk-speed", status: report.Pass, message: "no etcd"},
	{name: "a disk that was not measured", change: func(f *fixture) { f.host("x86-1").Speed.Synced = nil },
		host: "x86-1", check: "disk-speed", status: report.Unknown, message: "was not measured", hint: "fio"},
}
