package remote

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// ParseJump reads a jump chain as ssh -J takes it: [user@]host[:port], a comma between two hops, the nearest first.
// "none" and "" are no hops.
func ParseJump(s string) ([]HostConfig, error) {
	if s == "" || strings.EqualFold(s, "none") {
		return nil, nil
	}
	var hops []HostConfig
	for word := range strings.SplitSeq(s, ",") {
		hop, err := parseHop(strings.TrimSpace(word))
		if err != nil {
			return nil, fmt.Errorf("jump host %q: %w", word, err)
		}
		hops = append(hops, hop)
	}
	return hops, nil
}

func parseHop(s string) (HostConfig, error) {
	s = strings.TrimPrefix(s, "ssh://")
	var h HostConfig
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		h.User, s = s[:i], s[i+1:]
		if h.User == "" {
			return h, fmt.Errorf("the user before @ is empty")
		}
	}
	h.Address = s
	host, port, err := net.SplitHostPort(s)
	switch {
	case err == nil:
		if h.Port, err = parsePort(port); err != nil {
			return h, err
		}
		h.Address = host
	case strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]"):
		h.Address = s[1 : len(s)-1]
	}
	if h.Address == "" || strings.ContainsAny(h.Address, " /") {
		return h, fmt.Errorf("want [user@]host[:port]")
	}
	return h, nil
}

func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("port %q is not a number from 1 to 65535", s)
	}
	return int(n), nil
}
