package remote

import (
	"fmt"
	"net"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// parseProxyCommand understands the commands that come to a jump host, or to no more than a TCP connection. Everything else is
// refused by name: what is not understood is not guessed.
func parseProxyCommand(command string, t tokens) ([]HostConfig, error) {
	refuse := func(why string) ([]HostConfig, error) {
		return nil, fmt.Errorf("ProxyCommand %q is not run here%s (write it as ProxyJump, or set jump in the inventory; jump: none there goes directly)", command, why)
	}
	words := splitWords(quietEnd.ReplaceAllString(command, ""), false)
	if strings.ContainsAny(strings.Join(words, " "), "|;&<>`$()") {
		return refuse("")
	}
	for i, w := range words {
		var err error
		if words[i], err = t.expand(w); err != nil {
			return refuse(": " + err.Error())
		}
	}
	if len(words) > 0 && words[0] == "exec" {
		words = words[1:]
	}
	if len(words) == 0 {
		return refuse("")
	}
	target := []string{t.host, strconv.Itoa(t.port)}
	if plainConnect(words, target) {
		return nil, nil
	}
	if path.Base(words[0]) != "ssh" {
		return refuse("")
	}
	hop, to, err := parseSSHCommand(words[1:])
	if err != nil {
		return refuse(": " + err.Error())
	}
	if len(to) == 1 {
		host, port, err := net.SplitHostPort(to[0])
		if err != nil {
			return refuse(": -W wants host:port")
		}
		to = []string{host, port}
	} else if len(to) == 0 || !plainConnect(to, target) {
		return refuse("")
	} else {
		to = target
	}
	for i, f := range hop.IdentityFiles {
		if hop.IdentityFiles[i], err = t.path(f); err != nil {
			return refuse(": " + err.Error())
		}
	}
	if !slices.Equal(to, target) {
		return refuse(fmt.Sprintf(": it leads to %s, the host is %s", strings.Join(to, " port "), strings.Join(target, " port ")))
	}
	return append(hop.Jump, hop.without()), nil
}

// without is the hop alone, its own hops taken out.
func (h HostConfig) without() HostConfig {
	h.Jump = nil
	return h
}

var quietEnd = regexp.MustCompile(`\s*(2>\s*/dev/null|2>&-)\s*$`)

// plainConnect recognizes the programs that connect to the target and do nothing else: netcat, and the one of FreeIPA, which
// looks after a known_hosts file.
func plainConnect(words, target []string) bool {
	name, args := path.Base(words[0]), words[1:]
	switch name {
	case "sss_ssh_knownhostsproxy":
		return slices.Equal(args, []string{"-p", target[1], target[0]})
	case "nc", "ncat", "netcat", "nc.openbsd", "nc.traditional":
	default:
		return false
	}
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		flag := args[0]
		args = args[1:]
		switch flag {
		case "-w", "-q", "-i": // seconds
			if len(args) == 0 {
				return false
			}
			args = args[1:]
		case "-4", "-6", "-n", "-N", "-v", "--":
		default:
			if !waits.MatchString(flag) {
				return false
			}
		}
	}
	return slices.Equal(args, target)
}

var waits = regexp.MustCompile(`^-[wqi][0-9]+$`)

// parseSSHCommand reads the words of `ssh … -W host:port gate` and of `ssh … gate nc host port`. What decides is taken over, what
// does not is passed by, and an option of another kind is an error.
func parseSSHCommand(args []string) (hop HostConfig, to []string, err error) {
	var place string
	for len(args) > 0 && place == "" {
		arg := args[0]
		args = args[1:]
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			place = arg
			break
		}
		if arg == "--" {
			continue
		}
		for i := 1; i < len(arg); i++ {
			letter := arg[i]
			if strings.IndexByte("46AaCfGgKkMNnqsTtVvXxYy", letter) >= 0 {
				continue
			}
			value := arg[i+1:]
			if value == "" {
				if len(args) == 0 {
					return hop, nil, fmt.Errorf("-%c without a value", letter)
				}
				value, args = args[0], args[1:]
			}
			if letter == 'W' {
				to = []string{value}
			} else if err := hop.option(letter, value); err != nil {
				return hop, nil, err
			}
			break
		}
	}
	if place == "" {
		return hop, nil, fmt.Errorf("it names no host")
	}
	// Options may follow the host, too.
	if to == nil && len(args) >= 1 && strings.HasPrefix(args[0], "-W") {
		value := strings.TrimPrefix(args[0], "-W")
		if args = args[1:]; value == "" && len(args) > 0 {
			value, args = args[0], args[1:]
		}
		to = []string{value}
	}
	switch {
	case to == nil && len(args) > 1:
		if args[0] == "exec" {
			args = args[1:]
		}
		to = args
	case to == nil || len(args) > 0:
		return hop, nil, fmt.Errorf("it is no jump")
	}
	at, err := parseHop(place)
	if err != nil {
		return hop, nil, err
	}
	hop.Address = at.Address
	if at.User != "" {
		hop.User = at.User
	}
	if at.Port != 0 {
		hop.Port = at.Port
	}
	return hop, to, nil
}

// option takes over an option of ssh that has a value.
func (h *HostConfig) option(letter byte, value string) (err error) {
	switch letter {
	case 'p':
		h.Port, err = parsePort(value)
	case 'l':
		h.User = value
	case 'i':
		h.IdentityFiles = append(h.IdentityFiles, value)
	case 'J':
		h.Jump, err = ParseJump(value)
	case 'c', 'e', 'm', 'E', 'o', 'S':
		if letter == 'o' {
			return h.setting(value)
		}
	default:
		return fmt.Errorf("-%c is not understood", letter)
	}
	return err
}

// setting takes over -o Keyword=value. Those that only make it less careful, or say how much is told, are passed by.
func (h *HostConfig) setting(s string) (err error) {
	keyword, value := keywordOf(s)
	switch keyword {
	case "port":
		h.Port, err = parsePort(value)
	case "user":
		h.User = value
	case "identityfile":
		h.IdentityFiles = append(h.IdentityFiles, value)
	case "proxyjump":
		h.Jump, err = ParseJump(value)
	case "stricthostkeychecking":
		switch yesAndNo(strings.ToLower(value)) {
		case "yes", "ask": // no one is asked here
			h.HostKeyPolicy = Strict
		case AcceptNew, "no":
		default:
			return fmt.Errorf("-o StrictHostKeyChecking=%s: want yes, ask, accept-new or no", value)
		}
	case "batchmode", "loglevel", "connecttimeout", "serveraliveinterval", "serveralivecountmax", "controlmaster", "controlpath", "controlpersist",
		"compression", "forwardagent", "forwardx11", "requesttty", "userknownhostsfile", "exitonforwardfailure", "clearallforwardings",
		"passwordauthentication", "kbdinteractiveauthentication", "preferredauthentications", "tcpkeepalive", "addkeystoagent", "updatehostkeys":
	default:
		return fmt.Errorf("-o %s is not understood", keyword)
	}
	return err
}
