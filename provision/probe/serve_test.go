package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// helloText is a hello of someone who knows the secret.
func helloText(t *testing.T, s Secret, nonce string, size int) string {
	t.Helper()
	b, err := padded(s.helloFor(nonce, size))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What is not a client of the run gets no answer, and does not keep the server from its work.
func TestServe_Strangers(t *testing.T) {
	addr := serve(t)
	unsigned := `{"type":"hello","nonce":"n","size":0,"mac":""}` + "\n"
	for _, text := range []string{
		"GET / HTTP/1.1\r\n\r\n", "\n", unsigned, helloText(t, "another secret", "n", 0), helloText(t, "", "n", 0), helloText(t, secret, "n", -1),
		helloText(t, secret, "n", MaxSize+1) + strings.Repeat("x", MaxSize+1), strings.Repeat("x", 3*maxLine) + "\n",
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, text)
		if b, _ := io.ReadAll(conn); len(b) > 0 {
			t.Errorf("%.60q is answered: %q", text, b)
		}
		conn.Close()
	}
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, text := range []string{"x", "{}", "not JSON\nabc", unsigned, helloText(t, "another secret", "n", 3) + "abc", helloText(t, secret, "n", 5) + "abc"} {
		_, _ = io.WriteString(conn, text)
	}
	// Datagrams of one socket keep their order here: had one of those been answered, its answer would come first.
	_, _ = io.WriteString(conn, helloText(t, secret, "last", 3)+"abc")
	buf := make([]byte, 2000)
	n, err := conn.Read(buf)
	if err != nil || !strings.Contains(string(buf[:n]), `"nonce":"last"`) {
		t.Errorf("got %q, %v", buf[:n], err)
	}
	if a := ask(t, "tcp", addr, "n", 1); a.Error != "" {
		t.Error(a.Error)
	}
}

// Two servers whose addresses are forged never talk to one another: an answer is no question.
func TestServe_AnAnswerIsNotAnswered(t *testing.T) {
	s := &server{who: who, secret: secret}
	from := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: Port}
	answer := s.answer([]byte(helloText(t, secret, "n", 3)+"abc"), from)
	if answer == nil {
		t.Fatal("a client of the run is not answered")
	}
	if again := s.answer(answer, from); again != nil {
		t.Errorf("an answer is answered: %q", again)
	}
	// Nor is one that was made to look like a question.
	head, body, _ := strings.Cut(string(answer), "\n")
	forged := strings.Replace(head, `"type":"reply"`, `"type":"hello"`, 1)
	if forged == head {
		t.Fatal("an answer has no type")
	}
	if again := s.answer([]byte(forged+"\n"+body), from); again != nil {
		t.Errorf("a forged question is answered: %q", again)
	}
}

// A forged sender's address gets no more bytes than were spent on it, whatever the names.
func TestServe_AnAnswerIsNoLongerThanTheQuestion(t *testing.T) {
	long := strings.Repeat("n", 253)
	s := &server{secret: secret, who: Who{
		Version: Version, UID: strings.Repeat("u", 36), Pod: strings.Repeat("p", 63), Node: long, Container: "probe", UnameM: "aarch64", ELF: 183, PageSize: 65536, Kernel: strings.Repeat("k", 64),
	}}
	from := &net.UDPAddr{IP: net.ParseIP("2001:db8:1111:2222:3333:4444:5555:6666"), Port: 65535}
	for _, nonce := range []string{"n", "a1b2c3d4/S5/udp/1400/podIP/" + long + ">" + long + "//4"} {
		for _, size := range []int{0, 1, 1400, MaxDatagram} {
			question := helloText(t, secret, nonce, size) + string(payload(nonce, size))
			answer := s.answer([]byte(question), from)
			if answer == nil || len(answer) > len(question) {
				t.Errorf("%d bytes with a nonce of %d: %d bytes are answered with %d", size, len(nonce), len(question), len(answer))
			}
			if len(question) > 65507 {
				t.Errorf("the question has %d bytes, more than a datagram holds", len(question))
			}
		}
	}
	// A question without the padding is not answered at all.
	b, err := encodeLine(secret.helloFor("n", 0))
	if err != nil {
		t.Fatal(err)
	}
	if answer := s.answer(b, from); answer != nil {
		t.Errorf("%d bytes are answered with %d", len(b), len(answer))
	}
}

// Those who connect and say nothing do not keep the run's own clients out, however many they are.
func TestServe_StrangersThatSayNothing(t *testing.T) {
	addr := serve(t)
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range maxWaiting + 20 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	if a := ask(t, "tcp", addr, "n", 1400); a.Error != "" {
		t.Error(a.Error)
	}
	// The oldest were ended, so that no more are held than may be.
	_ = conns[0].SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := conns[0].Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("the oldest stranger is held: %v", err)
	}
}

func TestServe_WithoutASecret(t *testing.T) {
	tcp, udp := listen(t)
	if err := Serve(t.Context(), who, "", tcp, udp); err == nil || !strings.Contains(err.Error(), "no secret") {
		t.Errorf("got %v", err)
	}
	if c, err := net.Dial("tcp", tcp.Addr().String()); err == nil {
		c.Close()
		t.Error("it listens")
	}
}

// What a server of another run says is not believed.
func TestDial_AnotherRun(t *testing.T) {
	addr := serve(t)
	for _, network := range []string{"tcp", "udp"} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		a := Dial(ctx, &net.Dialer{}, "another secret", Call{network, addr, "n", 1})
		cancel()
		if want := map[string]Ending{"tcp": Strange, "udp": Silent}[network]; a.Ending != want || a.Reply != nil || a.Error == "" {
			t.Errorf("%s: %+v", network, a)
		}
	}
	forged, err := json.Marshal(Reply{Type: typeReply, Who: who, Nonce: "n", Size: 1, SHA256: digest(payload("n", 1)), MAC: fmt.Sprintf("%064d", 0)})
	if err != nil {
		t.Fatal(err)
	}
	reply, _, err := readDatagram(append(forged, '\n'))
	if err != nil || secret.trusts(*reply) {
		t.Errorf("%+v is trusted; %v", reply, err)
	}
}
