package probe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

var who = Who{Version: Version, UID: "uid-1", Pod: "a-0", Node: "arm-1", Container: "probe", UnameM: "aarch64", ELF: 183, PageSize: 65536, Kernel: "6.12"}

const secret = Secret("of the run")

// serve runs a server on loopback and returns its address, the same for TCP and UDP.
func serve(t *testing.T) string {
	t.Helper()
	tcp, udp := listen(t)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, who, secret, tcp, udp) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return tcp.Addr().String()
}

// listen opens both sockets on one port.
func listen(t *testing.T) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 20 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err == nil {
			return tcp, udp
		}
		tcp.Close()
	}
	t.Fatal("no port is free for TCP and UDP")
	return nil, nil
}

// ask has one conversation, within a time that no test reaches unless it means to.
func ask(t *testing.T, network, addr, nonce string, size int) Attempt {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return Dial(ctx, &net.Dialer{}, secret, Call{network, addr, nonce, size})
}

func TestConversation(t *testing.T) {
	addr := serve(t)
	for _, c := range []struct {
		network string
		size    int
	}{
		{"tcp", 0}, {"tcp", 1}, {"tcp", 1400}, {"tcp", 8972}, {"tcp", 1 << 20}, {"tcp", MaxSize},
		{"udp", 0}, {"udp", 1}, {"udp", 1400}, {"udp", 8972}, {"udp", MaxDatagram},
	} {
		t.Run(fmt.Sprint(c.network, "/", c.size), func(t *testing.T) {
			nonce := fmt.Sprint("n/", c.size)
			a := ask(t, c.network, addr, nonce, c.size)
			if a.Error != "" || a.Ending != Answered || a.Reply == nil {
				t.Fatalf("%+v", a)
			}
			if want := secret.signed(Reply{Who: who, Nonce: nonce, Client: "127.0.0.1", Size: c.size, SHA256: digest(payload(nonce, c.size))}); *a.Reply != want {
				t.Errorf("got %+v\nwant %+v", *a.Reply, want)
			}
			if a.Nonce != nonce {
				t.Errorf("the attempt's nonce is %q", a.Nonce)
			}
		})
	}
}

func TestConversation_ClientAddressIsTheOneTheServerSaw(t *testing.T) {
	addr := serve(t)
	for network, local := range map[string]net.Addr{"tcp": &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}, "udp": &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9)}} {
		a := Dial(t.Context(), &net.Dialer{LocalAddr: local}, secret, Call{network, addr, "n", 10})
		if a.Error != "" || a.Reply.Client != "127.0.0.9" {
			t.Errorf("%s: %+v", network, a)
		}
	}
}

func TestPayload_FollowsFromTheNonce(t *testing.T) {
	if !bytes.Equal(payload("a", 100), payload("a", 100)) || bytes.Equal(payload("a", 100), payload("b", 100)) {
		t.Error("the payload does not follow from the nonce")
	}
}

// lies are servers that do almost the right thing. Each gets the client's hello and payload and gives back reply and payload.
var lies = []struct {
	name string
	tell func(r Reply, body []byte) []byte // all that is sent
	want string
}{
	{"another nonce", func(r Reply, body []byte) []byte { r.Nonce = "other"; return line(r, body) },
		`the answer is to another question: nonce "other", sent "n"`},
	{"another digest", func(r Reply, body []byte) []byte { r.SHA256 = digest(body[1:]); return line(r, body) }, "bytes arrived with sha256"},
	{"fewer bytes arrived", func(r Reply, body []byte) []byte { r.Size--; return line(r, body) }, "1399 bytes arrived"},
	{"one byte changed", func(r Reply, body []byte) []byte { body[700] ^= 1; return line(r, body) }, "the payload came back changed"},
	{"last byte changed", func(r Reply, body []byte) []byte { body[1399] ^= 0x80; return line(r, body) }, "the payload came back changed"},
	{"bytes exchanged", func(r Reply, body []byte) []byte {
		for i := range body {
			if body[i] != body[0] {
				body[0], body[i] = body[i], body[0]
				break
			}
		}
		return line(r, body)
	}, "the payload came back changed"},
	{"short payload", func(r Reply, body []byte) []byte { return line(r, body[:1000]) }, "changed|1000 of 1400 bytes came back: unexpected EOF"},
	{"no payload", func(r Reply, body []byte) []byte { return line(r, nil) }, "changed|0 of 1400 bytes came back: EOF"},
	{"garbage", func(Reply, []byte) []byte { return []byte("HTTP/1.1 200 OK\r\n\r\n") }, "what came is not a probe's"},
	{"too long a line", func(Reply, []byte) []byte { return append(bytes.Repeat([]byte("x"), 2*maxLine), '\n') },
		"what came is not a probe's|connected, but a line that is too long: this is not a probe"},
	{"cut line", func(r Reply, body []byte) []byte { return line(r, body)[:20] }, "what came is not a probe's|connected, but unexpected EOF"},
	{"an array", func(Reply, []byte) []byte { return []byte("[]\n") }, "what came is not a probe's"},
}

