// Command iptables-wrapper stands behind every iptables name in the images that program a node's packet filter. The first
// call finds out which back end the node uses, points all names at that back end's executable, and goes on as it.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const dir = "/usr/sbin/"

var names = []string{"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"}

func main() {
	multi := dir + "xtables-" + backend() + "-multi"
	for _, n := range names {
		// A failed switch costs the next call the search again, nothing more.
		if os.Symlink(multi, dir+n+".new") == nil {
			os.Rename(dir+n+".new", dir+n)
		}
	}
	argv := append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...)
	err := syscall.Exec(multi, argv, os.Environ())
	fmt.Fprintf(os.Stderr, "iptables-wrapper: %s: %v\n", multi, err)
	os.Exit(1)
}

// backend prefers the one in which the kubelet has left its hint; without a hint, nf_tables where it works.
func backend() string {
	for _, b := range []string{"nft", "legacy"} {
		out, err := exec.Command(dir+"xtables-"+b+"-multi", "iptables-save", "-t", "mangle").Output()
		if err == nil && (strings.Contains(string(out), "KUBE-IPTABLES-HINT") || strings.Contains(string(out), "KUBE-KUBELET-CANARY")) {
			return b
		}
	}
	// Listing succeeds on a kernel whose nf_tables has no IPv4 family; only making a chain tells the truth.
	const chain = "BACKEND-PROBE"
	nft := func(op string) error {
		return exec.Command(dir+"xtables-nft-multi", "iptables", "-w", "-t", "mangle", op, chain).Run()
	}
	if nft("-N") != nil {
		return "legacy"
	}
	nft("-X")
	return "nft"
}
