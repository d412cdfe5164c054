package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hybridctl/hybridctl/provision/golden"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"hybridctl": main, "waiter": waiter, "asker": asker})
}

// waiter is a process that does nothing but say what signals do to it.
func waiter() {
	i := watch()
	fmt.Println("ready", i.interrupted())
	<-i.stop
	fmt.Println("stopping", i.interrupted())
	<-i.ctx.Done()
	fmt.Println("cancelled")
	select {}
}

func TestInterrupts(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd := exec.Command(os.Args[0])
		cmd.Args[0] = "waiter"
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		for _, want := range []string{"ready false\n", "stopping true\n", "cancelled\n"} {
			if got, err := lines.ReadString('\n'); got != want {
				t.Fatalf("got %q, %v; want %q", got, err, want)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 {
			t.Errorf("after three times %v: %v, want exit code 130", sig, err)
		}
	}
}

// TestAct_OneSignalAtATime: the channel has no room, so that each send waits until the signal before it was acted on.
func TestAct_OneSignalAtATime(t *testing.T) {
	signals, code := make(chan os.Signal), make(chan int, 1)
	i := act(signals, func(c int) { code <- c })
	for n := 1; n <= 3; n++ {
		select {
		case signals <- syscall.SIGINT:
		case <-code:
			t.Fatalf("the process ends before signal %d", n)
		}
	}
	if got := <-code; got != 130 {
		t.Errorf("exit code %d, want 130", got)
	}
	if i.ctx.Err() == nil || !i.interrupted() {
		t.Error("the run was not told")
	}
}

// TestScripts runs the command lines in testdata/script in processes of their own. No script reaches a host.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       golden.Update(),
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits runs a command and holds its exit code: exits 2 hybridctl up.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