func line(r Reply, body []byte) []byte {
	b, err := encodeLine(secret.signed(r))
	if err != nil {
		panic(err)
	}
	return append(b, body...)
}

func TestDial_RecognisesALyingServer(t *testing.T) {
	for _, lie := range lies {
		for _, network := range []string{"tcp", "udp"} {
			t.Run(lie.name+"/"+network, func(t *testing.T) {
				addr := liar(t, network, lie.tell)
				a := ask(t, network, addr, "n", 1400)
				wants := strings.Split(lie.want, "|") // of datagrams, of streams
				want := wants[0]
				if network == "tcp" {
					want = wants[len(wants)-1]
				}
				if !strings.Contains(a.Error, want) || a.Ending != Answered && a.Ending != Strange {
					t.Errorf("got %q, %s; want %q", a.Error, a.Ending, want)
				}
			})
		}
	}
}

// liar answers one conversation as tell says.
func liar(t *testing.T, network string, tell func(Reply, []byte) []byte) string {
	t.Helper()
	tcp, udp := listen(t)
	t.Cleanup(func() { tcp.Close(); udp.Close() })
	answer := func(h hello, body []byte) []byte {
		return tell(Reply{Who: who, Nonce: h.Nonce, Client: "127.0.0.1", Size: len(body), SHA256: digest(body)}, body)
	}
	if network == "udp" {
		go func() {
			buf := make([]byte, maxLine+MaxDatagram)
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			_, body, _ := bytes.Cut(buf[:n], []byte{'\n'})
			_, _ = udp.WriteTo(answer(hello{Nonce: "n"}, bytes.Clone(body)), from)
		}()
		return udp.LocalAddr().String()
	}
	go func() {
		conn, err := tcp.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		var h hello
		body := make([]byte, 1400)
		if readLine(r, &h) != nil {
			return
		}
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		_, _ = conn.Write(answer(h, body))
	}()
	return tcp.Addr().String()
}

func TestDial_Closed(t *testing.T) {
	tcp, udp := listen(t)
	addr := tcp.Addr().String()
	tcp.Close()
	udp.Close()
	for _, network := range []string{"tcp", "udp"} {
		a := ask(t, network, addr, "n", 1)
		if a.Ending != Refused || a.Reply != nil || !strings.Contains(a.Error, "connection refused") {
			t.Errorf("%s: %+v", network, a)
		}
	}
	for _, c := range []struct {
		err  error
		want Ending
	}{
		{fmt.Errorf("ssh: %w", refusal{}), Refused},
		{errors.New("the connection was lost"), Untried},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}, Untried},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)}, Untried},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}, Silent}, // also what a filter says
		{&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, Silent},
		{&net.DNSError{Err: "no such host"}, Untried},
	} {
		d := dialFunc(func() (net.Conn, error) { return nil, c.err })
		if a := Dial(t.Context(), d, secret, Call{"tcp", addr, "n", 1}); a.Ending != c.want || a.Error == "" || a.Reply != nil {
			t.Errorf("%v: %+v, want %s", c.err, a, c.want)
		}
	}
}

// What is broken off was not tried to its end: nothing follows from its silence.
func TestDial_Canceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a := Dial(ctx, &net.Dialer{}, secret, Call{"tcp", "127.0.0.1:1", "n", 1}); a.Ending != Untried {
		t.Errorf("%+v", a)
	}
}

type dialFunc func() (net.Conn, error)

func (f dialFunc) DialContext(context.Context, string, string) (net.Conn, error) { return f() }

type refusal struct{}

