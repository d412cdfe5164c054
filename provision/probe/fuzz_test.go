package probe

import (
	"bufio"
	"bytes"
	"net"
	"testing"
)

// FuzzAnswer has strangers send datagrams to a server: what does not know the secret gets nothing, and no one gets more
// than was sent.
func FuzzAnswer(f *testing.F) {
	s := &server{who: who, secret: secret}
	from := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: Port}
	own, err := padded(secret.helloFor("n", 3))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(own, "abc"...))
	f.Add(s.answer(append(own, "abc"...), from))
	f.Add([]byte(`{"type":"hello","nonce":"n","size":0,"mac":"00"}` + "\n"))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		answer := s.answer(datagram, from)
		if len(answer) > len(datagram) {
			t.Errorf("%d bytes are answered with %d", len(datagram), len(answer))
		}
		if s.answer(answer, from) != nil {
			t.Errorf("an answer is answered: %q", answer)
		}
		other := &server{who: who, secret: "another"}
		if other.answer(datagram, from) != nil {
			t.Errorf("answered without the secret: %q", datagram)
		}
	})
}

// FuzzReply has a stranger answer a client: it is not believed.
func FuzzReply(f *testing.F) {
	trusted, err := encodeLine(Secret("another run").signed(Reply{Who: who, Nonce: "n", Client: "192.0.2.1", Size: 3, SHA256: digest([]byte("abc"))}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(trusted, "abc"...))
	f.Add([]byte(`{"type":"reply","mac":""}` + "\n"))
	f.Add([]byte("[]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if reply, _, err := readDatagram(b); err == nil && secret.trusts(*reply) {
			t.Errorf("%q is trusted", b)
		}
		reply := new(Reply)
		if err := readLine(bufio.NewReaderSize(bytes.NewReader(b), maxLine), reply); err == nil && secret.trusts(*reply) {
			t.Errorf("%q is trusted", b)
		}
	})
}
