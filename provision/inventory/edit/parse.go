package edit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// hostWords are what a host on the command line may say of itself besides name and address.
var hostWords = []string{"role", "arch", "user", "port", "jump", "nodeIP", "hostKey", "identityFile", "sudoPasswordFile", "sudoPasswordEnv", "label", "taint"}

// ParseHost reads a host as a command line names it: name=address[,word=value]…, with label, taint and identityFile as often as
// wanted. Without "name=" the name is empty, for the caller to find out. The values are checked when the host is added; the error is
// for the user, and holds no word's value that may be a password.
func ParseHost(text string) (inventory.Host, error) {
	first, rest, more := strings.Cut(text, ",")
	name, address, named := strings.Cut(first, "=")
	if !named {
		name, address = "", first
	}
	if address == "" {
		return inventory.Host{}, hint.With(fmt.Errorf("%q has no address", first), "write name=address[,role=worker][,label=key=value]…")
	}
	h := inventory.Host{Name: name, Address: address}
	if !more {
		return h, nil
	}
	for part := range strings.SplitSeq(rest, ",") {
		word, value, ok := strings.Cut(part, "=")
		if !ok || value == "" {
			return inventory.Host{}, hint.With(fmt.Errorf("%q: %q has no value", first, word), "write word=value, with one of %s", strings.Join(hostWords, ", "))
		}
		if err := give(&h, word, value); err != nil {
			return inventory.Host{}, fmt.Errorf("%q: %w", first, err)
		}
	}
	return h, nil
}

// give sets what one word says.
func give(h *inventory.Host, word, value string) error {
	switch word {
	case "role":
		h.Role = inventory.Role(value)
	case "arch":
		arch, err := platform.Parse(value)
		h.Arch = arch
		return err
	case "user":
		h.User = value
	case "port":
		port, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%q is not a port: from 1 to 65535", value)
		}
		h.Port = port
	case "jump":
		h.Jump = value
	case "nodeIP":
		h.NodeIP = value
	case "hostKey":
		h.HostKey = value
	case "identityFile":
		h.IdentityFiles = append(h.IdentityFiles, value)
	case "sudoPasswordFile":
		h.SudoPasswordFile = value
	case "sudoPasswordEnv":
		h.SudoPasswordEnv = value
	case "label":
		return addLabel(h, value)
	case "taint":
		h.Taints = append(h.Taints, value)
	default:
		return unknownWord(word)
	}
	return nil
}

func addLabel(h *inventory.Host, text string) error {
	key, value, ok := strings.Cut(text, "=")
	if !ok || key == "" {
		return hint.With(fmt.Errorf("the label %q has no value", text), "write label=key=value")
	}
	if h.Labels == nil {
		h.Labels = map[string]string{}
	}
	if _, twice := h.Labels[key]; twice {
		return fmt.Errorf("the label %s is given twice", key)
	}
	h.Labels[key] = value
	return nil
}

func unknownWord(word string) error {
	if near := inventory.Suggest(word, hostWords); near != "" {
		return fmt.Errorf("%q is nothing that a host has; did you mean %s?", word, near)
	}
	return errors.New(strconv.Quote(word) + " is nothing that a host has: there are " + strings.Join(hostWords, ", "))
}
