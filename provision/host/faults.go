package host

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hybridctl/hybridctl/provision/remote"
)

// faultComment stands in the firewall's rules of self-tests, before the run's ID.
const faultComment = "hybridctl self-test"

// faultRule is such a rule as `iptables -S` prints it. What is read of it is checked part by part: it becomes a command again.
var faultRule = regexp.MustCompile(`^-A INPUT -s (\S+) -p udp -m udp --dport ([0-9]{1,5}) -m comment --comment "` + faultComment + `(?: ([0-9a-f-]{1,20}))?" -j DROP$`)

// fault is a rule of a self-test: datagrams from an address to a port are thrown away. Rules of earlier versions bear no run's ID.
type fault struct {
	from netip.Prefix
	port int
	run  string
}

func (f fault) argv(verb string) []string {
	return []string{
		"iptables", "-w", "30", verb, "INPUT", "-p", "udp", "-s", f.from.String(), "--dport", strconv.Itoa(f.port),
		"-m", "comment", "--comment", strings.TrimSpace(faultComment + " " + f.run), "-j", "DROP",
	}
}

// DropUDP throws away the datagrams that come from an address to a port, until RemoveFaults with the same ID of a run.
func (h *Host) DropUDP(ctx context.Context, run, from string, port int) error {
	address, err := netip.ParseAddr(from)
	if err != nil {
		return fmt.Errorf("drop datagrams from %q: %w", from, err)
	}
	_, err = h.runner.Run(ctx, remote.Command{Argv: fault{netip.PrefixFrom(address, address.BitLen()), port, run}.argv("-I"), Sudo: true})
	if err != nil {
		return fmt.Errorf("iptables -I INPUT: %w", err)
	}
	return nil
}

// Faults lists the IDs of the runs whose rules of a self-test are there.
func (h *Host) Faults(ctx context.Context) ([]string, error) {
	all, err := h.faults(ctx)
	var runs []string
	for _, f := range all {
		runs = append(runs, f.run)
	}
	slices.Sort(runs)
	return slices.DeleteFunc(slices.Compact(runs), func(id string) bool { return id == "" }), err
}

// RemoveFaults deletes the rules of a run's self-test, and those that bear no run's ID.
func (h *Host) RemoveFaults(ctx context.Context, run string) error {
	all, err := h.faults(ctx)
	if err != nil {
		return err
	}
	for _, f := range all {
		if f.run != run && f.run != "" {
			continue
		}
		if _, err := h.runner.Run(ctx, remote.Command{Argv: f.argv("-D"), Sudo: true}); err != nil {
			return fmt.Errorf("iptables -D INPUT: %w", err)
		}
	}
	return nil
}

func (h *Host) faults(ctx context.Context) ([]fault, error) {
	out, err := h.runner.Run(ctx, remote.Command{Argv: []string{"iptables", "-w", "30", "-S", "INPUT"}, Sudo: true})
	if err != nil {
		return nil, fmt.Errorf("iptables -S INPUT: %w", err)
	}
	return parseFaults(string(out.Stdout)), nil
}

// parseFaults finds the rules of self-tests in what `iptables -S INPUT` prints.
func parseFaults(text string) []fault {
	var out []fault
	for line := range strings.Lines(text) {
		m := faultRule.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		if m == nil {
			continue
		}
		from, err := netip.ParsePrefix(m[1])
		port, perr := strconv.Atoi(m[2])
		if err != nil || perr != nil || from != from.Masked() || port > 65535 {
			continue
		}
		out = append(out, fault{from, port, m[3]})
	}
	return out
}