func (refusal) Error() string { return "rejected" }
func (refusal) Refused() bool { return true }

// A server that says nothing is not a closed port.
func TestDial_Timeout(t *testing.T) {
	tcp, udp := listen(t) // no one accepts, no one reads
	defer tcp.Close()
	defer udp.Close()
	for _, network := range []string{"tcp", "udp"} {
		for _, size := range []int{1, 1400} {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			a := Dial(ctx, &net.Dialer{}, secret, Call{network, tcp.Addr().String(), "n", size})
			cancel()
			// The kernel takes connections for a program that does not: that port is not closed.
			if want := map[string]Ending{"tcp": Strange, "udp": Silent}[network]; a.Ending != want || a.Reply != nil || !strings.HasPrefix(a.Error, "no answer in time") || a.Millis <= 0 {
				t.Errorf("%s: %+v", network, a)
			}
		}
	}
}

// A way that carries the first packets and loses the large ones says how far it got: that is what tells a wrong MTU from silence.
func TestDial_SaysHowMuchCameBack(t *testing.T) {
	tcp, udp := listen(t)
	defer tcp.Close()
	udp.Close()
	stay := make(chan struct{})
	defer close(stay)
	go func() {
		conn, err := tcp.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		var h hello
		if readLine(r, &h) != nil {
			return
		}
		body := make([]byte, h.Size)
		_, _ = io.ReadFull(r, body)
		_, _ = conn.Write(line(Reply{Who: who, Nonce: h.Nonce, Size: len(body), SHA256: digest(body)}, body[:100]))
		<-stay
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	a := Dial(ctx, &net.Dialer{}, secret, Call{"tcp", tcp.Addr().String(), "n", 8972})
	if !strings.HasPrefix(a.Error, "no answer in time") || !strings.Contains(a.Error, "100 of 8972 bytes came back") || a.Reply == nil {
		t.Errorf("got %q, reply %v", a.Error, a.Reply)
	}
}

// A connection that is cut says so, not only that something was reset.
func TestDial_SaysThatItWasConnected(t *testing.T) {
	tcp, udp := listen(t)
	defer tcp.Close()
	udp.Close()
	go func() {
		conn, err := tcp.Accept()
		if err != nil {
			return
		}
		_ = conn.(*net.TCPConn).SetLinger(0) // a reset
		_, _ = io.ReadFull(conn, make([]byte, 10))
		conn.Close()
	}()
	if a := ask(t, "tcp", tcp.Addr().String(), "n", 1400); !strings.HasPrefix(a.Error, "connected, but") || !strings.Contains(a.Error, "reset") || a.Ending != Strange {
		t.Errorf("%+v", a)
	}
}

func TestServe_ABrokenSocketIsAnError(t *testing.T) {
	tcp, udp := listen(t)
	broken := errors.New("broken")
	if err := Serve(t.Context(), who, secret, brokenListener{tcp, broken}, udp); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := net.Dial("tcp", tcp.Addr().String()); err == nil {
		t.Error("the socket is still open")
	}
}

type brokenListener struct {
	net.Listener
	err error
}

func (l brokenListener) Accept() (net.Conn, error) { return nil, l.err }

func TestHostOf(t *testing.T) {
	for in, want := range map[string]string{"10.0.0.1:80": "10.0.0.1", "[::ffff:10.0.0.1]:80": "10.0.0.1", "[fd00::1]:80": "fd00::1", "[fe80::1%eth0]:80": "fe80::1%eth0", "x": "x"} {
		if got := hostOf(addrText(in)); got != want {
			t.Errorf("%s: got %s", in, got)
		}
	}
}

type addrText string

func (addrText) Network() string  { return "tcp" }
func (a addrText) String() string { return string(a) }

func TestSelf(t *testing.T) {
	t.Setenv(EnvUID, "u")
	t.Setenv(EnvPod, "p")
	t.Setenv(EnvNode, "n")
	t.Setenv(EnvContainer, "c")
	w := Self()
	machine := map[string]int{"amd64": 62, "arm64": 183}[runtime.GOARCH]
	if w.Version != Version || w.UID != "u" || w.Pod != "p" || w.Node != "n" || w.Container != "c" || w.ELF != machine || w.UnameM == "" || w.Kernel == "" || w.PageSize != os.Getpagesize() {
		t.Errorf("%+v", w)
	}
}
