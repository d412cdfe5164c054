// Command probe runs inside the pods of a conformance run: "probe serve" answers on its port, "probe agent" carries out the orders
// that come on standard input. It runs no commands for anybody.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/hybridctl/hybridctl/provision/probe"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: probe serve|agent|sleep|who")
	}
	switch args[0] {
	case "serve":
		address := ":" + strconv.Itoa(probe.Port)
		tcp, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		udp, err := net.ListenPacket("udp", address)
		if err != nil {
			return err
		}
		return probe.Serve(ctx, probe.Self(), probe.SecretOfRun(), tcp, udp)
	case "agent":
		return probe.Agent{Who: probe.Self(), Secret: probe.SecretOfRun()}.Run(ctx, os.Stdin, os.Stdout)
	case "sleep": // a container that only agents are started in
		<-ctx.Done()
		return nil
	case "who":
		w := probe.Self()
		fmt.Printf("%s %s %s elf %d %s\n", w.Pod, w.Node, w.UnameM, w.ELF, w.Kernel)
		return nil
	}
	return fmt.Errorf("no command %q: serve, agent, sleep or who", args[0])
}
