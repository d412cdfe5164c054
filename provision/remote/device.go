package remote

import (
	"net"
	"syscall"
)

// deviceError says why nothing can be dialled from a network interface.
type deviceError struct{ why string }

func (e *deviceError) Error() string { return "the interface " + e.why }

// bindTo gives a socket an address of a network interface before it connects, as ssh does.
func bindTo(device string) func(network, address string, c syscall.RawConn) error {
	return func(network, _ string, c syscall.RawConn) error {
		from, err := addressOf(device, network == "tcp6")
		if err != nil {
			return err
		}
		var bound error
		if err := c.Control(func(fd uintptr) { bound = syscall.Bind(int(fd), from) }); err != nil {
			return err
		}
		return bound
	}
}

// addressOf is the address of an interface that is dialled from: one that other machines can answer to, where it has one.
func addressOf(device string, six bool) (syscall.Sockaddr, error) {
	i, err := net.InterfaceByName(device)
	if err != nil {
		return nil, &deviceError{"is none of this machine"}
	}
	all, err := i.Addrs()
	if err != nil {
		return nil, err
	}
	return addressAmong(i, all, six)
}

// addressAmong is the one of an interface's addresses.
func addressAmong(i *net.Interface, all []net.Addr, six bool) (syscall.Sockaddr, error) {
	if i.Flags&net.FlagUp == 0 {
		return nil, &deviceError{"is down"}
	}
	for _, local := range []bool{false, true} {
		for _, a := range all {
			is, ok := a.(*net.IPNet)
			if !ok || (is.IP.To4() == nil) != six || (is.IP.IsLoopback() || is.IP.IsLinkLocalUnicast()) != local {
				continue
			}
			if four := is.IP.To4(); !six {
				return &syscall.SockaddrInet4{Addr: [4]byte(four)}, nil
			}
			s := &syscall.SockaddrInet6{Addr: [16]byte(is.IP.To16())}
			if is.IP.IsLinkLocalUnicast() {
				s.ZoneId = uint32(i.Index)
			}
			return s, nil
		}
	}
	if six {
		return nil, &deviceError{"has no IPv6 address"}
	}
	return nil, &deviceError{"has no IPv4 address"}
}
