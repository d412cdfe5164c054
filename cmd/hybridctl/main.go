// Command hybridctl builds Kubernetes clusters of mixed x86 and Arm hosts. This package has what belongs to the process: streams,
// signals, the exit code. The command line is package cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hybridctl/hybridctl/cmd/hybridctl/cli"
	"github.com/hybridctl/hybridctl/cmd/hybridctl/quiet"
)

// version is set by the linker: -ldflags "-X main.version=v1.2.3".
var version string

func main() { os.Exit(run()) }

func run() int {
	quiet.Over()
	// A reader that goes away (… | head) must not kill a run half-way: writes fail instead.
	signal.Ignore(syscall.SIGPIPE)
	i := watch()
	err := cli.Run(i.ctx, cli.Deps{
		Stdout:   os.Stdout,
		Stderr:   os.Stderr,
		Stdin:    os.Stdin,
		Terminal: cli.SystemTerminal(os.Stdin),
		Stop:     i.stop,
		Getenv:   os.Getenv,
		Version:  cli.ReadVersion(version),
		Front:    cli.Engine(),
	}, os.Args[1:])
	return cli.ExitCode(err, i.interrupted())
}

// interrupts turns signals into what a run can act on.
type interrupts struct {
	ctx  context.Context // ends with the second signal
	stop chan struct{}   // closed by the first
}

// goodbye is how long a run may take to let go of hosts and terminal after the second signal.
const goodbye = 2 * time.Second

// watch begins to listen to SIGINT and SIGTERM, until the process ends.
func watch() interrupts {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	return act(signals, os.Exit)
}

// act counts signals: the first asks the run to stop, the second tells it to, and the third, or time, ends the process.
func act(signals <-chan os.Signal, exit func(int)) interrupts {
	ctx, cancel := context.WithCancel(context.Background())
	i := interrupts{ctx: ctx, stop: make(chan struct{})}
	go func() { // ends with the process
		<-signals
		close(i.stop)
		<-signals
		cancel()
		select {
		case <-signals:
		case <-time.After(goodbye):
		}
		exit(cli.ExitCode(context.Canceled, true))
	}()
	return i
}

func (i interrupts) interrupted() bool {
	select {
	case <-i.stop:
		return true
	default:
		return false
	}
}
