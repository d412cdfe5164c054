package facts

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

func (h *Host) readNetwork(d document) {
	h.Ports, h.UDPPorts = ports(d, "ports"), ports(d, "udp")
	for s := range d.lines("addresses") {
		if a, ok := address(s); ok && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsUnspecified() {
			h.Addresses = append(h.Addresses, kept(a.String()))
		}
	}
	slices.Sort(h.Addresses)
	h.Addresses = slices.Compact(h.Addresses)
}

// ports reads lines as "0100007F:1F90", of /proc/net/tcp and the like.
func ports(d document, key string) (out []int) {
	for local := range d.lines(key) {
		_, port, _ := strings.Cut(local, ":")
		if n, err := strconv.ParseUint(port, 16, 16); err == nil {
			out = append(out, int(n))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// address reads "192.0.2.1", or the 32 hexadecimal digits of /proc/net/if_inet6.
func address(s string) (netip.Addr, bool) {
	if len(s) == 32 {
		b, err := hex.DecodeString(s)
		if err != nil {
			return netip.Addr{}, false
		}
		return netip.AddrFromSlice(b)
	}
	a, err := netip.ParseAddr(s)
	return a, err == nil && a.Is4()
}

// readBinfmt reads the files of /proc/sys/fs/binfmt_misc: one for each handler, and the switch for all.
func readBinfmt(d document) []Binfmt {
	var out []Binfmt
	files := d.below("binfmt")
	for name, text := range files {
		if name == "register" || name == "status" {
			continue
		}
		b := Binfmt{Name: name, Enabled: strings.HasPrefix(text, "enabled") && !strings.HasPrefix(files["status"], "disabled")}
		offset, magic := "", ""
		for line := range strings.Lines(text) {
			word, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch word {
			case "interpreter":
				b.Interpreter = kept(value)
			case "offset":
				offset = value
			case "magic":
				magic = value
			}
		}
		if offset == "0" {
			b.ELFMachine = elfMachine(magic)
		}
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b Binfmt) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// elfMachine returns e_machine of the beginning of an ELF header, or 0.
func elfMachine(magic string) uint16 {
	b, err := hex.DecodeString(magic)
	if err != nil || len(b) < 20 || string(b[:4]) != "\x7fELF" {
		return 0
	}
	const bigEndian = 2
	if b[5] == bigEndian {
		return binary.BigEndian.Uint16(b[18:])
	}
	return binary.LittleEndian.Uint16(b[18:])
}
